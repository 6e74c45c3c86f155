"""
Row 138: a machine that loses its power while it merges, again and again, on one disk.

Killing qemu takes everything that the guest had not written to its disk: its memory and its page cache. What it had
written is in the memory of this host, which goes on. So a merge that was acknowledged before it was written out is lost
here, as it would be by a real cut; only what a disk's own cache would lose in addition is not seen.

The state lies on a disk of its own. Each life goes on from one moment of a machine that has never seen that disk: its
kernel mounts what the last life left, and replays the journal, as after booting, which would take half a minute.
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from tests.reliability.counts import POWER_CUTS
from tests.reliability.one_run import wanted
from tests.vm.machine import Machine

if TYPE_CHECKING:
    from pathlib import Path

    from tests.vm.machine import Booted

READY_S = 300
MERGE_S = 60


def check(there: dict[str, Any], acknowledged: set[str], *, recovered: bool) -> None:
    """Assert that every acknowledged merge is there, and that whatever is there is whole, and there once."""
    assert there["recovered"] == recovered, "nobody has closed the file system, and its journal was replayed"
    finished = {run_id for run_id, state in there["runs"].items() if state == "finished"}
    assert acknowledged <= finished
    assert there["content"] == {key: value for run_id in finished for key, value in wanted(run_id).items()}
    assert there["entries"] == len(there["content"])
    assert {*there["runs"].values()} <= {"finished", "abandoned"}
    assert there["damage"] == []


def test_row_138_acknowledged_merges_survive_power_cuts(booted: Booted, tmp_path: Path) -> None:
    """Each life of the machine finds all that the lives before it had acknowledged, and nothing half."""
    ready = tmp_path / "ready"
    with booted.machine(ready) as machine:
        machine.tell("merging")
        assert machine.line(within_s=READY_S) == "ready", machine.console()
        machine.save()
    acknowledged: set[str] = set()

    for cut in range(POWER_CUTS + 1):
        life = tmp_path / f"life-{cut}"
        life.mkdir()
        if cut:
            (tmp_path / f"life-{cut - 1}" / "kept").rename(life / "kept")
        with Machine(life, booted.second_disk, moment=ready) as machine:
            machine.tell(secrets.token_hex(32))
            line = machine.line(within_s=MERGE_S)
            assert line is not None, machine.console()
            check(json.loads(line), acknowledged, recovered=cut > 0)
            for _ in range(cut + 1 if cut < POWER_CUTS else 0):
                line = machine.line(within_s=MERGE_S)
                assert line is not None, machine.console()
                acknowledged.add(line)

    assert len(acknowledged) == sum(range(1, POWER_CUTS + 1))
