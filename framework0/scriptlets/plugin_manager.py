"""
Framework0's plugins: scriptlets that are registered, or found in folders and installed packages; on the host alone.

What is found is found by reading: nobody's code runs here. It is imported in the cell of a recipe that names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from inspect import getdoc, isclass, isfunction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isolation.errors import InputError, did_you_mean
from isolation.packaging.new_scriptlet import new_scriptlet
from isolation.packaging.scriptlets import Scriptlet, Unreadable, scan, scan_installed
from scriptlets.framework import BaseScriptlet

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, kw_only=True, slots=True)
class Plugin:
    """
    A scriptlet that the manager knows: registered by this program (``target`` is what was given), or found.

    ``source`` says where from: ``registered``, the file, or the entry point.
    """

    told: Scriptlet
    source: str
    target: object = None


class PluginManager:
    """Knows scriptlets by name. What could not be read, and why, is in ``unreadable``."""

    def __init__(self) -> None:
        self._plugins: dict[str, Plugin] = {}
        self.unreadable: list[Unreadable] = []

    def register_scriptlet(self, scriptlet: object, name: str | None = None) -> str:
        """
        Register a scriptlet, a class or an instance of one, or a function; returns the name that it is known by.

        That is ``name``, else the instance's ``name``, else the class's. InputError for what cannot run, and for a name
        that another has.
        """
        target: Any = scriptlet if isclass(scriptlet) or isfunction(scriptlet) else type(scriptlet)
        run = target if isfunction(target) else getattr(target, "run", None)
        if not callable(run) or run is BaseScriptlet.run:
            raise InputError(
                f"{scriptlet!r} is no scriptlet: it has no run()", hint="Derive its class from BaseScriptlet."
            )
        chosen = name or _own(scriptlet, "name") or target.__name__
        told = Scriptlet(
            name=chosen,
            function=target.__name__,
            kind="class" if isclass(target) else "function",
            module=target.__module__,
            path="",
            line=0,
            version=_own(scriptlet, "version"),
            description=_own(scriptlet, "description") or (getdoc(target) or "").partition("\n")[0],
            parameters=tuple(dict.fromkeys([*_names(scriptlet, "required_params"), *_names(scriptlet, "params")])),
        )
        self._add(Plugin(told=told, source="registered", target=scriptlet))
        return chosen

    def load_folder(self, folder: Path | str) -> list[str]:
        """Find the scriptlets in the ``scriptlet_*.py`` of a folder, by reading them; returns their names."""
        found, unreadable = scan(Path(folder))
        self.unreadable += unreadable
        return self._take(found)

    def load_entry_points(self) -> list[str]:
        """
        Find what installed packages offer as entry points of ``isolation.scriptlets``; returns their names.

        An entry point names a module and a class or function in it; only that module's file is read, and no package of
        it is imported.
        """
        found, unreadable = scan_installed()
        self.unreadable += unreadable
        return self._take(found)

    def list_scriptlets(self) -> list[str]:
        """Return the names of all, sorted."""
        return sorted(self._plugins)

    def describe(self, name: str) -> Plugin:
        """Return what is known of one. InputError where nothing is."""
        try:
            return self._plugins[name]
        except KeyError:
            hint = did_you_mean(name, self._plugins) or f"Known: {', '.join(self.list_scriptlets()) or 'none'}."
            raise InputError(f"there is no scriptlet {name!r}", hint=hint) from None

    def get_scriptlet(self, name: str) -> object:
        """Return what was registered under a name. InputError for one that was found by reading: it is not here."""
        plugin = self.describe(name)
        if plugin.target is None:
            raise InputError(
                f"the scriptlet {name!r} was read and not imported",
                hint=f"Name it in a recipe: module {plugin.told.module}, function {plugin.told.function}.",
            )
        return plugin.target

    def create_scriptlet_template(self, scriptlet_name: str) -> str:
        """
        Return the source of a scriptlet that works, for its author to change; it belongs into ``scriptlet_*.py``.

        The name is given as in ``DataProcessor`` or ``data_processor``. InputError for what can be none. With its test
        and its file, `isolation scriptlet new` writes the same.
        """
        return new_scriptlet(scriptlet_name).source

    def _take(self, found: Iterable[Scriptlet]) -> list[str]:
        names: list[str] = []
        for told in found:
            try:
                self._add(Plugin(told=told, source=told.path))
            except InputError as error:
                self.unreadable.append(Unreadable(path=told.path, why=error.sentence, hint=error.hint))
            else:
                names.append(told.name)
        return names

    def _add(self, plugin: Plugin) -> None:
        known = self._plugins.get(plugin.told.name)
        if known is not None and known != plugin:
            raise InputError(
                f"two scriptlets are named {plugin.told.name!r}",
                hint=f"Rename one: the other is from {known.source}.",
            )
        self._plugins[plugin.told.name] = plugin


def _own(scriptlet: object, name: str) -> str:
    value = getattr(scriptlet, name, "")
    return value if isinstance(value, str) else ""


def _names(scriptlet: object, name: str) -> list[str]:
    value = getattr(scriptlet, name, ())
    return [str(one) for one in value] if isinstance(value, list | tuple | set | frozenset | dict) else []
