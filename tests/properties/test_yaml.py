"""The reader of recipes and policies, for any text: plain data comes back as written, all else is our one error."""

from __future__ import annotations

import copy
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some

from isolation.errors import PolicyError, RecipeError
from isolation.model.policy import Policy
from isolation.packaging.load import load_recipe
from isolation.packaging.policy import load_policy
from isolation.packaging.shape import shape
from isolation.packaging.text import LARGEST_TEXT_BYTES, Document, read

POLICIES = sorted((Path(__file__).parents[2] / "policies").glob("*.yaml"))

# What YAML lets stand in a quoted text as it is; a JSON text may hold more.
CHARS = some.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Zl", "Zp"], exclude_characters="\ufeff")
TEXT = some.text(CHARS, max_size=8) | some.sampled_from(
    ["null", "1", "yes", "<<", "&a", "*a", "!!str", "2001-99-99", "#"]
)
NUMBERS = some.integers(-(2**53), 2**53) | some.floats(allow_nan=False, allow_infinity=False)
DATA = some.recursive(
    some.none() | some.booleans() | NUMBERS | TEXT,
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(TEXT, inner, max_size=4),
    max_leaves=15,
)


def quoted(text: object) -> str:
    return "'" + text.replace("'", "''") + "'" if isinstance(text, str) else json.dumps(text)


def block(value: object, indent: int = 0) -> str:
    """Write YAML as people do, in lines; every text in quotes."""
    pad = "\n" + "  " * indent
    if isinstance(value, dict) and value:
        return "".join(f"{pad}{quoted(key)}: {block(item, indent + 1)}" for key, item in value.items())
    if isinstance(value, list) and value:
        return "".join(f"{pad}- {block(item, indent + 1)}" for item in value)
    return quoted(value)


@given(DATA)
def test_plain_data_comes_back_as_it_was_written(value: object) -> None:
    """In lines, in brackets, and as JSON: the dialect of a file must not decide what it says."""
    flow = json.dumps(value, ensure_ascii=False)

    read_back = [
        read(block(value).encode(), "r.yaml").value,
        read(flow.encode(), "r.yaml").value,
        read(flow.encode(), "r.json").value,
        read(json.dumps(value).encode(), "r.json").value,
    ]

    assert [repr(one) for one in read_back] == [repr(value)] * 4


SIGNS = [
    "[",
    "]",
    "{",
    "}",
    ":",
    ": ",
    ",",
    "- ",
    "-",
    "? ",
    "&a ",
    "*a",
    "!t ",
    "!!int ",
    "|",
    "|2-\n",
    ">\n",
    "'",
    '"',
]
LINES = [
    "\n",
    "\n  ",
    "\r",
    "\t",
    "\x85",
    "\u2028",
    "\ufeff",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "%TAG ! x\n",
    "# c\n",
    "\0",
]
WORDS = [
    "a",
    "b",
    "<<",
    "~",
    "=",
    "1",
    "-1",
    "1.5",
    ".inf",
    "0x1",
    "1e3",
    "0b1",
    "\\x00",
    "\\ud800",
    "\\U00110000",
    "@",
    "`",
]
HOSTILE = some.lists(some.sampled_from([*SIGNS, *LINES, *WORDS]), max_size=25).map("".join)


@settings(max_examples=300)
@given(HOSTILE.map(lambda text: text.encode("utf-8", "surrogatepass")) | some.binary(max_size=60))
@example(b'"\\ud83d\\ude00"')
@example(b"[" * 100_000)
@example(b"%TAG !a! b\n--- !a!x 1")
def test_any_bytes_are_plain_data_or_the_callers_error_with_its_place(content: bytes) -> None:
    """libyaml, json and Python have a dozen exceptions among them; a person gets one sentence and a line."""
    for name in ("r.yaml", "r.json"):
        value, told = read_or_told(content, name)
        assert is_plain(value)
        assert told is None or told.sentence.startswith(name)
        assert told is None or 1 <= (told.line or 1) <= 1 + len(content.decode(errors="replace").splitlines())


def read_or_told(content: bytes, name: str) -> tuple[object, PolicyError | None]:
    try:
        return read(content, name, PolicyError).value, None
    except PolicyError as error:
        return None, error


def is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(is_plain(item) for item in value)
    return type(value) in {str, int, float, bool, type(None)} and value == value  # noqa: PLR0124 - NaN is not itself


ODD = [
    None,
    True,
    False,
    -1,
    0,
    0.0,
    1e300,
    2**53,
    "",
    "x",
    "x" * 9000,
    "9" * 400,
    "-1s",
    "1e9d",
    "٣s",
    "1" * 15 + "TiB",
]
WORSE = [
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"a": {"a": []}},
    [{"name": 1}],
    {"[key]": 1},
    "\u202e\x1b",
    ["*", 1],
    "0.000000001ms",
]


def places(value: object, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [at, *(place for key, item in items for place in places(item, (*at, key)))]


@some.composite
def spoilt(draw: some.DrawFn, original: dict[str, Any]) -> dict[str, Any]:
    """Draw a document with something odd in some of its places, or under a key that it does not have."""
    document = copy.deepcopy(original)
    for _ in range(draw(some.integers(1, 3))):
        *way, last = draw(some.sampled_from([place for place in places(document) if place]))
        holder: Any = document
        for part in way:
            holder = holder[part]
        if isinstance(holder, dict) and draw(some.booleans()):
            last = draw(some.sampled_from([last, "", "nam", "limits", "[key]", "\x1b[2J", "privileged"]))
        holder[last] = copy.deepcopy(draw(some.sampled_from([*ODD, *WORSE])))
    return document


GOOD_POLICY: dict[str, Any] = {
    "name": "p",
    "limits": {"cpus": 1, "memory": "64MiB", "wall": "5s", "pids": 9, "tmp": "1MiB"},
    "retry": {"lost": {"attempts": 2, "wait": "1s"}},
    "merge": {"on_conflict": "ours"},
    "context": {"reads": ["a"], "writes": ["b.*"]},
}
GOOD_RECIPE: dict[str, Any] = {
    "metadata": {"name": "r", "version": 1.10, "tags": ["t"], "requirements": []},
    "execution": {"timeout_seconds": 5, "retry_attempts": 1},
    "config": {"a": [1]},
    "context": {"reads": ["a"], "writes": ["b"]},
    "steps": [
        {"name": "a", "module": "m", "function": "f", "args": {"x": [1]}},
        {"name": "b", "module": "m", "function": "f", "depends_on": ["a"], "success": {"ctx_has_keys": ["k"]}},
    ],
}


@settings(max_examples=150)
@given(spoilt(GOOD_POLICY))
@example(GOOD_POLICY | {"limits": {"wall": "0.01ms"}})
def test_any_policy_is_one_or_a_sentence(document: dict[str, Any]) -> None:
    """A policy that is half understood is a wall with a hole; one that crashes us is no help to whoever wrote it."""
    text = json.dumps(document).encode()

    with suppress(PolicyError):
        policy = shape(Policy, read(text, "p.json", PolicyError), "p.json", PolicyError)
        assert Policy.read(policy.content()) == policy


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spoilt(GOOD_RECIPE))
def test_any_recipe_is_one_or_a_sentence(tmp_path: Path, document: dict[str, Any]) -> None:
    """Whoever gets it wrong in whichever way is told where, and no other exception comes out."""
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(document))

    with suppress(RecipeError):
        assert load_recipe(path).recipe.steps


def test_the_documents_that_are_spoilt_above_are_good_as_they_are(tmp_path: Path) -> None:
    """Else the two before this one would show that wrong is wrong."""
    (tmp_path / "r.json").write_text(json.dumps(GOOD_RECIPE))

    assert shape(Policy, Document(GOOD_POLICY, {}, {}), "p").name == "p"
    assert load_recipe(tmp_path / "r.json").recipe.version == "1.1"


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
@pytest.mark.parametrize("key", ["privileged", "cap_add", "volumes", "devices", "security_opt", "user", "sysctls"])
def test_a_policy_too_has_no_key_that_opens_the_container(path: Path, key: str, tmp_path: Path) -> None:
    """What the engine could be told beyond our own words, no file of ours can tell it."""
    file = tmp_path / path.name
    file.write_text(f"{path.read_text()}\n{key}: true\n")

    with pytest.raises(PolicyError, match=f"unknown key '{key}'"):
        load_policy(file)


SLOW_TEXTS = {
    "directives": b"".join(b"%%TAG !%x! x\n" % number for number in range(70_000)) + b"--- a\n",
    "directives of a second document": b"a\n...\n"
    + b"".join(b"%%TAG !%x! x\n" % n for n in range(70_000))
    + b"--- a\n",
    "keys": b"{" + b",".join(b"k%d: 1" % number for number in range(49_000)) + b"}",
    "question marks": b"? " * 500_000,
    "line breaks": b"a:\n" + b"\n" * 1_000_000,
    "a folded text": b"a: >\n" + b" x\n" * 340_000,
    "a text in lines": b'a: "' + b"x\n  " * 250_000 + b'"',
    "a comment": b"#" * 1_000_000,
    "an anchor": b"&" + b"a" * 1_000_000,
    "spaces": b"a:" + b" " * 1_000_000 + b"1",
    "quotes": b"'" + b"''" * 500_000 + b"'",
}


@pytest.mark.parametrize("what", SLOW_TEXTS)
def test_no_text_within_the_size_takes_long(what: str) -> None:
    """What takes quadratic time takes it from everybody else's runs."""
    assert len(SLOW_TEXTS[what]) <= LARGEST_TEXT_BYTES
    started_s = time.process_time()

    with suppress(RecipeError):
        read(SLOW_TEXTS[what], "r.yaml")

    assert time.process_time() - started_s < 2
