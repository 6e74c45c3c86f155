"""What recipes wrote, kept in lines and within limits."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from isolation.clock import SystemClock
from isolation.errors import StorageError
from isolation.model.secret import Secret
from isolation.rules.redaction import NOTHING, Redaction
from isolation.storage.logs import Logs

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from isolation.model.event import LogLine
    from isolation.storage.logs import LogWriter

LIMIT = 2**20


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path / "runs")


@pytest.fixture
def told() -> list[LogLine]:
    return []


def opened(
    logs: Logs,
    told: list[LogLine] | None = None,
    most_bytes: int = LIMIT,
    attempt: int = 1,
    redaction: Redaction = NOTHING,
) -> AbstractContextManager[LogWriter]:
    tell = (told if told is not None else []).append
    return logs.open("run", attempt, SystemClock(), most_bytes, tell, redaction=redaction)


def texts(logs: Logs, attempt: int | None = None) -> list[str]:
    return [line.text for line in logs.read("run", attempt)]


def test_lines_are_cut_where_they_end_not_where_they_came(logs: Logs, told: list[LogLine]) -> None:
    """Pieces of a pipe have no borders of their own, and a multi-byte letter may be cut too."""
    with opened(logs, told) as writer:
        for byte in "één\n\ntwo\nlast".encode():
            writer.write("load", "stdout", bytes([byte]))

    assert texts(logs) == ["één", "", "two", "last"]
    assert told == list(logs.read("run"))


def test_streams_and_steps_do_not_mix(logs: Logs) -> None:
    """Two halves of two lines are no line."""
    with opened(logs) as writer:
        writer.write("a", "stdout", b"out")
        writer.write("a", "stderr", b"err")
        writer.write("b", "stdout", b"other\n")
        writer.write("a", "stdout", b"put\n")
        writer.write("a", "stderr", b"or\n")

    assert [(line.step, line.stream, line.text) for line in logs.read("run")] == [
        ("b", "stdout", "other"),
        ("a", "stdout", "output"),
        ("a", "stderr", "error"),
    ]


@pytest.mark.parametrize("ended", [b"", b"\n"])
@pytest.mark.parametrize("pieces", [1, 7])
def test_a_line_that_is_too_long_is_cut(logs: Logs, ended: bytes, pieces: int) -> None:
    """Whether it ends or not, and however it comes; nothing of it is lost, and no line is made up."""
    content = b"x" * (2 * 16_384 + 1) + ended
    step = -(-len(content) // pieces)
    with opened(logs) as writer:
        for start in range(0, len(content), step):
            writer.write("a", "stdout", content[start : start + step])

    assert [len(text) for text in texts(logs)] == [16_384, 16_384, 1]


def test_a_line_of_exactly_the_longest_is_one_line(logs: Logs) -> None:
    """Its end may come in the next piece."""
    with opened(logs) as writer:
        writer.write("a", "stdout", b"x" * 16_384)
        writer.write("a", "stdout", b"\n")

    assert [len(text) for text in texts(logs)] == [16_384]


def test_a_flood_without_a_line_end_is_not_collected(logs: Logs) -> None:
    """What is held in memory is less than one line a stream."""
    with opened(logs, most_bytes=2**30) as writer:
        for _ in range(100):
            writer.write("a", "stdout", b"x" * 65_536)
        held = sum(len(rest) for rest in writer._partial.values())

    assert held <= 16_384


def test_what_is_beyond_the_limit_is_dropped_and_said(logs: Logs) -> None:
    """Up to the last byte that is allowed, records and streams together."""
    with opened(logs, most_bytes=10) as writer:
        writer.write("a", "stdout", b"12345\n")
        assert not writer.truncated
        writer.record("a", "INFO", "abcdef")
        writer.write("a", "stdout", b"more\n")

    assert texts(logs) == ["12345", "abcd"]
    assert (writer.kept_bytes, writer.truncated) == (10, True)


def test_the_fields_of_a_record_are_kept_beside_it(logs: Logs, told: list[LogLine]) -> None:
    """As the values that they are; a line without any has none in the file."""
    with opened(logs, told) as writer:
        writer.record("a", "INFO", "loaded", {"rows": 5, "from": {"table": "orders"}})
        writer.record("a", "INFO", "done", {})

    assert [line.fields for line in logs.read("run")] == [{"rows": 5, "from": {"table": "orders"}}, {}]
    assert told == list(logs.read("run"))


@pytest.mark.parametrize(("most_bytes", "fields", "truncated"), [(14, {"a": "b"}, False), (13, {}, True)])
def test_fields_count_for_the_limit_and_are_kept_whole_or_not_at_all(
    logs: Logs, most_bytes: int, fields: dict[str, str], *, truncated: bool
) -> None:
    """Half an object is none."""
    with opened(logs, most_bytes=most_bytes) as writer:
        writer.record("a", "INFO", "hello", {"a": "b"})

    assert [line.fields for line in logs.read("run")] == [fields]
    assert writer.truncated == truncated


def test_exactly_the_limit_is_not_truncated(logs: Logs) -> None:
    """A bound that refuses its own value is off by one."""
    with opened(logs, most_bytes=6) as writer:
        writer.write("a", "stdout", b"12345\n")

    assert (writer.kept_bytes, writer.truncated) == (6, False)


def test_bytes_that_are_no_text_stay_readable(logs: Logs) -> None:
    """Each as what it is; control characters stay, for whoever shows them to escape."""
    with opened(logs) as writer:
        writer.write("a", "stdout", b"\xff\x1b[2J\r\0\n")
        writer.record("a", "INFO", 'x"}\n{"forged": 1}')

    assert texts(logs) == ["\\xff\x1b[2J\r\0", 'x"}\n{"forged": 1}']


def test_each_attempt_has_its_own_log_and_the_last_is_shown(logs: Logs) -> None:
    """A retry must not write over what it was retried for."""
    for attempt in (1, 2, 10):
        with opened(logs, attempt=attempt) as writer:
            writer.write("a", "stdout", b"attempt %d\n" % attempt)

    assert logs.attempts("run") == (1, 2, 10)
    assert (texts(logs), texts(logs, 1)) == (["attempt 10"], ["attempt 1"])
    with pytest.raises(StorageError), opened(logs, attempt=1):
        pass


def test_a_run_without_a_log_has_no_lines(logs: Logs) -> None:
    """It may have failed before anything could write."""
    assert (texts(logs), logs.attempts("run")) == ([], ())


def test_following_goes_on_until_the_run_has_ended(logs: Logs) -> None:
    """Lines that come while one looks, half of one, and those between the last look and the end."""
    going = threading.Event()
    going.set()
    lines = logs.read("run", 1, follow=going.is_set)
    with opened(logs) as writer:
        writer.write("a", "stdout", b"first\nhalf")
        assert next(lines).text == "first"
        writer.write("a", "stdout", b" and half\n")
        assert next(lines).text == "half and half"
        writer.write("a", "stdout", b"last\n")
        going.clear()

    assert [line.text for line in lines] == ["last"]


def test_following_a_run_that_ended_without_a_log_ends(logs: Logs) -> None:
    """Nobody waits for what will never come."""
    assert list(logs.read("run", 1, follow=lambda: False)) == []


@pytest.mark.root
def test_a_log_that_finds_the_disk_full_says_so(small_disk: Path) -> None:
    """In the state folder's own words: it is ours to fix, not the recipe's."""
    logs = Logs(small_disk / "runs")
    (small_disk / "ballast").write_bytes(bytes(200 * 2**10))

    def fill() -> None:
        with opened(logs, most_bytes=2**30) as writer:
            for _ in range(10):
                writer.write("a", "stdout", b"x" * 65_536)

    with pytest.raises(StorageError) as caught:
        fill()

    assert str(caught.value).endswith("is full")


def test_following_goes_on_with_the_next_attempt(logs: Logs) -> None:
    """Who watches a run wants to see it tried again, too."""
    with opened(logs, attempt=1) as writer:
        writer.write("a", "stdout", b"first\n")
    states = iter([True, False])

    def goes_on() -> bool:
        still = next(states, False)
        if still:
            with opened(logs, attempt=2) as writer:
                writer.write("a", "stdout", b"second\n")
        return still

    assert [line.text for line in logs.read("run", follow=goes_on)] == ["first", "second"]


HIDING = Redaction([Secret("TOKEN", "hunter22-hunter33"), Secret("KEY", "first line\nother line")])


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_no_secret_reaches_the_log_or_a_watcher(logs: Logs, told: list[LogLine], size: int) -> None:
    """However its bytes are cut into frames and lines, on both streams, and in records with their levels."""
    written = b"a hunter22-hunter33 b\nfirst line\n> other line\nhunter22-hunter33hunter22-hunter33"
    with opened(logs, told, redaction=HIDING) as writer:
        for start in range(0, len(written), size):
            for stream in ("stdout", "stderr"):
                writer.write("a", stream, written[start : start + size])
        writer.record("a", "hunter22-hunter33", "it is hunter22-hunter33", {"hunter22-hunter33": ["hunter22-hunter33"]})

    shown = ["a [secret TOKEN] b", "[secret KEY]", "> [secret KEY]", "[secret TOKEN][secret TOKEN]"]
    lines = list(logs.read("run"))
    assert [line.text for line in lines if line.stream == "stdout"] == shown
    assert [line.text for line in lines if line.stream == "stderr"] == shown
    assert [(line.level, line.text, line.fields) for line in lines if line.stream == "log"] == [
        ("[secret TOKEN]", "it is [secret TOKEN]", {"[secret TOKEN]": ["[secret TOKEN]"]})
    ]
    assert told == lines


def test_a_secret_that_the_limit_would_cut_does_not_show_in_part(logs: Logs) -> None:
    """It is taken out first: what the limit cuts is the mark."""
    with opened(logs, most_bytes=12, redaction=HIDING) as writer:
        writer.write("a", "stdout", b"12345hunter22-hunter33")
        writer.write("a", "stdout", b"\n")

    assert (texts(logs), writer.kept_bytes, writer.truncated) == (["12345[secret"], 12, True)


def test_a_secret_that_the_end_of_a_line_would_cut_does_not_show(logs: Logs) -> None:
    """A line is cut where it is too long: half of it here, half of it there would be the whole."""
    with opened(logs, redaction=HIDING) as writer:
        writer.write("a", "stdout", b"x" * 16_380 + b"hunter22-hunter33\n")

    assert texts(logs) == ["x" * 16_380 + "[sec", "ret TOKEN]"]


def test_a_secret_that_was_not_said_to_its_end_does_not_show(logs: Logs) -> None:
    """The step was stopped in the middle of it; or its record was longer than the runner passes on."""
    with opened(logs, redaction=HIDING) as writer:
        writer.write("a", "stdout", b"it is hunter22-hunt")
        writer.record("a", "INFO", "x" * 7_990 + "hunter22-h")
        writer.record("a", "INFO", "shorter hunter22-h")

    assert texts(logs) == ["x" * 7_990 + "[secret TOKEN]", "shorter hunter22-h", "it is [secret TOKEN]"]


def test_lines_without_a_secret_come_at_once(logs: Logs) -> None:
    """Who follows a log does not wait for the next line to see the last one."""
    told: list[LogLine] = []
    with opened(logs, told, redaction=HIDING) as writer:
        writer.write("a", "stdout", b"it may be hunter\n")
        assert [line.text for line in told] == ["it may be hunter"]


def test_a_log_is_read_in_pages(logs: Logs) -> None:
    """Each tells where the next begins; a line that is not whole yet is none."""
    with opened(logs) as writer:
        writer.write("a", "stdout", "one\ntwö\nthree\n".encode())
    with (logs._folder / "run" / "attempt-1.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"at": "')
    first = logs.page("run", 1, 0, 2)
    here = first[-1][1]
    rest = logs.page("run", 1, here, 9)
    end = rest[-1][1]
    assert [line.text for line, _ in (*first, *rest)] == ["one", "twö", "three"]
    assert logs.page("run", 1, end, 9) == []
    assert logs.page("run", 2, 0, 9) == []
    for start in (1, here - 1, end + 99):
        with pytest.raises(ValueError, match="no line of this log begins"):
            logs.page("run", 1, start, 9)
