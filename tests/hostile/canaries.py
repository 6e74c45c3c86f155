"""G1 and G2: things of the host that no attack may change, and words that no attack may learn."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BINARIES = ("docker", "dockerd", "docker-init", "containerd", "containerd-shim-runc-v2", "runc", "crun", "runsc")
_SYSTEM_FILES = ("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/ld.so.cache", "/proc/sys/kernel/core_pattern")
Facts = tuple[int, int, int, int, int, int]


def facts_of(path: Path) -> Facts:
    """Return inode, mode, owner, size and time of the last change of content; links are not followed."""
    found = path.lstat()
    return (found.st_ino, found.st_mode, found.st_uid, found.st_gid, found.st_size, found.st_mtime_ns)


def hash_of(path: Path) -> str:
    """Hash what a file or a link holds; empty for anything else."""
    if path.is_symlink():
        return str(path.readlink())
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class HostCanary:
    """A tree of the host, its container binaries and a few of its files, as they were when this was made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "sub").mkdir(parents=True)
        (folder / "plain.txt").write_text("a canary\n")
        (folder / "sub" / "private").write_text("another\n")
        (folder / "sub" / "private").chmod(0o600)
        (folder / "link").symlink_to("plain.txt")
        (folder / "hard").hardlink_to(folder / "plain.txt")
        named = (*(found for name in _BINARIES if (found := shutil.which(name))), *_SYSTEM_FILES)
        watched = {Path(path).resolve() for path in named if Path(path).exists()}
        self._paths = (folder, *sorted(folder.rglob("*")), *sorted(watched))
        self._facts = {path: facts_of(path) for path in self._paths if not _is_kernels(path)}
        self._hashes = {path: hash_of(path) for path in self._paths}

    def check_facts(self) -> None:
        """Assert that nothing was touched, by what the file system says of it: cheap, for after every attack."""
        assert sorted(self.folder.rglob("*")) == sorted(path for path in self._paths if self.folder in path.parents)
        touched = [str(path) for path, facts in self._facts.items() if facts_of(path) != facts]
        assert not touched, f"G1: the host was touched: {', '.join(touched)}"

    def check_content(self) -> None:
        """Assert that every byte is what it was."""
        changed = [str(path) for path, was in self._hashes.items() if hash_of(path) != was]
        assert not changed, f"G1: the host was changed: {', '.join(changed)}"


def _is_kernels(path: Path) -> bool:
    return path.is_relative_to("/proc")


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """Words that exist on the host, each in one place, while attacks run."""

    environment: str = field(default_factory=lambda: f"canary-env-{secrets.token_hex(16)}")
    tenant: str = field(default_factory=lambda: f"canary-tenant-{secrets.token_hex(16)}")
    etc: str = field(default_factory=lambda: f"canary-etc-{secrets.token_hex(16)}")
    file: Path = field(default_factory=lambda: Path(f"/etc/isolation-canary-{os.getpid()}"))
    variable: str = "ISOLATION_CANARY"

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Have one in our environment and one in a file of the host that anybody may read."""
        os.environ[self.variable] = self.environment
        self.file.write_text(self.etc)
        self.file.chmod(0o644)
        try:
            yield
        finally:
            del os.environ[self.variable]
            self.file.unlink()

    def check(self, content: bytes, where: object) -> None:
        """Assert that none of them is there."""
        for word in (self.environment, self.tenant, self.etc):
            assert word.encode() not in content, f"G2: a secret of the host is in {where}"

    def check_files(self, paths: Iterable[Path]) -> None:
        """Assert that none of them is in a file."""
        for path in paths:
            if path.is_file() and not path.is_symlink():
                self.check(path.read_bytes(), path)
