"""The virtual machine itself, from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.vm.machine import BOOT_S, Machine

if TYPE_CHECKING:
    from pathlib import Path

    from tests.vm.machine import Booted


def test_a_kill_is_a_power_cut_and_the_next_machine_goes_on_with_the_disk(booted: Booted, tmp_path: Path) -> None:
    """For tests of durability: what was written out is there, in a file system that nobody had closed."""
    with booted.machine(tmp_path) as machine:
        machine.tell("durable")
        assert machine.line(within_s=BOOT_S) == "written", machine.console()
    with Machine(tmp_path, booted.second_disk) as machine:
        machine.tell("durable")
        said = [machine.line(within_s=BOOT_S) for _ in range(4)]

    assert said == ["booted", "kept", "recovered", None], machine.console()
