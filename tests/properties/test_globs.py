"""Globs against a matcher that is slow and simple, on the host, in the runner's words, and in the store's queries."""

from __future__ import annotations

import time
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some

from isolation.rules.scope import allows, is_literal, literal_prefix, matches, narrow

if TYPE_CHECKING:
    from isolation.context.store import ContextStore

ALPHABET = "ab.-!^]*?[é\U0001f600"
KEYS = some.text(alphabet=ALPHABET, min_size=1, max_size=7)
GLOBS = some.lists(
    some.sampled_from(["a", "b", ".", "*", "?", "[ab]", "[!a]", "[a-b]", "[]]", "[!]]", "[", "]", "-", "**", "[^a]"])
    | some.text(alphabet=ALPHABET, max_size=2),
    max_size=6,
).map("".join)


@cache
def covers(glob: str, key: str) -> bool:
    """Follow the table in the module's docstring, one sign at a time."""
    if not glob:
        return not key
    if glob[0] == "*":
        return covers(glob[1:], key) or (key != "" and covers(glob, key[1:]))
    if not key:
        return False
    closing = glob.find("]", 3 if glob[1:2] == "!" else 2) if glob[0] == "[" else -1
    if closing > 0:
        return one_of(glob[1:closing], key[0]) and covers(glob[closing + 1 :], key[1:])
    return glob[0] in {"?", key[0]} and covers(glob[1:], key[1:])


def one_of(signs: str, char: str) -> bool:
    wanted = not signs.startswith("!")
    signs = signs if wanted else signs[1:]
    found = False
    while signs:
        ranged = len(signs) > 2 and signs[1] == "-"
        found = found or (signs[0] <= char <= signs[2] if ranged else signs[0] == char)
        signs = signs[3 if ranged else 1 :]
    return found is wanted


@settings(max_examples=300)
@given(KEYS, GLOBS)
@example("[", "[")
@example("a]", "[!]]]")
def test_a_glob_covers_what_the_slow_matcher_says(key: str, glob: str) -> None:
    """A scope that covers one key more than its author reads in it is a leak."""
    assert matches(key, [glob]) is covers(glob, key)


@given(KEYS, some.lists(GLOBS, max_size=3), some.lists(GLOBS, max_size=3))
def test_more_globs_never_cover_less_and_two_scopes_never_more(
    key: str, some_globs: list[str], more: list[str]
) -> None:
    """Who adds a line widens; who may touch a key may do so by the declaration and by the policy."""
    assert matches(key, [*some_globs, *more]) is (matches(key, some_globs) or matches(key, more))
    assert allows(key, some_globs, more) is (matches(key, some_globs) and matches(key, more))
    assert allows(key, some_globs, more) is allows(key, more, some_globs)


@given(some.lists(KEYS, max_size=6), some.none() | some.lists(GLOBS, max_size=3), some.lists(GLOBS, max_size=3))
def test_narrowing_picks_exactly_what_is_allowed_in_its_order(
    keys: list[str], declared: list[str] | None, allowed: list[str]
) -> None:
    """And narrowing again changes nothing."""
    picked = narrow(keys, declared, allowed)

    assert list(picked) == [key for key in keys if allows(key, declared, allowed)]
    assert narrow(picked, declared, allowed) == picked


@given(KEYS, GLOBS)
def test_a_prefix_and_a_literal_say_no_more_than_is_so(key: str, glob: str) -> None:
    """The store asks its index by them, and sees nothing else."""
    if covers(glob, key):
        assert key.startswith(literal_prefix(glob))
        assert not is_literal(glob) or key == glob


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some.lists(KEYS, max_size=8, unique=True), GLOBS)
def test_the_store_lists_exactly_the_keys_that_a_glob_covers(
    contexts: ContextStore, keys: list[str], glob: str
) -> None:
    """Its index knows ranges, not globs; nothing may fall between the two."""
    for key in {key.strip() or "a" for key in keys}:
        contexts.set(key, 1, "ann", "t")
    everything = [entry.key for entry in contexts.list()]

    assert [entry.key for entry in contexts.list(glob)] == [key for key in everything if covers(glob, key)]
    assert set(contexts.freeze([glob], ["*"]).values) == {key for key in everything if covers(glob, key)}


@given(KEYS, GLOBS)
def test_the_runner_inside_and_the_host_understand_a_glob_alike(key: str, glob: str) -> None:
    """A write that one lets pass and the other does not would end as a broken channel instead of a sentence."""
    assert fnmatchcase(key, glob) is matches(key, [glob])


def test_no_glob_takes_long_on_any_key() -> None:
    """Stars upon stars make a searcher that goes back try every way there is."""
    started_s = time.process_time()

    assert not matches("a" * 256, ["*a" * 120 + "b"])
    assert not matches("a" * 256, ["*" * 200 + "[!a]" * 2])
    assert not matches("ab" * 128, ["*a*b" * 60 + "?c"])

    assert time.process_time() - started_s < 1
