"""The runner's own reading and writing of JSON, against the library's."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some

from tests.runner.conftest import FOLDERS, ROOT

if TYPE_CHECKING:
    from tests.runner.conftest import Load

VALUES = some.recursive(
    some.one_of(some.none(), some.booleans(), some.integers(), some.floats(allow_nan=False), some.text()),
    lambda inner: some.one_of(some.lists(inner), some.dictionaries(some.text(), inner)),
)
WAYS: list[dict[str, Any]] = [
    {},
    {"ensure_ascii": False},
    {"separators": (",", ":"), "allow_nan": False},
    {"sort_keys": True},
]
SAME_MODULE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def plain(load: Load, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 - a module
    found = load("plain")
    monkeypatch.setitem(sys.modules, "json.decoder", found)  # as it is in a cell: the functions in C look there
    return found


def outcome(ask: Any, *given: Any, **more: Any) -> object:  # noqa: ANN401 - a function
    try:
        return repr(ask(*given, **more))
    except (ValueError, TypeError, RecursionError) as error:
        return next(kind for kind in (ValueError, TypeError, RecursionError) if isinstance(error, kind))


@SAME_MODULE
@given(value=VALUES)
@example(value=float("inf"))
@example(value={"a": float("nan")})
@example(value={1, 2})
@example(value={"key": object})
@example(value={1: 2, None: True})
def test_it_writes_what_the_library_writes(plain: Any, value: object) -> None:  # noqa: ANN401
    """Digests are made of these texts on either side."""
    for way in WAYS:
        assert outcome(plain.dumps, value, **way) == outcome(json.dumps, value, **way)


@SAME_MODULE
@given(value=VALUES, space=some.text(" \t\n\r", max_size=3))
def test_it_reads_what_the_library_writes(plain: Any, value: object, space: str) -> None:  # noqa: ANN401
    """Plans and snapshots come so."""
    text = space + json.dumps(value) + space

    assert outcome(plain.loads, text) == outcome(plain.loads, text.encode()) == outcome(json.loads, text)


@SAME_MODULE
@given(text=some.text('[]{}",:\\ 0123456789.-+eEtruefalsnNaI\x00\x1fé\u00a0'))
@example(text="")
@example(text="[1,]")
@example(text="[1] x")
@example(text='{"a"')
@example(text='"\\ud800"')
@example(text="[NaN, -Infinity]")
@example(text="[" * 100_000)
def test_it_refuses_what_the_library_refuses(plain: Any, text: str) -> None:  # noqa: ANN401
    """What a step sends is read by it: whatever that is, an error of the value is all that comes of it."""
    hooks: dict[str, Any] = {"object_pairs_hook": tuple, "parse_constant": str, "parse_int": str, "parse_float": str}
    for way in ({}, hooks):
        assert outcome(plain.loads, text, **way) == outcome(json.loads, text, **way)


PROGRAM = """
import sys
sys.path[:0] = sys.argv[1:]
import plain
plain.stand_in()
import step
from isolation import contract
assert contract.json is plain
step.{leave}()
import json
assert json is not plain and json.JSONDecoder and sys.modules["json.decoder"] is not plain
assert contract.loads(contract.dumps([1])) == [1]
"""


@pytest.mark.parametrize("leave", ["_forget_our_modules", "import_common"])
def test_steps_get_the_librarys(leave: str) -> None:
    """Both in the process of the first step and in those that are forked from what the runner shares with them."""
    folders = [str(ROOT / folder) for folder in (*FOLDERS, "")]

    subprocess.run([sys.executable, "-I", "-c", PROGRAM.format(leave=leave), *folders], check=True)
