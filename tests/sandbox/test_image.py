"""The runner image, asked of the engine and looked through from inside."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import pytest

from isolation.testing import IMAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Json = dict[str, Any]
pytestmark = pytest.mark.engine
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def image() -> Iterator[Json]:
    client = docker.APIClient(version="auto")
    inspect: Callable[[str], Json] = client.inspect_image
    yield inspect(IMAGE)
    client.close()


def test_the_image_is_small_and_asks_for_nothing(image: Json) -> None:
    """No volume that would be writable, no health check, no root, nothing run on build."""
    config = image["Config"]

    assert image["Size"] < 120 * 2**20
    assert not config.get("Volumes")
    assert not config.get("Healthcheck")
    assert not config.get("OnBuild")
    assert config["User"] == "65534:65534"


INSPECT = """
import os, sys
found = []
for at, folders, names in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(at, name) not in {"/proc", "/sys", "/dev"}]
    for name in names:
        path = os.path.join(at, name)
        mode = os.lstat(path).st_mode
        if mode & 0o6000 or os.listxattr(path, follow_symlinks=False):
            found.append(path)
print(found)
"""


def test_no_file_of_the_image_gives_rights() -> None:
    """A 2 and 3: no setuid, no setgid, no file capability, whatever the engine's options do about them."""
    args = ["--rm", "--network=none", "--user=0", "--entrypoint=/usr/bin/python3", IMAGE, "-c", INSPECT]
    found = subprocess.run(["docker", "run", *args], capture_output=True, text=True, check=True)  # noqa: S607

    assert found.stdout.strip() == "[]"


def test_the_list_of_the_images_modules_is_the_images() -> None:
    """Packaging believes the list: a module that only seems to be there would be missed when it runs."""
    listed = (ROOT / "isolation/packaging/image_modules.txt").read_text()
    made = subprocess.run([ROOT / "scripts/image", "--modules"], capture_output=True, text=True, check=True)

    assert listed == made.stdout
