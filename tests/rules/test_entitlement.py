"""Who may use a policy, and which secrets a run gets."""

from __future__ import annotations

import pytest

from isolation.errors import PolicyError, SecretError
from isolation.model.policy import Policy
from isolation.model.recipe import Recipe
from isolation.rules.entitlement import check_namespace, secrets_of


def recipe(declared: list[str], *taken: list[str], enabled: bool = True) -> Recipe:
    steps = [
        {"name": f"s{number}", "module": "m", "function": "f", "secrets": names, "enabled": enabled}
        for number, names in enumerate(taken)
    ]
    return Recipe.model_validate({"name": "etl", "secrets": declared, "steps": steps})


def policy(*secrets: str) -> Policy:
    return Policy.model_validate({"name": "mine", "secrets": list(secrets)})


def test_a_run_gets_what_its_steps_take() -> None:
    """And no more: what is declared and not taken stays where it is."""
    made = recipe(["A", "B", "C"], ["B"], ["A", "B"], [])

    assert secrets_of(made, policy("*")) == ("A", "B")
    assert secrets_of(recipe(["A"], ["A"], enabled=False), policy("*")) == ()
    assert secrets_of(recipe([], []), policy()) == ()


@pytest.mark.parametrize("globs", [["MAIL_TOKEN"], ["MAIL_*"], ["OTHER", "MAIL_*"], ["*"], ["MAIL_T[A-Z]KEN"]])
def test_a_policy_allows_by_name_or_by_glob(globs: list[str]) -> None:
    """As it does for context keys."""
    assert secrets_of(recipe(["MAIL_TOKEN"], ["MAIL_TOKEN"]), policy(*globs)) == ("MAIL_TOKEN",)


@pytest.mark.parametrize(
    ("globs", "hint"),
    [
        ([], "It allows none: name more under `secrets` in a policy of your own."),
        (["MAIL", "MAIL_?"], "It allows MAIL, MAIL_?: name more under `secrets` in a policy of your own."),
    ],
)
def test_what_a_policy_does_not_allow_is_refused(globs: list[str], hint: str) -> None:
    """Also where no step takes it: the recipe asks for it."""
    with pytest.raises(SecretError) as caught:
        secrets_of(recipe(["MAIL_TOKEN"], []), policy(*globs))

    sentence = "the policy 'mine' does not let the recipe 'etl' have the secret 'MAIL_TOKEN'"
    assert (caught.value.sentence, caught.value.hint, caught.value.exit_code) == (sentence, hint, 2)


def test_a_policy_may_say_whose_runs_it_is_for() -> None:
    """Globs over namespaces; where it says nothing, all of them."""
    ours = Policy.model_validate({"name": "ours", "namespaces": ["team-*", "sales"]})
    for namespace in ("team-a", "sales"):
        check_namespace(ours, namespace)
    check_namespace(Policy(name="all"), "anybody")
    with pytest.raises(PolicyError, match="the policy 'ours' is not for the namespace 'sales2'") as raised:
        check_namespace(ours, "sales2")
    assert "team-*" not in raised.value.hint, "a namespace tells nothing of another"


def test_a_policy_for_a_namespace_that_cannot_be_is_refused() -> None:
    """It would be for nobody, and look as if it were for somebody."""
    with pytest.raises(ValueError, match="pattern"):
        Policy.model_validate({"name": "p", "namespaces": ["Team A"]})
