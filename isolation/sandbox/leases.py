"""Host-wide leases of uids: the kernel's quotas are per uid, so every run has one of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST_UID = 231_072
UIDS = 65_536
_TRIES = 200


def leases_folder() -> Path:
    """Return the folder of this host's leases, gone after a reboot as the containers are."""
    if os.geteuid() == 0:
        return Path("/run/isolation/uids")
    return Path(os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/isolation-{os.geteuid()}") / "isolation" / "uids"  # noqa: S108 - made 0700 below


class Leases:
    """Leases as files named by uid; whoever creates one (``O_EXCL``) holds it. A file holds its container's name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, holder: str) -> int:
        """Lease a uid to a container's name. Raises EngineError where none is free."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for _ in range(_TRIES):
            uid = FIRST_UID + secrets.randbelow(UIDS)
            try:
                fd = os.open(self._folder / str(uid), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                continue
            with open(fd, "w", encoding="utf-8") as file:
                file.write(holder)
            return uid
        raise EngineError(f"no free uid found for a run in {_TRIES} tries", hint="`isolation clean` frees stale leases.")

    def release(self, uid: int) -> None:
        """Give a uid back: only after its container is proven gone."""
        (self._folder / str(uid)).unlink(missing_ok=True)

    def held(self) -> Iterator[tuple[int, str]]:
        """List leased uids with their holders."""
        if not self._folder.is_dir():
            return
        for path in sorted(self._folder.iterdir()):
            with contextlib.suppress(FileNotFoundError):
                yield int(path.name), path.read_text(encoding="utf-8")
