"""
The tokens of the server: made, looked up and revoked; what is kept of one is its SHA-256 alone.

A token is 256 bits of chance, so that nobody finds one from its digest, and no salt is needed.
"""

from __future__ import annotations

import json
import re
from hashlib import sha256
from secrets import token_hex, token_urlsafe
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from isolation.errors import InputError
from isolation.model.access import Role, Token
from isolation.model.recipe import NAMESPACE_GLOB
from isolation.state.schema import tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

    from isolation.state.database import Database

PREFIX = "iso_"
"""How every token begins, so that one that lies around is found for what it is."""


class Tokens:
    """All tokens of one database, whatever their namespaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def make(
        self, name: str, role: Role, namespaces: Sequence[str], at: str, expires_at: str | None = None
    ) -> tuple[Token, str]:
        """Make a token; returns what is kept of it, and the token itself, which cannot be had again."""
        if not name or not name.isprintable() or len(name) > 100:  # noqa: PLR2004 - said in the hint
            raise InputError(f"{name!r} cannot be a token's name", hint="Say whose it is in 1 to 100 characters.")
        if not namespaces:
            raise InputError("a token needs a namespace", hint="Name one, or several by a glob such as 'team-*'.")
        for glob in namespaces:
            if not re.fullmatch(NAMESPACE_GLOB, glob):
                raise InputError(
                    f"{glob!r} covers no namespace", hint="Write a name such as sales, or a glob such as 'team-*'."
                )
        secret = PREFIX + token_urlsafe(32)
        token = Token(
            token_id=token_hex(4),
            name=name,
            role=role,
            namespaces=tuple(namespaces),
            created_at=at,
            expires_at=expires_at,
        )
        with self._database.writing() as connection:
            connection.execute(
                insert(tokens).values(
                    token_id=token.token_id,
                    digest=digest_of_token(secret),
                    name=name,
                    role=role.value,
                    namespaces=json.dumps([*namespaces]),
                    created_at=at,
                    expires_at=expires_at,
                )
            )
        return token, secret

    def revoke(self, token_id: str, at: str) -> Token:
        """Let a token count no more; InputError if there is none of that id. Once is as good as twice."""
        with self._database.writing() as connection:
            connection.execute(
                update(tokens).where(tokens.c.token_id == token_id, tokens.c.revoked_at.is_(None)).values(revoked_at=at)
            )
            row = connection.execute(select(tokens).where(tokens.c.token_id == token_id)).first()
        if row is None:
            raise InputError(f"there is no token {token_id!r}", hint="`isolation token list` shows all.")
        return _token(row)

    def by_digest(self) -> dict[str, Token]:
        """Return all tokens by their digests."""
        with self._database.reading() as connection:
            return {row.digest: _token(row) for row in connection.execute(select(tokens))}

    def list(self) -> tuple[Token, ...]:
        """Return all tokens, the oldest first, also those that were revoked."""
        return tuple(sorted(self.by_digest().values(), key=lambda token: (token.created_at, token.token_id)))


def digest_of_token(secret: str) -> str:
    """Return what is kept of a token."""
    return sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _token(row: Row[Any]) -> Token:
    return Token(
        token_id=row.token_id,
        name=row.name,
        role=Role(row.role),
        namespaces=tuple(json.loads(row.namespaces)),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
