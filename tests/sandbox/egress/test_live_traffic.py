"""What passes from steps to servers and back, on the real engine: much of it, cut off, and from several steps."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from isolation.model.outcome import Outcome
from tests.sandbox.conftest import OnLine
from tests.sandbox.egress.conftest import LOOPBACK, Outside, outputs_of, threads

if TYPE_CHECKING:
    from tests.sandbox.egress.conftest import Reach

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]


def test_a_hundred_requests_at_once_from_one_step_are_all_answered(reach: Reach, outside: Outside) -> None:
    """More than either side serves at a time."""
    result = reach(
        f"""
        from concurrent.futures import ThreadPoolExecutor
        def run(context, params):
            with ThreadPoolExecutor(100) as clients:
                answers = list(clients.map(ask, ["http://127.0.0.1:{outside.port}/?1000"] * 100))
            return {{"whole": sum(answer == "x" * 1000 for answer in answers)}}
        """,
        f"{LOOPBACK}:{outside.port}",
    )

    assert outputs_of(result) == {"whole": 100}
    traffic = result.attempts[0].network
    assert len(traffic.decisions) == 100
    assert traffic.bytes_received > 100_000


def test_a_large_body_is_counted_in_both_directions(reach: Reach, outside: Outside) -> None:
    """Through forwarder, socket and proxy, byte by byte the same."""
    result = reach(
        f"""
        import hashlib, os, urllib.request
        def run(context, params):
            body = os.urandom(5_000_000)
            with urllib.request.urlopen("http://127.0.0.1:{outside.port}/", data=body) as answer:
                return {{"same": answer.read() == body}}
        """,
        f"{LOOPBACK}:{outside.port}",
    )

    assert outputs_of(result) == {"same": True}
    (decision,) = result.attempts[0].network.decisions
    assert 5_000_000 < decision.bytes_sent < 5_001_000
    assert 5_000_000 < decision.bytes_received < 5_001_000


def test_a_connection_does_not_outlive_its_run(reach: Reach, outside: Outside) -> None:
    """Cancelled while a request is under way: the server sees the end of it, and what was moved is on record."""
    cancel = threading.Event()

    def cancel_when_held() -> None:
        assert outside.held.acquire(timeout=20)
        cancel.set()

    result = reach(
        f"""
        import threading, time
        def run(context, params):
            threading.Thread(target=ask, args=["http://127.0.0.1:{outside.port}/hold"], daemon=True).start()
            print("under way", flush=True)
            time.sleep(600)
        """,
        f"{LOOPBACK}:{outside.port}",
        watcher=OnLine(cancel_when_held),
        cancel=cancel,
    )

    assert result.outcome is Outcome.CANCELLED
    assert threads() == []
    (decision,) = result.attempts[0].network.decisions
    assert decision.allowed
    assert decision.bytes_sent > 0


def test_every_step_finds_the_way_out(reach: Reach, outside: Outside) -> None:
    """One after the other, each in a process of its own; the record is the attempt's."""
    result = reach(
        f"""
        def run(context, params):
            return {{"heard": ask("http://127.0.0.1:{outside.port}/")}}
        """,
        f"{LOOPBACK}:{outside.port}",
        steps=3,
    )

    assert [step.outputs for step in result.attempts[0].steps] == [{"heard": "hello"}] * 3
    assert len(result.attempts[0].network.decisions) == 3
