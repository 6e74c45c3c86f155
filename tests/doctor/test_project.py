"""What the project itself needs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isolation.errors import EngineUnreachableError
from isolation.sandbox.doctor import examine_with, source_digest
from tests.doctor.conftest import FakeEngine

if TYPE_CHECKING:
    from tests.doctor.conftest import Examined, LaidOut

PROJECT = Path(__file__).resolve().parents[2]


def test_on_a_good_host_everything_is_in_order(examined: Examined, tmp_path: Path) -> None:
    """And nothing was made only to be looked at."""
    checks = examined(state=tmp_path / "not" / "yet")

    assert {name: check for name, check in checks.items() if check.status != "ok"} == {}
    assert {check.mend for check in checks.values()} == {""}
    assert not (tmp_path / "not").exists()


def test_what_is_worst_comes_first_within_its_subject(laid_out: LaidOut, tmp_path: Path) -> None:
    """Whoever reads on knows that it becomes better."""
    laid_out.setting("kernel.kptr_restrict", "0")
    engine = FakeEngine(has_image=False)

    checks = examine_with(lambda: engine, laid_out.host(python="3.11.2"), image="i", state=tmp_path)

    assert [(check.name, check.status) for check in checks if check.subject == "project"][:2] == [
        ("runner image", "missing"),
        ("Python", "advice"),
    ]
    assert next(check.name for check in checks if check.subject == "walls") == "kernel.kptr_restrict"
    assert list(dict.fromkeys(check.subject for check in checks)) == [
        "project",
        "engine",
        "runtimes",
        "limits",
        "walls",
    ]


def test_an_engine_that_does_not_answer_is_missing(laid_out: LaidOut, tmp_path: Path) -> None:
    """The rest of the host is examined all the same."""

    def refuses() -> FakeEngine:
        raise EngineUnreachableError("the engine does not answer", hint="Start it.")

    checks = {check.name: check for check in examine_with(refuses, laid_out.host(), image="i", state=tmp_path)}
    assert (checks["engine"].status, checks["engine"].found, checks["engine"].mend) == (
        "missing",
        "the engine does not answer",
        "Start it.",
    )
    assert checks["state folder"].status == checks["kernel.kptr_restrict"].status == "ok"


def test_a_python_with_holes_is_told(examined: Examined, laid_out: LaidOut) -> None:
    """They do not reach us, and would reach whoever unpacks by hand."""
    check = examined(host=laid_out.host(python="3.11.7"))["Python"]

    assert check.status == "advice"
    assert "CVE-2025-4517" in check.holes[0].ids
    assert check.mend == "Upgrade to Python 3.11.17 or later."


def test_a_missing_image_is_told_with_what_builds_it(examined: Examined) -> None:
    """No recipe runs without it."""
    check = examined(FakeEngine(has_image=False))["runner image"]
    assert (check.status, check.command) == ("missing", "scripts/image")


def test_an_image_of_other_sources_is_told(examined: Examined, laid_out: LaidOut, tmp_path: Path) -> None:
    """A stale image would run yesterday's runner."""
    shared = ("isolation/contract.py", "isolation/mapped.py", "isolation/rules/combine.py")
    for name in ("Dockerfile", *shared, "runner_image/run.py", "runner_image/__pycache__/run.pyc"):
        laid_out.set(name, name)
    laid_out.set(".dockerignore", "\n".join(["*", "!runner_image", *(f"!{name}" for name in shared), "**/*.pyc"]))
    digest = source_digest(tmp_path)
    assert digest is not None
    assert examined()["runner image"].status == "warning"
    assert examined(FakeEngine(labels={"isolation.inputs": digest}))["runner image"].status == "ok"


def test_the_digest_is_the_one_that_the_image_was_labelled_with() -> None:
    """Two programs compute it, in two languages."""
    script = subprocess.run([PROJECT / "scripts" / "image", "--inputs"], capture_output=True, text=True, check=True)
    assert source_digest(PROJECT) == script.stdout.strip()


def test_a_state_folder_that_cannot_be_written_is_missing(examined: Examined, tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "file").touch()
    assert examined(state=tmp_path / "file")["state folder"].status == "missing"


@pytest.mark.parametrize(("mode", "status"), [(0o700, "ok"), (0o750, "ok"), (0o755, "warning"), (0o701, "warning")])
def test_a_state_folder_that_everybody_can_look_into_is_told(
    examined: Examined, tmp_path: Path, mode: int, status: str
) -> None:
    """Contexts and logs lie in it."""
    state = tmp_path / "a state"
    state.mkdir()
    state.chmod(mode)

    check = examined(state=state)["state folder"]

    assert (check.status, check.command) == (status, "" if status == "ok" else f"chmod 700 '{state}'")
