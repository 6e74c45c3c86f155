"""Who may do what: permissions, the roles that give them, and whoever holds a token."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cache


class Permission(StrEnum):
    """One thing that somebody may do; each route of the server asks for one."""

    READ_RUNS = "runs:read"
    SUBMIT_RUNS = "runs:submit"
    CANCEL_RUNS = "runs:cancel"
    READ_CONTEXT = "context:read"
    WRITE_CONTEXT = "context:write"
    WRITE_PACKAGES = "packages:write"
    READ_HOST = "host:read"
    MANAGE_TOKENS = "tokens:manage"
    READ_AUDIT = "audit:read"


class Role(StrEnum):
    """
    What a token is for; each role may do what those before it may.

    A *viewer* looks. A *runner* submits what is already there, cancels, and writes the context. An *author* brings
    recipes and packages of their own. An *operator* sees the host, gives tokens and reads the audit log.
    """

    VIEWER = "viewer"
    RUNNER = "runner"
    AUTHOR = "author"
    OPERATOR = "operator"


_ADDED = {
    Role.VIEWER: {Permission.READ_RUNS, Permission.READ_CONTEXT},
    Role.RUNNER: {Permission.SUBMIT_RUNS, Permission.CANCEL_RUNS, Permission.WRITE_CONTEXT},
    Role.AUTHOR: {Permission.WRITE_PACKAGES},
    Role.OPERATOR: {Permission.READ_HOST, Permission.MANAGE_TOKENS, Permission.READ_AUDIT},
}


@cache
def permissions_of(role: Role) -> frozenset[Permission]:
    """
    Return all that a role may do.

    >>> sorted(permissions_of(Role.VIEWER))
    [<Permission.READ_CONTEXT: 'context:read'>, <Permission.READ_RUNS: 'runs:read'>]
    """
    ranks = [*Role]
    return frozenset().union(*(_ADDED[other] for other in ranks[: ranks.index(role) + 1]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """
    What is known of a token; the token itself is nowhere kept.

    ``namespaces`` are globs. Moments are RFC 3339 texts in UTC; ``expires_at`` None: never, ``revoked_at`` None: it is
    not.
    """

    token_id: str
    name: str
    role: Role
    namespaces: tuple[str, ...]
    created_at: str
    expires_at: str | None = None
    revoked_at: str | None = None

    def may(self, permission: Permission, namespace: str | None) -> bool:
        """Tell whether its role gives the permission, and in that namespace; None: it is about no namespace."""
        if permission not in permissions_of(self.role):
            return False
        return namespace is None or self.covers(namespace)

    def covers(self, namespace: str) -> bool:
        """Tell whether it counts in a namespace."""
        return any(fnmatchcase(namespace, glob) for glob in self.namespaces)

    def holds(self, now: str) -> bool:
        """Tell whether it counts at a moment."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)
