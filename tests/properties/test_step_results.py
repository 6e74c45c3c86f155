"""Whatever a step found: what was made of it is taken where all of that is the same, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tests.runner.conftest import imported

if TYPE_CHECKING:
    from collections.abc import Iterator

    Json = dict[str, Any]

KEYS = ("a", "b", "c")
SCALARS = some.sampled_from([None, True, False, 0, 1, 0.0, -0.0, 1.0, "", "1", "é", "a", 2**53])
VALUES = some.recursive(
    SCALARS, lambda inner: some.lists(inner, max_size=2) | some.dictionaries(some.sampled_from(KEYS), inner, max_size=2)
)
CONTEXTS = some.dictionaries(some.sampled_from(KEYS), VALUES)
ARGS = some.dictionaries(some.sampled_from(KEYS), VALUES, max_size=1)


@pytest.fixture(scope="module")
def cached() -> Iterator[Any]:
    with imported() as load, pytest.MonkeyPatch.context() as patched:
        module = load("cached")
        patched.setattr(module, "leaves_nothing", lambda: True)
        yield module


def shown(args: Json, values: Json, reads: list[str]) -> str:
    """Write what a step found so that whatever it could tell apart is written otherwise."""
    return repr((args, [(key, key in values, values.get(key)) for key in reads]))


@given(some.tuples(ARGS, CONTEXTS), some.tuples(ARGS, CONTEXTS), some.sets(some.sampled_from(KEYS)))
def test_a_result_is_taken_where_all_that_was_read_is_the_same(
    cached: Any,  # noqa: ANN401 - the module of another world
    before: tuple[Json, Json],
    now: tuple[Json, Json],
    read: set[str],
) -> None:
    """With its type, its order, and its place; what was not read may be anything."""
    reads, step = sorted(read), {"name": "s", "args_from": []}
    cache = cached.Cache({})
    cache.begin("s")
    told = cache.tell(step | {"args": before[0]}, {"reads": reads, "read_all": False}, before[1], {})
    again = cached.Cache({"s": [{"found": told["found"], "reads": reads}]})

    same = shown(*before, reads) == shown(*now, reads)
    assert (again.find(step | {"args": now[0]}, now[1]) is not None) == same
    unread = {key: value for key, value in now[1].items() if key not in read}
    assert again.find(step | {"args": before[0]}, unread | {key: before[1][key] for key in reads if key in before[1]})
