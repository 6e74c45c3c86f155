"""
Which files a recipe's steps need: their modules, and everything that those import.

A module is looked for beside the recipe, then below each ``--path``; then it may be one of the built-in scriptlets, or
one of the requirements. What nobody provides is an error now, by name and with the way that led to it, unless it
is imported under a condition only.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.errors import PackageError, did_you_mean
from isolation.packaging.builtin import BUILTIN, BUILTIN_PACKAGE, OWN_MODULES
from isolation.packaging.files import is_regular_below, read_regular
from isolation.packaging.imports import Import, Source, read_source
from isolation.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from isolation.model.recipe import Step

_LARGEST_SOURCE_BYTES = 2**20
_LARGEST_SOURCES_BYTES = 16 * 2**20
"""Reading tokens costs some five seconds a MiB at worst: a recipe must not keep the host busy."""

_IMAGE_MODULES = OWN_MODULES | {f"{BUILTIN_PACKAGE}.{name.rpartition('.')[2]}" for name in BUILTIN}
"""Nothing of a recipe's takes the place of these."""
_IMAGE_PACKAGES = frozenset({"orchestrator", "scriptlets", "src", "src.core", BUILTIN_PACKAGE})
"""A user's packages of these names merge with the image's, whose ``__init__.py`` is the one that runs."""

_Origin = tuple[str, str, int] | str
"""Who needs a module: a module, its file and a line; or a step, by name."""


@cache
def standard_modules() -> frozenset[str]:
    """Read the names of the top-level modules of the image's Python."""
    return frozenset(Path(__file__).with_name("image_modules.txt").read_text("utf-8").split())


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a module lies: ``root`` is None for a folder without ``__init__.py``, of which there may be several."""

    root: Path | None
    relative: str

    @property
    def is_package(self) -> bool:
        return self.root is None or self.relative.endswith("/__init__.py")


class Modules:
    """
    Collects what steps need; ``keep`` is given each file once, by its relative path.

    ``roots`` are resolved folders, in the order in which they are searched; ``layer`` are the top-level names that
    the requirements provide. ``place`` tells the file and line of one of a step's keys.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        layer: frozenset[str],
        keep: Callable[[str, bytes], None],
        place: Callable[[Step, str], tuple[Path, int]],
    ) -> None:
        self._roots = tuple(roots)
        self._layer = layer
        self._keep = keep
        self._place = place
        self._places: dict[str, _Place | None] = {}
        self._origins: dict[str, _Origin] = {}
        self._sources: dict[str, Source] = {}
        self._needed: deque[tuple[str, Import]] = deque()
        self._perhaps: deque[tuple[str, Import]] = deque()
        self._optional: set[str] = set()
        self._size_bytes = 0

    def collect(self, steps: Iterable[Step]) -> tuple[str, ...]:
        """Keep all files that these steps need; returns the modules that some of them would import if they could."""
        for step in steps:
            self._need_step(step)
        # What is needed in any case comes first: whatever is left then is reached under conditions only.
        while self._needed:
            self._follow(*self._needed.popleft(), conditional=False)
        while self._perhaps or self._needed:
            self._follow(*(self._needed or self._perhaps).popleft(), conditional=True)
        return tuple(sorted(self._optional))

    def _need_step(self, step: Step) -> None:
        missing = self._need(step.module, step.name)
        place = self._find(step.module)
        if missing is None and place is None:  # the image's, or a requirement's
            if step.module.partition(".")[0] not in standard_modules():
                self._check_builtin(step)
                return
            missing = step.module
        if missing is not None or place is None or place.root is None:
            path, line = self._place(step, "module")
            names = [*(path.stem for root in self._roots for path in root.glob("*.py")), *BUILTIN]
            raise PackageError(
                f"module {step.module!r} of step {step.name!r} is not found",
                hint=did_you_mean(step.module, names)
                or f"Put {step.module.replace('.', '/')}.py beside the recipe, or name its folder with --path.",
                path=path,
                line=line,
            )
        source = self._sources[step.module]
        if not source.open_ended:
            self._check_function(step, place.relative, source.names)

    def _check_builtin(self, step: Step) -> None:
        package, _, name = step.module.rpartition(".")
        names = BUILTIN.get(f"scriptlets.{name}") if package in {"scriptlets", BUILTIN_PACKAGE} else None
        if names is not None:
            self._check_function(step, f"the built-in {step.module}", names)

    def _check_function(self, step: Step, where: str, names: frozenset[str]) -> None:
        if step.function in names:
            return
        hint = did_you_mean(step.function, names)
        if not hint and names:
            hint = f"It defines: {', '.join(sorted(names)[:20])}."
        path, line = self._place(step, "function")
        raise PackageError(
            f"{where} defines no {step.function!r}, which step {step.name!r} calls",
            hint=hint or f"Define it there: def {step.function}(context, params).",
            path=path,
            line=line,
        )

    def _follow(self, importer: str, found: Import, *, conditional: bool) -> None:
        """Need what one import names; a module that is missing then is an error, unless ``conditional``."""
        place = self._find(importer)
        relative = place.relative if place else importer
        origin = (importer, relative, found.line)
        base = self._absolute(importer, found, is_package=bool(place and place.is_package))
        if base is None:
            if not conditional:
                raise PackageError(
                    "this relative import leads out of its top-level package",
                    hint="Take dots away, or import the module by its full name.",
                    path=relative,
                    line=found.line,
                )
            return
        missing = self._need(base, origin)
        base_place = self._find(base)
        if missing is None and base_place is not None and base_place.is_package:
            for name in found.names:
                module = f"{base}.{name}"
                if name != "*" and (self._find(module) or (base_place.root is None and not _is_image(base))):
                    missing = missing or self._need(module, origin)
        if missing is None:
            return
        if not conditional:
            self._refuse(missing, origin)
        self._optional.add(missing)

    def _absolute(self, importer: str, found: Import, *, is_package: bool) -> str | None:
        """Resolve a relative import; None if it has more dots than there are packages."""
        if found.level == 0:
            return found.module
        parts = importer.split(".") if is_package else importer.split(".")[:-1]
        kept = len(parts) - (found.level - 1)
        if kept < 1:
            return None
        return ".".join([*parts[:kept], *([found.module] if found.module else [])])

    def _need(self, module: str, origin: _Origin) -> str | None:
        """Keep a module and the packages that it lies in; returns the first of them that nobody provides."""
        top = module.partition(".")[0]
        if top in standard_modules():
            self._check_shadow(top)
            return None
        if module in _IMAGE_MODULES or self._is_in_layer(top):
            return None
        parts = module.split(".")
        for count in range(1, len(parts) + 1):
            name = ".".join(parts[:count])
            place = self._find(name)
            if place is None:
                if _is_image(name):
                    continue
                return name
            if count < len(parts) and not place.is_package:
                return ".".join(parts[: count + 1])
            if name not in self._origins:
                self._origins[name] = origin
                self._keep_source(name, place)
        return None

    def _is_in_layer(self, top: str) -> bool:
        """Tell whether a requirement provides it; a folder without ``__init__.py`` gives way to one, as in Python."""
        place = self._find(top)
        return top in self._layer and (place is None or place.root is None)

    def _keep_source(self, module: str, place: _Place) -> None:
        if place.root is None:
            return
        content = read_regular(place.root / place.relative, _LARGEST_SOURCE_BYTES, PackageError)
        self._size_bytes += len(content)
        if self._size_bytes > _LARGEST_SOURCES_BYTES:
            limit = format_bytes(_LARGEST_SOURCES_BYTES)
            raise PackageError(
                f"with {place.relative}, the recipe's modules are larger than {limit} together",
                hint="Put what is large into data files, or into a distribution under requirements.",
            )
        source = self._sources[module] = read_source(content, place.relative)
        if module in _IMAGE_PACKAGES and source.has_code:
            raise PackageError(
                f"{module!r} is also a package of the runner image, so this file would not run",
                hint="Leave it empty, and move its code into a module of its own.",
                path=place.relative,
            )
        self._keep(place.relative, content)
        for found in source.imports:
            (self._perhaps if found.conditional else self._needed).append((module, found))

    def _find(self, module: str) -> _Place | None:
        if module not in self._places:
            self._places[module] = None if module in _IMAGE_MODULES else self._look(module)
        return self._places[module]

    def _look(self, module: str) -> _Place | None:
        stem = module.replace(".", "/")
        for root in self._roots:
            for relative in (f"{stem}/__init__.py", f"{stem}.py"):
                if is_regular_below(root, relative, PackageError):
                    return _Place(root, relative)
        if any((root / stem).is_dir() for root in self._roots):
            return _Place(None, stem)
        return None

    def _check_shadow(self, top: str) -> None:
        place = self._find(top)
        if place is not None and place.root is not None:
            raise PackageError(
                f"{place.relative} has the name of a module of Python's standard library",
                hint="Rename it: which of the two an import means would depend on what was imported before.",
            )

    def _refuse(self, missing: str, origin: _Origin) -> None:
        steps = [f"module {missing!r} is not found"]
        while not isinstance(origin, str):
            importer, relative, line = origin
            steps.append(f"imported by {relative}:{line}")
            origin = self._origins[importer]
        steps.append(f"used by step {origin!r}")
        top = missing.replace(".", "/")
        raise PackageError(
            f"{steps[0]}; {', '.join(steps[1:])}",
            hint=f"Put {top}.py beside the recipe, or list its distribution under requirements.",
        )


def _is_image(module: str) -> bool:
    return module in _IMAGE_PACKAGES or module in _IMAGE_MODULES or module in BUILTIN
