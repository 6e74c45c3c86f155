"""Our runner image with some of its files replaced: what a container, assumed hostile, might run instead."""

from __future__ import annotations

import io
import os
import tarfile
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING

import docker

from isolation.sandbox.engine import engine_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_numbers = count(1)


@contextmanager
def changed(image: str, files: Mapping[str, str]) -> Iterator[str]:
    """Make an image whose files below /opt/runner have this content, and give its name for as long as it is there."""
    client = docker.APIClient(base_url=engine_address(), version="auto")
    name = f"isolation-changed-{os.getpid()}-{next(_numbers)}"
    try:
        container = client.create_container(image)["Id"]
        try:
            client.put_archive(container, "/opt/runner", _archive(files))  # it is never started
            client.commit(container, repository=name)
        finally:
            client.remove_container(container)
        yield name
        client.remove_image(name)
    finally:
        client.close()


def _archive(files: Mapping[str, str]) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            content = text.encode()
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return whole.getvalue()
