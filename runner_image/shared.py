"""
The context between the steps, and how the changes of steps that ran at once become one: by the policy's rules.

    began ─▶ another ends and changes k ─▶ ends: what it saw of k │ what k holds now │ what it wants k to hold

The one that ends later merges: it is ``ours``, and what is there already ``theirs``. Steps of which one ended before
the other began never meet.
"""

from __future__ import annotations

import json

from isolation.contract import MAX_VALUE_BYTES, Malformed, dumps
from isolation.mapped import Changing, Mapped, Over

TYPE_CHECKING = False  # not typing's: run.py says why
if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from isolation.rules.combine import Value

BASE = "/base/values"
_SHOWN_CHARS = 100
_SIGNS = {*"*?["}


def seen(snapshot: dict) -> Changing:
    """Return what a run may see, as our own host wrote it: a base, looked up where it lies, and what is over it."""
    base = Mapped.open(BASE) if "base" in snapshot else {}
    return Changing(Over(base, snapshot["values"], snapshot.get("hidden", ())))


def covers(globs: list[str], key: str) -> bool:
    """Tell whether one of some globs matches a key."""
    if "*" in globs or (key in globs and not _SIGNS & {*key}):
        return True
    from fnmatch import fnmatchcase  # few cells need it, and each would pay for it

    return any(fnmatchcase(key, glob) for glob in globs)


class ConflictError(Exception):
    """A step's changes cannot be merged; ``rerun`` tells whether the policy wants it run again."""

    def __init__(self, why: str, *, rerun: bool) -> None:
        super().__init__(why)
        self.rerun = rerun


class Shared:
    """
    What the context holds, and who of the steps wrote it last.

    ``rule`` is the policy's, as the plan has it: ``strict``, ``on_conflict``, and ``rules`` of which the first that
    covers a key decides.
    """

    def __init__(self, values: MutableMapping, rule: dict) -> None:
        self.values = values
        self.writer: dict[str, str] = {}
        self._rule = rule
        self._seen: dict[str, dict] = {}
        """By running step: what it saw of the keys that others have changed since it began."""

    def view_for(self, name: str) -> MutableMapping:
        """Return the context for one try of a step; the forked process has it to itself."""
        self._seen[name] = {}
        return self.values

    def end(self, name: str) -> dict:
        """Forget a step's view, and return what it saw of the keys that others changed since it began."""
        return self._seen.pop(name, {})

    def merge(self, name: str, answer: dict, seen: dict) -> dict:
        """
        Return the step's answer as it is to be adopted; raises ConflictError.

        ``combined`` are keys whose value comes from both, ``dropped`` those that keep the other's.
        """
        answer = {**answer, "deleted": {*answer["deleted"]}, "reads": {*answer["reads"]}}
        combined, dropped, conflicts = {}, set(), {}
        for key in sorted(seen):
            fate, value = self._settle(key, name, answer, seen[key])
            if fate == "combined":
                combined[key] = value
            elif fate == "theirs":
                dropped.add(key)
            elif fate == "conflict":
                conflicts[key] = str(value)
        if conflicts:
            more = f"; and {len(conflicts) - 1} keys more" if len(conflicts) > 1 else ""
            rerun = all(self._on_conflict(key) == "rerun" for key in conflicts)
            raise ConflictError(next(iter(conflicts.values())) + more, rerun=rerun)
        return answer | {
            "set": {key: value for key, value in answer["set"].items() if key not in dropped} | combined,
            "deleted": sorted(answer["deleted"] - dropped),
            "reads": sorted(answer["reads"]),
            "combined": sorted(combined),
            "dropped": sorted(dropped),
        }

    def adopt(self, name: str, answer: dict) -> None:
        """Take over what a step changed."""
        for key in (*answer["set"], *answer["deleted"]):
            if self._seen:
                from isolation.rules.combine import ABSENT  # only where steps run at once

                for seen in self._seen.values():
                    seen.setdefault(key, self.values.get(key, ABSENT))
            self.writer[key] = name
        self.values.update(answer["set"])
        for key in answer["deleted"]:
            self.values.pop(key, None)

    def _settle(self, key: str, name: str, answer: dict, base: Value) -> tuple[str, object]:
        """Decide what becomes of one key, and what it holds then; of a conflict, why it is one."""
        from isolation.rules.combine import ABSENT, ClashError, same, settle, stale

        how, theirs = self._on_conflict(key), self.values.get(key, ABSENT)
        read = self._rule["strict"] and (answer["read_all"] or key in answer["reads"])
        if key not in answer["set"] and key not in answer["deleted"]:
            met = read and stale(how, base, theirs)
            return ("conflict", self._say(key, f"{name!r} read {key!r} as", base)) if met else ("same", theirs)
        ours, why = ABSENT if key in answer["deleted"] else answer["set"][key], ""
        try:
            fate, value = settle(how, base, theirs, ours, read=read)
            if fate == "combined":
                _check(value)
        except ClashError as clash:
            fate, value, why = "conflict", theirs, f" ({how}: {clash})"
        if fate != "conflict":
            return fate, value
        if same(ours, theirs) and not why:
            return fate, self._say(key, f"{name!r} read {key!r} as", base)
        return fate, self._say(key, f"{name!r} made {key!r}", ours) + why

    def _say(self, key: str, what: str, value: object) -> str:
        from isolation.rules.combine import ABSENT

        now = _show(self.values.get(key, ABSENT))
        return f"{what} {_show(value)}; {self.writer[key]!r}, at the same time, made it {now}"

    def _on_conflict(self, key: str) -> str:
        covering = (one for one in self._rule["rules"] if covers(one["keys"], key))
        how: str = next(covering, self._rule)["on_conflict"]
        return how


def _check(value: object) -> None:
    from isolation.rules.combine import ClashError

    try:
        size_bytes = len(dumps(value))
    except Malformed as error:
        raise ClashError(f"what both make together is not JSON: {error}") from error
    if size_bytes > MAX_VALUE_BYTES:
        raise ClashError(f"what both make together has {size_bytes} bytes, and {MAX_VALUE_BYTES} are allowed")


def _show(value: object) -> str:
    from isolation.rules.combine import ABSENT

    if value is ABSENT:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
