"""What the policy holds still, on the real engine and every runtime: the same recipe says the same in every run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest

from isolation.model.determinism import Determinism
from isolation.model.outcome import Outcome
from isolation.model.policy import Limits, Policy
from isolation.sandbox import hardening
from tests.conftest import on_gvisor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from isolation.controller import Controller
    from isolation.model.run import Result
    from tests.sandbox.conftest import Recipe

pytestmark = pytest.mark.engine
LOOK = """
import os, random, subprocess, sys, time

def run(context, params):
    child = subprocess.run([sys.executable, "-c", "print(hash('a'))"], capture_output=True, text=True, check=True)
    folder = "/scratch/f"
    os.mkdir(folder)
    for name in "bdac":
        open(f"{folder}/{name}", "w").close()
    return {
        "random": random.getrandbits(50),
        "hash": str(hash("a")),
        "hash of a child": child.stdout.strip(),
        "zone": time.strftime("%Z", time.localtime(0)),
        "files": os.listdir(folder),
        "processors": os.cpu_count(),
    }
"""


def policy(determinism: Determinism, runtime: str = "runc") -> Policy:
    made = Policy(name="test", determinism=determinism, limits=Limits.model_validate({"wall": 30}))
    return on_gvisor(made) if runtime == "runsc" else made.model_copy(update={"runtime": runtime})


def outputs(result: Result) -> Mapping[str, Any]:
    assert result.outcome is Outcome.SUCCEEDED, result.errors
    found = result.attempts[0].steps[0].outputs
    assert isinstance(found, dict)
    return found


@pytest.fixture(params=["runc", "crun", "runsc"])
def runtime(request: pytest.FixtureRequest) -> str:
    if request.param != "runc":
        request.getfixturevalue(request.param)
    return str(request.param)


def test_by_default_everything_is_held_still(controller: Controller, recipe: Recipe, runtime: str) -> None:
    """What a recipe can hardly want otherwise, without a word in the policy."""
    folder = recipe(LOOK)
    first, second = (outputs(controller.run(folder, policy=policy(Determinism(), runtime))) for _ in range(2))

    assert first == second
    assert first["files"] == ["a", "b", "c", "d"]
    assert (first["zone"], first["processors"]) == ("UTC", 1)
    assert first["hash"] == first["hash of a child"]


CLOCK = """
import queue, subprocess, sys, threading, time
from datetime import datetime, timezone

def run(context, params):
    started, began = time.time(), time.monotonic()
    time.sleep(0.05)
    threading.Event().wait(0.05)
    try:
        queue.Queue().get(timeout=0.05)
    except queue.Empty:
        waited = time.monotonic() - began
    child = subprocess.run(
        [sys.executable, "-c", "import time; time.sleep(0.01); print(time.time())"],
        capture_output=True, text=True, check=True,
    )
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "moved": time.time() - started,
        "child": float(child.stdout),
        "messages": child.stderr,
        "waited": 0.15 <= waited < 10,
    }
"""
MOMENT = "2001-09-09T03:46:40+02:00"
MOMENT_S = 1_000_000_000


def test_a_frozen_clock_stands_still_and_waiting_goes_on(controller: Controller, recipe: Recipe, runtime: str) -> None:
    """Also for the programs that a step starts."""
    frozen = policy(Determinism(clock="frozen", clock_at=MOMENT, time_zone="Asia/Tokyo"), runtime)
    found = outputs(controller.run(recipe(CLOCK), policy=frozen))

    assert found == {
        "date": "2001-09-09T01:46:40+00:00",
        "moved": 0.0,
        "child": MOMENT_S,
        "messages": "",
        "waited": True,
    }


def test_a_set_clock_goes_on_from_its_moment(controller: Controller, recipe: Recipe, runtime: str) -> None:
    """By as much as the step has waited."""
    found = outputs(controller.run(recipe(CLOCK), policy=policy(Determinism(clock="set", clock_at=MOMENT), runtime)))

    assert found["date"].startswith("2001-09-09T01:4")
    assert 0.15 <= found["moved"] < 30
    assert MOMENT_S <= found["child"] < MOMENT_S + 30


def test_deadlines_hold_under_a_frozen_clock(controller: Controller, recipe: Recipe) -> None:
    """The runner's as well as the host's: neither goes by the time of day."""
    folder = recipe("import time\ndef run(context, params):\n    time.sleep(60)\n")
    recipe_yaml = folder / "recipe.yaml"
    recipe_yaml.write_text(recipe_yaml.read_text().replace("function: run}", "function: run, timeout: 300ms}"))

    result = controller.run(folder, policy=policy(Determinism(clock="frozen")))

    assert result.outcome is Outcome.TIMED_OUT
    assert result.attempts[0].steps[0].outcome.value == "timed_out"


@pytest.mark.parametrize("clock", ["set", "frozen"])
def test_a_clock_that_is_not_as_asked_is_refused(
    controller: Controller, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, clock: Literal["set", "frozen"]
) -> None:
    """A library that cannot be loaded is no more than a line on standard error, ld.so(8)."""
    monkeypatch.setattr(hardening, "_LIBFAKETIME", "/opt/none.so")

    result = controller.run(recipe(CLOCK), policy=policy(Determinism(clock=clock, clock_at=MOMENT)))

    assert result.outcome is Outcome.REFUSED
    assert f"clock (cell) should be {clock} at {MOMENT_S}, and is going, at " in result.errors[0].message


def test_each_help_can_be_chosen_and_has_its_effect(controller: Controller, recipe: Recipe) -> None:
    """Another seed is another run, the same again the same."""
    chosen = Determinism(seed=7, hash_seed=7, time_zone="Asia/Tokyo", directory_order="reversed", cpu_count=3)
    folder = recipe(LOOK)
    plain = outputs(controller.run(folder, policy=policy(Determinism())))
    first, second = (outputs(controller.run(folder, policy=policy(chosen))) for _ in range(2))

    assert first == second
    assert first["files"] == ["d", "c", "b", "a"]
    assert (first["zone"], first["processors"]) == ("JST", 3)
    assert {name for name in plain if plain[name] == first[name]} == set()


def test_what_is_not_held_still_moves(controller: Controller, recipe: Recipe) -> None:
    """Else the tests above would prove nothing."""
    folder = recipe(LOOK)
    loose = policy(Determinism(seed="random", hash_seed="random"))
    first, second = (outputs(controller.run(folder, policy=loose)) for _ in range(2))

    assert first["random"] != second["random"]
    assert first["hash"] != second["hash"]


def test_a_time_zone_that_nobody_knows_is_refused(controller: Controller, recipe: Recipe, runtime: str) -> None:
    """The C library would silently take it for UTC."""
    result = controller.run(recipe(LOOK), policy=policy(Determinism(time_zone="Europe/Pariss"), runtime))

    assert result.outcome is Outcome.REFUSED
    assert "time zone (cell) should be Europe/Pariss, and is unknown" in result.errors[0].message
