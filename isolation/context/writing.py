"""Changes that somebody asks for, written in one transaction: each order whole, or not at all and the others are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isolation.context import entries
from isolation.context.key import check_key
from isolation.context.value import check_value
from isolation.errors import ContextChangedError, ContextError, NoSuchKeyError
from isolation.model.changes import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from isolation.context.entries import Space
    from isolation.model.changes import Changes


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """
    What somebody wants written: all of it, or none.

    ``expected`` says for some keys which version of theirs must be the newest, 0 for a key that holds nothing; they
    need not be among those that change. ``version`` is what the context's own must be, for who has read all of it.
    What ``changes.writers`` does not name was written by ``who``.
    """

    changes: Changes
    who: str
    run_id: str | None = None
    expected: Mapping[str, int] = field(default_factory=dict)
    version: int | None = None

    def check(self) -> None:
        """Raise ContextError for what cannot be kept; needs no database."""
        for key in self.changes.keys():  # noqa: SIM118 - sorted, and not a dict
            check_value(check_key(key), self.changes.set.get(key))
        for key in self.expected:
            check_key(key)
        for who in (self.who, *self.changes.writers.values()):
            _check_who(who)


def _check_who(who: str) -> None:
    """No database keeps halves of a pair, and one of ours no NUL: it would refuse all that is written with it."""
    if "\0" in who or any("\ud800" <= sign <= "\udfff" for sign in who):
        raise ContextError(f"{who[:40]!a} cannot be who writes", hint="Give a name: a text of whole characters.")


def write(space: Space, orders: Sequence[Order], at: str) -> list[tuple[Entry, ...] | ContextError]:
    """
    Write orders that were checked, one after another; returns for each what it wrote, or why it wrote nothing.

    Each sees what those before it wrote. The transaction must be a writer's from its beginning.
    """
    touched = {key for order in orders for key in (*order.changes.keys(), *order.expected)}
    held = entries.current(space, sorted(touched))
    version = entries.newest_version(space)
    written: list[Entry] = []
    answers: list[tuple[Entry, ...] | ContextError] = []
    for order in orders:
        refused = _refused(order, held, version)
        if refused is not None:
            answers.append(refused)
            continue
        own = tuple(_entries(order, version, at))
        version += len(own)
        held.update({entry.key: entry for entry in own})
        written += own
        answers.append(own)
    entries.add(space, written)
    return answers


def _entries(order: Order, version: int, at: str) -> Iterable[Entry]:
    for number, key in enumerate(order.changes.keys(), start=version + 1):
        deleted = key not in order.changes.set
        value = order.changes.set.get(key)
        who = order.changes.writers.get(key) or order.who
        yield Entry(version=number, key=key, value=value, deleted=deleted, who=who, run_id=order.run_id, at=at)


def _refused(order: Order, held: Mapping[str, Entry], newest: int) -> ContextError | None:
    if order.version is not None and order.version != newest:
        return ContextChangedError(
            f"the context is at version {newest}, and not at {order.version}; nothing was written",
            hint="Look at it again: `isolation context history` shows what is new.",
        )
    for key, version in order.expected.items():
        entry = held.get(key)
        found = None if entry is None or entry.deleted else entry
        if (found.version if found else 0) != version:
            return _changed(key, version, found)
    for key in order.changes.deleted:
        if key not in held or held[key].deleted:
            return NoSuchKeyError(key, "`isolation context list` shows all.")
    return None


def _changed(key: str, wanted: int, entry: Entry | None) -> ContextChangedError:
    now = f"is at version {entry.version}" if entry else "is not there"
    return ContextChangedError(
        f"the context key {key!r} {now}, and not at version {wanted}; nothing was written"
        if wanted
        else f"the context key {key!r} {now}, and should not be there; nothing was written",
        hint=f"Look at it again: `isolation context get {key}`.",
    )
