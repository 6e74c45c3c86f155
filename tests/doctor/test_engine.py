"""What the engine and the kernel must bring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.doctor.conftest import engine_with

if TYPE_CHECKING:
    from tests.doctor.conftest import Examined, FakeEngine, LaidOut


@pytest.mark.parametrize(
    ("engine", "name", "status"),
    [
        (engine_with(version="19.03.15"), "engine version", "missing"),
        (engine_with(version="28.5.2"), "engine version", "warning"),
        (engine_with(security=("name=apparmor",)), "seccomp", "missing"),
        (engine_with(cgroup_driver="none"), "cgroup", "missing"),
        (engine_with(runtimes=()), "runc", "missing"),
        (engine_with(security=("name=seccomp",)), "security module", "warning"),
        (engine_with(warnings=("WARNING: No swap limit support",)), "engine warns", "missing"),
        (engine_with(warnings=("WARNING: No blkio throttle.read_bps_device support",)), "engine warns", "warning"),
        (engine_with(kernel="5.15.0-linuxkit"), "kernel", "warning"),
    ],
)
def test_what_the_engine_lacks_is_told(examined: Examined, engine: FakeEngine, name: str, status: str) -> None:
    """Missing is that without which no recipe runs; the rest warns, and says what it means and what to do."""
    check = examined(engine)[name]

    assert check.status == status
    assert check.meaning or check.found.startswith("WARNING")
    assert check.mend or check.status == "warning"


def test_holes_of_the_engine_are_told_with_what_an_attack_needs(examined: Examined) -> None:
    """And never that they are there: a distribution may have mended them."""
    check = examined(engine_with(version="20.10.24+dfsg1"))["engine version"]

    assert check.meaning == "may have known holes; none is reached from a cell"
    (hole,) = check.holes
    assert "CVE-2026-41567" in hole.ids
    assert (hole.fixed, hole.needs) == (("29.5.1",), "files copied into or out of a container (docker cp)")


def test_a_security_module_that_the_kernel_has_and_the_engine_does_not_use(
    examined: Examined, laid_out: LaidOut
) -> None:
    """That can be mended without another kernel."""
    without = engine_with(security=("name=seccomp",))

    there = examined(without)["security module"]
    laid_out.set("security/lsm", "lockdown,capability")
    absent = examined(without)["security module"]

    assert (there.found, there.command) == (
        "apparmor in the kernel, not in the engine",
        "apt-get install -y apparmor && systemctl restart docker",
    )
    assert (absent.found, absent.command) == ("none", "")


def test_without_root_usage_is_sampled(examined: Examined, laid_out: LaidOut) -> None:
    """That costs exactness, not safety."""
    check = examined(host=laid_out.host(is_root=False))["cgroups of our own"]
    assert (check.status, check.found) == ("warning", "not root")


def test_swap_is_told_with_its_size(examined: Examined, laid_out: LaidOut) -> None:
    """No cell may use it; a host that swaps is slow for all of them."""
    laid_out.set("proc/meminfo", "MemTotal: 8 kB\nSwapTotal: 2048 kB\n")

    check = examined()["swap"]

    assert (check.status, check.found, check.command) == ("advice", "2 MiB", "swapoff -a")
