"""A file that keys are looked up in, and what lies over it, against plain dictionaries."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isolation.mapped import Changing, Mapped, Over, pieces
from isolation.model.package import canonical

KEYS = st.one_of(st.sampled_from("abcdef"), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6))
NESTED: tuple[Any, ...] = ([], {}, [[None, True], "é"], {"a": {"": [0]}, "\U0001f600": -1}, ['"', "\\", "\n"])
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.sampled_from(NESTED))
"""What a value may be is for test_json; here it matters that they are of many kinds and lengths."""
HELD = st.dictionaries(KEYS, VALUES, max_size=20)
STEPS = st.lists(st.tuples(st.sampled_from(["set", "delete", "pop", "update"]), KEYS, VALUES), max_size=30)


def content_of(held: dict[str, Any]) -> bytes:
    return b"".join(pieces((key, canonical(held[key])) for key in sorted(held)))


def mapped(held: dict[str, Any]) -> Mapped:
    return Mapped(content_of(held))


def assert_same(found: Any, wanted: dict[Any, Any]) -> None:  # noqa: ANN401 - any of the three
    assert [*found.items()] == [*wanted.items()]
    assert len(found) == len(wanted)
    assert found == wanted
    for key in (*wanted, "a", "zz", "", "\udc00", 3):
        assert (key in found) is (key in wanted)
        assert found.get(key, "nothing") == wanted.get(key, "nothing")


@given(HELD)
def test_a_file_holds_what_was_written_sorted(held: dict[str, Any]) -> None:
    """By code points, as everywhere."""
    assert_same(mapped(held), {key: held[key] for key in sorted(held)})


@given(HELD, HELD, st.sets(KEYS))
def test_what_is_over_a_base_comes_out_as_if_it_had_been_written_with_it(
    base: dict[str, Any], values: dict[str, Any], hidden: set[str]
) -> None:
    """No recipe can tell what of the context it sees is in a base."""
    wanted = {key: value for key, value in base.items() if key not in hidden} | values
    assert_same(Over(mapped(base), values, hidden), {key: wanted[key] for key in sorted(wanted)})


@settings(max_examples=300)
@given(HELD, HELD, st.sets(KEYS), STEPS)
def test_a_changing_one_does_what_a_dictionary_does(
    base: dict[str, Any], values: dict[str, Any], hidden: set[str], steps: list[tuple[str, str, Any]]
) -> None:
    """In everything: what is there, its order, and what cannot be deleted."""
    under = Over(mapped(base), values, hidden)
    plain: dict[str, Any] = dict(under)
    found: Any = Changing(under)
    for what, key, value in steps:
        for each in (plain, found):
            if what == "set":
                each[key] = value
            elif what == "update":
                each.update({key: value, "b": value})
            elif what == "pop":
                each.pop(key, None)
            elif key in each:
                del each[key]
        assert_same(found, plain)
    assert_same(pickle.loads(pickle.dumps(found)), plain)  # noqa: S301 - our own
    assert isinstance(copy.deepcopy(found), dict)
    with pytest.raises(KeyError):
        del found["not there"]
    with pytest.raises(TypeError):
        found[[]]


@given(HELD, st.data())
def test_a_part_of_a_file_is_refused(held: dict[str, Any], data: st.DataObject) -> None:
    """Half written, it is no base."""
    content = content_of(held)
    cut = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(ValueError, match=r"mapped file"):
        Mapped(content[:cut])
