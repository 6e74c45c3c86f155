"""The summary, letter by letter: it is what people see of the whole project."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from isolation.cli.paint import Paint
from isolation.cli.summary import summary
from isolation.model.run import Artifact, StepError
from isolation.model.traffic import Decision, Traffic
from isolation.model.usage import Usage

if TYPE_CHECKING:
    from tests.cli.conftest import Make

SUCCEEDED = """\
sales  succeeded in 1.2 s

   step     outcome     wall   CPU  note
✓  extract  succeeded  12 ms  9 ms

usage
  wall       1.2 s of 60.0 s      [....................]
  CPU        500 ms                                       user 400 ms, system 100 ms
  memory     128 MiB of 512 MiB   [#####...............]  sampled: anon 96 MiB
  processes  8 of 128             [#...................]
  I/O        0 B read, - written

changes (merged, the context is at version 7)
  - sales.old
  + sales.total = 42

artifacts
  out/report.md  1.5 KiB  /kept/out/report.md

run 20250102-030405-abcd
  isolation show 20250102-030405-abcd   this again
  isolation logs 20250102-030405-abcd   what it wrote
  isolation rerun 20250102-030405-abcd  the same once more"""

FAILED_HEAD = """\
sales  failed: step 'load' raised ValueError: no column\\x1b[31m\\nsecond line
See what it wrote (`isolation logs 20250102-030405-abcd --step 'load'`) and mend the step, or what it was given.

   step     outcome      wall   CPU  note
✓  extract  succeeded   12 ms  9 ms
✗  load     failed     500 ms     -  ValueError: no column\\x1b[31m (tried 2 times)
-  report   skipped         -     -  load failed
"""

ERROR = """
error in step load
  Traceback (most recent call last):
    File "load.py", line 3
  ValueError: no column\\x1b[31m
"""

NETWORK = """
network: 3.0 KiB sent, 10 KiB received
  ✓  site.example:443 at 192.0.43.8  2x  2 KiB sent, 10 KiB received
  ✗  other.example:443               1x  other.example:443 is not allowed
  ✗  (no request)                    1x  no request\\x1b[31m
  ✓  gone.example:80 at 192.0.43.9   1x  Connection refused
  ... and 7 more requests, which are counted and not kept

changes"""

CONFLICT = """
changes (not merged)
  - sales.old
  + sales.total = 42

conflicts
  sales.total
    ours    42  (load)
    theirs  41  (alice, run 20250101-000000-ffff)
"""


def kept(artifact: Artifact) -> str:
    return f"/kept/{artifact.name}"


def test_a_run_that_succeeded(make: Make) -> None:
    """What it used against what it might have, what it changed, what it left, what to do next."""
    assert summary(make.result(), make.policy, kept) == SUCCEEDED


def test_a_run_that_failed(make: Make) -> None:
    """First the cause in words, then the steps; the recipe's own text is escaped everywhere."""
    text = summary(make.failed(), make.policy, kept)
    assert text.startswith(FAILED_HEAD)
    assert ERROR in text
    assert "changes" not in text
    assert "artifacts" not in text


def test_a_conflict_names_both_writers(make: Make) -> None:
    """Whoever reads it must know whom to talk to."""
    assert CONFLICT in summary(make.conflict(), make.policy, kept)


def test_what_it_asked_of_the_network(make: Make) -> None:
    """The same in one line, what was denied with the reason; each one with its time stands in the record."""
    result = make.result()
    site = decision("site.example", 443, address="192.0.43.8", bytes_sent=1024, bytes_received=5 * 1024)
    decisions = (
        site,
        decision("other.example", 443, allowed=False, why="other.example:443 is not allowed"),
        site,
        decision("", 0, allowed=False, why="no request\x1b[31m"),
        decision("gone.example", 80, address="192.0.43.9", why="Connection refused"),
    )
    traffic = Traffic(decisions=decisions, left_out=7, bytes_sent=3100, bytes_received=10 * 1024)
    attempt = replace(result.attempts[0], network=traffic)

    assert NETWORK in summary(replace(result, attempts=(attempt,)), make.policy, kept)


def test_a_run_that_asked_everybody_fits_on_a_screen(make: Make) -> None:
    """The record has the rest."""
    result = make.result()
    asked = tuple(decision(f"host{number}.example", 443, allowed=False, why="no") for number in range(100))
    attempt = replace(result.attempts[0], network=Traffic(decisions=asked))
    text = summary(replace(result, attempts=(attempt,)), make.policy, kept)

    assert text.count("host") == 20
    assert "  ... and 80 more, see --json\n" in text


def decision(host: str, port: int, *, allowed: bool = True, **fields: Any) -> Decision:  # noqa: ANN401 - a field is anything
    return Decision(at="2025-01-02T03:04:05.678Z", via="connect", host=host, port=port, allowed=allowed, **fields)


def test_a_step_that_did_not_run_says_whose_result_it_took(make: Make) -> None:
    """And one whose result is not kept, why."""
    (ran,) = make.result().attempts[0].steps
    taken = replace(ran, cached_from="20250101-000000-ffff\x1b", wall_s=None, cpu_s=None, tries=0)
    lines = summary(make.result(steps=(taken, replace(ran, reason="its result is not kept"))), None, kept).splitlines()

    assert lines[3:5] == [
        "✓  extract  succeeded      -     -  cached from 20250101-000000-ffff\\x1b",
        "✓  extract  succeeded  12 ms  9 ms  its result is not kept",
    ]


def test_what_was_not_measured_is_a_dash(make: Make) -> None:
    """It never looks like zero."""
    text = summary(replace(make.result(), usage=Usage()), None, kept)
    assert "  memory     -\n" in text
    assert "  I/O        - read, - written" in text


def test_nothing_hostile_is_left_in_any_field(make: Make) -> None:
    """Every text that can come from a recipe, at once."""
    evil = "\x1b[2J\u202e"
    result = make.failed()
    errors = (StepError(step=evil, type=evil, message=evil, traceback=f"{evil}\n{evil}"),)
    steps = tuple(replace(step, name=f"a{evil}", reason=evil, error=errors[0]) for step in result.attempts[0].steps)
    changes = replace(make.result().changes, set={evil: evil}, deleted=(evil * 2,))
    artifacts = (Artifact(name=evil, digest="e" * 64, size_bytes=1),)
    traffic = Traffic(decisions=(decision(evil, 443, why=evil, address=evil),))
    attempts = (
        replace(result.attempts[0], steps=steps),
        replace(result.attempts[0], number=2, cause=evil, steps=steps, network=traffic),
    )
    evil_result = replace(
        result, recipe=evil, errors=errors, attempts=attempts, changes=changes, artifacts=artifacts, run_id=evil
    )
    text = summary(evil_result, make.policy, kept)
    assert all(character.isprintable() or character == "\n" for character in text)


def test_an_endless_traceback_is_cut_in_its_middle(make: Make) -> None:
    """Recursion errors have thousands of lines; the ends tell all."""
    error = StepError(step="load", type="RecursionError", message="", traceback="\n".join(map(str, range(1000))))
    text = summary(replace(make.failed(), errors=(error,)), make.policy, kept)
    assert "  19\n  ... 960 lines left out ...\n  980\n" in text


def test_colours_are_for_terminals_alone(make: Make) -> None:
    """The same text, once painted."""
    plain = summary(make.failed(), make.policy, kept)
    painted = summary(make.failed(), make.policy, kept, Paint(on=True))
    assert "\x1b" not in plain
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m"):
        painted = painted.replace(code, "")
    assert [line.rstrip() for line in painted.splitlines()] == plain.splitlines()
