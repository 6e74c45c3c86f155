"""What the tests of cells start from: a tiny recipe, and controllers on a fake and on the real engine."""

from __future__ import annotations

import secrets
import textwrap
from typing import TYPE_CHECKING, Protocol

import pytest

from isolation.clock import SystemClock
from isolation.controller import Controller
from isolation.model.event import LogLine
from isolation.model.policy import Limits, Policy
from isolation.sandbox.cells import Cells
from isolation.sandbox.leases import Leases
from isolation.settings import Settings
from isolation.stores import Stores
from isolation.testing import IMAGE, FakeEngine
from isolation.wiring import open_controller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from isolation.model.event import Event
    from isolation.model.run import Result


class Recipe(Protocol):
    """What the fixture ``recipe`` gives."""

    def __call__(self, source: str, *, steps: int = ..., extra: str = ...) -> Path:
        """Write a recipe whose steps all call ``run`` of one module with that source."""


class Run(Protocol):
    """What the fixture ``run`` gives."""

    def __call__(self, source: str, **limits: float) -> Result:
        """Run a recipe of one step with that source on the real engine."""


class Write(Protocol):
    """What the fixture ``write`` gives."""

    def __call__(self, steps: str, source: str) -> Path:
        """Write a recipe that declares the secrets A and B, with these steps, of one module with that source."""


class OnLine:
    """Does something, in the host, when the step has written a line: then it is surely under way."""

    def __init__(self, do: Callable[[], object]) -> None:
        self._do = do

    def on_event(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, LogLine):
            self._do()


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    def write(source: str, *, steps: int = 1, extra: str = "") -> Path:
        folder = tmp_path / "recipe"
        folder.mkdir(exist_ok=True)
        (folder / "work.py").write_text(textwrap.dedent(source))
        lines = [f"  - {{name: s{index}, module: work, function: run}}" for index in range(steps)]
        (folder / "recipe.yaml").write_text("\n".join(["metadata: {name: tiny}", extra, "steps:", *lines, ""]))
        return folder

    return write


@pytest.fixture
def fake() -> Iterator[FakeEngine]:
    engine = FakeEngine()
    yield engine
    engine.forget()


@pytest.fixture
def leases(tmp_path: Path) -> Leases:
    return Leases(tmp_path / "uids")


@pytest.fixture
def on_fake(tmp_path: Path, fake: FakeEngine, leases: Leases) -> Iterator[Controller]:
    cells = Cells(fake, leases, local=False)
    stores = Stores(tmp_path / "state")
    with Controller(stores=stores, engine=fake, cells=cells, clock=SystemClock(), image=IMAGE) as controller:
        yield controller


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    """Open a controller on the real engine."""
    with open_controller(Settings(state=tmp_path / "state")) as controller:
        yield controller


@pytest.fixture
def run(controller: Controller, recipe: Recipe) -> Run:
    def run(source: str, **limits: float) -> Result:
        policy = Policy(name="test", limits=Limits.model_validate({"wall": 20, **limits}))
        return controller.run(recipe(source), policy=policy)

    return run


@pytest.fixture
def canaries() -> dict[str, str]:
    """Two values that nothing on this host has ever held; with letters that encodings change, and of several lines."""
    a, b, c = (secrets.token_hex(16) for _ in "abc")
    return {"A": f"canary-a-{a}/+é\"'&", "B": f"canary-b-{b}\nsecond {c}"}


@pytest.fixture
def given(canaries: dict[str, str], tmp_path: Path) -> Iterator[Controller]:
    with open_controller(Settings(state=tmp_path / "state"), secrets=canaries) as controller:
        yield controller


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(steps: str, source: str) -> Path:
        folder = tmp_path / "recipe"
        folder.mkdir()
        (folder / "work.py").write_text(textwrap.dedent(source))
        head = "metadata: {name: tiny}\nsecrets: [A, B]\nexecution: {retry_attempts: 1}\nsteps:\n"
        (folder / "recipe.yaml").write_text(head + textwrap.dedent(steps))
        return folder

    return write
