"""Changes: what a run wants to do to the context; and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pydantic import JsonValue


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """
    Keys set and keys deleted by a whole attempt; the last writer of a key counts.

    ``writers`` names, for each changed key, who wrote it: the step, and the name given as ``who=`` if another.
    """

    set: dict[str, JsonValue] = field(default_factory=dict)
    deleted: tuple[str, ...] = ()
    writers: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.set or self.deleted)

    def keys(self) -> tuple[str, ...]:
        """Return every changed key, sorted."""
        return tuple(sorted({*self.set, *self.deleted}))


@dataclass(frozen=True, kw_only=True, slots=True)
class Reads:
    """
    What a whole attempt read of the shared context, as its runner told.

    ``keys`` names, for each, the step that read it. ``all_by`` is the step that counts as having read all that matches
    one glob of each list of ``scope``, but for ``own``, what the run itself had written by then; empty if none does.
    """

    keys: dict[str, str] = field(default_factory=dict)
    all_by: str = ""
    own: frozenset[str] = frozenset()
    scope: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One write in the context's history; ``deleted`` entries have no value."""

    version: int
    key: str
    value: JsonValue
    deleted: bool
    who: str
    run_id: str | None
    at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryFilter:
    """
    Which writes of a history are meant; None leaves one out.

    ``since`` is the first moment that counts and ``until`` the first that does not any more, as RFC 3339 texts in UTC
    with milliseconds. ``before`` is a version: the next page of a history is what is before the last one's oldest.
    """

    who: str | None = None
    run_id: str | None = None
    since: str | None = None
    until: str | None = None
    before: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Conflict:
    """
    A key that somebody else changed since the run's snapshot, to another value than the run's.

    ``read``: the run's own value is the one that it read, and ``our_writer`` the step that did. A value that is not
    there is null, and ``missing`` tells whose. ``why`` says what kept the policy's rule for the key from combining
    both; empty where it has none that does.
    """

    key: str
    ours: JsonValue
    theirs: JsonValue
    our_writer: str
    their_writer: str
    their_run_id: str | None
    our_run_id: str | None = None
    read: bool = False
    missing: Literal["", "ours", "theirs"] = ""
    why: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Merge:
    """
    What became of the changes. ``none``: nothing to merge, or the run did not succeed.

    ``version`` is the context's after the merge. There are ``conflicts`` only if nothing was merged for them;
    ``dropped`` are changed keys that keep another's value, since the policy says ``theirs``; ``combined`` are those
    whose value was made from both. ``rerun``: all that was in conflict is to be run again, as the policy says.
    """

    status: Literal["none", "merged", "conflict"] = "none"
    version: int | None = None
    conflicts: tuple[Conflict, ...] = ()
    dropped: tuple[str, ...] = ()
    combined: tuple[str, ...] = ()
    rerun: bool = False
