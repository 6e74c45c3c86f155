"""What is varied in which run, and that each variation is one: nothing else of the policy moves with it."""

from __future__ import annotations

from itertools import chain

import pytest

from isolation.cli import verify
from isolation.model.determinism import Determinism
from isolation.model.policy import Limits, Policy
from isolation.rules.variations import VARIATIONS, cannot_be_varied, held_still, schedule, vary

NAMES = [*VARIATIONS]
POLICY = Policy(name="test")
LOOSE = Determinism(seed="random", hash_seed="random", directory_order="as_is", cpu_count="host")
TOUCHED = {
    "hash_seed": {"hash_seed"},
    "directory_order": {"directory_order"},
    "time_zone": {"time_zone"},
    "clock": {"clock", "clock_at"},
    "seed": {"seed"},
    "processors": {"cpu_count"},
}


@pytest.mark.parametrize("times", range(2, 30))
def test_every_variation_has_its_turn_however_few_runs_there_are(times: int) -> None:
    """And the first run is never varied: the others are compared with it."""
    runs = schedule(times, NAMES)

    assert len(runs) == times
    assert runs[0] == ((), 0)
    assert {*chain.from_iterable(varied for varied, _ in runs)} == {*NAMES}


def test_five_runs_vary_two_at_once_and_eight_each_alone() -> None:
    """As the documents say."""
    assert [varied for varied, _ in schedule(5, NAMES)] == [
        (),
        (),
        ("hash_seed", "directory_order"),
        ("time_zone", "clock"),
        ("seed", "processors"),
    ]
    assert [varied for varied, _ in schedule(8, NAMES)] == [(), (), *((name,) for name in NAMES)]


def test_runs_that_are_left_try_other_values() -> None:
    """The same again would find what it found."""
    assert schedule(10, NAMES)[8:] == [((NAMES[0],), 1), ((NAMES[1],), 1)]
    assert schedule(3, []) == [((), 0)] * 3


@pytest.mark.parametrize("determinism", [Determinism(), LOOSE, Determinism(clock="frozen", directory_order="reversed")])
@pytest.mark.parametrize("name", NAMES)
def test_a_variation_moves_one_thing(name: str, determinism: Determinism) -> None:
    """Else the wrong cause would be named; and each of its values is another one."""
    still = held_still(POLICY.model_copy(update={"determinism": determinism}))
    found = [vary(still, (name,), value) for value in range(3)]

    for policy in found:
        moved = {
            field
            for field in Determinism.model_fields
            if getattr(policy.determinism, field) != getattr(still.determinism, field)
        }
        assert moved
        assert moved <= TOUCHED[name]
        assert (policy.limits != still.limits) == (name == "processors")
        assert Policy.read(policy.content()) == policy  # it is recorded, and must be in order
    if name != "directory_order":
        assert len({policy.content() for policy in found}) == len(found)


def test_what_the_policy_leaves_to_chance_is_held_still_and_the_rest_is_kept() -> None:
    """Else the first two runs would already differ."""
    held = held_still(POLICY.model_copy(update={"determinism": LOOSE})).determinism
    chosen = POLICY.model_copy(update={"determinism": Determinism(seed=7, time_zone="Asia/Tokyo", clock="frozen")})

    assert (held.seed, held.hash_seed, held.directory_order, held.cpu_count) == (0, 0, "sorted", "limit")
    assert held_still(chosen) == chosen


def test_a_clock_that_cannot_be_set_is_not_varied() -> None:
    """And it is said why."""
    shared = Policy(name="test", limits=Limits.model_validate({"shm": "1MiB"}))

    assert cannot_be_varied(POLICY) == {}
    assert [*cannot_be_varied(shared)] == ["clock"]


def test_the_command_line_knows_every_variation() -> None:
    """It has their names by heart."""
    assert [*verify.VARIATIONS] == NAMES
