"""What is done when somebody asks for it, and not before."""

from __future__ import annotations

import threading

import pytest

from isolation.later import Later


def test_it_is_done_once_and_by_who_asks() -> None:
    """A thread of its own would cost more than what is done."""
    done: list[threading.Thread] = []

    def count() -> int:
        done.append(threading.current_thread())
        return len(done)

    with Later() as later:
        future = later.submit(count)
        assert done == []

        assert (future.result(), future.result()) == (1, 1)
    assert done == [threading.current_thread()]


def test_what_nobody_asked_for_can_be_cancelled_and_is_never_done() -> None:
    """Else a cell would be claimed for a run that has failed by then."""
    done: list[int] = []
    future = Later().submit(done.append, 1)

    assert future.cancel()
    assert done == []


def test_an_error_is_raised_each_time_and_kept() -> None:
    """As with any future."""
    future = Later().submit(lambda: 1 // 0)

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            future.result()
    assert not future.cancel()
    assert isinstance(future.exception(), ZeroDivisionError)
