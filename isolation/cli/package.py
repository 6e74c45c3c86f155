"""``isolation package``: what a recipe would take with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from isolation.cli.session import print_json, say, settings_of, takes_json, takes_recipe
from isolation.cli.table import table
from isolation.cli.values import clip
from isolation.errors import StorageError
from isolation.rules.escape import escape
from isolation.units import format_bytes
from isolation.wiring import pack

if TYPE_CHECKING:
    from argparse import Namespace

    from isolation.cli.parser import Parser
    from isolation.model.package import Package

_MODULES = (".py", ".pyi")


def register(parser: Parser) -> None:
    """Add the command."""
    added = parser.add(
        "package",
        package,
        "Find all that a recipe needs, without running any of it; needs no engine.",
        examples=(
            "isolation package recipes/etl",
            "isolation package recipes/requirements --lock -o recipes/requirements/recipe.lock",
        ),
    )
    takes_recipe(added)
    added.add_argument("--lock", action="store_true", help="resolve the requirements anew, and print their lock")
    added.add_argument("--output", "-o", type=Path, metavar="FILE", help="write the lock, or the manifest, to a file")
    takes_json(added)


def package(given: Namespace) -> int:
    """Show what a recipe needs."""
    packed = pack(settings_of(given), Path(given.recipe), relock=given.lock)
    if given.output is not None:
        _write(given.output, packed.lock if given.lock else packed.manifest().decode())
        say(f"{escape(str(given.output))}: {'the locked requirements' if given.lock else 'the manifest'}")
    elif given.json:
        print_json(packed.document())
    elif given.lock:
        say(escape(packed.lock, lines=True).rstrip("\n") if packed.lock else "the recipe has no requirements")
    else:
        say(package_text(packed))
    return 0


def package_text(packed: Package) -> str:
    """Show what is in a package."""
    kinds = [("modules", True), ("files", False)]
    lines = [f"{escape(packed.recipe.name)}  {_steps(packed)}, digest {packed.digest}"]
    for title, wanted in kinds:
        found = [file for file in packed.files if file.path.endswith(_MODULES) is wanted]
        if found:
            lines += [
                "",
                title,
                *table([[clip(file.path, 120), format_bytes(file.size_bytes)] for file in found], right=[1]),
            ]
    lines += _list("requirements", packed.recipe.requirements)
    lines += _list("locked", tuple(line.split(" ")[0] for line in packed.lock.splitlines() if _is_pin(line)))
    lines += _list("secrets that its steps take, where the policy allows it", packed.recipe.secrets)
    lines += _list("optional imports not found (their import fails inside, too)", packed.optional_imports)
    return "\n".join(lines)


def _steps(packed: Package) -> str:
    count = len(packed.recipe.steps)
    return "1 step" if count == 1 else f"{count} steps"


def _list(title: str, items: tuple[str, ...]) -> list[str]:
    return ["", title, *(f"  {clip(item, 120)}" for item in items)] if items else []


def _is_pin(line: str) -> bool:
    return "==" in line and not line.startswith((" ", "#"))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise StorageError(f"{path} cannot be written: {why}", hint="Name another file with -o.") from error
