"""What scriptlets are made from: ``BaseScriptlet`` and ``register_scriptlet``."""

from __future__ import annotations

TYPE_CHECKING = False  # not typing's: run.py says why
if TYPE_CHECKING:
    import logging

    from orchestrator.context import Context

REGISTERED: dict[str, type] = {}


class BaseScriptlet:
    """
    One unit of work: ``setup``, ``run``, ``teardown``; teardown always, also after a failure.

    ``run`` may return a dict (the step's outputs), an int (0 succeeds, any other fails the step) or None.
    """

    def __init__(self) -> None:
        self.name = type(self).__name__
        self.version = "1.0"
        self.description = (type(self).__doc__ or "").strip()

    @property
    def logger(self) -> logging.Logger:
        """A logger whose records arrive at the host with step, level and time."""
        from src.core.logger import get_logger

        return get_logger(getattr(self, "name", type(self).__name__))

    def setup(self, context: Context, params: dict) -> None:
        """Prepare; called before ``run``."""

    def run(self, context: Context, params: dict) -> dict | int | None:
        """Do the work."""
        raise NotImplementedError(f"{type(self).__name__} has no run(context, params)")

    def teardown(self, context: Context) -> None:
        """Clean up; called after ``run``, whatever became of it."""


def register_scriptlet(target: type | None = None, *, name: str | None = None) -> object:
    """Register a scriptlet class under its name: ``@register_scriptlet`` or ``@register_scriptlet(name=...)``."""

    def register(scriptlet: type) -> type:
        REGISTERED[name or scriptlet.__name__] = scriptlet
        return scriptlet

    return register if target is None else register(target)
