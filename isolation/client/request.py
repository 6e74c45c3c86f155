"""One question to a server: what is sent, and how its answer is read; nothing here sends anything."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from isolation.contract import dumps
from isolation.errors import ContextError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Request(Generic[T]):
    """
    A question.

    ``read`` reads the answer to one that was understood, and ``if_missing`` says what to return where there is no such
    key. ``body`` is JSON.
    """

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    if_missing: Callable[[], T] | None = None

    @property
    def only_reads(self) -> bool:
        """Tell whether asking it twice is as good as once."""
        return self.method == "GET"


Talk: TypeAlias = Generator[Request[Any], Any, T]
"""Several questions, each after the answer to the one before; what it returns is the result."""


def body_of(content: dict[str, Any]) -> bytes:
    """Write what is sent, without what is None; ContextError for what JSON cannot say."""
    try:
        return dumps(content)
    except ValueError as error:
        raise ContextError(
            f"this cannot be sent: {error}",
            hint="A value is JSON: null, true, false, numbers, text, lists, and objects with text keys.",
        ) from error


def params_of(**given: str | int | None) -> dict[str, str]:
    """
    Return the parameters of a question, without those that are None.

    >>> params_of(key="a", version=None)
    {'key': 'a'}
    """
    return {name: str(value) for name, value in given.items() if value is not None}
