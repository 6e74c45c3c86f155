"""Plugins: what a program registers, and what it finds in folders and packages without running any of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from isolation.errors import InputError
from scriptlets.framework import BaseScriptlet
from scriptlets.plugin_manager import PluginManager

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.context import Context

MINE = """
raise RuntimeError("nobody's code runs while plugins are looked for")

class Mine(BaseScriptlet):
    '''Does mine.'''
    def run(self, context, params): ...
"""


class Registered(BaseScriptlet):
    """Does something."""

    required_params = ("source",)

    def __init__(self) -> None:
        super().__init__()
        self.name = "registered"
        self.version = "3"

    def run(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Tell what it sees."""
        return {"keys": context.keys(), "source": params["source"]}


def plain(context: object, params: object) -> None:
    """Do nothing at all."""


@pytest.fixture
def manager() -> PluginManager:
    return PluginManager()


def test_instances_classes_and_functions_are_registered(manager: PluginManager) -> None:
    """Under the name that each has for itself."""
    instance = Registered()

    assert manager.register_scriptlet(instance) == "registered"
    assert manager.register_scriptlet(Registered) == "Registered"
    assert manager.register_scriptlet(plain) == "plain"
    assert manager.register_scriptlet(plain, name="other") == "other"
    assert manager.list_scriptlets() == ["Registered", "other", "plain", "registered"]
    told = manager.describe("registered").told
    assert (told.function, told.version, told.description, told.parameters) == (
        "Registered",
        "3",
        "Does something.",
        ("source",),
    )
    assert manager.get_scriptlet("registered") is instance


@pytest.mark.parametrize("what", [BaseScriptlet, BaseScriptlet(), object(), 3, "name", type("Empty", (), {})])
def test_what_cannot_run_is_not_registered(manager: PluginManager, what: object) -> None:
    """Its first run would tell so; now is better."""
    with pytest.raises(InputError, match="is no scriptlet"):
        manager.register_scriptlet(what)


def test_a_name_that_another_has_is_refused(manager: PluginManager) -> None:
    """The same again is none."""
    instance = Registered()
    manager.register_scriptlet(instance)
    manager.register_scriptlet(instance)

    with pytest.raises(InputError, match="two scriptlets are named 'registered'"):
        manager.register_scriptlet(Registered())


def test_a_folder_is_read_and_not_run(manager: PluginManager, tmp_path: Path) -> None:
    """What cannot be read is told with its reason, and the rest is there."""
    (tmp_path / "scriptlet_mine.py").write_text(MINE)
    (tmp_path / "scriptlet_bad.py").write_text("x = (")

    assert manager.load_folder(tmp_path) == ["Mine"]
    assert "scriptlet_mine" not in sys.modules
    assert [one.path.rpartition("/")[2] for one in manager.unreadable] == ["scriptlet_bad.py:2"]
    assert manager.describe("Mine").told.description == "Does mine."
    with pytest.raises(InputError, match="was read and not imported") as refused:
        manager.get_scriptlet("Mine")
    assert refused.value.hint == "Name it in a recipe: module scriptlet_mine, function Mine."
    with pytest.raises(InputError) as unknown:
        manager.describe("Mien")
    assert unknown.value.hint == "Did you mean 'Mine'?"


def test_two_files_that_offer_one_name_are_told(manager: PluginManager, tmp_path: Path) -> None:
    """The first keeps it."""
    (tmp_path / "scriptlet_a.py").write_text(MINE)
    (tmp_path / "scriptlet_b.py").write_text(MINE)

    assert manager.load_folder(tmp_path) == ["Mine"]
    assert [one.why for one in manager.unreadable] == ["two scriptlets are named 'Mine'"]


def test_entry_points_of_installed_packages_are_read(
    manager: PluginManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package's own file is read where it lies; not even its ``__init__`` is imported."""
    (tmp_path / "offering").mkdir()
    (tmp_path / "offering" / "__init__.py").write_text("raise RuntimeError")
    (tmp_path / "offering" / "work.py").write_text(MINE)
    info = tmp_path / "offering-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offering\nVersion: 1.0\n")
    points = "mine = offering.work:Mine\ngone = offering.work:Gone\nfar = elsewhere:Far\n"
    (info / "entry_points.txt").write_text(f"[isolation.scriptlets]\n{points}")
    (info / "RECORD").write_text("offering/__init__.py,,\noffering/work.py,,\n")
    monkeypatch.syspath_prepend(tmp_path)

    assert manager.load_entry_points() == ["Mine"]
    assert "offering" not in sys.modules
    plugin = manager.describe("Mine")
    assert (plugin.source, plugin.told.module) == (str(tmp_path / "offering" / "work.py"), "offering.work")
    assert sorted(one.why for one in manager.unreadable) == [
        "offering.work offers no scriptlet 'Gone'",
        "the package has no file of elsewhere",
    ]
