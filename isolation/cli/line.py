"""What can be known of a command line before anything is imported that parses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WITHOUT_A_POOL = "--no-pool"

_WITH_A_VALUE = ("--state", "--database", "--namespace", "--engine")


def globals_first(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """
    Take the global options out, so that they may be given anywhere; what is left begins with the command's name.

    >>> globals_first(["runs", "--state", "here", "--json"])
    (['--state', 'here'], ['runs', '--json'])
    >>> globals_first(["context", "set", "option", "--", "--state"])
    ([], ['context', 'set', 'option', '--', '--state'])
    """
    first: list[str] = []
    rest: list[str] = []
    pending = list(arguments)
    while pending:
        argument = pending.pop(0)
        if argument == "--":
            rest += [argument, *pending]
            break
        if argument in _WITH_A_VALUE:
            first += [argument, *pending[:1]]
            del pending[:1]
        elif argument == WITHOUT_A_POOL or argument.startswith(tuple(f"{option}=" for option in _WITH_A_VALUE)):
            first.append(argument)
        else:
            rest.append(argument)
    return first, rest
