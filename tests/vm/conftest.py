"""
The tests below ``inside/`` run in the virtual machine, and are reported here one by one.

::

    here    an item of inside/ ──▶ start the machine, once, and tell it the names of all that were selected
    there   tests/vm/guest/inside ──▶ scripts/demo twice, then pytest on those names ──▶ a report a line
    here    the item's reports ◀── as they come

As pytest-xdist does with its workers, reports travel in pytest's own serial form.

All machines of a session go on from one moment of one that has booted (``Booted``); each is as fresh as that was.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.vm.machine import Booted, BrokenMachineError, Machine, NoMachineError

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
INSIDE = HERE / "inside"
LONGEST_S = 900
"""The whole of what happens in the machine; it takes some eleven minutes beside the other tests, on a slow day."""
TELL = os.environ.get("ISOLATION_TELL")
"""Set in the machine: the descriptor that leads to the host."""
GROUP = "vm"
BOOTED = pytest.StashKey[Booted]()


def pytest_configure(config: pytest.Config) -> None:
    if TELL:
        config.pluginmanager.register(Teller(config, int(TELL)))
        return
    config.stash[BOOTED] = Booted()
    config.add_cleanup(config.stash[BOOTED].remove)
    config.pluginmanager.register(Listener(config))


def is_inside(item: pytest.Item) -> bool:
    return INSIDE in item.path.parents


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Put what needs a machine on one worker, so that there is never more than one: each takes both processors.

    One process alone has them last. pytest-xdist starts with the largest groups, and this is one: others run beside.
    """
    needing = [item for item in items if HERE in item.path.parents]
    for item in needing:
        item.add_marker(pytest.mark.vm)
        item.add_marker(pytest.mark.xdist_group(GROUP))
    items[:] = [item for item in items if item not in needing] + needing


@pytest.fixture(scope="session")
def booted(pytestconfig: pytest.Config) -> Booted:
    """A machine that has booted, to go on from; skips, with the reason, where none can be had."""
    booted = pytestconfig.stash[BOOTED]
    try:
        _ = booted.moment
    except NoMachineError as error:
        pytest.skip(str(error))
    return booted


class Teller:
    """In the machine: tells the host each report."""

    def __init__(self, config: pytest.Config, descriptor: int) -> None:
        self._config = config
        self._descriptor = descriptor

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell one."""
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        line = memoryview(json.dumps(data).encode() + b"\n")
        while line:
            line = line[os.write(self._descriptor, line) :]


class Listener:
    """On the host: reports what the machine tells, in the place of running the tests here."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._reports: dict[str, list[pytest.TestReport]] = {}
        self._machine: Machine | None = None
        self._left: set[str] = set()
        self._until_s = 0.0
        self._silent = ""
        self._lacking = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Report one test."""
        if not is_inside(item):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._reports_of(item):
            report.nodeid = item.nodeid
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        self._left.discard(name(item))
        if not self._left:
            self._end()
        return True

    def pytest_sessionfinish(self) -> None:
        """Kill the machine, if it still runs."""
        self._end()

    def _end(self) -> None:
        if self._machine is not None:
            self._machine.kill()

    def _reports_of(self, item: pytest.Item) -> Iterator[pytest.TestReport]:
        if self._machine is None and not self._lacking and not self._silent:
            self._start(item.session.items)
        if self._lacking:
            yield ended(item, "skipped", (str(item.path), 0, f"Skipped: {self._lacking}"))
            return
        told = self._reports.setdefault(name(item), [])
        while not self._silent and not (told and told[-1].when == "teardown"):
            self._hear()
        yield from told
        if not told or told[-1].when != "teardown":
            yield ended(item, "failed", f"The machine did not report this test: {self._silent}")
            self._silent = "see the first of these."  # the same long text once

    def _start(self, items: list[pytest.Item]) -> None:
        names = [name(item) for item in items if is_inside(item)]
        self._left = {*names}
        booted = self._config.stash[BOOTED]
        try:
            self._machine = booted.machine(booted.folder / "inside")
        except NoMachineError as error:
            self._lacking = str(error)
            return
        except BrokenMachineError as error:
            self._silent = str(error)
            return
        self._until_s = time.monotonic() + LONGEST_S
        self._machine.tell("inside", *names, "")

    def _hear(self) -> None:
        assert self._machine is not None
        try:
            line = self._machine.line(within_s=self._until_s - time.monotonic())
        except TimeoutError:
            self._end()
            self._silent = f"it was not done after {LONGEST_S} s.\n{self._machine.console()}"
            return
        if line is None:
            self._silent = f"it powered off before. The end of its console:\n{self._machine.console()}"
            return
        data: dict[str, Any] = json.loads(line)
        report = self._config.hook.pytest_report_from_serializable(config=self._config, data=data)
        self._reports.setdefault(report.nodeid, []).append(report)


def name(item: pytest.Item) -> str:
    """Return what the test is called there; pytest-xdist adds the group to the names here."""
    return item.nodeid.removesuffix(f"@{GROUP}")


def ended(item: pytest.Item, outcome: Any, words: Any) -> pytest.TestReport:  # noqa: ANN401 - pytest's own types
    return pytest.TestReport(item.nodeid, item.location, {}, outcome, words, "call")
