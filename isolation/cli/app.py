"""All commands, put together: each module beside this one brings some, and is imported when they are asked for."""

from __future__ import annotations

import argparse
from importlib import import_module

from isolation.cli.line import WITHOUT_A_POOL
from isolation.cli.parser import Parser

_BRINGS = {
    "run": ("run", "rerun"),
    "batch": ("batch",),
    "runs": ("runs", "show", "logs"),
    "queue": ("submit", "worker", "wait", "cancel"),
    "diff": ("diff", "replay"),
    "verify": ("verify",),
    "context": ("context",),
    "policy": ("policy",),
    "package": ("package",),
    "render": ("render",),
    "scriptlet": ("scriptlet",),
    "pool": ("pool",),
    "serve": ("serve", "token"),
    "host": ("doctor", "clean", "schema"),
    "completion": ("completion",),
}
"""Modules in the order of the help, with their commands."""
_NEEDS_ALL = "completion"
"""It writes down what all the others take."""


def parser_for(word: str) -> Parser:
    """Build a parser that knows the command of that name; the whole command line's, if there is none."""
    modules = [module for module, commands in _BRINGS.items() if word in commands]
    return _build(modules) if modules and modules != [_NEEDS_ALL] else whole_parser()


def whole_parser() -> Parser:
    """Build the parser of the whole command line."""
    return _build([*_BRINGS])


def _build(modules: list[str]) -> Parser:
    parser = Parser(
        prog="isolation",
        description="Run recipes that nobody has to trust: isolated, measured, merged as one transaction, repeatable.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and leave")
    parser.add_argument(
        "--state", metavar="DIR", help="state folder: runs, context, artifacts [environment: ISOLATION_STATE]"
    )
    parser.add_argument(
        "--database", metavar="URL", help="PostgreSQL for runs and context [environment: ISOLATION_DATABASE]"
    )
    parser.add_argument("--namespace", metavar="NAME", help="whose runs and context [environment: ISOLATION_NAMESPACE]")
    parser.add_argument(
        "--engine", metavar="ADDRESS", help="Docker Engine to use [environment: ISOLATION_ENGINE, DOCKER_HOST]"
    )
    parser.add_argument(
        WITHOUT_A_POOL,
        action="store_true",
        help="run in this process alone, and start no pool [environment: ISOLATION_POOL=off]",
    )
    for module in modules:
        import_module(f"isolation.cli.{module}").register(parser)
    return parser


_EPILOG = """\
--state, --database, --namespace, --engine and --no-pool may also stand after the command. `isolation COMMAND --help`
tells more, with examples.

examples:
  isolation doctor                     what this host gives and lacks
  isolation run recipes/quickstart     run a recipe, and show what came of it
  isolation --state /srv/state runs    the runs of another state folder
"""


class _Version(argparse.Action):
    """Looks the version up only when somebody asks."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # noqa: PLC0415 - slow to import

        parser.exit(message=f"isolation {version('recipe-isolation')}\n")
