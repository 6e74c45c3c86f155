"""The project's own policies: each says every limit and explains each line, and the default is the model's."""

from __future__ import annotations

from pathlib import Path

import pytest

from isolation.errors import PolicyError
from isolation.model.outcome import Outcome
from isolation.model.policy import Limits, Policy, RetryRule
from isolation.packaging.policy import load_policy, policy_names

FOLDER = Path(__file__).parent.parent / "policies"
NAMES = ("default", "generous", "network", "strict")


def test_the_policies_are_known_by_name() -> None:
    """What stands in the folder is what `--policy` offers."""
    assert policy_names() == NAMES
    assert tuple(load_policy(name).name for name in NAMES) == NAMES


def test_the_default_policy_says_what_the_model_says() -> None:
    """People read the file, and their own policies fall back on the model: both must tell the same."""
    default = load_policy("default")
    retry = {Outcome.LOST: RetryRule(attempts=3, wait=1.0)}
    assert default == Policy(name="default", description=default.description, retry=retry)


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_states_every_limit(name: str) -> None:
    """A limit that is not written down cannot be explained."""
    assert load_policy(name).limits.model_fields_set == set(Limits.model_fields)
    assert load_policy(name).model_fields_set == set(Policy.model_fields)


@pytest.mark.parametrize("name", NAMES)
def test_every_line_of_a_policy_is_explained(name: str) -> None:
    """A comment stands beside each line, or above it and its neighbours; name and description say it themselves."""
    explained = False
    for number, line in enumerate((FOLDER / f"{name}.yaml").read_text("utf-8").splitlines(), 1):
        if line.startswith(("name:", "description:")):
            continue
        explained = "#" in line or (explained and bool(line) and not line.startswith(" "))
        assert explained or not line, f"line {number} is not explained: {line}"


def test_the_example_of_a_network_is_the_default_policy_with_one() -> None:
    """Who copies it changes one thing; and only it has a network."""
    default, example = load_policy("default"), load_policy("network")
    same = {"name": default.name, "description": default.description, "network": default.network}

    assert example.model_copy(update=same) == default
    assert [name for name in NAMES if load_policy(name).network.entries] == ["network"]
    assert (len(example.network.allow), len(example.network.tcp)) == (4, 1)


def test_strict_allows_less_and_generous_more() -> None:
    """The names are promises."""
    strict, default, generous = (load_policy(name).limits for name in ("strict", "default", "generous"))
    for field in Limits.model_fields:
        assert getattr(strict, field) <= getattr(default, field) <= getattr(generous, field)
    assert strict.memory_bytes < default.memory_bytes < generous.memory_bytes


REFUSED = {
    "a clock beside shared memory": (
        "limits: {shm: 1MiB}\ndeterminism: {clock: frozen}",
        "'determinism': what sets the clock would share memory with the steps\nSet limits.shm to 0.",
    ),
    "a moment without a zone": (
        "determinism: {clock: set, clock_at: 2000-01-01T00:00:00}",
        "'clock_at' in 'determinism': '2000-01-01T00:00:00' is no moment\nWrite one from 1970 to 2099, such as 2000",
    ),
    "a way out of the zones": (
        "determinism: {time_zone: ../../etc/passwd}",
        "are not allowed here, or too many: '../../etc/passwd'\nWrite a name such as UTC or Europe/Paris.",
    ),
    "no processor": (
        "determinism: {cpu_count: 0}",
        "'cpu_count' in 'determinism': 0 is none of limit, host, and no number from 1 to 1024",
    ),
    "no word for a seed": ("determinism: {seed: dice}", "'dice' is none of random, and no number from 0 to"),
    "all of a number": ("determinism: {tolerance: 1}", "'tolerance' in 'determinism' must be less than 1, not 1"),
}


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_held_still_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """Before anything runs, and with the cure."""
    file = tmp_path / "mine.yaml"
    file.write_text(f"name: mine\n{text}\n")

    with pytest.raises(PolicyError) as caught:
        load_policy(file)

    assert said in f"{caught.value}\n{caught.value.hint}"


def test_a_changed_copy_of_a_policy_is_recorded_as_what_it_is() -> None:
    """What a policy is recorded as is written once; a run with a raised limit is not recorded as without."""
    policy = Policy(name="first")
    before = policy.content()
    copied = policy.model_copy(update={"name": "second"})

    assert Policy.read(copied.content()).name == "second"
    assert policy.content() == before
    assert policy == Policy(name="first")
