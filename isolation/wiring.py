"""The one place that chooses: which engine, which folder, which clock."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from isolation.clock import SystemClock
from isolation.errors import IsolationError
from isolation.stores import Stores

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from isolation.cleaning import Cleaned
    from isolation.controller import Controller
    from isolation.model.package import Package
    from isolation.sandbox.docker_engine import DockerEngine
    from isolation.sandbox.engine_beside import EngineBeside
    from isolation.settings import Settings
    from isolation.worker import Told, Worker


def open_stores(settings: Settings) -> Stores:
    """Open the state folder alone; no engine is asked."""
    return Stores(settings.state, settings.database, settings.namespace)


def pack(settings: Settings, recipe: Path, *, paths: Sequence[Path] = (), relock: bool = False) -> Package:
    """Pack a recipe without running it; no engine is asked. ``relock`` resolves its requirements anew."""
    from isolation.packaging.load import load_recipe  # noqa: PLC0415 - slow to import
    from isolation.packaging.pack import pack as pack_loaded  # noqa: PLC0415 - slow to import
    from isolation.packaging.requirements import Layers  # noqa: PLC0415 - slow to import

    with open_stores(settings) as stores:
        layers = Layers(stores.layers)
        loaded, searched = load_recipe(recipe), [*paths, *settings.paths]
        return pack_loaded(loaded, paths=searched, blobs=stores.blobs, layers=layers, relock=relock)


def engine_beside(settings: Settings) -> EngineBeside:
    """Begin to connect to the engine, in a process beside; to be called before any thread is started."""
    from isolation.sandbox.engine_beside import EngineBeside  # noqa: PLC0415 - only the command line wants it

    return EngineBeside(settings.engine)


def open_controller(
    settings: Settings,
    engine: EngineBeside | None = None,
    secrets: Mapping[str, str] | None = None,
    *,
    idle: int = 0,
) -> Controller:
    """
    Connect to the engine, unless one is given, and open the state folder; ``secrets`` go before those found.

    Up to ``idle`` cells are kept ready for runs to come.
    """
    from isolation.controller import Controller  # noqa: PLC0415 - slow to import
    from isolation.sandbox.cells import Cells, is_local  # noqa: PLC0415 - slow to import
    from isolation.sandbox.egress.folder import Egresses  # noqa: PLC0415 - slow to import
    from isolation.sandbox.leases import Leases, leases_folder  # noqa: PLC0415 - slow to import
    from isolation.sandbox.pool.borrow import Borrower  # noqa: PLC0415 - slow to import
    from isolation.vault import Vault  # noqa: PLC0415 - slow to import

    clock = SystemClock()
    leases, egresses = Leases(leases_folder()), Egresses(clock)
    connected = engine or _connect(settings)
    own = {"engine": connected, "leases": leases, "egresses": egresses}
    borrower = Borrower(settings.cells, connected.address, own) if settings.cells and not idle else None
    local = is_local(connected.address)
    return Controller(
        stores=open_stores(settings),
        engine=connected,
        cells=Cells(connected, leases, local=local, egresses=egresses, most_idle=idle, clock=clock, borrower=borrower),
        clock=clock,
        image=settings.image,
        default_policy=settings.policy,
        paths=settings.paths,
        environment=settings.environment,
        vault=Vault(given=secrets, file=settings.secrets, environment=os.environ),
    )


def lend_cells(settings: Settings, listener: socket.socket, life: int, *, most: int) -> None:
    """
    Keep cells ready for other processes until ``life`` can be read.

    The first is made at once, for a run of the policy and the image of these settings. Returns at once where no cell
    can be made before its run is known. Raises IsolationError.
    """
    from isolation.packaging.policy import load_policy  # noqa: PLC0415 - slow to import
    from isolation.sandbox.cells import Cells, is_local  # noqa: PLC0415 - slow to import
    from isolation.sandbox.egress.folder import Egresses  # noqa: PLC0415 - slow to import
    from isolation.sandbox.leases import Leases, leases_folder  # noqa: PLC0415 - slow to import
    from isolation.sandbox.pool.lend import Lender  # noqa: PLC0415 - slow to import

    engine, leases, egresses = _connect(settings), Leases(leases_folder()), Egresses(SystemClock())
    cells = Cells(engine, leases, local=is_local(engine.address), egresses=egresses, most_idle=most)
    if cells.pool is None:
        return
    with suppress(IsolationError):  # then who comes says what is wrong
        cells.expect(load_policy(settings.policy), engine.image_id(settings.image))
    own = {"engine": engine, "leases": leases, "egresses": egresses}
    Lender(cells, engine.address, own).lend(listener, life)


def _connect(settings: Settings) -> DockerEngine:
    from isolation.sandbox.docker_engine import DockerEngine  # noqa: PLC0415 - slow to import

    return DockerEngine(settings.engine)


def open_worker(controller: Controller, *, slots: int, tell: Callable[[Told], object] = lambda _: None) -> Worker:
    """Make a worker of a controller; it cleans up after dead processes of this machine, too."""
    from isolation.cleaning import clean  # noqa: PLC0415 - slow to import
    from isolation.sandbox.leases import Leases, leases_folder  # noqa: PLC0415 - slow to import
    from isolation.worker import Worker  # noqa: PLC0415 - slow to import

    leases = Leases(leases_folder())

    def clean_here() -> tuple[str, ...]:
        return clean(controller.stores, controller.engine, leases, controller.clock).runs

    return Worker(controller, slots=slots, clean=clean_here, tell=tell)


def clean_up(settings: Settings, *, dry_run: bool) -> Cleaned:
    """Take away what dead controllers left of this state folder's runs."""
    from isolation.cleaning import clean  # noqa: PLC0415 - slow to import
    from isolation.sandbox.leases import Leases, leases_folder  # noqa: PLC0415 - slow to import

    with open_stores(settings) as stores:
        return clean(stores, _connect(settings), Leases(leases_folder()), SystemClock(), dry_run=dry_run)
