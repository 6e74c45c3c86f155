from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from isolation.errors import PackageError
from isolation.packaging.load import load_recipe
from isolation.packaging.pack import pack
from isolation.packaging.requirements import Layers, recorded_lock, recorded_requirements, write_lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.packaging.conftest import Blobs, Folder

    Told = Callable[[Callable[[], object]], str]

LOCK = '# requirements: ["six>=1"]\nsix==1.17.0 \\\n    --hash=sha256:' + "0" * 64 + "\n"


@pytest.fixture
def layers(tmp_path: Path) -> Layers:
    return Layers(tmp_path / "layers")


def test_a_lock_made_from_the_same_requirements_is_used_as_it_is(layers: Layers) -> None:
    """Then no index is asked, and the run of last month is the run of today."""
    assert layers.lock(["six>=1"], LOCK) == LOCK
    assert recorded_requirements(LOCK) == ["six>=1"]
    assert recorded_requirements("six==1\n") is None


def test_a_lock_made_from_others_is_refused(layers: Layers, told: Told) -> None:
    """Running with what the recipe no longer asks for would be pretending."""
    assert told(lambda: layers.lock(["six>=2"], LOCK)) == (
        "recipe.lock: this lock was made from other requirements than the recipe has now\n"
        "Make it again: `isolation package . --lock -o recipe.lock`."
    )


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://example.org/", "-e .", "-r /etc/passwd", "six @ file:///etc/passwd", "./six.whl", "six>=1",
        "--hash=md5:0", "https://example.org/six.whl", "six==1 --global-option=x", "six==1 # x",
    ],
)  # fmt: skip
def test_a_lock_holds_pins_and_hashes_alone(layers: Layers, told: Told, line: str) -> None:
    """To an installer a line can be an option, an address or a path on the host."""
    expected = (
        f"recipe.lock:4: this is neither a pinned name nor a hash: {line!r}\n"
        "Make it again: `isolation package . --lock -o recipe.lock`."
    )
    assert told(lambda: layers.lock(["six>=1"], LOCK + line)) == expected
    assert told(lambda: layers.build(LOCK + line)) == expected


@pytest.mark.parametrize(
    ("requirement", "sentence"),
    [
        ("-r /etc/passwd", "is not a requirement"),
        ("--index-url=https://example.org", "is not a requirement"),
        ("six\n-r /etc/passwd", "is not a requirement"),
        ("./local", "is not a requirement"),
        ("six @ https://example.org/six.whl", "names an address"),
        ("six @ file:///etc/passwd", "names an address"),
        ("", "is not a requirement"),
    ],
)
def test_a_requirement_is_a_name_with_versions(layers: Layers, requirement: str, sentence: str) -> None:
    """Whatever else an installer would take is refused before it sees it."""
    with pytest.raises(PackageError, match=sentence):
        layers.lock([requirement])


def test_modules_are_found_by_the_names_that_import_them(layers: Layers, tmp_path: Path) -> None:
    """Distributions and modules have different names."""
    for name in ("six.py", "_fast.cpython-311-x86_64-linux-gnu.so", "yaml/__init__.py", "google/cloud/x.py",
                 "six-1.17.0.dist-info/RECORD", "bin/tool", "evil.pth"):  # fmt: skip
        path = tmp_path / "layer" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert layers.modules(tmp_path / "layer") == {"six", "_fast", "yaml", "google"}


def test_requirements_without_a_place_to_install_them_are_refused(folder: Folder, blobs: Blobs) -> None:
    """Not ignored."""
    folder.write(
        recipe_yaml="metadata: {name: x, requirements: [six]}\nsteps:\n  - {name: a, module: a, function: f}\n"
    )
    with pytest.raises(PackageError, match="no place to install"):
        pack(load_recipe(folder.path), blobs=blobs)


@pytest.mark.requirements
def test_a_requirement_is_locked_installed_once_and_importable(
    folder: Folder, blobs: Blobs, layers: Layers, tmp_path: Path
) -> None:
    """The whole way, with several builders at once."""
    folder.write(
        recipe_yaml="metadata: {name: x, requirements: ['six>=1']}\nsteps:\n  - {name: a, module: a, function: f}\n",
        a_py="import six\ndef f(): ...\n",
    )
    loaded = load_recipe(folder.path)
    path = write_lock(loaded, layers)
    lock = recorded_lock(folder.path)
    assert path.name == "recipe.lock"
    assert lock is not None
    assert recorded_requirements(lock) == ["six>=1"]
    with ThreadPoolExecutor(3) as pool:
        folders = set(pool.map(layers.build, [lock] * 3))
    assert len(folders) == 1
    layer = folders.pop()
    assert layers.modules(layer) == {"six"}
    assert [entry.name for entry in (tmp_path / "layers").iterdir()] == [layer.name]
    modes = {oct(entry.stat().st_mode & 0o7777) for entry in [layer, *layer.rglob("*")]}
    assert modes == {"0o555", "0o444"}
    if sys.version_info[:2] == (3, 11):
        assert list(layer.rglob("six*.pyc"))
    assert pack(loaded, blobs=blobs, layers=layers).lock == lock


@pytest.mark.requirements
def test_what_cannot_be_had_is_told_by_name(layers: Layers, told: Told) -> None:
    """A resolver's report is long; its reason is not."""
    assert told(lambda: layers.lock(["six==99"])) == (
        "the requirements (six==99) cannot be resolved: Because there is no version of six==99 "
        "and you require six==99\n"
        "Check the names and versions under requirements."
    )
    assert "Choose versions that have wheels" in told(lambda: layers.lock(["docopt"]))
