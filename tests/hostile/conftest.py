"""What every attack starts from: an arena on each runtime, whose invariants are held against whatever happens in it."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Protocol

import pytest

from isolation.sandbox.docker_engine import DockerEngine
from tests.hostile.canaries import Secrets
from tests.hostile.kit import Arena, Runtime
from tests.hostile.mutations import PROPERTY, SWITCH, remove
from tests.hostile.traitor import turned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from threading import Event
    from typing import Any

    from _pytest.terminal import TerminalReporter

    from isolation.controller import Controller
    from isolation.model.policy import Policy
    from isolation.model.run import Result

collect_ignore = ["attacks"]  # programs for cells; here they would not find each other
RUNTIMES: tuple[Runtime, ...] = ("runc", "runsc")
"""Every test that takes the fixture ``runtime``, as ``arena`` and ``attack`` do, is run on each of these."""


@pytest.fixture(scope="session", autouse=True)
def one_option_less() -> None:
    """Take one hardening option away from every cell, where ``test_mutations.py`` asks this process to."""
    option = os.environ.get(SWITCH)
    if option:
        remove(option)


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Say of each hardening option what noticed that it was gone, and keep that as a file."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    rows = sorted(
        {row for report in reports for name, row in getattr(report, "user_properties", ()) if name == PROPERTY}
    )
    if rows:
        terminalreporter.section("hardening options, each removed once")
        terminalreporter.write_line("\n".join(rows))
        (config.rootpath / "build").mkdir(exist_ok=True)
        (config.rootpath / "build" / "mutations.txt").write_text("\n".join([*rows, ""]), encoding="utf-8")


class Attack(Protocol):
    """What the fixture ``attack`` gives."""

    def __call__(
        self,
        source: str | Path,
        *,
        steps: int = ...,
        args: Mapping[str, Any] | None = ...,
        extra: str = ...,
        limits: Mapping[str, Any] | None = ...,
        policy: Policy | None = ...,
        context: Mapping[str, Any] | None = ...,
        during: Callable[[], object] | None = ...,
        probing: bool = ...,
        cancel: Event | None = ...,
        by: Controller | None = ...,
    ) -> Result:
        """Run an attack and hold every invariant against it; see ``Arena.attack``."""


@pytest.fixture(scope="session", params=RUNTIMES)
def runtime(request: pytest.FixtureRequest, engine: None) -> str:  # noqa: ARG001 - it fails without an engine
    name: str = request.param
    if name not in DockerEngine().facts().runtimes:
        pytest.fail(f"the engine does not know the runtime {name}; scripts/test sets it up", pytrace=False)
    return name


@pytest.fixture(scope="session")
def whole_arena(runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    secrets = Secrets()
    with secrets.planted():
        arena = Arena(tmp_path_factory.mktemp(f"arena-{runtime}"), runtime, secrets)
        yield arena
        arena.close()


@pytest.fixture(scope="module")
def arena(whole_arena: Arena) -> Iterator[Arena]:
    """Give the arena, and see that after the module's last test nothing of its attacks is felt any more."""
    yield whole_arena
    whole_arena.check_calm()


@pytest.fixture
def attack(arena: Arena) -> Attack:
    return arena.attack


@pytest.fixture(scope="session")
def traitors(whole_arena: Arena) -> Iterator[Controller]:
    with turned(whole_arena) as controller:
        yield controller


@pytest.fixture
def treason(arena: Arena, traitors: Controller) -> Attack:
    """Attack from the runner's own place: ``run(channel, plan)`` of its module says what the host hears."""
    return partial(arena.attack, by=traitors)
