"""
Merges without an end, as a program: ``python -m tests.reliability.merge_on STATE``, for machines that lose their power.

Its first line says, as JSON, what it found; every further one names a run whose merge was acknowledged.
"""

from __future__ import annotations

import json
import secrets
import sys
from itertools import count
from pathlib import Path

from isolation.stores import Stores
from tests.reliability.one_run import bury_the_dead, own_keys, run, say

MOST = 100_000


def found(stores: Stores) -> dict[str, object]:
    """Do what `isolation clean` does after a power cut, and tell all that is there."""
    bury_the_dead(stores)
    with stores.database.reading() as connection:
        damage = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
    return {
        "runs": {summary.run_id: summary.state for summary in stores.ledger.list(MOST)},
        "content": {entry.key: entry.value for entry in stores.contexts.list()},
        "entries": len(stores.contexts.history(limit=MOST)),
        "damage": [line for line in damage if line != "ok"],
    }


def main(state: str) -> None:
    """Tell what is there, then merge, and tell each merge when it is acknowledged."""
    with Stores(Path(state)) as stores:
        say(json.dumps(found(stores)))
        life = secrets.token_hex(4)
        for number in count(1):
            run_id = f"{life}-{number}"
            run(stores, run_id, own_keys(run_id))
            say(run_id)


if __name__ == "__main__":
    main(*sys.argv[1:])
