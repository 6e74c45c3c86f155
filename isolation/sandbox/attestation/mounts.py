"""
The mounts of a cell against the list of those that it may have; source: proc(5), /proc/<pid>/mountinfo.

::

    /               read-only
    /package /in …  ours, read-only, and nameless: where they lie on the host does not show
    /tmp /scratch   tmpfs of the policy's size, noexec, nosuid, nodev
    /proc /sys …    the engine's, with what tells of the host masked
    anything else   is a mismatch
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isolation.sandbox.hardening import FOLDERS_WRITABLE, MASKED_PATHS, READONLY_PATHS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from isolation.model.policy import Limits

AS_ASKED = "as asked"
_SHUT = frozenset({"nosuid", "nodev", "noexec"})
_READ_ONLY = frozenset({"ro"})
_LEAST_WORDS = 10
_NAMELESS = re.compile(r"/|(/run)?/isolation/cells/\d+/\w+")
"""A file system of its own, or a folder or file of a stage: named by a uid that the cell knows anyway."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo. ``flags`` are the mount's own, ``data`` those of its file system."""

    root: str
    target: str
    flags: frozenset[str]
    kind: str
    source: str
    data: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a mount must be: its kind of file system (empty: any), and flags and data that it must have."""

    kind: str = ""
    flags: frozenset[str] = frozenset()
    data: frozenset[str] = frozenset()


def read_mounts(text: str) -> tuple[Mount, ...]:
    """Take mountinfo apart; a line that is none is left out, and so its mount is missing."""
    return tuple(_mounts(text))


def differences(
    mounts: Iterable[Mount], rules: Mapping[str, Rule], folders: Mapping[str, list[str]], *, covered: bool = True
) -> str:
    """
    Say in what the mounts differ from those that a cell must and may have; ``AS_ASKED`` if in nothing.

    ``folders`` are the names in some folders, by which it is known which of the paths to be covered (masked, or
    read-only) this kernel has; without ``covered`` there is nothing of the host's to cover.
    """
    found = {mount.target: mount for mount in mounts}
    said = [f"{target} is not mounted" for target in rules if target not in found]
    if covered:
        said += _uncovered(found, folders)
    for target, mount in found.items():
        said += _objections(mount, rules.get(target) or _rule_of_the_engine(mount))
    return "; ".join(said) or AS_ASKED


def names_of_the_host(mounts: Iterable[Mount], own: Collection[str]) -> str:
    """
    Say what our own mounts, by their targets, tell of where they lie on the host; ``none`` if nothing.

    The root file system's layers and ``/etc/hostname`` are the engine's, and show its own folders.
    """
    told = [mount.root for mount in mounts if mount.target in own and not _is_nameless(mount)]
    return " ".join(told) or "none"


def _is_nameless(mount: Mount) -> bool:
    layers = [item for item in mount.data if item.startswith(("lowerdir", "upperdir", "workdir"))]
    return _NAMELESS.fullmatch(mount.root) is not None and all("=/proc/self/fd/" in item for item in layers)


def rules(limits: Limits, uid: int, own: Iterable[str]) -> dict[str, Rule]:
    """Return what each mount that a cell must have must be; ``own`` are the targets of our own mounts."""
    scratch = {f"size={_kib(limits.tmp_bytes)}k", "mode=700", f"uid={uid}", f"gid={uid}"}
    made = {
        "/": Rule(flags=_READ_ONLY),
        "/proc": Rule("proc", _SHUT),
        "/dev": Rule("tmpfs", frozenset({"nosuid"})),
        "/dev/pts": Rule("devpts", frozenset({"nosuid", "noexec"})),
        "/sys": Rule("sysfs", _SHUT | _READ_ONLY),
    }
    made |= dict.fromkeys(own, Rule(flags=_READ_ONLY))
    inodes = set() if limits.tmp_inodes is None else {f"nr_inodes={limits.tmp_inodes}"}
    made |= dict.fromkeys(FOLDERS_WRITABLE, Rule("tmpfs", _SHUT | {"rw"}, frozenset(scratch | inodes)))
    if limits.shm_bytes:
        made["/dev/shm"] = Rule("tmpfs", _SHUT, frozenset({f"size={_kib(limits.shm_bytes)}k"}))  # noqa: S108 - the container's own
    return made


def rules_of_gvisor(limits: Limits, uid: int, own: Iterable[str]) -> dict[str, Rule]:
    """
    Return the same for gVisor, whose kernel has mounts of its own.

    It shows neither nosuid nor nodev (nothing in it is the host's), and does not limit inodes.
    """
    scratch = {f"size={limits.tmp_bytes}", "mode=0700", f"uid={uid}", f"gid={uid}"}
    made = {
        "/": Rule("9p", _READ_ONLY),
        "/proc": Rule("proc", frozenset({"noexec"})),
        "/dev": Rule("tmpfs"),
        "/dev/pts": Rule("devpts", frozenset({"noexec"})),
        "/sys": Rule("sysfs", _READ_ONLY | {"noexec"}),
    }
    made |= dict.fromkeys(own, Rule("9p", _READ_ONLY))
    made |= dict.fromkeys(FOLDERS_WRITABLE, Rule("tmpfs", frozenset({"rw", "noexec"}), frozenset(scratch)))
    if limits.shm_bytes:
        made["/dev/shm"] = Rule("tmpfs")  # noqa: S108 - the container's own
    return made


def _uncovered(found: Mapping[str, Mount], folders: Mapping[str, list[str]]) -> Iterator[str]:
    for path in MASKED_PATHS:
        if _exists(path, folders) and (path not in found or not _is_masked(found[path])):
            yield f"{path} is open"
    for path in READONLY_PATHS:
        if _exists(path, folders) and (path not in found or "ro" not in found[path].flags):
            yield f"{path} can be written"


def _rule_of_the_engine(mount: Mount) -> Rule | None:
    """Return the rule for a mount that an engine may make or not; None: no cell may have it."""
    if mount.target == "/sys/fs/cgroup":
        return Rule(flags=_SHUT | (_READ_ONLY if mount.kind == "cgroup2" else frozenset()))
    if mount.target.startswith("/sys/fs/cgroup/"):
        return Rule("cgroup", _SHUT | _READ_ONLY)
    if mount.target in MASKED_PATHS:
        return Rule()
    if mount.target in READONLY_PATHS or mount.target in {"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}:
        return Rule(flags=_READ_ONLY)
    return Rule("mqueue", _SHUT) if mount.target == "/dev/mqueue" else None


def _objections(mount: Mount, rule: Rule | None) -> Iterator[str]:
    if rule is None:
        yield f"{mount.target} is mounted ({mount.kind})"
        return
    if rule.kind and mount.kind != rule.kind:
        yield f"{mount.target} is {mount.kind}, not {rule.kind}"
    lacking = sorted(rule.flags - mount.flags) + sorted(rule.data - mount.data)
    if lacking:
        yield f"{mount.target} is not {','.join(lacking)}"


def _is_masked(mount: Mount) -> bool:
    """Tell whether a path is covered: a folder by an empty read-only tmpfs, a file by /dev/null (crun: the host's)."""
    null = mount.root == "/null" and mount.kind in {"tmpfs", "devtmpfs"}
    return null or (mount.kind == "tmpfs" and "ro" in mount.flags)


def _exists(path: str, folders: Mapping[str, list[str]]) -> bool:
    folder, _, name = path.rpartition("/")
    return name in folders.get(folder, ())


def _kib(size_bytes: int) -> int:
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    return -(-size_bytes // page_bytes) * (page_bytes // 1024)


def _mounts(text: str) -> Iterator[Mount]:
    for line in text.splitlines():
        words = line.split()
        if len(words) < _LEAST_WORDS or "-" not in words[:-3]:
            continue
        kind, source, data = words[words.index("-") + 1 :][:3]
        yield Mount(words[3], words[4], frozenset(words[5].split(",")), kind, source, frozenset(data.split(",")))
