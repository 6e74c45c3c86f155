"""
Row 138: a machine that loses its power while it merges, again and again, on one disk.

Killing qemu takes everything that the guest had not written to its disk: its memory and its page cache. What it had
written is in the memory of this host, which goes on. So a merge that was acknowledged before it was written out is lost
here, as it would be by a real cut; only what a disk's own cache would lose in addition is not seen.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.reliability.counts import POWER_CUTS
from tests.reliability.one_run import wanted
from tests.vm.machine import Machine, pack

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
set -e
export PYTHONPATH=/root/packages:/second/project PYTHONPYCACHEPREFIX=/root/compiled
if ! [ -e /root/packages ]; then
    for name in sqlalchemy typing_extensions pydantic pydantic_core annotated_types typing_inspection \
        alembic mako markupsafe; do
        for wheel in /second/wheels/$name-*.whl; do
            if [ -e "$wheel" ]; then python3 -m zipfile -e "$wheel" /root/packages.new; fi
        done
    done
    mv /root/packages.new /root/packages
    python3 -c 'import tests.reliability.merge_on, isolation.context.store, isolation.storage.ledger'
    sync
fi
export PYTHONDONTWRITEBYTECODE=1
exec python3 -m tests.reliability.merge_on /root/state
"""
BOOT_S = 300
MERGE_S = 60


def check(there: dict[str, Any], acknowledged: set[str]) -> None:
    """Assert that every acknowledged merge is there, and that whatever is there is whole, and there once."""
    finished = {run_id for run_id, state in there["runs"].items() if state == "finished"}
    assert acknowledged <= finished
    assert there["content"] == {key: value for run_id in finished for key, value in wanted(run_id).items()}
    assert there["entries"] == len(there["content"])
    assert {*there["runs"].values()} <= {"finished", "abandoned"}
    assert there["damage"] == []


@pytest.mark.usefixtures("a_machine_can_be_had")
def test_row_138_acknowledged_merges_survive_power_cuts(tmp_path: Path) -> None:
    """Each life of the machine finds all that the lives before it had acknowledged, and nothing half."""
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "run").write_text(PROGRAM)
    second_disk = pack(tmp_path / "program", tmp_path / "second.img")
    acknowledged: set[str] = set()

    for cut in range(POWER_CUTS + 1):
        with Machine(tmp_path / "disk", second_disk, tmp_path / f"console-{cut}") as machine:
            line = machine.line(within_s=BOOT_S)
            assert line is not None, machine.console()
            check(json.loads(line), acknowledged)
            for _ in range(cut + 1 if cut < POWER_CUTS else 0):
                line = machine.line(within_s=MERGE_S)
                assert line is not None, machine.console()
                acknowledged.add(line)

    assert len(acknowledged) == sum(range(1, POWER_CUTS + 1))
