"""Row 166: the same attacks on gVisor, and in what their end differs there; this list is all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.hostile.kit import Arena

DIFFERENCES = {
    1: "its /proc tells neither of no-new-privileges nor of the ambient set",
    2: "its mounts do not tell of nosuid and nodev: no file and no device of the host's can be opened through them",
    7: "it has no cgroups",
    8: "it does not close what is not dumpable; the runner's memory, where the nonce is, cannot be opened at all",
    11: "it gives every refusal of our filter the same number",
    12: "as row 11",
    15: "as row 11; not even the usual personality can be asked for",
    16: "its loader maps programs of a noexec file system; they gain nothing by it, as the rest of the row shows",
    17: "it has a /dev/fuse and a /dev/net/tun of its own, which lead to its own kernel",
    24: "its /proc has few files that could be written, and none of those that are made read-only elsewhere",
    26: "priorities and out-of-memory scores are numbers of its own kernel, which the host's does not see",
    27: "the host sees its processes, not the recipe's, and they need threads of their own",
    31: "it lets signals through to the first process: the runner ends, and there is no answer",
    32: "it needs threads of its own for each process, and does not live on when the host refuses one",
    33: "threads are its own, and refusing one is an error in the step, which nobody counts",
    36: "as row 32",
    41: "it counts no inodes: they are memory",
    43: "as row 41, and slow: it is given fewer files",
    47: "its own kernel holds the number of threads by a limit that is above all on the host",
    50: "it has no list of what there is of IPC",
    53: "as row 32, and it takes memory and time of the run's for itself: more of the bombs are ended by time",
    75: "its /proc and /sys are its own kernel's, with a command line that is not the host's",
    80: "the files of namespaces are its own kernel's, and so are the locks on them",
}
"""Each a sentence with the reason."""


def differs(arena: Arena, row: int) -> bool:
    """Tell whether a row ends otherwise here; only for rows on the list."""
    assert row in DIFFERENCES
    return arena.runtime == "runsc"
