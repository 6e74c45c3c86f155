"""Fixed values to show, and a place of work with a pool."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from isolation.model.changes import Changes, Conflict, Merge
from isolation.model.outcome import Outcome, StepOutcome
from isolation.model.policy import Policy
from isolation.model.run import Artifact, Attempt, Digests, Engine, Result, StepError, StepReport
from isolation.model.usage import Usage
from tests.cli.front import Front

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USAGE = Usage(
    wall_s=1.25,
    cpu_s=0.5,
    cpu_user_s=0.4,
    cpu_system_s=0.1,
    memory_peak_bytes=128 * 2**20,
    memory_anon_bytes=96 * 2**20,
    pids_peak=8,
    io_read_bytes=0,
)
STEPS = (
    StepReport(name="extract", outcome=StepOutcome.SUCCEEDED, wall_s=0.012, cpu_s=0.009, tries=1),
    StepReport(
        name="load",
        outcome=StepOutcome.FAILED,
        wall_s=0.5,
        tries=2,
        cause="exception",
        error=StepError(
            step="load",
            type="ValueError",
            message="no column\x1b[31m\nsecond line",
            traceback='Traceback (most recent call last):\n  File "load.py", line 3\nValueError: no column\x1b[31m\n',
        ),
    ),
    StepReport(name="report", outcome=StepOutcome.SKIPPED, reason="load failed"),
)


class Make:
    """Makes results that differ in what a test is about."""

    policy = Policy(name="default")

    def result(self, outcome: Outcome = Outcome.SUCCEEDED, cause: str = "", **fields: Any) -> Result:  # noqa: ANN401 - a field is anything
        """Make a result, with something in every field."""
        steps = fields.pop("steps", STEPS[:1])
        attempt = Attempt(
            number=1, outcome=outcome, cause=cause, started_at="2025-01-02T03:04:05.678Z", usage=USAGE, steps=steps
        )
        result = Result(
            run_id="20250102-030405-abcd",
            recipe="sales",
            outcome=outcome,
            attempts=(attempt,),
            usage=USAGE,
            changes=Changes(set={"sales.total": 42}, deleted=("sales.old",), writers={}),
            merge=Merge(status="merged", version=7),
            errors=tuple(step.error for step in steps if step.error),
            artifacts=(Artifact(name="out/report.md", digest="e" * 64, size_bytes=1536),),
            digests=Digests(package="a" * 64, snapshot="b" * 64, policy="c" * 64, image="sha256:" + "d" * 64),
            engine=Engine(name="docker", version="20.10.24", runtime="runc", cgroup_version=1),
        )
        return replace(result, **fields)

    def failed(self) -> Result:
        """Make one whose second step raised."""
        return self.result(
            Outcome.FAILED, "step:load:exception", steps=STEPS, changes=Changes(), merge=Merge(), artifacts=()
        )

    def conflict(self) -> Result:
        """Make one that met a conflict."""
        conflict = Conflict(
            key="sales.total",
            ours=42,
            theirs=41,
            our_writer="load",
            their_writer="alice",
            their_run_id="20250101-000000-ffff",
        )
        return self.result(Outcome.CONFLICT, "merge", merge=Merge(status="conflict", conflicts=(conflict,)))


@pytest.fixture
def make() -> Make:
    return Make()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Front]:
    """A place without a pool, in which none is left."""
    front = Front(tmp_path)
    yield front
    front.close()


@pytest.fixture
def front(place: Front) -> Front:
    """A place with a pool."""
    assert place.run("pool", "start")[0] == 0
    return place
