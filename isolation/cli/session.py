"""What the commands share: settings from the command line, printing, and arguments that several have."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from isolation.rules.escape import escape_json
from isolation.settings import Settings, load_settings

if TYPE_CHECKING:
    from argparse import Namespace

    from isolation.cli.parser import Parser


def settings_of(given: Namespace) -> Settings:
    """Put the settings together, the command line's first."""
    paths = getattr(given, "path", None) or ()
    return load_settings(
        state=given.state,
        database=given.database,
        namespace=given.namespace,
        environment=getattr(given, "environment", None),
        engine=given.engine,
        paths=paths,
        secrets=getattr(given, "secrets", None),
    )


def takes_json(parser: Parser) -> None:
    """Let a command take ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON instead, for programs")


def takes_run(parser: Parser) -> None:
    """Let a command take a run."""
    parser.add_argument("run_id", metavar="RUN", help="its id, the beginning of it, or `last`")


def takes_recipe(parser: Parser) -> None:
    """Let a command take a recipe."""
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe file, or a folder with recipe.yaml")
    parser.add_argument("--path", action="append", metavar="DIR", help="look for local modules here, too")


def say(text: str) -> None:
    """Print text that is fit to be shown."""
    sys.stdout.write(f"{text}\n")


def print_json(value: Any) -> None:  # noqa: ANN401 - whatever JSON can write
    """Print one JSON document, readable, and fit to be shown."""
    say(escape_json(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2)))
