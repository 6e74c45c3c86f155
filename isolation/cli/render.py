"""``isolation render``: a recipe from a template."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from isolation.cli.session import say
from isolation.cli.values import parse_assignments
from isolation.errors import FileError, InputError, StorageError
from isolation.rules.escape import escape, escape_json

if TYPE_CHECKING:
    from argparse import Namespace

    from pydantic import JsonValue

    from isolation.cli.parser import Parser


def register(parser: Parser) -> None:
    """Add the command."""
    added = parser.add(
        "render",
        render,
        "Make a recipe from a template and values; needs no engine.",
        examples=(
            "isolation render etl.template.yaml --set source=data/orders.csv -o recipe.yaml",
            "isolation render etl.template.yaml --values production.yaml --set 'columns=[id, name]'",
        ),
        notes=_NOTES,
    )
    added.add_argument("template", type=Path, metavar="TEMPLATE", help="a recipe with {{ }} in it")
    added.add_argument("--set", action="append", metavar="NAME=VALUE", help="a value for the template")
    added.add_argument("--values", type=Path, metavar="FILE", help="take values from a YAML or JSON file, too")
    added.add_argument("--output", "-o", type=Path, metavar="FILE", help="write the recipe to a file")
    added.add_argument("--json", action="store_true", help="write it as JSON, which is a recipe as well")


_NOTES = """\
A value of --set is JSON if it is JSON, else the text itself; where the template declares the parameter as a string, it
is always the text. It goes before one of --values. Values never change what a recipe consists of: docs/templates.md."""


def render(given: Namespace) -> int:
    """Render a template, and check what came out."""
    from isolation.templates.render import render as render_text  # noqa: PLC0415 - slow to import
    from isolation.templates.render import render_recipe  # noqa: PLC0415 - as above
    from isolation.templates.template import load_template  # noqa: PLC0415 - as above

    template = load_template(given.template)
    texts = [name for name, parameter in (template.parameters or {}).items() if parameter.type == "string"]
    values = (_read(given.values) if given.values else {}) | parse_assignments(given.set or (), as_strings=texts)
    recipe = render_recipe(template, values)
    as_json = given.json or (given.output is not None and given.output.suffix == ".json")
    text = render_text(template, values, as_json=as_json)
    if given.output is None:
        # What does not print stands in double quotes, where either escape means the same character.
        say((escape_json(text) if as_json else escape(text, lines=True)).rstrip("\n"))
    else:
        _write(given.output, text, given.template)
        say(f"{escape(str(given.output))}: the recipe {recipe.name!r}")
    return 0


def _read(path: Path) -> dict[str, JsonValue]:
    from isolation.packaging.files import read_regular  # noqa: PLC0415 - as above
    from isolation.packaging.text import LARGEST_TEXT_BYTES, read  # noqa: PLC0415 - as above

    values = read(read_regular(path, LARGEST_TEXT_BYTES, FileError), path, FileError).value
    if not isinstance(values, dict):
        raise FileError("values are a mapping", hint="Write a line such as `name: value` for each.", path=path)
    return values


def _write(path: Path, text: str, template: Path) -> None:
    if path.exists() and path.samefile(template):
        raise InputError(f"{path} is the template itself", hint="Name another file with -o.")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise StorageError(f"{path} cannot be written: {why}", hint="Name another file with -o.") from error
