"""
One process as /proc shows it, taken apart: the same reader for the host's view of it and for the cell's own.

Every description is a short text that can be compared, kept and shown. What could not be read is absent.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from isolation.sandbox.attestation.mounts import read_mounts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from isolation.sandbox.attestation.mounts import Mount

_TEXTS_AGAIN = ("status", "mountinfo", "cgroup")
TEXTS = ("status", "mountinfo", "limits", "cgroup", "net/dev", "oom_score_adj", "attr/current")
FOLDERS = ("/dev", "/proc", "/sys", "/sys/devices/virtual")
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
"""Those that a cell has to itself; the user namespace is the engine's."""
RLIMITS = {
    "Max file size": "fsize",
    "Max core file size": "core",
    "Max processes": "nproc",
    "Max open files": "nofile",
    "Max locked memory": "memlock",
    "Max pending signals": "sigpending",
    "Max msgqueue size": "msgqueue",
    "Max nice priority": "nice",
    "Max realtime priority": "rtprio",
}
"""The lines of /proc/<pid>/limits, proc(5), and what a create body calls them."""
_LINKS = {"core"}
"""To /proc/kcore, which is masked: runc makes it where the kernel has such a file, crun always. It is no device."""
_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
_SECCOMP = {"0": "none", "1": "strict", "2": "filter"}


@dataclass(frozen=True, kw_only=True)
class Process:
    """Texts of /proc by name, links of namespaces, names in folders (as seen by the process), its environment."""

    texts: Mapping[str, str]
    namespaces: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, list[str]] = field(default_factory=dict)
    environment: Mapping[str, str] | None = None
    rlimits: Mapping[str, Sequence[str]] | None = None
    """Soft and hard, by the engine's names; None: they stand in the text of ``limits``."""

    @cached_property
    def mounts(self) -> tuple[Mount, ...] | None:
        """What is mounted there; None where that could not be read."""
        text = self.texts.get("mountinfo")
        return None if text is None else read_mounts(text)


def read_process(home: Path) -> Process:
    """Read a process from outside, in its folder of /proc; whatever this user may not read is left out."""
    environ = _text(home / "environ")
    return Process(
        texts=_texts(home, TEXTS),
        namespaces=namespaces_of(home),
        folders=_folders(home, FOLDERS),
        environment=None if environ is None else _environment(environ),
    )


def read_again(home: Path, folders: Mapping[str, list[str]]) -> Process:
    """Read of it what could have become otherwise; ``folders`` are those of its kernel, as they were."""
    return Process(texts=_texts(home, _TEXTS_AGAIN), namespaces=namespaces_of(home), folders=folders)


def kernel_folders(home: Path) -> dict[str, list[str]]:
    """Read the names in those folders that are its kernel's, and nobody's to change."""
    return _folders(home, [path for path in FOLDERS if path != "/dev"])


def namespaces_of(home: Path) -> dict[str, str]:
    """Read a process's namespaces, such as ``net:[4026531840]``."""
    found = {}
    for name in (*NAMESPACES, "user"):
        with contextlib.suppress(OSError):
            found[name] = os.readlink(f"{home}/ns/{name}")  # noqa: PTH115 - as in _text()
    return found


def describe(process: Process) -> dict[str, str]:
    """Describe what confines the process, by name."""
    described = {**_identity(process), **_from_small_texts(process)}
    if process.folders.get("/dev"):
        described["devices"] = " ".join(sorted({*process.folders["/dev"]} - _LINKS))
    if process.rlimits is not None:
        described["limits of a process"] = rlimits_text(process.rlimits)
    if process.environment is not None:
        described["environment"] = environment_text(process.environment)
    return described


def environment_text(environment: Mapping[str, str]) -> str:
    """Write an environment so that it can be compared; the cell's own host name says nothing."""
    return " ".join(f"{key}={value}" for key, value in sorted(environment.items()) if key != "HOSTNAME")


def rlimits_text(limits: Mapping[str, Sequence[str]]) -> str:
    """Write limits of a process, each as ``name=soft`` or ``name=soft:hard``."""
    return " ".join(f"{name}={':'.join(dict.fromkeys(values))}" for name, values in sorted(limits.items()))


def _identity(process: Process) -> dict[str, str]:
    text = process.texts.get("status")
    if text is None:
        return {}
    status = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    values = {name: value.split() for name, value in status.items()}
    uids, gids = values.get("Uid", []), values.get("Gid", [])
    held = [f"{name}={' '.join(values[name])}" for name in _SETS if name in values and not _is_zero(values[name])]
    described = {
        "uid": " ".join(sorted({*uids})),
        "gid": " ".join(sorted({*gids})),
        "groups": " ".join(group for group in values.get("Groups", []) if group not in gids) or "none",
    }
    if "CapEff" in values and "CapBnd" in values:  # gVisor has no ambient set to tell of
        described["capabilities"] = " ".join(held) or "none"
    if "NoNewPrivs" in values:
        described["new privileges"] = "refused" if values["NoNewPrivs"] == ["1"] else "possible"
    if "Seccomp" in values:
        mode = " ".join(values["Seccomp"])
        described["seccomp"] = _SECCOMP.get(mode, mode)
    return described


def _is_zero(words: Sequence[str]) -> bool:
    return len(words) == 1 and set(words[0]) == {"0"}


def _from_small_texts(process: Process) -> dict[str, str]:
    described = {}
    for name, text in process.texts.items():
        if name == "limits" and process.rlimits is None:
            described["limits of a process"] = rlimits_text(dict(_rlimits(text)))
        elif name == "net/dev":
            described["interfaces"] = " ".join(sorted(_interfaces(text))) or "none"
        elif name == "oom_score_adj":
            described["out-of-memory score"] = text.strip()
        elif name == "attr/current" and text.strip("\0\n "):
            described["security module"] = text.strip("\0\n ")
    return described


def _rlimits(text: str) -> Iterator[tuple[str, tuple[str, str]]]:
    for line in text.splitlines():
        for title, name in RLIMITS.items():
            words = line.removeprefix(title).split()
            if line.startswith(title + " ") and len(words) > 1:
                yield name, (words[0], words[1])


def _interfaces(text: str) -> Iterator[str]:
    for line in text.splitlines():
        name, colon, _ = line.partition(":")
        if colon:
            yield name.strip()


def _environment(text: str) -> dict[str, str]:
    return dict(item.split("=", 1) for item in text.split("\0") if "=" in item)


def _texts(home: Path, names: Iterable[str]) -> dict[str, str]:
    return {name: text for name in names if (text := _text(home / name)) is not None}


def _text(path: Path) -> str | None:
    try:
        with path.open("rb", buffering=0) as file:  # a run waits for it: this is the cheapest way
            return file.read().decode(errors="backslashreplace")
    except OSError:
        return None


def _folders(home: Path, paths: Iterable[str]) -> dict[str, list[str]]:
    return {path: names for path in paths if (names := _names(home / "root", path)) is not None}


def _names(root: Path, path: str) -> list[str] | None:
    try:
        found = os.listdir(f"{root}{path}")  # noqa: PTH208 - as above
    except OSError:
        return None
    return sorted(name for name in found if path != "/proc" or not name.isdecimal())
