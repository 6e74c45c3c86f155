"""The doctor, with an engine and a host laid out for it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from isolation.cli.host import checks_text
from isolation.cli.paint import Paint
from isolation.errors import EngineUnreachableError, ImageError
from isolation.sandbox.doctor import Check, Host, examine_with, source_digest
from isolation.sandbox.engine import EngineFacts

PROJECT = Path(__file__).resolve().parents[2]
FACTS = EngineFacts(
    name="docker",
    version="20.10.24",
    cgroup_version=2,
    cgroup_driver="systemd",
    runtimes=("io.containerd.runc.v2", "runc"),
    security=("name=seccomp,profile=default", "name=apparmor"),
    cpus=2,
    memory_bytes=2**33,
    kernel="6.1.0",
)


@dataclass
class FakeEngine:
    """Says of itself what it is given."""

    described: EngineFacts = FACTS
    labels: dict[str, str] = field(default_factory=dict)
    has_image: bool = True
    address: str = "unix:///engine.sock"

    def facts(self) -> EngineFacts:
        """Describe the engine."""
        return self.described

    def image_id(self, name: str) -> str:
        """Return an id."""
        if not self.has_image:
            raise ImageError(f"the runner image {name} is not on the engine", hint="Build it with scripts/image.")
        return "sha256:" + "ab" * 32

    def image_labels(self, name: str) -> dict[str, str]:  # noqa: ARG002 - the protocol's name
        """Return the labels."""
        return self.labels


@pytest.fixture
def host(tmp_path: Path) -> Host:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 8 kB\nSwapTotal: 2048 kB\n", encoding="ascii")
    (tmp_path / "cgroup").mkdir()
    return Host(proc=tmp_path / "proc", cgroup=tmp_path / "cgroup", project=tmp_path, is_root=True)


def examined(engine: FakeEngine, host: Host, state: Path) -> dict[str, Check]:
    checks = examine_with(lambda: engine, host, image="isolation-runner:latest", state=state)
    return {check.name: check for check in checks}


def test_on_a_good_host_nothing_is_missing(host: Host, tmp_path: Path) -> None:
    """And whatever is not in order says what to do."""
    checks = examined(FakeEngine(), host, tmp_path / "not" / "yet")
    assert {name: check.status for name, check in checks.items() if check.status != "ok"} == {}
    assert checks["cgroup"].found == "v2, systemd driver"
    assert checks["swap"].found == "2 MiB"
    assert not (tmp_path / "not").exists()


def test_an_engine_that_does_not_answer_is_missing(host: Host, tmp_path: Path) -> None:
    """The rest of the host is examined all the same."""

    def refuses() -> FakeEngine:
        raise EngineUnreachableError("the engine does not answer", hint="Start it.")

    checks = {check.name: check for check in examine_with(refuses, host, image="i", state=tmp_path)}
    assert (checks["engine"].status, checks["engine"].found, checks["engine"].mend) == (
        "missing",
        "the engine does not answer",
        "Start it.",
    )
    assert checks["state folder"].status == "ok"


@pytest.mark.parametrize(
    ("engine", "name", "status"),
    [
        (FakeEngine(has_image=False), "runner image", "missing"),
        (FakeEngine(replace(FACTS, version="19.03.15")), "engine version", "missing"),
        (FakeEngine(replace(FACTS, security=("name=apparmor",))), "seccomp", "missing"),
        (FakeEngine(replace(FACTS, cgroup_driver="none")), "cgroup", "missing"),
        (FakeEngine(replace(FACTS, runtimes=())), "runtimes", "missing"),
        (FakeEngine(replace(FACTS, security=("name=seccomp",))), "security module", "warning"),
        (FakeEngine(replace(FACTS, warnings=("No swap limit support",))), "engine warns", "warning"),
    ],
)
def test_what_the_engine_lacks_is_told(host: Host, tmp_path: Path, engine: FakeEngine, name: str, status: str) -> None:
    """Missing is that without which no recipe runs; the rest warns."""
    assert examined(engine, host, tmp_path)[name].status == status


def test_without_root_usage_is_sampled(host: Host, tmp_path: Path) -> None:
    """That costs exactness, not safety."""
    check = examined(FakeEngine(), replace(host, is_root=False), tmp_path)["cgroups of our own"]
    assert (check.status, check.found) == ("warning", "not root")


def test_an_image_of_other_sources_is_told(tmp_path: Path, host: Host) -> None:
    """A stale image would run yesterday's runner."""
    for name in ("Dockerfile", "isolation/contract.py", "runner_image/run.py", "runner_image/__pycache__/run.pyc"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="ascii")
    digest = source_digest(tmp_path)
    assert digest is not None
    assert examined(FakeEngine(), host, tmp_path)["runner image"].status == "warning"
    assert examined(FakeEngine(labels={"isolation.inputs": digest}), host, tmp_path)["runner image"].status == "ok"


def test_the_digest_is_the_one_that_the_image_was_labelled_with() -> None:
    """Two programs compute it, in two languages."""
    script = subprocess.run([PROJECT / "scripts" / "image", "--inputs"], capture_output=True, text=True, check=True)
    assert source_digest(PROJECT) == script.stdout.strip()


def test_a_state_folder_that_cannot_be_written_is_missing(tmp_path: Path, host: Host) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "file").touch()
    assert examined(FakeEngine(), host, tmp_path / "file")["state folder"].status == "missing"


def test_the_report_ends_with_what_to_do() -> None:
    """First all that was looked at, then what can be mended, then the verdict."""
    checks = (
        Check(name="engine", status="missing", found="does not answer", mend="Start it."),
        Check(name="swap", status="ok", found="none"),
    )
    assert checks_text(checks, Paint()) == (
        "missing  engine  does not answer\n"
        "ok       swap    none\n"
        "\n"
        "what to do\n"
        "  engine: Start it.\n"
        "\n"
        "1 missing: recipes cannot run here"
    )
