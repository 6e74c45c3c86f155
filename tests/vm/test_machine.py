"""The virtual machine itself, from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.vm.machine import Machine, pack

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
if [ -e /root/durable ]; then
    cat /root/durable
    if { dmesg; cat /run/initramfs/fsck.log; } | grep -q -i recover; then echo recovered; fi
else
    echo kept >/root/durable
    sync
    echo written
    sleep infinity
fi
"""
BOOT_S = 300


@pytest.mark.vm
@pytest.mark.usefixtures("a_machine_can_be_had")
def test_a_kill_is_a_power_cut_and_the_next_machine_goes_on_with_the_disk(tmp_path: Path) -> None:
    """For tests of durability: what was written out is there, in a file system that nobody had closed."""
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "run").write_text(PROGRAM)
    second_disk = pack(tmp_path / "program", tmp_path / "second.img")
    disk = tmp_path / "disk"

    with Machine(disk, second_disk, tmp_path / "first") as machine:
        assert machine.line(within_s=BOOT_S) == "written", machine.console()
    with Machine(disk, second_disk, tmp_path / "second") as machine:
        said = [machine.line(within_s=BOOT_S) for _ in range(3)]

    assert said == ["kept", "recovered", None], machine.console()
