"""From what somebody sends to an order: the recipe or the package that they bring or name, and the policy by name."""

from __future__ import annotations

import binascii
from base64 import b64decode
from contextlib import contextmanager
from typing import TYPE_CHECKING

from isolation.errors import InputError, NoSuchPolicyError, PackageError, did_you_mean
from isolation.model.access import Permission
from isolation.order import Wanted, WantedPackage
from isolation.packaging.brought import laid_out
from isolation.packaging.policy import load_policy
from isolation.rules.entitlement import secrets_of
from isolation.rules.scope import matches
from isolation.service.refusals import NotThereError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from starlette.requests import Request

    from isolation.model.policy import Policy
    from isolation.order import Order
    from isolation.service.here import Here
    from isolation.service.run_bodies import Base64Body, WantedBody


async def admit_who_brings(request: Request, here: Here, body: WantedBody) -> None:
    """Let in who brings a recipe only where they may: who may run what is there need not."""
    if body.recipe is not None:
        await here.service.door.admit(request, Permission.WRITE_PACKAGES, here.namespace)


def order_of(here: Here, body: WantedBody) -> Order:
    """
    Pack what is wanted, or read what is named, and check it against the policy.

    Raises InputError for what cannot be used, NotThereError for a package that this namespace has neither brought nor
    run.
    """
    policy = policy_named(here, body.policy)
    if (body.recipe is None) == (body.package is None):
        raise InputError("a run is of a recipe or of a package", hint="Send one of both.")
    if body.package is not None:
        if body.files or body.environment is not None:
            raise InputError("a package has its files and its environment", hint="Send these with a recipe.")
        check_package(here, body.package)
        return WantedPackage(
            digest=body.package,
            policy=policy,
            context=body.context,
            only=body.only,
            skip=body.skip,
            adjustments=body.adjustments.adjustments(),
        ).order(here.stores, secrets_of)
    with brought(body.recipe or "", body.files) as recipe:
        return Wanted(
            recipe=recipe,
            policy=policy,
            context=body.context,
            only=body.only,
            skip=body.skip,
            adjustments=body.adjustments.adjustments(),
            environment=here.service.settings.environment if body.environment is None else body.environment,
        ).order(here.stores, secrets_of)


def check_package(here: Here, digest: str) -> None:
    """Raise NotThereError for a package that is not this namespace's, whether or not it is another's."""
    if not here.stores.uploads.has_package(digest):
        raise NotThereError(f"there is no package {digest}", hint="GET /v1/packages lists all.")


def policy_named(here: Here, name: str | None) -> Policy:
    """Return the server's policy of a name, or its default one; PolicyError where there is none, or not for here."""
    known, default = here.service.policies, here.service.settings.policy
    if name is None:  # or a file of the operator's choice
        return known.get(default) if default in known.names() else load_policy(default)
    found = known.get(name) if name in known.names() else None
    if found is None or not matches(here.namespace, found.namespaces):
        # In the same words, whether or not there is one for others; nor may a hint name theirs.
        ours = [one for one in known.names() if matches(here.namespace, known.get(one).namespaces)]
        hint = did_you_mean(name, ours) or "GET /v1/policies lists all."
        raise NoSuchPolicyError(f"there is no policy {name!r}", hint=hint)
    return found


@contextmanager
def brought(recipe: str, files: Mapping[str, str | Base64Body]) -> Iterator[Path]:
    """Lay out a recipe that was sent, for as long as the block lasts."""
    with laid_out(recipe, {name: _content(name, sent) for name, sent in files.items()}) as path:
        yield path


def _content(name: str, sent: str | Base64Body) -> bytes:
    if isinstance(sent, str):
        return sent.encode()
    try:
        return b64decode(sent.base64, validate=True)
    except (binascii.Error, ValueError) as error:
        raise PackageError(f"{name[:60]!r} is not in base64", hint="Send text as it is, and the rest so.") from error
