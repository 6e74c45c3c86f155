"""Sends the files that the recipe left below /scratch/artifacts; the host names, counts and bounds them again."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from contract import ARTIFACT, CHUNK, PIECE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from channel import Channel

FOLDER = "/scratch/artifacts"


def send_artifacts(channel: Channel, limits: dict) -> None:
    """Send every regular file, in the order of its name; what is not one is named, not sent."""
    for count, (name, path) in enumerate(sorted(_walk())):
        if count > limits["artifact_count"]:
            return
        _send(channel, name, path)


def _walk() -> Iterator[tuple[str, str]]:
    for folder, folders, names in os.walk(FOLDER):
        folders.sort()
        for name in names:
            path = os.path.join(folder, name)
            yield os.fsencode(os.path.relpath(path, FOLDER)).decode("utf-8", "backslashreplace"), path


def _send(channel: Channel, name: str, path: str) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        channel.send_json(ARTIFACT, {"name": name, "size": None, "refused": error.strerror})
        return
    with open(fd, "rb", buffering=0) as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            channel.send_json(ARTIFACT, {"name": name, "size": None, "refused": "not a regular file"})
            return
        channel.send_json(ARTIFACT, {"name": name, "size": found.st_size, "refused": None})
        left = found.st_size
        while left:
            piece = file.read(min(left, PIECE_BYTES))
            if not piece:
                break
            channel.send(CHUNK, piece)
            left -= len(piece)
