"""Loggers whose records arrive at the host as structured events."""

from __future__ import annotations

import logging
import sys

TYPE_CHECKING = False  # not typing's: run.py says why
if TYPE_CHECKING:
    from collections.abc import Callable

    Sink = Callable[[str, str, str, dict], None]

_sink: Sink | None = None
USUAL = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
"""What every record has; whatever else one has came with ``extra``."""


def get_logger(name: str, debug: bool = False) -> logging.Logger:  # noqa: FBT001, FBT002 - Framework0's signature
    """Return the logger of that name; ``debug`` lets its debug records through."""
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(_Sink(_sink) if _sink else logging.StreamHandler(sys.stderr))
    return logger


def send_records_to(sink: Sink) -> None:
    """Send every record to ``sink(level, logger, message, extra)`` from now on; the runner calls this once a step."""
    global _sink  # noqa: PLW0603 - one sink a process, set before any step's code is imported
    _sink = sink


class _Sink(logging.Handler):
    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
            if record.exc_info:
                message += "\n" + logging.Formatter().formatException(record.exc_info)
            extra = {name: value for name, value in vars(record).items() if name not in USUAL}
            self._sink(record.levelname, record.name, message, extra)
        except Exception:  # noqa: BLE001 - a record that cannot be formatted must not fail the step; logging says so
            self.handleError(record)
