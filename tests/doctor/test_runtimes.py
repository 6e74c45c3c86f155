"""The runtimes that policies may name: those that work, those that do not, and those of old."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isolation.sandbox.doctor.holes import HOLES, holes_of, numbers
from tests.doctor.conftest import FACTS, FakeEngine, engine_with

if TYPE_CHECKING:
    from tests.doctor.conftest import Examined, LaidOut

GVISOR = "gVisor (runsc)"


def test_a_runtime_that_works_is_told_with_its_version(examined: Examined) -> None:
    """As its own program says."""
    checks = examined()

    assert (checks["runc"].found, checks["crun"].found) == ("1.5.0", "1.30")
    assert checks[GVISOR].found == "release-20261102.0"


def test_one_that_is_not_registered_is_told_with_what_that_means(examined: Examined) -> None:
    """A policy that names it is refused; gVisor is worth having."""
    checks = examined(engine_with(runtimes=("runc",)))

    assert (checks["crun"].status, checks[GVISOR].status) == ("ok", "advice")
    assert checks["crun"].meaning == "policies with runtime crun are refused"
    assert checks[GVISOR].command == "scripts/runtimes"


@pytest.mark.parametrize(
    ("script", "means"),
    [
        (None, "this program is not there, or does not tell its version"),
        ("exit 1", "this program is not there, or does not tell its version"),
        ("echo nonsense", "this program is not there, or does not tell its version"),
        ("echo runc version 1.5.0", "this is another"),
    ],
)
def test_one_that_is_registered_and_does_not_work(
    examined: Examined, laid_out: LaidOut, script: str | None, means: str
) -> None:
    """It would be refused only when a run asks for it."""
    if script is None:
        (laid_out.folder / "bin" / "crun").unlink()
    else:
        laid_out.program("crun", script)

    check = examined()["crun"]

    assert (check.status, check.meaning) == ("warning", f"policies with runtime crun are refused: {means}")
    assert "scripts/runtimes" in check.mend


def test_without_a_working_runc_nothing_runs(examined: Examined, laid_out: LaidOut) -> None:
    """It is what policies name when they say nothing."""
    laid_out.program("runc", "exit 1")
    assert examined()["runc"].status == "missing"


def test_a_gvisor_that_drops_our_filter_is_told(examined: Examined) -> None:
    """Every run with it would be refused by its attestation."""
    check = examined(engine_with(programs={**FACTS.programs, "runsc": ("runsc", "--platform=ptrace")}))[GVISOR]

    assert check.status == "warning"
    assert "--oci-seccomp" in check.meaning
    assert "runtimeArgs" in check.mend


def test_crun_where_both_versions_of_control_groups_have_controllers_is_told(
    examined: Examined, laid_out: LaidOut
) -> None:
    """It refuses to start anything there."""
    laid_out.set("cgroup/unified/cgroup.controllers", "hugetlb\n")

    check = examined()["crun"]

    assert (check.status, check.command) == ("warning", "scripts/runtimes")
    assert "hugetlb" in check.meaning


def test_an_engine_elsewhere_tells_what_it_can(examined: Examined) -> None:
    """The programs on this host are not its own."""
    checks = examined(FakeEngine(engine_with(kernel="5.15.0").described, parts={"runc": "1.1.12"}))

    assert checks["runc"].found == "1.1.12"
    assert checks["crun"].found == "registered"


def test_known_holes_are_told_and_what_the_distribution_mended_can_be_looked_up(
    examined: Examined, laid_out: LaidOut
) -> None:
    """No version tells what somebody mended in an older one."""
    laid_out.program("runc", "echo runc version 1.1.5+ds1-1+deb12u1")

    assert examined()["runc"].command == ""
    laid_out.set("doc/runc/changelog.Debian.gz", "")
    check = examined()["runc"]

    assert (check.status, check.meaning) == ("warning", "may have known holes; none is reached from a cell")
    assert len(check.holes) == 4
    assert check.command == f"zgrep -o 'CVE-[0-9-]*' {laid_out.folder}/doc/runc/changelog.Debian.gz"


@pytest.mark.parametrize(
    ("component", "version", "expected"),
    [
        ("runc", "1.1.5+ds1", {"CVE-2024-21626", "CVE-2024-45310", "CVE-2025-31133", "CVE-2026-41579"}),
        ("runc", "1.1.14", {"CVE-2025-31133", "CVE-2026-41579"}),
        ("runc", "1.2.7", {"CVE-2025-31133", "CVE-2026-41579"}),
        ("runc", "1.2.8", {"CVE-2026-41579"}),
        ("runc", "1.3.5", {"CVE-2026-41579"}),
        ("runc", "1.3.6", set()),
        ("runc", "1.4.0-rc.2", {"CVE-2025-31133", "CVE-2026-41579"}),
        ("runc", "1.4.0-rc.3", {"CVE-2026-41579"}),
        ("runc", "1.4.3", set()),
        ("runc", "1.6.0", set()),
        ("crun", "1.29", {"CVE-2026-30892"}),
        ("crun", "1.30", set()),
        ("crun", "1.8.1", {"CVE-2026-30892"}),
        ("runsc", "0.0~20221219.0", {"CVE-2025-2713", "CVE-2026-96812"}),
        ("runsc", "release-20250319.0", {"CVE-2026-96812"}),
        ("engine", "20.10.24+dfsg1", {"CVE-2026-41567"}),
        ("engine", "28.5.2", {"CVE-2026-41567"}),
        ("engine", "29.5.0", {"CVE-2026-41567"}),
        ("engine", "29.5.1", set()),
        ("engine", "30.0.0", set()),
        ("python", "3.11.16", {"CVE-2025-4138"}),
        ("python", "3.11.17", set()),
        ("runc", "unknown", set()),
    ],
)
def test_a_version_has_the_holes_that_its_branch_had_not_fixed(
    component: str, version: str, expected: set[str]
) -> None:
    """Fixes come for several branches at once; an older branch than all of them never got one."""
    assert {hole.ids[0] for hole in holes_of(component, version)} == expected


def test_every_hole_has_an_id_a_need_and_a_reason() -> None:
    """What has no source cannot be looked up; what has no fix that can be read is never closed."""
    for hole in [hole for holes in HOLES.values() for hole in holes]:
        assert all(name.startswith(("CVE-", "GHSA-")) for name in hole.ids)
        assert hole.fixed
        assert all(numbers(version) is not None for version in hole.fixed)
        assert hole.needs
        assert hole.ours
