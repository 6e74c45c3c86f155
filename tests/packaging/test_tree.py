from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from isolation.errors import StorageError
from isolation.model.package import Package, PackedFile, canonical
from isolation.packaging.load import load_recipe
from isolation.packaging.pack import pack
from isolation.packaging.tree import materialise, read_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packaging.conftest import Blobs, Folder


@pytest.fixture
def package(folder: Folder, blobs: Blobs) -> Package:
    recipe = "steps:\n  - {name: a, module: helpers.a, function: f, args: {x: [1.0, null]}, timeout: 5}\n"
    folder.write(recipe_yaml=recipe, helpers__a_py="def f(): ...")
    return pack(load_recipe(folder.path), blobs=blobs)


def test_a_tree_is_readable_for_all_and_writable_for_none(package: Package, blobs: Blobs, tmp_path: Path) -> None:
    """Every run has a uid of its own."""
    tree = materialise(package, tmp_path / "packages", blobs)
    assert tree.name == package.digest
    assert (tree / "helpers/a.py").read_text() == "def f(): ..."
    modes = {oct(path.stat().st_mode & 0o7777) for path in [tree, *tree.rglob("*")]}
    assert modes == {"0o555", "0o444"}
    assert [entry.name for entry in tree.parent.iterdir()] == [tree.name]


def test_a_tree_is_made_once_and_again_if_it_was_damaged(package: Package, blobs: Blobs, tmp_path: Path) -> None:
    """After a power cut, a file may have kept its name and lost its content."""
    tree = materialise(package, tmp_path / "packages", blobs)
    before = (tree / "recipe.yaml").stat().st_ino
    assert (materialise(package, tmp_path / "packages", blobs) / "recipe.yaml").stat().st_ino == before
    (tree / "helpers/a.py").chmod(0o644)
    (tree / "helpers/a.py").write_text("")
    materialise(package, tmp_path / "packages", blobs)
    assert (tree / "helpers/a.py").read_text() == "def f(): ..."


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "a//b", "a/./b", "", "a\0b", "x" * 300, "a/"])
def test_a_path_that_leads_elsewhere_is_refused(package: Package, blobs: Blobs, tmp_path: Path, path: str) -> None:
    """Whoever wrote the manifest; nothing is left behind."""
    digest = blobs.put(b"x")
    hostile = Package(recipe=package.recipe, files=(PackedFile(path=path, digest=digest, size_bytes=1),))
    with pytest.raises(StorageError, match="not a path that a package may have"):
        materialise(hostile, tmp_path / "packages", blobs)
    assert not os.path.lexists(tmp_path / "packages")
    with pytest.raises(StorageError):
        read_manifest(hostile.manifest())


def test_a_manifest_is_read_back_as_the_same_package(package: Package) -> None:
    """A rerun starts from the record alone."""
    again = read_manifest(package.manifest())
    assert again == package
    assert again.digest == package.digest


def test_a_damaged_manifest_is_refused(package: Package) -> None:
    """Whatever is not, byte for byte, what we write, has another digest than the package it describes."""
    good = json.loads(package.manifest())
    damaged = [
        b"", b"[]", b"{", b"\xff", b"[" * 100_000, package.manifest() + b" ", canonical({**good, "more": 1}),
        canonical({**good, "recipe": {}}), canonical({**good, "files": [{"path": "x"}]}),
        canonical({**good, "files": None}), canonical({**good, "files": [{"path": 1, "digest": 2, "size_bytes": 3}]}),
    ]  # fmt: skip
    for content in damaged:
        with pytest.raises(StorageError):
            read_manifest(content)
