"""Globs decide what a run may see and write, so each of their rules is pinned down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.rules.scope import allows, is_literal, literal_prefix, matches, narrow

KEYS = st.text(alphabet="ab.*?[]!-", max_size=6)


@pytest.mark.parametrize(
    ("key", "glob", "covered"),
    [
        ("a", "*", True),
        ("a.b.c", "a.*", True),
        ("a.b.c", "*.c", True),
        ("a", "a.*", False),
        ("ab", "a?", True),
        ("a", "a?", False),
        ("a1", "a[0-9]", True),
        ("ax", "a[!0-9]", True),
        ("a*", "a[*]", True),
        ("A", "a", False),
        ("xa", "a", False),
        ("ax", "a", False),
    ],
)
def test_a_glob_covers_whole_keys_dots_included_and_minds_case(key: str, glob: str, covered: bool) -> None:  # noqa: FBT001
    """A scope that covers more than it seems to is a leak."""
    assert matches(key, [glob]) is covered


def test_no_globs_cover_nothing() -> None:
    """An empty declaration asks for nothing; it must never mean everything."""
    assert not matches("a", [])
    assert not allows("a", [], ["*"])
    assert not allows("a", None, [])


def test_a_recipe_that_declares_nothing_gets_what_the_policy_allows() -> None:
    """None is no declaration, which differs from an empty one."""
    assert narrow(["a", "b"], None, ["a"]) == ("a",)


def test_a_recipe_never_gets_more_than_the_policy_allows() -> None:
    """Both must cover a key."""
    assert narrow(["a.x", "a.y", "b.x"], ["a.*"], ["*.x"]) == ("a.x",)


@given(KEYS, KEYS)
def test_what_a_glob_covers_begins_with_its_literal_prefix(key: str, glob: str) -> None:
    """The store leaves out every other key unseen."""
    if matches(key, [glob]):
        assert key.startswith(literal_prefix(glob))


@given(KEYS, KEYS)
def test_a_literal_glob_covers_itself_alone(key: str, glob: str) -> None:
    """The store looks such a key up, and at no other."""
    if is_literal(glob):
        assert matches(key, [glob]) is (key == glob)
