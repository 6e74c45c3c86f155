"""What every attack starts from: an arena on each runtime, whose invariants are held against whatever happens in it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

import pytest

from isolation.sandbox.docker_engine import DockerEngine
from tests.hostile import mutations
from tests.hostile.canaries import Secrets
from tests.hostile.kit import Arena, Runtime
from tests.hostile.traitor import turned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from threading import Event
    from typing import Any

    from isolation.controller import Controller
    from isolation.model.policy import Policy
    from isolation.model.run import Result

collect_ignore = ["attacks"]  # programs for cells; here they would not find each other
RUNTIMES: tuple[Runtime, ...] = ("runc", "runsc")
"""Every test that takes the fixture ``runtime``, as ``arena`` and ``attack`` do, is run on each of these."""


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
    with secrets.planted(), mutations.applied(mutations.chosen(), attested=False) as image:
        arena = Arena(tmp_path_factory.mktemp(f"arena-{runtime}"), runtime, secrets, image)
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


@pytest.fixture(scope="module")
def traitors(arena: Arena) -> Iterator[Controller]:
    """Give the traitors' controller, which is closed before the arena is seen to be calm."""
    with turned(arena) as controller:
        yield controller


@pytest.fixture
def treason(arena: Arena, traitors: Controller) -> Attack:
    """Attack from the runner's own place: ``run(channel, plan)`` of its module says what the host hears."""
    return partial(arena.attack, by=traitors)
