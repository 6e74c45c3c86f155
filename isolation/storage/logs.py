"""
What the recipes wrote, as it came.

One JSON object a line::

    <state>/runs/<run id>/attempt-<n>.jsonl     {"at", "step", "stream", "text"[, "level"][, "fields"]}

``text`` is untrusted: whoever shows it escapes it.
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from isolation.clock import timestamp
from isolation.contract import LONGEST, RECORD_CHARS, dumps
from isolation.model.event import LogLine
from isolation.rules.redaction import NOTHING, Redaction
from isolation.state.faults import storage_faults
from isolation.state.folders import make_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pydantic import JsonValue

    from isolation.clock import Clock
    from isolation.rules.redaction import Redacting

    _Source = tuple[str, Literal["stdout", "stderr"]]

_LONGEST_LINE_BYTES = 16_384
_LOOK_AGAIN_S = 0.1
_ATTEMPT = re.compile(r"attempt-(\d+)\.jsonl", re.ASCII)


class LogWriter:
    """
    Cuts output into lines and keeps them, up to a limit; line ends are LF, a line is cut where it is too long.

    What is beyond the limit is dropped, and ``truncated`` says so. Secrets are taken out first, so that none is cut
    in two by the end of a line or by the limit.
    """

    def __init__(
        self, path: Path, clock: Clock, most_bytes: int, tell: Callable[[LogLine], None], redaction: Redaction
    ) -> None:
        self._folder = path.parent
        self._clock = clock
        self._tell = tell
        self._left = most_bytes
        self._redaction = redaction
        self._redacting: dict[_Source, Redacting] = {}
        self._partial: dict[_Source, bytearray] = {}
        self.kept_bytes = 0
        self.truncated = False
        with storage_faults(path.parent):
            make_private(path.parent)
            self._file = open(path, "x", encoding="utf-8", opener=_private)  # noqa: SIM115 - Path.open takes no opener

    def write(self, step: str, stream: str, content: bytes) -> None:
        """Take a piece of output."""
        source: _Source = (step, "stdout" if stream == "stdout" else "stderr")
        if source not in self._redacting:
            self._redacting[source] = self._redaction.stream()
        self._take(source, self._redacting[source].feed(content))
        self._flush()

    def record(self, step: str, level: str, message: str, fields: dict[str, JsonValue] | None = None) -> None:
        """Take a log record; where the limit leaves no room for all of its fields, none of them is kept."""
        kept = self._within_limit(self._redaction.text(message, RECORD_CHARS).encode())
        if kept:
            line = LogLine(
                step=step,
                stream="log",
                text=kept.decode("utf-8", "replace"),
                at=self._now(),
                level=self._redaction.text(level, LONGEST["level"]),
                fields=self._fields(fields) if fields else {},
            )
            self._keep(line)
            self._flush()

    def close(self) -> None:
        """Write what has no line end yet, and close."""
        with storage_faults(self._folder), self._file:
            for source, redacting in self._redacting.items():
                self._take(source, redacting.end(cut=True))
            for (step, kind), rest in self._partial.items():
                if rest:
                    self._emit(step, kind, rest)
            self._partial.clear()

    def _take(self, source: _Source, content: bytes) -> None:
        partial = self._partial.setdefault(source, bytearray())
        partial += self._within_limit(content)
        *lines, rest = partial.split(b"\n")
        for line in lines:
            self._emit(*source, line)
        whole = max(0, len(rest) - 1) // _LONGEST_LINE_BYTES * _LONGEST_LINE_BYTES
        if whole:
            self._emit(*source, rest[:whole])
        self._partial[source] = rest[whole:]

    def _fields(self, fields: dict[str, JsonValue]) -> dict[str, JsonValue]:
        shown = self._redaction.mapping(fields)
        content = dumps(shown)
        if len(content) > self._left:
            self.truncated = True
            return {}
        self._within_limit(content)
        return shown

    def _within_limit(self, content: bytes) -> bytes:
        kept = content[: self._left]
        self.truncated = self.truncated or len(kept) < len(content)
        self._left -= len(kept)
        self.kept_bytes += len(kept)
        return kept

    def _emit(self, step: str, kind: Literal["stdout", "stderr"], line: bytearray) -> None:
        for start in range(0, len(line) or 1, _LONGEST_LINE_BYTES):
            text = line[start : start + _LONGEST_LINE_BYTES].decode("utf-8", "backslashreplace")
            self._keep(LogLine(step=step, stream=kind, text=text, at=self._now()))

    def _keep(self, line: LogLine) -> None:
        document: dict[str, object] = {"at": line.at, "step": line.step, "stream": line.stream, "text": line.text}
        if line.level:
            document["level"] = line.level
        if line.fields:
            document["fields"] = line.fields
        with storage_faults(self._folder):
            self._file.write(json.dumps(document, ensure_ascii=True) + "\n")
        self._tell(line)

    def _flush(self) -> None:
        with storage_faults(self._folder):
            self._file.flush()

    def _now(self) -> str:
        return timestamp(self._clock.now())


class Logs:
    """The logs of all runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def open(
        self,
        run_id: str,
        attempt: int,
        clock: Clock,
        most_bytes: int,
        tell: Callable[[LogLine], None],
        *,
        redaction: Redaction = NOTHING,
    ) -> Iterator[LogWriter]:
        """Keep the log of an attempt, without what the redaction hides, for as long as the block lasts."""
        path = self._folder / run_id / f"attempt-{attempt}.jsonl"
        writer = LogWriter(path, clock, most_bytes, tell, redaction)
        try:
            yield writer
        finally:
            writer.close()

    def attempts(self, run_id: str) -> tuple[int, ...]:
        """Return the attempts that have a log."""
        folder = self._folder / run_id
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return tuple(sorted(int(match.group(1)) for name in names if (match := _ATTEMPT.fullmatch(name))))

    def read(
        self, run_id: str, attempt: int | None = None, *, follow: Callable[[], bool] | None = None
    ) -> Iterator[LogLine]:
        """
        Yield the lines of one attempt, the last by default.

        With ``follow``, a function that tells whether the run still goes on, wait for more until it does not; without
        an attempt's number, go on with the attempts that follow, too.
        """
        number = attempt or max(self.attempts(run_id), default=1)
        with storage_faults(self._folder):
            yield from self._read_one(run_id, number, follow if attempt else self._until_next(run_id, number, follow))
        if follow is not None and attempt is None and number + 1 in self.attempts(run_id):
            yield from self.read(run_id, follow=follow)

    def page(self, run_id: str, attempt: int, start: int, limit: int) -> list[tuple[LogLine, int]]:
        """
        Return at most ``limit`` whole lines of an attempt's log, each with where the next one begins.

        ``start`` and that are bytes from the beginning of the log; ValueError where no line begins there.
        """
        path = self._folder / run_id / f"attempt-{attempt}.jsonl"
        lines: list[tuple[LogLine, int]] = []
        with storage_faults(self._folder):
            if not path.exists():
                return lines
            with path.open("rb") as file:
                if start > os.fstat(file.fileno()).st_size:
                    raise ValueError(f"no line of this log begins at {start}")
                file.seek(max(0, start - 1))
                if start and file.read(1) != b"\n":
                    raise ValueError(f"no line of this log begins at {start}")
                while len(lines) < limit and (text := file.readline()).endswith(b"\n"):
                    start += len(text)
                    lines.append((_line(text), start))
        return lines

    def _read_one(self, run_id: str, number: int, follow: Callable[[], bool] | None) -> Iterator[LogLine]:
        path = self._folder / run_id / f"attempt-{number}.jsonl"
        while follow is not None and not path.exists():
            if not follow():
                return
            time.sleep(_LOOK_AGAIN_S)
        if not path.exists():
            return
        with path.open(encoding="utf-8") as file:
            yield from _lines(file.readline, follow)

    def _until_next(self, run_id: str, number: int, follow: Callable[[], bool] | None) -> Callable[[], bool] | None:
        if follow is None:
            return None
        return lambda: number + 1 not in self.attempts(run_id) and follow()


def _lines(readline: Callable[[], str], follow: Callable[[], bool] | None) -> Iterator[LogLine]:
    text = ""
    going = True
    while True:
        text += readline()
        if text.endswith("\n"):
            yield _line(text)
            text = ""
        elif not going or follow is None:
            return
        else:
            # Look once more after the end: its last lines may have come between our reading and its end.
            going = follow()
            time.sleep(_LOOK_AGAIN_S if going else 0)


def _line(text: str | bytes) -> LogLine:
    return LogLine(**{"level": "", **json.loads(text)})


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
