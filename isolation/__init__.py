"""
Run recipes that nobody has to trust: isolated, measured, merged as one transaction, repeatable.

    >>> import isolation
    >>> result = isolation.run("recipes/quickstart")            # doctest: +SKIP
    >>> result.outcome, result.changes.set["quickstart.rows"]   # doctest: +SKIP
    (<Outcome.SUCCEEDED: 'succeeded'>, 12)

``run`` opens a controller for one run; keep a ``Controller`` (from ``open_controller``) for more. ``batch`` runs one
recipe on many inputs. ``submit``, ``wait`` and ``cancel`` are for runs that a worker carries out.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isolation.api import batch, cancel, open_controller, run, submit, wait
    from isolation.controller import Controller
    from isolation.errors import IsolationError
    from isolation.model.outcome import Outcome
    from isolation.model.policy import Policy
    from isolation.model.run import Result
    from isolation.packaging.policy import load_policy

__all__ = [
    "Controller",
    "IsolationError",
    "Outcome",
    "Policy",
    "Result",
    "batch",
    "cancel",
    "load_policy",
    "open_controller",
    "run",
    "submit",
    "wait",
]

_HOMES = {
    "Controller": "isolation.controller",
    "IsolationError": "isolation.errors",
    "Outcome": "isolation.model.outcome",
    "Policy": "isolation.model.policy",
    "Result": "isolation.model.run",
    "batch": "isolation.api",
    "cancel": "isolation.api",
    "load_policy": "isolation.packaging.policy",
    "open_controller": "isolation.api",
    "run": "isolation.api",
    "submit": "isolation.api",
    "wait": "isolation.api",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: some of them cost more than a whole small run."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__]
