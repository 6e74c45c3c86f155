"""
Where the values of secrets come from, and the only module that reads them.

For each secret the first that has it decides::

    given by the program ──▶ the file (TOML: NAME = "value") ──▶ environment (ISOLATION_SECRET_NAME)

The file is closed to everybody but its owner, or it is refused. Nothing is read before a run asks, and nothing is
kept after it. What is told of a value that cannot be used never has a part of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from isolation.errors import SecretError
from isolation.model.recipe import MOST_SECRETS, SECRET_NAME
from isolation.model.secret import Secret
from isolation.packaging.files import read_private
from isolation.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PREFIX = "ISOLATION_SECRET_"
_LARGEST_BYTES = 64 * 2**10
_LARGEST_FILE_BYTES = 2 * MOST_SECRETS * _LARGEST_BYTES


class Vault:
    """The values that one controller can give; by default it has none."""

    def __init__(
        self,
        *,
        given: Mapping[str, str] | None = None,
        file: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._given = given or {}
        self._file = file
        self._environment = environment or {}

    def take(self, names: Sequence[str]) -> dict[str, Secret]:
        """Return the secrets of these names. Raises SecretError if one is nowhere, or is of no use."""
        if not names:
            return {}
        from_file = _read_file(self._file) if self._file else {}
        from_environment = {name: value for name in names if (value := self._environment.get(PREFIX + name))}
        found = {**from_environment, **from_file, **self._given}
        missing = [name for name in names if name not in found]
        if missing:
            raise self._no_value(missing)
        return {name: _checked(name, found[name]) for name in names}

    def _no_value(self, names: list[str]) -> SecretError:
        many = "secrets" if len(names) > 1 else "secret"
        file = f"add it to {self._file}" if self._file else "name a file with it (--secrets FILE)"
        return SecretError(
            f"nobody gave a value for the {many} {', '.join(map(repr, names))}",
            hint=f'Either {file}, as in {names[0]} = "...", or set {PREFIX}{names[0]} in the environment.',
        )


def _read_file(path: Path) -> dict[str, str]:
    import tomllib  # noqa: PLC0415 - only a run with secrets pays for it

    content = read_private(path, _LARGEST_FILE_BYTES, SecretError)
    hint = 'Write each secret as in API_TOKEN = "..."; the file holds nothing else.'
    try:
        found: dict[str, str] = tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise SecretError("the text is not UTF-8", hint=hint, path=path) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        # From None, and without the parser's words: both may hold parts of a value.
        place = re.search(r"at line (\d+), column \d+", str(error))
        line = int(place[1]) if place else None
        raise SecretError("the file is not TOML", hint=hint, path=path, line=line) from None
    for number, (name, value) in enumerate(found.items(), 1):
        if not re.fullmatch(SECRET_NAME, name):  # not told: it may be a value in the wrong place
            said = f"entry {number} does not begin with a name that a secret can have"
            raise SecretError(said, hint=hint, path=path)
        if not isinstance(value, str):
            raise SecretError(f"the value of {name} is not text", hint="Put it in quotes.", path=path)
    return found


def _checked(name: str, value: str) -> Secret:
    from isolation.rules.forms import SHORTEST_CHARS, pieces  # noqa: PLC0415 - only a run with secrets pays for it

    try:
        size_bytes = len(value.encode())
    except UnicodeEncodeError:  # Python's way to keep bytes of the environment that are no text
        raise SecretError(f"the secret {name!r} is not UTF-8", hint="Give it as text, such as base64.") from None
    if size_bytes > _LARGEST_BYTES:
        raise SecretError(
            f"the secret {name!r} is larger than {format_bytes(_LARGEST_BYTES)}",
            hint="Make it a key or a password; what is larger can be encrypted with it.",
        )
    if not pieces(value):
        raise SecretError(
            f"the secret {name!r} has no line of {SHORTEST_CHARS} characters: to hide it wherever it shows would "
            "damage everything else",
            hint="Use a longer one; spaces around it do not count.",
        )
    return Secret(name, value)
