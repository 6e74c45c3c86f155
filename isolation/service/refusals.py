"""What the door says to those who do not come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.errors import AccessError

if TYPE_CHECKING:
    from isolation.model.access import Permission, Token


class UnauthenticatedError(AccessError):
    """There is no token, or one that does not count."""

    def __init__(self) -> None:
        super().__init__(
            "no token that counts came with this",
            hint="Send `Authorization: Bearer TOKEN`; `isolation token new` makes one.",
        )


class ForbiddenError(AccessError):
    """The token counts, and not for this."""

    def __init__(self, token: Token, permission: Permission, namespace: str) -> None:
        super().__init__(
            f"the token {token.name!r} may not do this ({permission.value}) in the namespace {namespace!r}",
            hint=f"It is a {token.role.value}'s, for {', '.join(token.namespaces)}.",
        )


class CrossSiteError(AccessError):
    """A browser was made to ask for something by another page than ours."""

    def __init__(self) -> None:
        super().__init__("this did not come from the page itself", hint="Load the page again, and try once more.")


class NoSuchTokenError(AccessError):
    """There is no such token, or none that whoever asks may know of."""

    def __init__(self, token_id: str) -> None:
        super().__init__(f"there is no token {token_id!r}", hint="GET /v1/tokens lists all.")


class TooManyRequestsError(AccessError):
    """Too much was asked for; ``retry_s`` is how long to wait."""

    def __init__(self, sentence: str, *, retry_s: int) -> None:
        super().__init__(sentence, hint=f"Ask again in {retry_s} s.")
        self.retry_s = retry_s


class TooLargeError(AccessError):
    """A body is larger than is taken."""


class TooSlowError(AccessError):
    """A body did not come in time."""


class NotThereError(AccessError):
    """There is no such thing, or none that whoever asks may know of: the two are told in the same words."""


class NotYetError(AccessError):
    """It is not there yet, and may be later."""


class BlobsMissingError(AccessError):
    """A package is made of blobs that this namespace has not brought."""
