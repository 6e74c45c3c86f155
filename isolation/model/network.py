"""What a cell may reach, as its policy says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_serializer, model_validator

from isolation.model.endpoint import ANY_BELOW, Endpoint, is_address
from isolation.model.recipe import Strict

if TYPE_CHECKING:
    from pydantic import ModelWrapValidatorHandler, SerializerFunctionWrapHandler

_MOST_ENTRIES = 256
_MOST_TCP = 16


def _entry(value: object) -> Endpoint:
    if isinstance(value, Endpoint):
        return value
    if isinstance(value, dict) and len(value) == 1:
        host, port = next(iter(value.items()))
        raise ValueError(f"a mapping is no entry; write '{host}:{port}', without a space after the colon")
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no entry; write such as 'example.org:443'")  # noqa: TRY004 - pydantic's validators raise it
    return Endpoint.parse(value)


def _named(endpoint: Endpoint) -> Endpoint:
    if endpoint.host.startswith(ANY_BELOW):
        raise ValueError(f"'{endpoint}' has a star; write each name that is meant")
    if is_address(endpoint.host):
        raise ValueError(f"'{endpoint}' is an address; write a name here, and the address under allow")
    return endpoint


Entry = Annotated[Endpoint, BeforeValidator(_entry), PlainSerializer(str, return_type=str)]
Named = Annotated[Entry, AfterValidator(_named)]


class Network(Strict):
    """
    What the cell may reach: exactly the entries. Written ``none`` where there are none.

    ``allow`` is for HTTP and what is tunnelled by it; ``tcp`` names what programs connect to by themselves, whatever
    they speak. The cell has no interface but its loopback either way: the host connects, and looks at each request.
    """

    allow: tuple[Entry, ...] = Field(default=(), min_length=1, max_length=_MOST_ENTRIES, strict=False)
    tcp: tuple[Named, ...] = Field(default=(), min_length=1, max_length=_MOST_TCP, strict=False)

    @property
    def entries(self) -> tuple[Endpoint, ...]:
        """All that may be reached; none of it: no network."""
        return self.allow + self.tcp

    @model_validator(mode="wrap")
    @classmethod
    def _or_none(cls, value: object, validate: ModelWrapValidatorHandler[Network]) -> Network:
        if value == "none":
            return NO_NETWORK
        if not value or not isinstance(value, dict | Network):
            said = f"{value!r} is no network; write none, or such as {{allow: ['example.org:443']}}"
            raise ValueError(said)
        return validate(value)

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> Any:  # noqa: ANN401 - plain data
        return {name: entries for name, entries in write(self).items() if entries} or "none"


NO_NETWORK = Network.model_construct()
