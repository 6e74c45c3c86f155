"""
The plan inside the container: which step may start, what it sees, what its end means for the others.

    waiting ─▶ running ─▶ succeeded, its changes adopted
       │       │  ▲  └──▶ failed ... ─▶ dependants: skipped; and all others too, unless the recipe continues
       │       └──┘ tried again: after a failure, or on what others have changed meanwhile
       └─▶ disabled, skipped
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import os
import time
from _heapq import heappop, heappush

from answers import SPARE, read_answer
from shared import ConflictError, Shared, covers

from isolation.contract import LONGEST, MOST_READS, Malformed, check_json, dumps, is_context_key
from isolation.taken import sources

TYPE_CHECKING = False  # not typing's: run.py says why
if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

    from cached import Cache
    from process import Process

_NO_FAILURE = {"succeeded", "disabled", "skipped"}
_TMPFS = ("/tmp", "/scratch")  # noqa: S108 - the container's own


class Plan:
    """The steps, in their order, and the context as it stands between them."""

    def __init__(self, document: dict, values: MutableMapping) -> None:
        self.config: dict = document["config"]
        self.answer_bytes: int = document["limits"]["result_bytes"]
        of_all = {key: document[key] for key in ("determinism", "features", "environment")}
        self._steps: list[dict] = [step | of_all | {"index": index} for index, step in enumerate(document["steps"])]
        self._outputs: dict[str, dict | None] = {name: None for step in self._steps for name in sources(step)}
        """Of the steps whose outputs others take."""
        self._workers: int = document["workers"]
        self._continues: bool = document["continue_on_error"]
        self._failed_first = ""
        self._writes: list[list[str]] = document["writes"]
        self._shared = Shared(values, document["merge"])
        self._most_conflicts: int = document["merge"]["attempts"] - 1
        self._conflicts: dict[str, int] = {}
        self._cache: Cache | None = None
        if any(step["cache"] for step in self._steps):
            self._cache = __import__("cached").Cache(document["kept"])  # only where it is asked for
        self._state: dict[str, str] = {step["name"]: "waiting" for step in self._steps}
        self._dependants: dict[str, list[dict]] = {step["name"]: [] for step in self._steps}
        for step in self._steps:
            for name in dict.fromkeys(step["depends_on"]):
                self._dependants[name].append(step)
        # Heaps of places in the plan. Who looked through all steps each time would look a thousand times at a thousand.
        self._ready: list[int] = []
        self._unrunnable: list[int] = []
        for step in self._steps:
            self._look_at(step)

    @property
    def succeeded(self) -> bool:
        """Tell whether every step succeeded or was disabled."""
        return all(state in {"succeeded", "disabled"} for state in self._state.values())

    @property
    def _stops(self) -> bool:
        return bool(self._failed_first) and not self._continues

    def take_unrunnable(self) -> Iterator[dict]:
        """Settle and report the steps that will never run: disabled, or after one that did not succeed."""
        while self._unrunnable:
            step = self._steps[heappop(self._unrunnable)]
            if self._state[step["name"]] == "waiting":
                reason = self._why_not(step)
                outcome = "disabled" if step["disabled"] else "skipped"
                self._end(step, outcome)
                yield {"step": step["index"], "outcome": outcome, "tries": 0, "cause": reason}

    def take_ready(self, running: int) -> dict | None:
        """Return the next step that may start beside ``running`` others, and mark it as running."""
        if running >= self._workers or not self._ready or self._stops:
            return None
        step = self._steps[heappop(self._ready)]
        self._state[step["name"]] = "running"
        taken = sources(step)
        return step | {"taken": {name: self._outputs[name] for name in taken}} if taken else step

    def take_kept(self, step: dict) -> dict | None:
        """
        Settle a step that may start by what an earlier run made, if it would find the same; returns its report.

        What holds for a step's own answer holds for that: it is not taken where it would not do.
        """
        found = self._cache.find(step, self._shared.values) if self._cache and step["cache"] else None
        if not found:
            return None
        place, result = found
        answer = {**result, "read_all": False}
        if self._refuse(answer) or self._miss(step, answer) or answer["reads"] != result["reads"]:
            return None
        self._end(step, "succeeded")
        self._adopt(step["name"], answer)
        return {"step": step["index"], "outcome": "succeeded", "tries": 0, "cause": "", "cached": place}

    def view_for(self, step: dict) -> MutableMapping:
        """Return the context for one try of a step; the forked process has it to itself."""
        if self._cache and step["cache"]:
            self._cache.begin(step["name"])
        return self._shared.view_for(step["name"])

    def settle(self, process: Process) -> tuple[dict, float | None]:
        """Decide what a step's end means; returns its report, and in how many seconds it is tried again, or None."""
        step = process.step
        outcome, error, answer = self._judge(process)
        again_in_s = None if outcome == "succeeded" else self._again_in_s(process, error or {})
        if again_in_s is None:
            self._end(step, outcome)
        if outcome == "succeeded":
            self._adopt(step["name"], answer)
        changes = answer if outcome == "succeeded" else {}
        return {
            "step": step["index"],
            "outcome": outcome,
            "tries": process.number,
            "wall_s": time.monotonic() - process.started_s,
            "cpu_s": process.cpu_s,
            "import_s": answer.get("import_s"),
            "cause": error["cause"] if error else "",
            "error": {key: error[key] for key in ("type", "message", "traceback")} if error else None,
            "set": changes.get("set", {}),
            "deleted": changes.get("deleted", []),
            "writers": changes.get("writers", {}),
            "reads": answer.get("reads", []),
            "read_all": answer.get("read_all", False),
            "combined": changes.get("combined", []),
            "dropped": changes.get("dropped", []),
            "outputs": changes.get("outputs"),
            "found": changes.get("found", ""),
            "unkept": changes.get("unkept", ""),
        }, again_in_s

    def _adopt(self, name: str, answer: dict) -> None:
        self._shared.adopt(name, answer)
        if name in self._outputs:
            self._outputs[name] = answer["outputs"]

    def settle_unstarted(self, step: dict, number: int, why: str) -> dict:
        """Report a step whose process the kernel refused."""
        self._end(step, "failed")
        error = {"type": "BlockingIOError", "message": why, "traceback": ""}
        return {"step": step["index"], "outcome": "failed", "tries": number, "cause": "not_started", "error": error}

    def _again_in_s(self, process: Process, error: dict) -> float | None:
        """Say when, and count: tries that conflicts cost are not those that the step has for its failures."""
        name = process.step["name"]
        met = self._conflicts.get(name, 0)
        if error.get("rerun") and met < self._most_conflicts:
            self._conflicts[name] = met + 1
            return 0.0
        most: int = process.step["retry_count"]
        delay_s: float = process.step["retry_delay_s"]
        return delay_s if process.number - met <= most else None

    def _judge(self, process: Process) -> tuple[str, dict | None, dict]:
        seen = self._shared.end(process.step["name"])
        if process.answer is None or process.timed_out or process.rubbish:
            return (*self._why_no_answer(process), {})
        try:
            answer = read_answer(process.answer)
        except Malformed as malformed:
            return "bad_answer", _error("bad_answer", "Malformed", f"the step's answer: {malformed}"), {}
        problem = answer["problem"]
        if problem:
            outcome = "bad_answer" if problem["cause"] == "bad_outputs" else "failed"
            if problem["cause"] == "exception" and _disk_is_full():
                problem["cause"] = "disk_full"
            return outcome, problem, answer
        error = self._refuse(answer)
        if not error and seen:
            answer, error = self._merge(process.step, answer, seen)
        error = error or self._miss(process.step, answer)
        if error:
            return "failed", error, answer
        if self._cache and process.step["cache"]:
            answer |= self._cache.tell(process.step, answer, self._shared.values, seen)
        return "succeeded", None, answer

    def _why_no_answer(self, process: Process) -> tuple[str, dict]:
        if process.timed_out:
            return "timed_out", _error("timeout", "TimeoutError", f"stopped after {process.step['timeout_s']:g} s")
        if process.too_large:
            said = f"the step's answer is larger than {self.answer_bytes} bytes"
            return "failed", _error("answer_too_large", "OverflowError", said)
        if process.rubbish:
            return "bad_answer", _error("bad_answer", "Malformed", f"the step sent {process.rubbish}")
        return _silent(process)

    def _refuse(self, answer: dict) -> dict | None:
        for key in (*answer["set"], *answer["deleted"]):
            if not all(covers(globs, key) for globs in self._writes):
                said = f"the step wrote the context key {key!r}, which is not declared under context.writes"
                return _error("undeclared_write", "PermissionError", said)
        return None

    def _merge(self, step: dict, answer: dict, seen: dict) -> tuple[dict, dict | None]:
        try:
            merged = self._shared.merge(step["name"], answer, seen)
        except ConflictError as conflict:
            error = _error("parallel_conflict", "RuntimeError", f"steps that ran at once: {conflict}")
            return answer, error | {"rerun": conflict.rerun}
        if merged["combined"]:
            try:
                check_json(merged, spare=SPARE)
                size_bytes = len(dumps(merged))
            except Malformed as error:
                return answer, _error("answer_too_large", "OverflowError", f"with what others changed at once: {error}")
            if size_bytes > self.answer_bytes:
                said = f"with what others changed at once, the step's answer is larger than {self.answer_bytes} bytes"
                return answer, _error("answer_too_large", "OverflowError", said)
        return merged, None

    def _miss(self, step: dict, answer: dict) -> dict | None:
        """Look for the keys that must be there; those that no step made are read in the shared context."""
        missing = [key for key in step["ctx_has_keys"] if not self._will_have(key, answer)]
        if missing:
            said = f"success.ctx_has_keys: the context has no {', '.join(missing)}"
            return _error("missing_keys", "LookupError", said)
        made = {*self._shared.writer, *answer["set"]}
        looked_at = {key for key in step["ctx_has_keys"] if key not in made and is_context_key(key)}
        reads = sorted({*answer["reads"], *looked_at})
        answer["reads"] = reads[:MOST_READS]
        answer["read_all"] = answer["read_all"] or len(reads) > MOST_READS
        return None

    def _end(self, step: dict, outcome: str) -> None:
        self._state[step["name"]] = outcome
        if outcome not in _NO_FAILURE and not self._failed_first:
            self._failed_first = step["name"]
        for later in self._steps if self._stops else self._dependants[step["name"]]:
            self._look_at(later)

    def _look_at(self, step: dict) -> None:
        """See whether a step has become one that can start, or one that never will."""
        if self._state[step["name"]] != "waiting":
            return
        if self._why_not(step) is not None:
            heappush(self._unrunnable, step["index"])
        elif self._satisfied(step):
            heappush(self._ready, step["index"])

    def _will_have(self, key: str, answer: dict) -> bool:
        return key not in answer["deleted"] and (key in answer["set"] or key in self._shared.values)

    def _why_not(self, step: dict) -> str | None:
        disabled: str = step["disabled"]
        if disabled:
            return disabled
        for name in step["depends_on"]:
            if self._state[name] not in {"waiting", "running", "succeeded"}:
                return f"its dependency {name!r} was {self._state[name].replace('_', ' ')}"
        return f"step {self._failed_first!r} failed before, and the recipe stops then" if self._stops else None

    def _satisfied(self, step: dict) -> bool:
        return all(self._state[name] == "succeeded" for name in step["depends_on"])


def _silent(process: Process) -> tuple[str, dict]:
    if process.status == -signal.SIGXFSZ:
        return "failed", _error("disk_full", "Signal", "killed by SIGXFSZ: a file became too large")
    if process.status < 0:
        from signal import Signals

        name = Signals(-process.status).name if -process.status in {*Signals} else str(-process.status)
        return "failed", _error(f"signal:{-process.status}", "Signal", f"killed by {name}")
    return "no_answer", _error("no_answer", "NoAnswer", f"the step exited with code {process.status} and no answer")


def _error(cause: str, kind: str, message: str) -> dict:
    return {"cause": cause, "type": kind, "message": message[: LONGEST["message"]], "traceback": ""}


def _disk_is_full() -> bool:
    for path in _TMPFS:
        found = os.statvfs(path)
        if found.f_bavail == 0 or (found.f_favail == 0 and found.f_files):  # gVisor counts no files: 0 of 0 are left
            return True
    return False
