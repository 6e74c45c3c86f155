"""
The loop inside the container: takes the plan, starts steps as processes, passes on what they say, and ends.

It is the container's first process, so it reaps what others leave behind, and no signal from inside can kill it
(pid_namespaces(7)). It alone holds the channel and the nonce, and it is not dumpable: steps cannot speak for it.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import gc
import json
import os
import resource
import select
import sys
import time

import walls
from answers import read_record
from artifacts import send_artifacts
from broom import clean, kill_all_others
from channel import Channel
from handover import Secrets
from plan import Plan
from process import Process, Spare
from shared import seen
from step import LIBRARY, import_common, list_package
from view import look

from isolation.contract import (
    CONTRACT_VERSION,
    HELLO,
    LOG,
    LOG_HEADER,
    PIECE_BYTES,
    READING,
    RECORD,
    STEP_ENDED,
    STEP_STARTED,
    Malformed,
)

_OOM_COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
SNAPSHOT = "/in/snapshot.json"


def main() -> int:
    """Run the plan that arrives on standard input, and more if it says so; returns the container's exit code."""
    walls.hide()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own handler would let a step interrupt us
    seen: dict | None = look()
    channel = Channel.take_over_stdio()
    _prepare_steps()
    gc.freeze()  # what is here stays: no step's process looks at it again, and copies its pages
    gc.enable()
    supervisor = Supervisor(channel)
    while True:
        channel.send_json(HELLO, {"contract": CONTRACT_VERSION, "python": sys.version.split()[0], "view": seen})
        channel.flush()
        if seen is not None:  # not in a cell that stays: while another process waits, each page that we write is copied
            supervisor.fork_ahead()
        document = channel.receive_plan()
        plan = _run(channel, supervisor, document)
        if not document["stays"]:
            return 0 if plan.succeeded else 1
        clean()
        channel.begin_again()
        supervisor.forget_run()
        seen = None
        del document, plan  # the next run's steps are forked from what is here


def _run(channel: Channel, supervisor: Supervisor, document: dict) -> Plan:
    if document["egress"]:  # before the secrets are here: that process never has them
        __import__("forwarder").start(document["egress"], channel.forget)
        supervisor.dismiss_spare()  # it was forked before there were variables that name the way out
    if (document["stays"] or len(document["steps"]) > 1) and import_common():
        supervisor.dismiss_spare()  # all steps of a plan find the same
    secrets = Secrets(channel.receive_secrets())
    with open(SNAPSHOT, "rb") as file:
        snapshot = json.load(file)  # our own host wrote it, of any size
    list_package()
    snapshot.pop("versions")  # the host's own affair
    plan = Plan(document, seen(snapshot))
    supervisor.run(plan, secrets, snapshot)
    secrets.wipe()
    kill_all_others()
    send_artifacts(channel, document["limits"])
    channel.send_json(READING, _reading())
    channel.end()
    channel.wait_for_bye()
    return plan


def _prepare_steps() -> None:
    """
    Do, while the host prepares the plan, what every step would do; nothing with the package, ever.

    Python's compiler makes some hundred types when it is first used: most of what a small module's import takes.
    """
    compile("context.set('key', f'{1}')", "<none>", "exec")
    sys.path.insert(0, LIBRARY)
    __import__("orchestrator.context")
    sys.path.remove(LIBRARY)


class Supervisor:
    """Keeps as many steps of a plan going as it allows, until none is left."""

    _plan: Plan
    _secrets: Secrets
    _snapshot: dict

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._spare: Spare | None = None
        self._running: dict[int, Process] = {}
        self._delayed: list[tuple[float, dict, int]] = []
        """Steps that are tried again later: when, which, and the how manieth time."""
        self._poll = select.epoll()  # not through ``selectors``: the same with more of Python to touch at each step
        self._whose: dict[int, Process] = {}
        """By descriptor: the process that it is a pipe from."""
        self._wake, wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_w)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._poll.register(self._wake, select.EPOLLIN)

    def fork_ahead(self) -> None:
        """Have a process ready for the first step, before the plan is here."""
        self._spare = Spare.fork(self._channel.forget)

    def forget_run(self) -> None:
        """Let go of what a run was given: whoever is forked from now on must not find it."""
        del self._plan, self._secrets, self._snapshot

    def dismiss_spare(self) -> None:
        """Have every step's process forked when it starts."""
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.dismiss()

    def run(self, plan: Plan, secrets: Secrets, snapshot: dict) -> None:
        """Run every step of a plan that can be run; ``snapshot`` is what the first of them sees."""
        self._plan, self._secrets, self._snapshot = plan, secrets, snapshot
        while True:
            self._start_ready()
            if not self._running and not self._delayed:
                return
            self._wait()
            for process in self._reap():
                self._finish(process)

    def _reap(self) -> list[Process]:
        """Take in every process that has ended; returns the steps among them, the others were their children."""
        ended: list[Process] = []
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return ended
            if pid == 0:
                return ended
            process = self._running.get(pid)
            if process is not None:
                process.exited(status, used)
                ended.append(process)

    def _start_ready(self) -> None:
        self._start_delayed()
        while True:
            for report in self._plan.take_unrunnable():
                self._channel.send_json(STEP_ENDED, report)
            step = self._plan.take_ready(len(self._running) + len(self._delayed))
            if step is None:
                return
            taken = self._plan.take_kept(step)
            if taken is None:
                self._start(step, 1)
            else:
                self._channel.send_json(STEP_ENDED, taken)
                self.dismiss_spare()  # it sees the context as it was before

    def _start_delayed(self) -> None:
        now_s = time.monotonic()
        due = [one for one in self._delayed if one[0] <= now_s]
        self._delayed = [one for one in self._delayed if one[0] > now_s]
        for _, step, number in due:
            self._start(step, number)

    def _start(self, step: dict, number: int) -> None:
        self._channel.send_json(STEP_STARTED, {"step": step["index"], "try": number})
        self._channel.flush()
        try:
            process = self._process(step, number)
        except OSError as error:
            report = self._plan.settle_unstarted(
                step, number, f"{error.strerror}: the step's process could not be started"
            )
            self._channel.send_json(STEP_ENDED, report)
            return
        self._running[process.pid] = process
        for fd in process.fds:
            self._poll.register(fd, select.EPOLLIN)
            self._whose[fd] = process

    def _process(self, step: dict, number: int) -> Process:
        values, config, answer_bytes = self._plan.view_for(step), self._plan.config, self._plan.answer_bytes
        spare, self._spare = self._spare, None
        snapshot = self._snapshot
        found = spare and spare.become(step, number, snapshot=snapshot, config=config, answer_bytes=answer_bytes)
        return found or Process.start(
            step, number, values=values, config=config, answer_bytes=answer_bytes, forget=self._forget
        )

    def _forget(self, step: dict) -> dict[str, str]:
        """Forget, in a step's process, the channel and all secrets but the step's own, and return these."""
        self._channel.forget()
        return self._secrets.hand_over(step["secrets"])

    def _wait(self) -> None:
        deadlines = [process.deadline_s for process in self._running.values() if process.deadline_s is not None]
        deadlines += [at_s for at_s, _, _ in self._delayed]
        timeout = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
        self._channel.flush()
        for fd, _ in self._poll.poll(timeout):
            if fd == self._wake:
                os.read(self._wake, 4096)
            elif fd in self._whose:  # one that is closed may still be told of, while a process just forked has a copy
                self._pump(self._whose[fd], fd)
        for process in self._running.values():
            if process.deadline_s is not None and time.monotonic() >= process.deadline_s:
                process.stop()

    def _pump(self, process: Process, fd: int) -> None:
        content = process.read(fd, PIECE_BYTES)
        if content is None:
            del self._whose[fd]  # to be closed is enough: epoll(7)
        elif fd == process.answer_fd:
            for record in process.take_records():
                self._pass_on(process, record)
        elif content:
            stream = 1 if fd == process.stdout_fd else 2
            self._channel.send(LOG, LOG_HEADER.pack(process.step["index"], stream), content)

    def _pass_on(self, process: Process, record: bytes) -> None:
        try:
            document = read_record(record)
        except Malformed:
            process.rubbish = process.rubbish or "a log record that is none"
            return
        self._channel.send_json(RECORD, {"step": process.step["index"], "record": document})

    def _finish(self, process: Process) -> None:
        for fd in [*process.fds]:
            for _ in process.rest(fd):
                self._pump(process, fd)
        for fd in process.fds:
            self._poll.unregister(fd)
            del self._whose[fd]
        process.close()
        del self._running[process.pid]
        report, again_in_s = self._plan.settle(process)
        if again_in_s is not None:
            self._delayed.append((time.monotonic() + again_in_s, process.step, process.number + 1))
        else:
            self._channel.send_json(STEP_ENDED, report)


def _reading() -> dict:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "cpu_user_s": own.ru_utime + children.ru_utime,
        "cpu_system_s": own.ru_stime + children.ru_stime,
        "memory_peak_bytes": max(own.ru_maxrss, children.ru_maxrss) * 1024,
        "oom_kills": _oom_kills(),
    }


def _oom_kills() -> int | None:
    """Read how often the kernel killed for memory in here; the host believes it only where it cannot look itself."""
    for path in _OOM_COUNTERS:
        try:
            with open(path, encoding="ascii") as file:
                counts = dict(line.split() for line in file)
        except OSError:
            continue
        return int(counts["oom_kill"]) if "oom_kill" in counts else None
    return None
