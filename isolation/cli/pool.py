"""``isolation pool``: the process in the background that makes the next command fast."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from isolation.cli.session import print_json, say, settings_of, takes_json
from isolation.errors import InputError, StorageError

if TYPE_CHECKING:
    from argparse import Namespace

    import psutil

    from isolation.cli.parser import Parser

_NONE = 1


@dataclass(frozen=True, kw_only=True)
class Pool:
    """
    A pool that is there.

    ``serves_here``: commands such as this one; of the same code and user, and in the same place. ``memory_bytes`` is
    what it has resident, most of it shared with the ``commands`` that it carries out at the moment.
    """

    pid: int
    serves_here: bool
    age_s: float
    memory_bytes: int
    commands: int


def register(parser: Parser) -> None:
    """Add the group of commands."""
    group = parser.add(
        "pool",
        None,
        "Look after the process in the background that makes the next command fast.",
        examples=("isolation pool status", "isolation pool stop"),
        notes='`isolation run` starts it. ISOLATION_POOL=off, or pool = "off" in the settings: none.',
    )
    added = group.add(
        "start",
        start,
        "Start a pool for commands such as this one; returns when it can be called.",
        examples=("isolation pool start",),
    )
    takes_json(added)
    added = group.add(
        "status",
        status,
        "List this user's pools.",
        examples=("isolation pool status --json",),
        notes="Exit code 1: none serves commands such as this one.",
    )
    takes_json(added)
    added = group.add(
        "stop",
        stop,
        "End this user's pools; commands under way go on to their end.",
        examples=("isolation pool stop",),
    )
    takes_json(added)


def start(given: Namespace) -> int:
    """Start a pool."""
    from isolation.cli.ahead.standing import is_watched  # noqa: PLC0415 - hashes are slow to import
    from isolation.cli.ahead.start import start as start_pool  # noqa: PLC0415 - as above

    settings = settings_of(given)
    if settings.pool_s is None:
        raise InputError(
            "the settings want no pool", hint='ISOLATION_POOL, or `pool = "off"` in the settings, says so.'
        )
    if is_watched():
        raise InputError(
            "a command that is traced has no pool", hint="Start it outside of the tracer, without LD_PRELOAD."
        )
    why = start_pool(settings)
    if why:
        raise StorageError(
            f"the pool did not come up: {why}", hint="Commands run all the same, each in its own process."
        )
    return status(given)


def status(given: Namespace) -> int:
    """List the pools."""
    pools = _pools()
    if given.json:
        print_json([asdict(pool) for pool in pools])
    else:
        say(pools_text(pools))
    return 0 if any(pool.serves_here for pool in pools) else _NONE


def stop(given: Namespace) -> int:
    """End the pools."""
    from isolation.cli.ahead.place import clear  # noqa: PLC0415 - slow to import
    from isolation.cli.ahead.standing import folder  # noqa: PLC0415 - as above

    stopped = clear(folder())
    if given.json:
        print_json(stopped)
    else:
        say(f"ended: {', '.join(map(str, stopped))}" if stopped else "no pool is there")
    return 0


def pools_text(pools: list[Pool]) -> str:
    """Show pools to a person."""
    from isolation.cli.table import table  # noqa: PLC0415 - only for people
    from isolation.units import format_bytes, format_seconds  # noqa: PLC0415 - as above

    if not pools:
        return "no pool is there"
    head = ("pid", "age", "memory", "commands", "")
    rows = [
        (
            str(pool.pid),
            format_seconds(pool.age_s),
            format_bytes(pool.memory_bytes),
            str(pool.commands),
            "" if pool.serves_here else "for other places, or other code",
        )
        for pool in pools
    ]
    return "\n".join(table([head, *rows], right=[0, 1, 2, 3], indent=""))


def _pools() -> list[Pool]:
    import time  # noqa: PLC0415 - only for the status

    import psutil  # noqa: PLC0415 - slow to import

    from isolation.cli.ahead.place import taken  # noqa: PLC0415 - slow to import
    from isolation.cli.ahead.standing import folder, key  # noqa: PLC0415 - as above

    pools = []
    for path, pid in taken(folder()):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            process = psutil.Process(pid)
            below = process.children(recursive=True)
            attendants = {attendant.pid for attendant in process.children()}
            pools.append(
                Pool(
                    pid=pid,
                    serves_here=path.name == key(),
                    age_s=round(time.time() - process.create_time(), 3),
                    memory_bytes=process.memory_info().rss,
                    commands=sum(_has_parent(command, attendants) for command in below),
                )
            )
    return pools


def _has_parent(process: psutil.Process, parents: set[int]) -> bool:
    import psutil  # noqa: PLC0415 - slow to import

    try:
        return process.ppid() in parents
    except psutil.NoSuchProcess:
        return False
