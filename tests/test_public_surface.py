"""What programs may import: few names, each of which is there, none of which costs anything until it is used."""

from __future__ import annotations

import subprocess
import sys

import isolation

NAMES = {
    "Controller",
    "IsolationError",
    "Outcome",
    "Policy",
    "Result",
    "batch",
    "cancel",
    "submit",
    "wait",
    "load_policy",
    "open_controller",
    "run",
}


def test_the_public_names_are_exactly_these() -> None:
    """A name that is added or lost is a decision, and shows here."""
    assert set(isolation.__all__) == NAMES
    assert set(dir(isolation)) == NAMES


def test_every_public_name_is_there() -> None:
    """They are imported when they are first used, so a wrong home would show only then."""
    assert all(getattr(isolation, name) is not None for name in NAMES)


def test_importing_the_package_imports_nothing_heavy() -> None:
    """Whoever wants the outcome's names must not pay for an engine's client and a database."""
    program = (
        "import sys, isolation; print(sorted({'docker', 'sqlalchemy', 'pydantic', 'yaml', 'rich'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
