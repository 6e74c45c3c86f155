"""Who may ask: one's own token, all tokens, and what was decided."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from isolation.clock import timestamp
from isolation.model.access import Role, Token, permissions_of
from isolation.model.recipe import NamespaceGlob
from isolation.service.bodies import Body, said
from isolation.service.here import MayManageTokens, MayReadAudit, MayReadContext
from isolation.service.problems import answers
from isolation.service.reading import BodyRoute
from isolation.service.refusals import ForbiddenError, NoSuchTokenError
from isolation.storage.audit import Decision

router = APIRouter(prefix="/v1", route_class=BodyRoute, tags=["access"])


class TokenBody(BaseModel):
    """What is known of a token, but for the token itself."""

    token_id: str
    name: str
    role: Role
    namespaces: list[str]
    created_at: str
    expires_at: str | None
    revoked_at: str | None


class NewTokenBody(Body):
    """A token that is wanted. ``expires_s``: it counts for so many seconds; None: until it is revoked."""

    name: str = Field(min_length=1, max_length=100)
    role: Role = Role.VIEWER
    namespaces: list[NamespaceGlob] = Field(min_length=1, max_length=100)
    expires_s: float | None = Field(None, gt=0, le=10 * 365 * 86400)


class MadeTokenBody(TokenBody):
    """A new token, and the one time that it can be read."""

    token: str


class MeBody(BaseModel):
    """Who asks, as the server sees it; ``namespace`` is what is meant where none is named."""

    name: str
    role: Role
    namespaces: list[str]
    namespace: str
    permissions: list[str]


class TokensBody(BaseModel):
    """All tokens, the oldest first."""

    tokens: list[TokenBody]


class DecisionsBody(BaseModel):
    """Decisions, the newest first."""

    decisions: list[Decision]


@router.get("/me", response_model=MeBody, responses=answers(422))
async def me(here: MayReadContext) -> Response:
    """Tell who asks, and what they may do."""
    token = here.token
    permissions = sorted(permissions_of(token.role))
    return said(
        {
            "name": token.name,
            "role": token.role,
            "namespaces": token.namespaces,
            "namespace": here.namespace,
            "permissions": permissions,
        }
    )


@router.get("/tokens", response_model=TokensBody, responses=answers(422))
def list_tokens(here: MayManageTokens) -> Response:
    """List the tokens that count in no more namespaces than one's own."""
    mine = [token for token in here.service.tokens.list() if _within(token, here.token)]
    return said({"tokens": [asdict(token) for token in mine]})


@router.post("/tokens", response_model=MadeTokenBody, status_code=201, responses=answers(413, 422))
def new_token(here: MayManageTokens, body: NewTokenBody) -> Response:
    """Make a token, for no more namespaces than one's own."""
    for glob in body.namespaces:
        if not _covered(glob, here.token):
            raise ForbiddenError(here.token, here.permission, glob)
    now = here.service.clock.now()
    expires_at = None if body.expires_s is None else timestamp(now + timedelta(seconds=body.expires_s))
    token, secret = here.service.tokens.make(body.name, body.role, body.namespaces, timestamp(now), expires_at)
    here.service.door.forget()
    return said({**asdict(token), "token": secret}, 201)


@router.delete("/tokens/{token_id}", response_model=TokenBody, responses=answers(404, 422))
def revoke_token(here: MayManageTokens, token_id: str) -> Response:
    """Let a token count no more, at once."""
    found = next((one for one in here.service.tokens.list() if one.token_id == token_id), None)
    if found is None or not _within(found, here.token):
        raise NoSuchTokenError(token_id)
    revoked = here.service.tokens.revoke(token_id, timestamp(here.service.clock.now()))
    here.service.door.forget()
    return said(asdict(revoked))


@router.get("/audit", response_model=DecisionsBody, responses=answers(422))
def audit(
    here: MayReadAudit,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    allowed: Annotated[bool | None, Query(description="Only those that let in, or that did not.")] = None,
) -> Response:
    """Tell what was decided about the namespaces of one's token, the newest first."""
    mine = here.token
    found = here.service.audit.newest(limit, lambda one: mine.covers(one.namespace) and allowed in {None, one.allowed})
    return said({"decisions": found})


def _within(token: Token, mine: Token) -> bool:
    return all(_covered(glob, mine) for glob in token.namespaces)


def _covered(glob: str, mine: Token) -> bool:
    """Tell whether all that a glob covers is one's own: it is one of one's own globs, or a name under them."""
    is_name = not {*glob} & {*"*?["}
    return glob in mine.namespaces or "*" in mine.namespaces or (is_name and mine.covers(glob))
