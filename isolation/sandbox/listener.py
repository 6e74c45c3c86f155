"""Listens to one attempt: delivers the plan to a standing cell, takes in what it says until its end or its deadline."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

from isolation import contract
from isolation.contract import Malformed, frame
from isolation.errors import EngineError
from isolation.model.event import Sampled
from isolation.model.evidence import Evidence, Stop
from isolation.rules.redaction import NOTHING, Redaction
from isolation.sandbox.artifacts import ArtifactIntake, LimitReachedError
from isolation.sandbox.meter import Meter
from isolation.sandbox.streams import DIAGNOSTIC_BYTES

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from isolation.clock import Clock
    from isolation.model.event import Event
    from isolation.model.policy import Limits
    from isolation.model.usage import Usage
    from isolation.sandbox.cell import Cell
    from isolation.sandbox.engine import Ended, Engine
    from isolation.sandbox.frames import CellView
    from isolation.sandbox.plan import Deadlines
    from isolation.sandbox.transcript import Transcript

_SAMPLE_EVERY_S = 0.1
_CANCEL_SEEN_WITHIN_S = 0.1
_GREETING_TIMEOUT_S = 60.0
"""A host that is full of starting containers is slow; longer than this, something is broken."""
_SEND_TIMEOUT_S = 20.0
_END_TIMEOUT_S = 20.0
_STEP_GRACE_S = 2.0
"""The runner stops a step for time itself; if it has not after so long, it is not ours any more."""
_LIMIT_GRACE_S = 2.0
"""
A run that met its limit of memory or processes has failed; so long it may say how.

One that goes on only harms others: those that fork without end hold up every fork of the host, and every start of a
container, by a lock of the kernel's (cgroup_threadgroup_rwsem).
"""


class Listener:
    """Listens to one cell. Whatever happens, ``evidence`` can be had afterwards."""

    def __init__(
        self,
        cell: Cell,
        transcript: Transcript,
        artifacts: ArtifactIntake,
        *,
        limits: Limits,
        deadlines: Deadlines,
        clock: Clock,
        tell: Callable[[Event], None],
        cancel: threading.Event,
        redaction: Redaction = NOTHING,
        stays: bool = False,
    ) -> None:
        """``stays``: the plan will say that the cell is to be used for other runs, too."""
        self._cell = cell
        self._stays = stays
        self._left = False
        self._transcript = transcript
        self._artifacts = artifacts
        self._limits = limits
        self._deadlines = deadlines
        self._clock = clock
        self._tell = tell
        self._cancel = cancel
        self._redaction = redaction
        self._meter = Meter(cell.group, clock, _SAMPLE_EVERY_S, cell.since)
        self._nonce = secrets.token_bytes(contract.NONCE_BYTES)
        self._started_s = clock.monotonic_s()
        self._stopped: Stop = ""
        self._problem = ""
        self._complete = False
        self._ended: Ended | None = None
        self._lost = ""
        self._refused = ""

    def greet(self) -> None:
        """
        Wait for the runner's first frame; afterwards ``view`` says what it told.

        Nothing of the recipe is there yet: a container that does not greet in time is lost, one that is gone has no
        answer, which ``listen`` finds out.
        """
        until_s = self._clock.monotonic_s() + _GREETING_TIMEOUT_S
        while self._goes_on() and not self._transcript.greeted:
            if self._clock.monotonic_s() >= until_s:
                self._lost = f"the runner did not greet within {_GREETING_TIMEOUT_S:g} s"
            self._hear(_CANCEL_SEEN_WITHIN_S)
            if self._cancel.is_set():
                self._stopped = "cancelled"

    @property
    def stands(self) -> bool:
        """Tell whether the runner has greeted, and nothing speaks against going on."""
        return self._transcript.greeted and self._goes_on()

    @property
    def view(self) -> CellView | None:
        """What the runner told of its own confinement."""
        return self._transcript.view

    def refuse(self, objection: str) -> None:
        """Deliver nothing to this cell: it is not confined as its policy asks."""
        self._refused = objection

    def deliver(self, plan: dict[str, object], secret_bytes: bytes = b"") -> None:
        """
        Send the nonce, the plan and the secrets.

        A container that is gone already has no answer, which ``listen`` finds out; one that does not take them in
        time holds nothing yet but our own runner, and so is lost.
        """
        self._started_s = self._clock.monotonic_s()
        content = json.dumps(plan, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        try:
            delivered = self._nonce + frame(contract.PLAN, content) + frame(contract.SECRETS, secret_bytes)
            self._cell.channel.send(delivered, _SEND_TIMEOUT_S)
        except TimeoutError:
            self._lost = f"the container did not take the plan within {_SEND_TIMEOUT_S:g} s"
        except OSError:
            return

    def listen(self) -> None:
        """Take in what the container says until it has ended properly, breaks the contract, or must be stopped."""
        while self._goes_on():
            self._hear(self._patience_s())
            self._sample()
            self._stopped = self._stopped or self._reason_to_stop()

    def finish(self, engine: Engine) -> None:
        """
        Let it go or kill it, and wait until it has ended: by the kernel's word where it has answered in full.

        One that stays for other runs, and in which nothing of this one lives any more, is left to clean itself.
        """
        try:
            if self._complete and self._stays:
                self._leave()
            if not self._left:
                self._meter.sample()
                self._see_it_end(engine)
        except EngineError as error:
            self._lost = str(error)
        self._artifacts.close()

    def _leave(self) -> None:
        if self._cell.is_alone():
            self._left = True
            self._meter.sample()  # before it cleans itself, which is not this run's work
            self._say_goodbye()
        else:
            self._lost = "something of the run lived on after its runner said that nothing did"

    def _see_it_end(self, engine: Engine) -> None:
        self._cell.group.go_first()
        if self._complete and not self._lost:
            self._say_goodbye()
            self._ended = self._cell.ended(_END_TIMEOUT_S)
        elif not self._cell.channel.closed:
            self._cell.channel.close()  # while output waits for us, the engine does not see the container's end
            engine.kill(self._cell.container_id)
        self._ended = self._ended or engine.wait(self._cell.container_id, _END_TIMEOUT_S)
        if self._ended is None:
            engine.kill(self._cell.container_id)
            self._ended = engine.wait(self._cell.container_id, _END_TIMEOUT_S)
        if self._ended is None:
            self._lost = "the engine does not say how the container ended"

    def usage(self) -> Usage:
        """Return what was used; call it after ``finish`` and before the cell is destroyed."""
        return self._meter.usage(
            wall_s=self._clock.monotonic_s() - self._started_s,
            output_bytes=self._cell.channel.received_bytes,
            own_word=self._transcript.reading,
            sampled=self._left,
        )

    def evidence(self, usage: Usage) -> Evidence:
        """Gather all that is known about the end."""
        return Evidence(
            lost=self._lost,
            refused=self._refused,
            stopped=self._stopped,
            oom_kills=usage.oom_kills,
            engine_saw_oom=self._ended is not None and self._ended.oom_killed,
            forks_refused=usage.forks_refused,
            full_of_tasks=usage.pids_peak is not None and usage.pids_peak == self._cell.most_tasks,
            exit_code=self._ended.exit_code if self._ended else None,
            answer="malformed" if self._problem else "complete" if self._complete else "missing",
            answer_problem=self._redaction.text(self._problem),
            steps=self._transcript.reports(),
            changes=self._transcript.changes(),
            reads=self._transcript.reads(),
            results=self._transcript.recall.made(),
            artifacts=self._artifacts.kept,
            diagnostics=self._redaction.text(self._cell.channel.diagnostics, DIAGNOSTIC_BYTES),
        )

    @property
    def left(self) -> bool:
        """Tell whether the cell stays for other runs; only where this one ended well in it."""
        return self._left and not self._problem

    def _goes_on(self) -> bool:
        ended = self._complete or self._stopped or self._problem or self._lost or self._refused
        return not ended and not self._cell.channel.closed

    def _hear(self, patience_s: float) -> None:
        try:
            for kind, payload in self._cell.channel.receive(patience_s):
                self._take(kind, payload)
                if self._stopped:  # what else has come already is not kept
                    return
        except LimitReachedError:
            self._stopped = "limits.artifacts"
        except Malformed as error:
            self._problem = str(error)

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == contract.END:
            self._transcript.check_complete()
            self._artifacts.check_whole()
            self._cell.channel.check_end(payload, self._nonce)
            self._complete = True
            return
        self._transcript.take(kind, payload)
        if self._transcript.wrote_secret:
            self._stopped = "secret"
        elif self._transcript.log_bytes > self._limits.log_bytes:
            self._stopped = "limits.log"
        elif self._transcript.result_bytes > self._limits.result_bytes:
            self._stopped = "limits.result"

    def _patience_s(self) -> float:
        now_s = self._clock.monotonic_s()
        moments = [self._started_s + self._deadlines.wall_s, self._meter.next_s, now_s + _CANCEL_SEEN_WITHIN_S]
        return max(0.0, min(moments) - now_s)

    def _sample(self) -> None:
        if self._clock.monotonic_s() >= self._meter.next_s:
            self._tell(Sampled(sample=self._meter.sample()))

    def _reason_to_stop(self) -> Stop:
        if self._complete:
            return ""
        now_s = self._clock.monotonic_s()
        if self._cancel.is_set():
            return "cancelled"
        if now_s >= self._started_s + self._deadlines.wall_s:
            return "limits.wall"
        for index, began_s in self._transcript.running.items():
            if now_s >= began_s + self._deadlines.steps_s[index] + _STEP_GRACE_S:
                return "limits.step_wall"
        if self._meter.met is not None and now_s >= self._meter.met[1] + _LIMIT_GRACE_S:
            return self._meter.met[0]
        return ""

    def _say_goodbye(self) -> None:
        try:
            self._cell.channel.send(frame(contract.BYE, b""), _SEND_TIMEOUT_S)
        except OSError as error:  # it left before we said so: its exit code will tell
            self._problem = f"it did not wait for the end: {error}"
