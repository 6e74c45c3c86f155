"""Settings of the kernel that make a second wall behind a cell's own, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from isolation.sandbox.doctor.check import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isolation.sandbox.doctor.check import Host


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: at least, or exactly, so much; what it is good for."""

    name: str
    wanted: int
    meaning: str
    how: Literal["at least", "exactly"] = "at least"


SETTINGS = (
    Setting("kernel.io_uring_disabled", 2, "closes io_uring, as our filter does to cells"),
    Setting("kernel.unprivileged_bpf_disabled", 1, "keeps programs in the kernel to root"),
    Setting("kernel.perf_event_paranoid", 3, "keeps the processor's counters to root"),
    Setting("kernel.kptr_restrict", 2, "hides the kernel's addresses"),
    Setting("kernel.dmesg_restrict", 1, "hides the kernel's log, which tells of runs"),
    Setting("kernel.yama.ptrace_scope", 2, "lets no process look into others of its user"),
    Setting("fs.protected_symlinks", 1, "follows no link of somebody else's in a shared folder"),
    Setting("fs.protected_hardlinks", 1, "lets nobody link files of others"),
    Setting("fs.protected_fifos", 2, "opens no pipe of somebody else's in a shared folder by mistake"),
    Setting("fs.protected_regular", 2, "opens no file of somebody else's in a shared folder by mistake"),
    Setting("fs.suid_dumpable", 0, "leaves nothing to read when a program of root's crashes", "exactly"),
    Setting("kernel.keys.root_maxkeys", 10_000, "is room for the keyrings of hundreds of containers"),
)
"""Which of them a kernel has depends on its version and on how it was built; what it lacks is not asked for."""


def check_settings(host: Host) -> Iterator[Check]:
    """Look at each setting that this kernel has."""
    for setting in SETTINGS:
        found = host.setting(setting.name)
        if found.lstrip("-").isdecimal():
            yield _checked(setting, int(found))
    yield from _core_pattern(host.setting("kernel.core_pattern"))


def _checked(setting: Setting, found: int) -> Check:
    holds = found == setting.wanted if setting.how == "exactly" else found >= setting.wanted
    return Check(
        subject="walls",
        name=setting.name,
        status="ok" if holds else "advice",
        found=str(found),
        wanted=str(setting.wanted) if setting.how == "exactly" else f"{setting.wanted} or more",
        meaning=setting.meaning,
        command="" if holds else f"sysctl -w {setting.name}={setting.wanted}",
    )


def _core_pattern(found: str) -> Iterator[Check]:
    piped = found.startswith("|")
    if found:
        yield Check(
            subject="walls",
            name="kernel.core_pattern",
            status="advice" if piped else "ok",
            found=found.split(maxsplit=1)[0],
            wanted="no pipe",
            meaning="hands what crashes to a program, as root; cells are exempt, by their limit of core files"
            if piped
            else "names files, and cells write none",
            mend="Set it to a file's name, if nothing else here needs that program." if piped else "",
            command="sysctl -w kernel.core_pattern=core" if piped else "",
        )
