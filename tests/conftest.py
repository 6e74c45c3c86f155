"""What many tests start from: an empty state folder, its stores, and a result to keep in them."""

from __future__ import annotations

import gc
import os
import re
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from hypothesis import settings

from isolation.model.changes import Changes, Merge
from isolation.model.outcome import Outcome, StepOutcome
from isolation.model.run import Artifact, Attempt, Digests, Engine, Result, StepError, StepReport
from isolation.model.usage import HostReading, Sample, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from isolation.context.store import ContextStore
    from isolation.model.policy import Policy
    from isolation.state.database import Database
    from isolation.storage.ledger import Ledger
    from tests.postgresql import Server

os.environ.setdefault("ISOLATION_POOL", "off")
"""No test leaves a process behind, or meets another's; ISOLATION_POOL=5m runs all of them with a pool."""

# Property tests judge what comes out, not how long it took on a machine that does other things at the same time.
settings.register_profile("whole", deadline=None)
settings.register_profile("brief", deadline=None, max_examples=20)  # scripts/test --fast asks for it
settings.load_profile("whole")

_folders = count()

DIGESTS = Digests(package="a" * 64, snapshot="b" * 64, policy="c" * 64, image="sha256:" + "d" * 64)


class ResultOf(Protocol):
    """What the fixture ``result_of`` gives."""

    def __call__(self, run_id: str, merge: Merge = ..., changes: Changes = ..., outcome: Outcome = ...) -> Result:
        """Make a result."""


def pytest_collection_finish() -> None:
    """Have thousands of tests that stay as they are not looked at again whenever memory is collected."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what each line of the hardening is good for, if that was asked; processes beside have no terminal."""
    from tests.hostile import mutation_report  # noqa: PLC0415 - most sessions have nothing to report

    rows = mutation_report.rows_of(report for reports in terminalreporter.stats.values() for report in reports)
    if rows:
        terminalreporter.section("hardening: without a line, who refuses the cell, and which attacks get through else")
        for line in mutation_report.summary(rows):
            terminalreporter.line(line)
        terminalreporter.line(f"as a table: {mutation_report.write(rows, config.rootpath / 'build')}")


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Fail, and never skip, where the engine or the runner image is missing: a test that did not run proves nothing."""
    # Imported here: what most tests do without is not worth its import.
    from isolation.errors import EngineError  # noqa: PLC0415
    from isolation.sandbox.docker_engine import DockerEngine  # noqa: PLC0415
    from isolation.settings import Settings  # noqa: PLC0415

    settings = Settings(state=tmp_path_factory.getbasetemp())
    try:
        DockerEngine(settings.engine).image_id(settings.image)
    except EngineError as error:
        pytest.fail(f"{error}\n{error.hint}\nscripts/test sets all of it up.", pytrace=False)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Run a browser; for no longer than a module, since its library has an event loop running meanwhile."""
    # Imported here: as above.
    from tests.browser import running_chromium  # noqa: PLC0415

    with running_chromium() as browser:
        yield browser


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complained of."""
    return []


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder for one test; pytest's own fixture lists those of all tests before, to number this one."""
    name = re.sub(r"\W", "_", request.node.name)[:27]  # sockets lie below, whose names are short
    return tmp_path_factory.mktemp(f"{name}{next(_folders)}", numbered=False)


@pytest.fixture(autouse=True)
def no_stage_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Strike what a test that breaks the engine left standing beside its own leases: a mount outlives every process."""
    folder: Path | None = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if folder is not None and (folder / "cells").is_dir():
        # Imported here: what most tests do without is not worth its import.
        from isolation.sandbox.stage import Stage, staged  # noqa: PLC0415

        for uid in staged(folder / "cells"):
            Stage(folder / "cells" / str(uid)).strike()


@pytest.fixture(scope="session")
def runtimes() -> tuple[str, ...]:
    """Name the runtimes that the engine knows."""
    from isolation.sandbox.docker_engine import DockerEngine  # noqa: PLC0415 - as above

    return DockerEngine().facts().runtimes


@pytest.fixture
def crun(runtimes: tuple[str, ...]) -> str:
    """Name the runtime, where it can be had; scripts/runtimes says why it cannot."""
    return known("crun", runtimes)


@pytest.fixture
def runsc(runtimes: tuple[str, ...]) -> str:
    """Name gVisor's runtime, where it can be had."""
    return known("runsc", runtimes)


def known(runtime: str, runtimes: tuple[str, ...]) -> str:
    if runtime not in runtimes:
        pytest.skip(f"the engine does not know {runtime}, and scripts/runtimes could not register it")
    return runtime


def on_gvisor(policy: Policy) -> Policy:
    """Return the same policy with gVisor, which counts no inodes."""
    limits = policy.limits.model_copy(update={"tmp_inodes": None})
    return policy.model_copy(update={"runtime": "runsc", "limits": limits})


@pytest.fixture
def as_a_user() -> tuple[str, ...]:
    """Begin a command without root's right to pass by permissions (capabilities(7)): it is held to them as all are."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("without setpriv, root cannot try what others may not")
    return ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """Run a server for the session; scripts/postgresql installs it."""
    from tests.postgresql import Server  # noqa: PLC0415 - most tests do without

    server = Server()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def url(request: pytest.FixtureRequest) -> str | None:
    """Name an empty database: None is the one in the state folder. Whoever takes it is run on both."""
    if request.param == "sqlite":
        return None
    server: Server = request.getfixturevalue("postgresql")
    return server.url()


@pytest.fixture(scope="session")
def pool_variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Start a pool of this session's own; returns the variables by which commands find it."""
    variables = {"XDG_RUNTIME_DIR": str(tmp_path_factory.mktemp("runtime")), "ISOLATION_POOL": "10m"}
    command = [str(Path(sys.executable).with_name("isolation")), "pool"]
    subprocess.run([*command, "start"], env=os.environ | variables, capture_output=True, check=True)
    yield variables
    subprocess.run([*command, "stop"], env=os.environ | variables, capture_output=True, check=True)


@pytest.fixture(params=["alone", "in a pool"])
def maybe_pool(request: pytest.FixtureRequest) -> dict[str, str]:
    """Say by variables whether commands go to a pool. Whoever takes it is run both ways."""
    found: dict[str, str] = request.getfixturevalue("pool_variables") if request.param == "in a pool" else {}
    return found


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a state folder with an empty database, to be copied: that it is made well is for tests/storage."""
    from isolation.state.database import Database  # noqa: PLC0415 - SQLAlchemy is slow; most tests do without

    folder = tmp_path_factory.mktemp("new") / "state"
    Database.open(folder).close()
    return folder


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path, url: str | None) -> Iterator[Database]:
    from isolation.state.database import Database  # noqa: PLC0415 - as above

    if url is None:
        shutil.copytree(request.getfixturevalue("new_database"), tmp_path / "state")
    with Database.open(tmp_path / "state", url) as database:
        yield database


@pytest.fixture
def ledger(database: Database) -> Ledger:
    from isolation.storage.ledger import Ledger  # noqa: PLC0415

    return Ledger(database)


@pytest.fixture
def contexts(database: Database) -> ContextStore:
    from isolation.context.store import ContextStore  # noqa: PLC0415

    return ContextStore(database)


@pytest.fixture
def digests() -> Digests:
    return DIGESTS


@pytest.fixture
def result_of() -> ResultOf:
    """Make a result with something in every field."""
    return _result


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a real file system of 256 KiB; tests that use it are marked ``root``."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder],  # noqa: S607 - where it lies differs
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"this system lets nobody mount a file system: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # noqa: S607 - as above


def _result(
    run_id: str,
    merge: Merge = Merge(),  # noqa: B008 - a frozen value
    changes: Changes = Changes(),  # noqa: B008 - never changed
    outcome: Outcome = Outcome.SUCCEEDED,
) -> Result:
    error = StepError(step="load", type="ValueError", message="no such column: é", traceback="Traceback ...")
    usage = Usage(
        wall_s=1.5,
        cpu_s=0.25,
        memory_peak_bytes=2**20,
        host_start=HostReading(load_1m=0.5, memory_available_bytes=2**33, cpu_count=2),
        source={"cpu_s": "cgroup v1, after the end"},
        series=(Sample(at_s=0.0), Sample(at_s=0.1, cpu_s=0.05, memory_bytes=4096, pids=3)),
    )
    steps = (
        StepReport(name="load", outcome=StepOutcome.FAILED, wall_s=0.5, cpu_s=0.1, tries=2, error=error),
        StepReport(name="sum", outcome=StepOutcome.SUCCEEDED, outputs={"n": 1, "x": [1.0, True, None, {"é": "\n"}]}),
    )
    attempt = Attempt(
        number=1,
        outcome=outcome,
        cause="step:load",
        started_at="2025-01-02T03:04:05.678Z",
        phases_ms={"claim": 3.25, "run": 7.0},
        usage=usage,
        steps=steps,
        exit_code=0,
    )
    return Result(
        run_id=run_id,
        recipe="quickstart",
        outcome=outcome,
        attempts=(attempt,),
        usage=usage,
        changes=changes,
        merge=merge,
        errors=(error,),
        artifacts=(Artifact(name="report.txt", digest="e" * 64, size_bytes=12),),
        digests=DIGESTS,
        engine=Engine(name="Docker", version="20.10.24", runtime="runc", cgroup_version=1),
    )
