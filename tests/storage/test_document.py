"""The document of a result: what `run --json` prints, and what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.model.changes import Changes, Conflict, Merge
from isolation.model.document import attempt_from_json, from_json, result_schema, to_document, to_json
from isolation.model.outcome import Outcome, StepOutcome
from isolation.model.run import Attempt, StepReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue

    from isolation.model.run import Result

PUBLISHED = Path(__file__).parents[2] / "docs" / "result.schema.json"
CONFLICT = Conflict(key="a", ours=1, theirs=None, our_writer="load", their_writer="bob", their_run_id=None)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    # No lone surrogates: no channel lets them in.
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def test_the_published_schema_is_the_models() -> None:
    """Else programs check against a promise that we do not keep. `python -m isolation.model.document` writes it."""
    assert json.loads(PUBLISHED.read_text()) == result_schema()


@pytest.mark.parametrize("merge", [Merge(), Merge(status="conflict", version=1, conflicts=(CONFLICT,))])
def test_a_document_is_what_the_schema_says(result_of: Callable[..., Result], merge: Merge) -> None:
    """Every field is required and none is unknown, so this fails if either side forgets one."""
    document = to_document(result_of("r1", merge=merge, changes=Changes(set={"a": [1.5, None]}, deleted=("b",))))

    jsonschema.Draft202012Validator.check_schema(result_schema())
    jsonschema.validate(json.loads(json.dumps(document)), result_schema())


def test_the_schema_refuses_what_is_no_result(result_of: Callable[..., Result]) -> None:
    """A schema that takes anything promises nothing."""
    document = to_document(result_of("r1"))

    for broken in ({**document, "more": 1}, {**document, "outcome": "well"}, {**document, "usage": None}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, result_schema())


def test_the_document_has_the_fields_that_were_promised(result_of: Callable[..., Result]) -> None:
    """Others may be added, but these are in use."""
    document = json.loads(to_json(result_of("r1")))

    assert set(document) == {
        "run_id", "recipe", "outcome", "attempts", "usage", "changes", "merge", "errors", "artifacts", "digests",
        "engine", "context", "replay_of",
    }  # fmt: skip
    attempt = document["attempts"][0]
    assert set(attempt) >= {"number", "outcome", "cause", "started_at", "phases_ms", "usage", "steps"}
    assert set(attempt["steps"][0]) >= {"name", "outcome", "wall_s", "cpu_s", "error"}
    assert set(document["errors"][0]) == {"step", "type", "message", "traceback"}
    assert set(document["merge"]) >= {"status", "conflicts"}
    assert document["outcome"] == "succeeded"
    assert document["usage"]["pids_peak"] is None


@given(JSON)
def test_the_recipes_own_values_come_back_exactly(value: JsonValue) -> None:
    """1 is not 1.0, and true is not 1: repr tells them apart where == does not."""
    step = StepReport(name="s", outcome=StepOutcome.SUCCEEDED, outputs=value)
    attempt = Attempt(number=1, outcome=Outcome.SUCCEEDED, cause="", started_at="t", steps=(step,))

    assert repr(attempt_from_json(to_json(attempt))) == repr(attempt)


def test_a_result_is_equal_after_a_round_trip(result_of: Callable[..., Result]) -> None:
    """Tuples are tuples and outcomes outcomes again."""
    result = result_of("r1", merge=Merge(status="conflict", version=1, conflicts=(CONFLICT,)))

    assert from_json(to_json(result)) == result


def test_a_number_that_json_does_not_have_is_refused(result_of: Callable[..., Result]) -> None:
    """It would be written as NaN, which most readers refuse."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(result_of("r1", changes=Changes(set={"a": float("nan")})))


def test_a_text_that_names_such_a_number_is_a_text(result_of: Callable[..., Result]) -> None:
    """Whoever tells the one from the other by its signs alone refuses honest results."""
    result = result_of("r1", changes=Changes(set={"a": "NaN, -Infinity"}))

    assert from_json(to_json(result)) == result
