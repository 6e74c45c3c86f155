"""
Which context keys a set of globs covers.

A glob is matched against the whole key, case-sensitively, by the rules of ``fnmatch``:

========  =========================================================
``*``     any number of any characters, dots included
``?``     exactly one character
``[ab]``  one of these characters; ``[a-z]`` a range, ``[!ab]`` none of these
========  =========================================================

Keys are flat: a dot is a character like any other, so ``sales.*`` covers ``sales.eu.total``, but not ``sales``.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_FIRST_SPECIAL = re.compile(r"[*?\[]")


def matches(key: str, globs: Iterable[str]) -> bool:
    """
    Tell whether at least one of the globs covers the key; no globs cover nothing.

    >>> matches("sales.eu.total", ["sales.*"]), matches("Sales.eu", ["sales.*"]), matches("sales", [])
    (True, False, False)
    """
    return any(fnmatchcase(key, glob) for glob in globs)


def allows(key: str, declared: Iterable[str] | None, allowed: Iterable[str]) -> bool:
    """
    Tell whether a run may touch the key: its recipe declares it and its policy allows it.

    ``declared`` None means that the recipe declares nothing, and the policy alone decides; an empty
    declaration asks for nothing and gets nothing.

    >>> allows("a.b", None, ["a.*"]), allows("a.b", [], ["*"]), allows("a.b", ["*"], ["c.*"])
    (True, False, False)
    """
    return (declared is None or matches(key, declared)) and matches(key, allowed)


def covers(scope: Iterable[Iterable[str]], key: str) -> bool:
    """
    Tell whether a key matches one glob of each list.

    >>> covers([["*"], ["a.*"]], "a.b"), covers([["*"], []], "a.b")
    (True, False)
    """
    return all(matches(key, globs) for globs in scope)


def narrow(keys: Iterable[str], declared: Iterable[str] | None, allowed: Iterable[str]) -> tuple[str, ...]:
    """
    Pick the keys that a run may touch, in the order given.

    >>> narrow(["a.x", "a.y", "b"], ["a.*"], ["*.x", "b"])
    ('a.x',)
    """
    declared = None if declared is None else tuple(declared)
    allowed = tuple(allowed)
    return tuple(key for key in keys if allows(key, declared, allowed))


def exactly(key: str) -> str:
    """
    Return the glob that covers a key alone.

    >>> exactly("a*")
    'a[*]'
    """
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in key)


def literal_prefix(glob: str) -> str:
    """
    Return what every key that the glob covers begins with.

    >>> literal_prefix("sales.*.total"), literal_prefix("*"), literal_prefix("sales")
    ('sales.', '', 'sales')
    """
    return _FIRST_SPECIAL.split(glob, maxsplit=1)[0]


def is_literal(glob: str) -> bool:
    """
    Tell whether the glob covers exactly one key: itself.

    >>> is_literal("sales"), is_literal("sale?")
    (True, False)
    """
    return _FIRST_SPECIAL.search(glob) is None
