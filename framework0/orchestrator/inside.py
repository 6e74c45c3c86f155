"""One attempt in this process: its steps one after another, and what their ends mean."""

from __future__ import annotations

import copy
import importlib
import json
import logging
import os
import shutil
import time
from bdb import BdbQuit
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import scriptlets.framework
from isolation.clock import SystemClock, timestamp
from isolation.contract import Malformed, check_json, dumps
from isolation.model.changes import Changes
from isolation.model.event import LogLine, StepEnded, StepStarted
from isolation.model.evidence import Evidence
from isolation.model.outcome import StepOutcome
from isolation.model.run import StepError, StepReport
from isolation.problem import of_error, of_outputs, problem_of
from isolation.rules.redaction import Redaction
from isolation.rules.scope import covers
from isolation.sandbox.discretion import redact, refuse, written_secret
from isolation.sandbox.frames import StepEndedFrame
from isolation.sandbox.plan import plan_document
from isolation.taken import MissingError, fill, sources
from orchestrator import context as contexts
from orchestrator.searching import searching
from scriptlets._etl import rows
from src.core.logger import USUAL

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import ModuleType

    from isolation.model.event import Event
    from isolation.model.evidence import Stop
    from isolation.model.policy import Policy
    from isolation.model.recipe import Recipe, Step
    from isolation.model.secret import Secret

    Tell = Callable[[Event], None]

_OURS = (__file__, importlib.__file__, scriptlets.framework.__file__)
_FINE = {"succeeded", "disabled"}


@contextmanager
def places(folder: Path, scratch: Path) -> Iterator[None]:
    """Have a cell's places here: relative names lead to the recipe's folder, and what steps share into ``scratch``."""
    before, artifacts, shared = os.getcwd(), contexts.ARTIFACTS, rows.FOLDER
    os.chdir(folder)
    contexts.ARTIFACTS, rows.FOLDER = str(scratch / "artifacts"), str(scratch / "rows")
    try:
        yield
    finally:
        os.chdir(before)
        contexts.ARTIFACTS, rows.FOLDER = artifacts, shared
        shutil.rmtree(scratch / "rows", ignore_errors=True)
        with suppress(OSError):  # it keeps artifacts, if there are any
            scratch.rmdir()


@dataclass(frozen=True, kw_only=True)
class Checked:
    """
    A recipe that is checked, with all that its steps need.

    ``roots`` are the folders of its modules, its own ``folder`` first; ``given`` are modules that are there already,
    by their names; then no others are looked for. ``scratch`` is for what its steps share, and for artifacts.
    """

    recipe: Recipe
    policy: Policy
    folder: Path
    roots: Sequence[Path]
    scratch: Path
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    given: Mapping[str, ModuleType] = field(default_factory=dict)


class Inside:
    """The steps of one attempt, and the context as it stands between them; ``tell`` None: nobody listens to logs."""

    def __init__(
        self, run: Checked, steps: Sequence[Step], values: dict[str, Any], tell: Tell | None, cancel: threading.Event
    ) -> None:
        self._run = run
        self._plan = plan_document(run.recipe, steps, run.policy)
        self._values = values
        self._tell = tell
        self._cancel = cancel
        self._redaction = Redaction(run.secrets.values())
        self._ended: dict[str, str] = {}
        self._outputs: dict[str, Any] = {}
        self._writers: dict[str, str] = {}
        self._reports: list[StepReport] = []
        self._told_secret = False

    def evidence(self) -> Evidence:
        """Run the steps, and tell all that is known of how it went."""
        for index, step in enumerate(self._plan["steps"]):
            if self._cancel.is_set() or self._told_secret:
                break
            why = self._why_not(step)
            self._settle(step["name"], self._carry_out(index, step) if why is None else _unrun(index, step, why))
        left = self._plan["steps"][len(self._reports) :]
        unknown = (StepReport(name=step["name"], outcome=StepOutcome.UNKNOWN, reason="not started") for step in left)
        stopped: Stop = "secret" if self._told_secret else "cancelled" if left else ""
        changes = Changes(
            set={key: self._values[key] for key in self._writers if key in self._values},
            deleted=tuple(sorted(key for key in self._writers if key not in self._values)),
            writers=dict(self._writers),
        )
        return Evidence(stopped=stopped, answer="complete", steps=(*self._reports, *unknown), changes=changes)

    def _why_not(self, step: dict[str, Any]) -> str | None:
        if step["disabled"]:
            return str(step["disabled"])
        for name in step["depends_on"]:
            if self._ended[name] != "succeeded":
                return f"its dependency {name!r} was {self._ended[name].replace('_', ' ')}"
        failed = next((name for name, end in self._ended.items() if end not in {*_FINE, "skipped"}), None)
        stops = failed is not None and not self._plan["continue_on_error"]
        return f"step {failed!r} failed before, and the recipe stops then" if stops else None

    def _carry_out(self, index: int, step: dict[str, Any]) -> StepEndedFrame:
        """Try a step as often as it may be tried, and say how it ended."""
        if self._tell:
            self._tell(StepStarted(step=step["name"]))
        number, began_s = 1, time.monotonic()
        answer = self._try(step)
        while answer["problem"] and number <= step["retry_count"] and not self._cancel.wait(step["retry_delay_s"]):
            number, began_s = number + 1, time.monotonic()
            answer = self._try(step)
        return self._frame(index, number, time.monotonic() - began_s, answer)

    def _try(self, step: dict[str, Any]) -> dict[str, Any]:
        secrets = {name: self._run.secrets[name].reveal() for name in step["secrets"]}
        context = contexts.Context(dict(self._values), who=step["name"], secrets=secrets)
        context.config = copy.deepcopy(self._plan["config"])
        context.features, context.environment = dict(self._plan["features"]), self._plan["environment"]
        outputs, problem = None, None
        try:
            with nullcontext() if self._run.given else searching(self._run.roots), self._listening(step["name"]):
                outputs, message = self._call(step, context)
            problem = of_outputs(outputs, message)
        except MissingError as error:
            problem = problem_of("missing_output", "LookupError", str(error))
        except BdbQuit:  # whoever debugs has had enough
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a step raises is its result
            problem = of_error(error, _OURS)
        answer: dict[str, Any] = {**context.changes(), "reads": context.reads(), "read_all": context.read_all}
        answer["outputs"] = json.loads(dumps(outputs)) if isinstance(outputs, dict) and not problem else None
        return answer | {"problem": problem or self._refuse(answer) or self._miss(step, answer)}

    def _call(self, step: dict[str, Any], context: contexts.Context) -> tuple[object, str]:
        step = copy.deepcopy(step) | {"taken": {name: self._outputs[name] for name in sources(step)}}
        fill(step)
        module = self._run.given.get(step["module"]) or importlib.import_module(step["module"])
        return scriptlets.framework.call(module, step["function"], context, step["args"])

    def _refuse(self, answer: dict[str, Any]) -> dict[str, str] | None:
        for key in (*answer["set"], *answer["deleted"]):
            if not covers(self._plan["writes"], key):
                said = f"the step wrote the context key {key!r}, which is not declared under context.writes"
                return problem_of("undeclared_write", "PermissionError", said)
        return None

    def _miss(self, step: dict[str, Any], answer: dict[str, Any]) -> dict[str, str] | None:
        there = ({*self._values} - {*answer["deleted"]}) | {*answer["set"]}
        missing = [key for key in step["ctx_has_keys"] if key not in there]
        if missing:
            said = f"success.ctx_has_keys: the context has no {', '.join(missing)}"
            return problem_of("missing_keys", "LookupError", said)
        looked_at = {key for key in step["ctx_has_keys"] if key not in self._writers and key not in answer["set"]}
        answer["reads"] = sorted({*answer["reads"], *looked_at})
        return None

    def _frame(self, index: int, number: int, wall_s: float, answer: dict[str, Any]) -> StepEndedFrame:
        """Say it as a cell's runner would, and take out what its host would take out."""
        told: dict[str, Any] = {"step": index, "tries": number, "wall_s": wall_s}
        told |= {"reads": answer["reads"], "read_all": answer["read_all"], "outcome": "succeeded", "cause": ""}
        problem = answer["problem"]
        if problem:
            told |= {"outcome": "bad_answer" if problem["cause"] == "bad_outputs" else "failed"}
            told |= {
                "cause": problem["cause"],
                "error": {key: problem[key] for key in ("type", "message", "traceback")},
            }
        else:
            told |= {key: answer[key] for key in ("set", "deleted", "writers", "outputs")}
        frame = StepEndedFrame.model_validate(told)
        written = written_secret(frame, self._redaction) if not problem else ""
        if written:
            frame, self._told_secret = refuse(frame, written), True
        elif not problem:
            self._outputs[self._plan["steps"][index]["name"]] = frame.outputs
        return redact(frame, self._redaction)

    def _settle(self, name: str, frame: StepEndedFrame) -> None:
        self._ended[name] = frame.outcome
        for key in (*frame.set, *frame.deleted):
            writer = frame.writers.get(key, name)
            self._writers[key] = name if writer == name else f"{name} as {writer[:200]}"
        self._values.update(frame.set)
        for key in frame.deleted:
            self._values.pop(key, None)
        report = _report(name, frame)
        self._reports.append(report)
        if self._tell:
            self._tell(StepEnded(report=report))

    @contextmanager
    def _listening(self, step: str) -> Iterator[None]:
        if self._tell is None:
            yield
            return
        handler = _Listener(step, self._tell, self._redaction)
        logging.getLogger().addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(handler)


class _Listener(logging.Handler):
    """Tells log records as they would arrive from a container."""

    def __init__(self, step: str, tell: Tell, redaction: Redaction) -> None:
        super().__init__()
        self._step = step
        self._tell = tell
        self._redaction = redaction

    def emit(self, record: logging.LogRecord) -> None:
        extra = {name: _say(value) for name, value in vars(record).items() if name not in USUAL}
        fields = self._redaction.mapping(extra)
        text = self._redaction.text(self.format(record))
        at = timestamp(SystemClock().now())
        self._tell(LogLine(step=self._step, stream="log", text=text, at=at, level=record.levelname, fields=fields))


def _say(value: Any) -> Any:  # noqa: ANN401 - whatever came with a record
    try:
        check_json([value])
    except Malformed:
        return repr(value)
    return value


def _unrun(index: int, step: dict[str, Any], why: str) -> StepEndedFrame:
    return StepEndedFrame(step=index, outcome="disabled" if step["disabled"] else "skipped", tries=0, cause=why)


def _report(name: str, frame: StepEndedFrame) -> StepReport:
    ran = frame.outcome not in {"skipped", "disabled"}
    error = StepError(step=name, **frame.error.model_dump()) if frame.error else None
    return StepReport(
        name=name,
        outcome=StepOutcome(frame.outcome),
        wall_s=frame.wall_s,
        tries=frame.tries,
        cause=frame.cause if ran else "",
        reason="" if ran else frame.cause,
        error=error,
        outputs=frame.outputs,
        keys_read=tuple(sorted(frame.reads)),
        read_all=frame.read_all,
        keys_written=tuple(sorted({*frame.set, *frame.deleted})),
    )
