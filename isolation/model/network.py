"""What a cell may reach, as its policy says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, model_serializer, model_validator

from isolation.model.endpoint import Endpoint
from isolation.model.recipe import Strict

if TYPE_CHECKING:
    from pydantic import ModelWrapValidatorHandler, SerializerFunctionWrapHandler

_MOST_ENTRIES = 256


def _entry(value: object) -> Endpoint:
    if isinstance(value, Endpoint):
        return value
    if isinstance(value, dict) and len(value) == 1:
        host, port = next(iter(value.items()))
        raise ValueError(f"a mapping is no entry; write '{host}:{port}', without a space after the colon")
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no entry; write such as 'example.org:443'")  # noqa: TRY004 - pydantic's validators raise it
    return Endpoint.parse(value)


Entry = Annotated[Endpoint, BeforeValidator(_entry), PlainSerializer(str, return_type=str)]


class Network(Strict):
    """
    What the cell may reach: exactly the entries of ``allow``. Written ``none`` where there are none.

    It has no interface but its loopback either way: what is allowed is fetched by the host, which looks at each
    request.
    """

    allow: tuple[Entry, ...] = Field(min_length=1, max_length=_MOST_ENTRIES, strict=False)

    @model_validator(mode="wrap")
    @classmethod
    def _or_none(cls, value: object, validate: ModelWrapValidatorHandler[Network]) -> Network:
        if value == "none":
            return NO_NETWORK
        if not isinstance(value, dict | Network):
            said = f"{value!r} is no network; write none, or such as {{allow: ['example.org:443']}}"
            raise ValueError(said)  # noqa: TRY004 - pydantic's validators raise it
        return validate(value)

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> Any:  # noqa: ANN401 - plain data
        return write(self) if self.allow else "none"


NO_NETWORK = Network.model_construct(allow=())
