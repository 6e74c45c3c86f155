"""
The only module that knows how arguments are parsed: argparse, with errors in our words and examples in the help.

argparse, since starting fast is a promise: typer took 105 ms to import and 27 ms more to build these commands.
"""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any, NoReturn

from isolation.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Run = Callable[[argparse.Namespace], int]

_CHOICE = re.compile(
    r"argument (?P<name>\S+): invalid choice: (['\"])(?P<word>.*?)\2 \(choose from (?P<known>.*)\)", re.DOTALL
)
_COLUMNS = 100


class Parser(argparse.ArgumentParser):
    """A parser of the whole line, or of one command's part; raises InputError, in one sentence and a hint."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - argparse's own
        super().__init__(allow_abbrev=False, formatter_class=_Help, **settings)
        self.commands: dict[str, Parser] = {}
        self._groups: Any = None

    def add(self, name: str, run: Run | None, about: str, *, examples: Sequence[str] = (), notes: str = "") -> Parser:
        """Add a command, which ``run`` runs, or without it a group of commands; ``about`` is a sentence."""
        if self._groups is None:
            self._groups = self.add_subparsers(metavar="COMMAND", required=False, parser_class=Parser)
        description = f"{about}\n\n{notes}" if notes else about
        added: Parser = self._groups.add_parser(
            name, help=about[0].lower() + about[1:].rstrip("."), description=description, epilog=_examples(examples)
        )
        added.set_defaults(run=run, parser=added)
        self.commands[name] = added
        return added

    def options(self) -> Iterable[str]:
        """Name every option."""
        return list(self._option_string_actions)

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Read the whole line; ``run`` of the result is the command's function, ``parser`` the command's parser."""
        given, unknown = self.parse_known_args(arguments)
        parser: Parser = getattr(given, "parser", self)
        if unknown:
            parser.refuse(unknown[0])
        if getattr(given, "run", None) is None:
            raise InputError("no command is named", hint=f"`{parser.prog} --help` lists them.")
        return given

    def refuse(self, word: str) -> NoReturn:
        """Refuse a word that nobody takes."""
        if not word.startswith("-"):
            raise InputError(f"{word!r} is one argument too many", hint=self._help())
        option = word.partition("=")[0]
        raise InputError(f"there is no option {option!r}", hint=did_you_mean(option, self.options()) or self._help())

    def error(self, message: str) -> NoReturn:
        """Put argparse's words into ours."""
        wrong = _CHOICE.search(message)
        if wrong and self.commands:
            word = wrong["word"]
            hint = did_you_mean(word, self.commands) or self._help()
            raise InputError(f"there is no command {f'{self.prog} {word}'!r}", hint=hint)
        if wrong:
            known = wrong["known"].replace("'", "").split(", ")  # Python 3.12 stopped quoting them
            hint = did_you_mean(wrong["word"], known) or f"Known: {', '.join(known)}."
            raise InputError(f"{wrong['name']} cannot be {wrong['word']!r}", hint=hint)
        message = message.replace("the following arguments are required: ", "an argument is missing: ")
        message = message.replace(": expected one argument", " needs a value")
        raise InputError(message.removeprefix("argument "), hint=self._help())

    def _help(self) -> str:
        return f"`{self.prog} --help` shows how it is used."


def names(texts: Sequence[str] | None) -> tuple[str, ...]:
    """
    Read lists such as ``A,B``, however often they are given.

    >>> names(["extract,load", "report"])
    ('extract', 'load', 'report')
    """
    return tuple(name.strip() for text in texts or () for name in text.split(",") if name.strip())


def positive(text: str) -> int:
    """Read a number from 1."""
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return number


def natural(text: str) -> int:
    """Read a number from 0."""
    number = int(text) if text.isascii() and text.isdigit() else -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0")
    return number


def whole(text: str) -> int:
    """Read a whole number, negative ones too."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 7):  # noqa: PLR2004 - more helps nobody
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at most six digits")
    return int(text)


class _Help(argparse.RawDescriptionHelpFormatter):
    """Keeps lines as they are written, and has room for the longest option."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=_COLUMNS)


def _examples(lines: Sequence[str]) -> str | None:
    return "\n".join(("examples:", *(f"  {line}" for line in lines))) if lines else None
