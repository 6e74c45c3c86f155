"""What the door says to those who do not come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.errors import AccessError
from isolation.model.access import Role, permissions_of

if TYPE_CHECKING:
    from isolation.model.access import Permission, Token


class UnauthenticatedError(AccessError):
    """There is no token, or (``came``) one that does not count; which of its reasons it is, is nobody's business."""

    def __init__(self, *, came: bool) -> None:
        said = "no token that counts came with this"
        super().__init__(
            f"{said}: it is unknown, revoked or expired" if came else said,
            hint="Send `Authorization: Bearer TOKEN`; `isolation token new` makes one.",
        )


class ForbiddenError(AccessError):
    """The token counts, and not for this."""

    def __init__(self, token: Token, permission: Permission, namespace: str) -> None:
        super().__init__(
            f"the token {token.name!r} may not do this ({permission.value}) in the namespace {namespace!r}",
            hint=_what_it_may(token, permission, namespace),
        )


def _what_it_may(token: Token, permission: Permission, namespace: str) -> str:
    """
    Tell what the token is for, and what would do.

    >>> from isolation.model.access import Permission, Role, Token
    >>> ann = Token(token_id="1", name="ann", role=Role.VIEWER, namespaces=("team-*",), created_at="")
    >>> _what_it_may(ann, Permission.SUBMIT_RUNS, "team-a")
    "It is a viewer's; this takes a runner's."
    >>> _what_it_may(ann, Permission.READ_RUNS, "default")
    'It counts in team-*; say where with ?namespace=.'
    """
    if token.covers(namespace):
        least = next(role for role in Role if permission in permissions_of(role))
        return f"It is {_article(token.role)}'s; this takes {_article(least)}'s."
    return f"It counts in {', '.join(token.namespaces)}; say where with ?namespace=."


def _article(role: Role) -> str:
    return f"{'an' if role.value[0] in 'ao' else 'a'} {role.value}"


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
