"""What a step takes from outputs of others, inside the container."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from tests.runner.plans import Ended, Json, problem, step

if TYPE_CHECKING:
    from tests.runner.conftest import Load


def taking(*parts: Any, at: tuple[str | int, ...] = ("x",), **more: Any) -> Json:  # noqa: ANN401 - any JSON
    plain = {"args": {"x": None, "l": [0, None]}, "depends_on": ["a"]}
    return step("take", args_from=[{"at": [*at], "parts": [*parts]}], **(plain | more))


def of(*output: str | int, name: str = "a") -> Json:
    return {"step": name, "output": [*output]}


def args(load: Load, taken: Json, outputs: Any) -> Json:  # noqa: ANN401 - what a step returned
    made: Json = copy.deepcopy(taken) | {"taken": {"a": outputs}}
    load("isolation.taken").fill(made)
    found: Json = made["args"]
    return found


@pytest.mark.parametrize("value", [None, True, 0, 1.5, "{{ x }}", [1, [2]], {"step": "a", "output": []}])
def test_an_output_that_stands_alone_keeps_its_type(load: Load, value: object) -> None:
    """Whatever it is; one that looks like a reference is none."""
    assert args(load, taking(of("n")), {"n": value})["x"] == value
    assert args(load, taking(of("n", 1), at=("l", 1)), {"n": [0, value]})["l"] == [0, value]
    assert args(load, taking(of()), {"n": value})["x"] == {"n": value}


def test_several_parts_make_a_text(load: Load) -> None:
    """Numbers and truth are written as JSON writes them; an empty text beside it makes a text of an output."""
    assert (
        args(load, taking("n=", of("n"), ", ", of("t"), of("s")), {"n": 1.0, "t": False, "s": "!"})["x"]
        == "n=1.0, false!"
    )
    assert args(load, taking("", of("n")), {"n": 3})["x"] == "3"


@pytest.mark.parametrize("value", [None, [], {}])
def test_what_is_no_text_cannot_stand_in_one(load: Load, value: object) -> None:
    """A list's own text would depend on who writes it."""
    with pytest.raises(LookupError, match="an output that stands inside of a text is"):
        args(load, taking("n=", of("n")), {"n": value})


@pytest.mark.parametrize(
    ("output", "outputs"),
    [
        (("m",), {"n": 1}), (("m",), None), (("n", "m"), {"n": 1}), (("n", 1), {"n": [1]}), (("n", -1), {"n": [1]}),
        (("n", "0"), {"n": [1]}), (("n", 0), {"n": "text"}), (("n", 0), {"n": {"0": 1}}),
    ],
)  # fmt: skip
def test_an_output_that_is_not_there_is_told(load: Load, output: tuple[str | int, ...], outputs: object) -> None:
    """By the way to it; nothing is guessed."""
    with pytest.raises(LookupError, match=f"step 'a' returned no output {'.'.join(map(str, output))!r}"):
        args(load, taking(of(*output)), outputs)


def test_a_value_that_is_taken_twice_is_two_values(load: Load) -> None:
    """A step that changes one of its params must not change another."""
    twice = taking(of("n")) | {"args": {"x": None, "y": None}}
    twice["args_from"] = [{"at": [at], "parts": [of("n")]} for at in ("x", "y")]

    found = args(load, twice, {"n": []})
    found["x"].append(1)

    assert found == {"x": [1], "y": []}


def test_the_plan_hands_over_what_a_step_takes_and_no_more(plan_of: Any) -> None:  # noqa: ANN401 - another world's
    """The outputs of a step's last try, to those that name it."""
    plan = plan_of(step("a", retry_count=1), step("b", depends_on=["a"]), taking(of("n"), depends_on=["b"]))
    first = plan.take_ready(0)
    plan.view_for(first)
    plan.settle(Ended(first, outputs={"n": 0}, problem=problem()))
    plan.settle(Ended(first, outputs={"n": 1}, number=2))
    second = plan.take_ready(0)
    plan.view_for(second)
    plan.settle(Ended(second, outputs={"n": 2}))

    assert "taken" not in second
    assert plan.take_ready(0)["taken"] == {"a": {"n": 1}}


def test_a_step_without_outputs_has_none_to_take(plan_of: Any) -> None:  # noqa: ANN401 - as above
    """It may return an exit code, or nothing: found when its outputs are taken, and not before."""
    plan = plan_of(step("a"), taking(of("n")))
    first = plan.take_ready(0)
    plan.view_for(first)
    plan.settle(Ended(first))

    assert plan.take_ready(0)["taken"] == {"a": None}
