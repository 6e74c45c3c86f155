"""The beginning of a scriptlet: one that works, and its test, for its author to change."""

from __future__ import annotations

import re
from dataclasses import dataclass
from string import Template
from typing import TYPE_CHECKING

from isolation.errors import FileError, InputError

if TYPE_CHECKING:
    from pathlib import Path

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*|[a-z0-9]+")
_LONGEST_NAME = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class NewScriptlet:
    """
    A scriptlet that is not there yet; ``source`` and ``test`` are the texts of its files.

    ``name`` is what it calls itself, ``module`` what a recipe calls its module, and ``function`` its class.
    """

    name: str
    module: str
    function: str
    source: str
    test: str

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write both files into a folder, which is made, and return their paths. FileError where one is there."""
        paths = folder / f"{self.module}.py", folder / f"test_{self.module}.py"
        for path in paths:
            if path.exists():
                raise FileError("the file is there already", hint="Choose another name, or remove it.", path=path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path, text in zip(paths, (self.source, self.test), strict=True):
                with path.open("x", encoding="utf-8") as file:
                    file.write(text)
        except OSError as error:
            said = f"the scriptlet cannot be written: {error.strerror or error}"
            raise FileError(said, hint="Name another --folder.", path=error.filename or folder) from error
        return paths


def new_scriptlet(name: str) -> NewScriptlet:
    """
    Make a scriptlet of a name in either style. Raises InputError for what can be no name.

    >>> [(made.module, made.function) for made in map(new_scriptlet, ("DataProcessor", "csv_2_json", "HTTPScriptlet"))]
    [('scriptlet_data_processor', 'DataProcessorScriptlet'), ('scriptlet_csv_2_json', 'Csv2JsonScriptlet'), \
('scriptlet_http', 'HttpScriptlet')]
    """
    if not (name.isascii() and name.isidentifier() and len(name) <= _LONGEST_NAME):
        close = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_0123456789")[:_LONGEST_NAME]
        hint = f"Write it as {close}." if close else "Write it as in DataProcessor, or data_processor."
        raise InputError(f"{name[:80]!r} cannot be the name of a scriptlet", hint=hint)
    words = [word.lower() for word in _WORD.findall(name)]
    words = words[1:] if words[:1] == ["scriptlet"] else words[:-1] if words[-1:] == ["scriptlet"] else words
    if not words or words[0][0].isdigit():
        raise InputError(
            f"{name!r} says nothing of what the scriptlet does", hint="Write it as in DataProcessor, or data_processor."
        )
    own = "_".join(words)
    names = {
        "name": own,
        "module": f"scriptlet_{own}",
        "function": "".join(word.capitalize() for word in words) + "Scriptlet",
    }
    return NewScriptlet(**names, source=_SOURCE.substitute(names), test=_TEST.substitute(names))


_SOURCE = Template('''\
"""A scriptlet that keeps a text in the context: change it into what it is to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scriptlets.framework import BaseScriptlet, register_scriptlet

if TYPE_CHECKING:
    from orchestrator.context import Context


@register_scriptlet
class $function(BaseScriptlet):
    """Keeps a text in the context."""

    params = {
        "text": {"type": "string", "required": True, "description": "what is kept"},
    }

    def __init__(self) -> None:
        super().__init__()
        self.name = "$name"
        self.version = "1.0"

    def run(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Keep the text; returns how long it is."""
        self.logger.info("keeping a text", extra={"characters": len(params["text"])})
        context.set(f"{self.name}.text", params["text"])
        return {"characters": len(params["text"])}
''')

_TEST = Template('''\
"""Run by `pytest` in this process, by `pytest --isolation=both` in a container, too."""

SCRIPTLET = "$module:$function"


def test_the_text_is_kept(run_scriptlet):
    ran = run_scriptlet(SCRIPTLET, {"text": "Hello"})

    ran.assert_changed({"$name.text": "Hello"})
    assert ran.outputs == {"characters": 5}
    assert ran.messages("INFO") == ["keeping a text"]


def test_what_is_no_text_is_refused(run_scriptlet):
    ran = run_scriptlet(SCRIPTLET, {"text": 5})

    ran.assert_failed("ParamsError", "text must be")
''')
