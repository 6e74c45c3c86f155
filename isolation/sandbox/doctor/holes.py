"""
Known holes of what a cell is started with, as data: what is fixed where, what an attack needs, why it matters or not.

A version tells what its makers fixed. A distribution may have mended an older one, which no version tells; so a hole is
never said to be there, only that it may be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Numbers = tuple[int, ...]
_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?(?:[-~]?rc\.?(\d+))?", re.IGNORECASE)
_DATE = re.compile(r"20\d{6}")
_NO_CANDIDATE = 10**6


@dataclass(frozen=True, kw_only=True, slots=True)
class Hole:
    """
    Holes that were fixed together.

    ``fixed``: the first version of each branch without them; of an older branch all have them, of a newer one none is
    known. ``needs``: what an attack takes; ``ours``: why it does not get it.
    """

    ids: tuple[str, ...]
    fixed: tuple[str, ...]
    needs: str
    ours: str


_OWN_IMAGE = "a cell's image is our own"

HOLES: dict[str, tuple[Hole, ...]] = {
    "engine": (
        Hole(
            ids=("CVE-2026-41567", "GHSA-x86f-5xw2-fm2r", "GHSA-vp62-88p7-qqf5", "GHSA-rg2x-37c3-w2rh"),
            fixed=("29.5.1",),
            needs="files copied into or out of a container (docker cp)",
            ours="all goes through the channel; copy none by hand",
        ),
    ),
    "runc": (
        Hole(ids=("CVE-2024-21626",), fixed=("1.1.12",), needs="a hostile image or working directory", ours=_OWN_IMAGE),
        Hole(
            ids=("CVE-2024-45310",),
            fixed=("1.1.14", "1.2.0-rc.3"),
            needs="a folder that two containers share",
            ours="a cell shares none that it could change",
        ),
        Hole(
            ids=("CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881"),
            fixed=("1.2.8", "1.3.3", "1.4.0-rc.3"),
            needs="a terminal, a hostile image, or mounts of the attacker's",
            ours="a cell has no terminal, and its mounts and image are our own",
        ),
        Hole(
            ids=("CVE-2026-41579",),
            fixed=("1.3.6", "1.4.3", "1.5.0"),
            needs="a hostile image, in which /dev is a link",
            ours=_OWN_IMAGE,
        ),
    ),
    "crun": (
        Hole(
            ids=("CVE-2026-30892", "CVE-2026-47766", "CVE-2026-84042", "CVE-2026-88264", "CVE-2026-88265"),
            fixed=("1.30",),
            needs="a hostile image, or mounts of the attacker's",
            ours="a cell's mounts and image are our own",
        ),
    ),
    "runsc": (
        Hole(
            ids=("CVE-2025-2713",),
            fixed=("20250319",),
            needs="files in the container that are not for its user",
            ours="a cell has none",
        ),
        Hole(
            ids=("CVE-2026-96812",),
            fixed=("20261001",),  # the advisory, of 2026-09-25, names a commit: releases of October were made after it
            needs="a device node in a hostile image, or one of the host's",
            ours=f"{_OWN_IMAGE}, and a cell gets no device",
        ),
    ),
    "python": (
        Hole(
            ids=(
                "CVE-2025-4138", "CVE-2025-4330", "CVE-2025-4435", "CVE-2025-4517", "CVE-2025-8194", "CVE-2026-11940",
                "CVE-2026-82049",
            ),
            fixed=("3.11.17",),
            needs="an archive of the attacker's that is unpacked (tarfile)",
            ours="nothing that a run leaves is ever unpacked",
        ),
    ),
}  # fmt: skip
"""By what has them. Sources: the advisories of these ids."""


HOLES_MEAN = "may have known holes; none is reached from a cell"


def holes_of(component: str, version: str) -> tuple[Hole, ...]:
    """
    Return the known holes that this version may have; none for a version that cannot be read, which proves nothing.

    >>> [hole.ids[0] for hole in holes_of("runc", "1.2.8")]
    ['CVE-2026-41579']
    """
    return tuple(_open_holes(component, version))


def _open_holes(component: str, version: str) -> Iterator[Hole]:
    found = numbers(version)
    for hole in HOLES[component]:
        if found is not None and not _is_fixed(found, hole):
            yield hole


def numbers(version: str) -> Numbers | None:
    """
    Read a version so that it can be compared: a release candidate comes before its release; gVisor's are dates.

    >>> numbers("1.4.0-rc.3") < numbers("1.4.0") < numbers("1.4.1+ds1-1")
    True
    >>> numbers("release-20250319.0"), numbers("0.0~20221219.0"), numbers("unknown")
    ((20250319,), (20221219,), None)
    """
    dated = _DATE.search(version)
    if dated:
        return (int(dated[0]),)
    found = _VERSION.search(version)
    if found is None:
        return None
    major, minor, patch, candidate = found.groups()
    return int(major), int(minor), int(patch or 0), int(candidate) if candidate else _NO_CANDIDATE


def _is_fixed(version: Numbers, hole: Hole) -> bool:
    """
    Tell whether a version's own branch has the fix, or is newer than all that got it.

    A branch is the first two numbers; a date is compared as a whole.
    """
    fixes = [fix for text in hole.fixed if (fix := numbers(text)) is not None]
    if len(version) == 1 or any(len(fix) == 1 for fix in fixes):
        return any(version >= fix for fix in fixes)
    own_branch = [fix for fix in fixes if fix[:2] == version[:2]]
    if own_branch:
        return version >= min(own_branch)
    return bool(fixes) and version[:2] > max(fix[:2] for fix in fixes)
