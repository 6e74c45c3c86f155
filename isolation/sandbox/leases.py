"""Host-wide leases of uids: the kernel's quotas are per uid, so every run has one of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.errors import EngineError
from isolation.owner import Owner, this_process
from isolation.sandbox.groups.files import write

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST_UID = 231_072
UIDS = 65_536
_TRIES = 200


def leases_folder() -> Path:
    """Return the folder of this host's leases, gone after a reboot as the containers are."""
    if os.geteuid() == 0:
        return Path("/run/isolation/uids")
    own = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/isolation-{os.geteuid()}"  # noqa: S108 - made 0700 below
    return Path(own) / "isolation" / "uids"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """
    A uid that is taken. ``owner`` None: the file was damaged, so nobody can say whose it is.

    ``claimed_as`` is what a cell that stood ready would be called had it been made for its (first) run; else empty.
    """

    uid: int
    cell: str
    owner: Owner | None
    claimed_as: str = ""


class Leases:
    """
    Leases as files named by uid; whoever links one into place holds it.

    A lease is taken before anything else of a cell and given back after all of it, so whatever bears the name of a
    cell without a living lease is left over.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def stages(self) -> Path:
        """Where the folders of each cell are laid out, by uid; a stage is there only while its lease is held."""
        return self._folder.parent / "cells"

    def take(self, cell: str) -> int:
        """Lease a uid to a cell of this process. Raises EngineError where none is free, or none can be written down."""
        hint = "`isolation clean` frees stale leases."
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for _ in range(_TRIES):
                uid = FIRST_UID + secrets.randbelow(UIDS)
                if self._write_down(uid, f"{cell}\n{this_process().text()}\n"):
                    return uid
        except OSError as error:
            raise EngineError(f"no uid can be leased in {self._folder}: {error.strerror}", hint=hint) from error
        raise EngineError(f"no free uid found for a run in {_TRIES} tries", hint=hint)

    def assign(self, uid: int, cell: str, claimed_as: str) -> None:
        """Write down for which run a cell that stood ready was claimed. Raises EngineError."""
        aside = self._folder / f".{secrets.token_hex(8)}"
        try:
            write(aside, f"{cell}\n{this_process().text()}\n{claimed_as}\n")
            aside.rename(self._folder / str(uid))
        except OSError as error:
            hint = "`isolation clean` frees stale leases."
            raise EngineError(f"a lease cannot be written in {self._folder}: {error.strerror}", hint=hint) from error

    def release(self, uid: int) -> None:
        """Give a uid back: only after its container is proven gone."""
        (self._folder / str(uid)).unlink(missing_ok=True)

    def held(self) -> tuple[Lease, ...]:
        """List the leases that are held."""
        return tuple(self._held()) if self._folder.is_dir() else ()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Wait for whoever cleans up on this host, and hold up others: two would take from each other's hands."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._folder.with_name("cleaning.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _write_down(self, uid: int, text: str) -> bool:
        """Write a lease, whole or not at all; tells whether the uid was free."""
        aside = self._folder / f".{secrets.token_hex(8)}"
        try:
            aside.write_text(text, encoding="utf-8")
            (self._folder / str(uid)).hardlink_to(aside)
        except FileExistsError:
            return False
        finally:
            aside.unlink(missing_ok=True)
        return True

    def _held(self) -> Iterator[Lease]:
        for path in sorted(path for path in self._folder.iterdir() if path.name.isdecimal()):
            with contextlib.suppress(FileNotFoundError):
                cell, owner, claimed_as, *_ = [*path.read_text(encoding="utf-8").splitlines(), "", "", ""]
                yield Lease(uid=int(path.name), cell=cell, owner=Owner.read(owner), claimed_as=claimed_as)
