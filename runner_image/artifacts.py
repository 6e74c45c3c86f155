"""Sends the files that the recipe left below /scratch/artifacts; the host names, counts and bounds them again."""

from __future__ import annotations

import os
import stat

from isolation.contract import ARTIFACT, CHUNK, PIECE_BYTES, Malformed, check_artifact_name

TYPE_CHECKING = False  # not typing's: run.py says why
if TYPE_CHECKING:
    from collections.abc import Iterator

    from channel import Channel

FOLDER = "/scratch/artifacts"
_NAME_CHARS = 1_000


def send_artifacts(channel: Channel, limits: dict) -> None:
    """Send every regular file, in the order of its name; what is not one is named, not sent."""
    sent = 0
    for name, path in sorted(_walk()):
        sent += _send(channel, name, path)
        if sent > limits["artifact_count"]:  # one more than may be: the host has seen it, and stops us
            return


def _walk() -> Iterator[tuple[str, str]]:
    if os.path.islink(FOLDER):  # os.walk follows its first step
        return
    closed: list[OSError] = []
    for folder, folders, names in os.walk(FOLDER, onerror=closed.append):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        yield from (_named(os.path.join(folder, name)) for name in (*names, *links))
    # A folder that cannot be read is named too: what lies in it is lost, and somebody should know.
    yield from (_named(error.filename) for error in closed if not isinstance(error, FileNotFoundError))


def _named(path: str) -> tuple[str, str]:
    return os.fsencode(os.path.relpath(path, FOLDER)).decode("utf-8", "backslashreplace"), path


def _send(channel: Channel, name: str, path: str) -> bool:
    try:
        check_artifact_name(name)
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except Malformed as error:
        return _refuse(channel, name, str(error))
    except OSError as error:
        return _refuse(channel, name, str(error.strerror))
    with open(fd, "rb", buffering=0) as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return _refuse(channel, name, "not a regular file")
        channel.send_json(ARTIFACT, {"name": name, "size": found.st_size, "refused": None})
        left = found.st_size
        while left:
            piece = file.read(min(left, PIECE_BYTES))
            if not piece:
                raise Malformed(f"the artifact {name!r} became shorter while it was read")
            channel.send(CHUNK, piece)
            left -= len(piece)
    return True


def _refuse(channel: Channel, name: str, why: str) -> bool:
    channel.send_json(ARTIFACT, {"name": name[:_NAME_CHARS], "size": None, "refused": why})
    return False
