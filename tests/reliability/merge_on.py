"""
Merges without an end, as a program, for machines that lose their power.

``python -m tests.reliability.merge_on DEVICE FOLDER`` mounts the device there, and keeps all on it. Before, it says
that it is ready, and waits for a line of random bytes in hexadecimal: there a machine may be copied, for
many lives. Its next line says, as JSON, what it found; every further one names a run whose merge was acknowledged.
"""

from __future__ import annotations

import fcntl
import json
import secrets
import struct
import subprocess
import sys
from itertools import count
from pathlib import Path
from uuid import uuid4

import isolation.context.store
import isolation.storage.ledger
from isolation.stores import Stores
from tests.reliability.one_run import bury_the_dead, own_keys, run, say

MOST = 100_000
LOADED = (isolation.context.store, isolation.storage.ledger)
"""What the stores would import late, in each life anew."""
ADD_ENTROPY, RESEED = 0x40085203, 0x5207
"""Of random(4)."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def come_to_life(chance: bytes) -> None:
    """Be told from every other copy of this machine, as machines that boot are: by the kernel's chance and its boot."""
    with open("/dev/urandom", "wb", buffering=0) as kernel:  # noqa: PTH123 - a device
        fcntl.ioctl(kernel, ADD_ENTROPY, struct.pack(f"ii{len(chance)}s", 8 * len(chance), len(chance), chance))
        fcntl.ioctl(kernel, RESEED)
    name = Path("/run/boot_id")
    name.write_text(f"{uuid4()}\n", encoding="ascii")
    subprocess.run(["mount", "--bind", name, BOOT_ID], check=True)  # noqa: S607 - where it lies differs


def found(stores: Stores) -> dict[str, object]:
    """Do what `isolation clean` does after a power cut, and tell all that is there."""
    bury_the_dead(stores)
    with stores.database.reading() as connection:
        damage = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
    return {
        "runs": {summary.run_id: summary.state for summary in stores.ledger.list(MOST)},
        "content": {entry.key: entry.value for entry in stores.contexts.list()},
        "entries": len(stores.contexts.history(limit=MOST)),
        "recovered": b"recovery complete" in subprocess.check_output(["dmesg"]),  # noqa: S607 - as above
        "damage": [line for line in damage if line != "ok"],
    }


def main(device: str, folder: str) -> None:
    """Tell what is there, then merge, and tell each merge when it is acknowledged."""
    say("ready")
    come_to_life(bytes.fromhex(sys.stdin.readline()))
    subprocess.run(["mount", device, folder], check=True)  # noqa: S607 - as above
    with Stores(Path(folder) / "state") as stores:
        say(json.dumps(found(stores)))
        life = secrets.token_hex(4)
        for number in count(1):
            run_id = f"{life}-{number}"
            run(stores, run_id, own_keys(run_id))
            say(run_id)


if __name__ == "__main__":
    main(*sys.argv[1:])
