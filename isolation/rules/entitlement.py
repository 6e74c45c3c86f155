"""What a policy lets have: who may use it, and which secrets a run gets that its steps take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.errors import PolicyError, SecretError
from isolation.rules.scope import matches

if TYPE_CHECKING:
    from isolation.model.policy import Policy
    from isolation.model.recipe import Recipe


def secrets_of(recipe: Recipe, policy: Policy) -> tuple[str, ...]:
    """
    Name the secrets that the steps of a run take, sorted; a step that is disabled takes none.

    Raises SecretError if the recipe declares one that the policy does not allow, taken or not.
    """
    for name in recipe.secrets:
        if not matches(name, policy.secrets):
            allowed = ", ".join(policy.secrets)
            raise SecretError(
                f"the policy {policy.name!r} does not let the recipe {recipe.name!r} have the secret {name!r}",
                hint=f"It allows {allowed or 'none'}: name more under `secrets` in a policy of your own.",
            )
    return tuple(sorted({name for step in recipe.steps if step.enabled for name in step.secrets}))


def check_namespace(policy: Policy, namespace: str) -> None:
    """Raise PolicyError where a policy is not for the runs of a namespace."""
    if not matches(namespace, policy.namespaces):
        raise PolicyError(
            f"the policy {policy.name!r} is not for the namespace {namespace!r}",
            hint="Choose another: its `namespaces` say whose runs it is for.",  # who these are, it tells nobody else
        )
