"""The figures of docs/reliability.md are those that the tests use, and each row's test is where it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from isolation.storage.queue import MOST_WAITING
from tests import test_worker
from tests.hostile import test_i_killed, test_i_queue, test_i_state
from tests.reliability import test_lost_replies
from tests.reliability.counts import AT_ONCE, DELIVERIES, JUMPS, POWER_CUTS, RUNS
from tests.service import test_killed_server
from tests.storage import test_queue

ROOT = Path(__file__).parents[2]
ROW = re.compile(
    r"^\| [^|]+ \| (?P<often>[^|]+) \| [^|]+ \| \[(?P<test>test_\w+)\]\(\.\./(?P<file>[\w/.]+)\) \|$", re.MULTILINE
)
ROWS = {found["test"]: found for found in ROW.finditer((ROOT / "docs" / "reliability.md").read_text("utf-8"))}
FIGURES = {
    "test_row_136_a_killed_controller_leaves_one_end_and_nothing_else": len(test_i_killed.MOMENTS),
    "test_a_worker_that_dies_at_any_moment_costs_an_attempt_and_no_more": len(test_worker.MOMENTS),
    "test_what_a_killed_server_acknowledged_ends_once": len(test_killed_server.ALL),
    "test_row_145_a_run_whose_controllers_all_die_is_given_up": max(test_i_queue.DEATHS),
    "test_an_acknowledged_cancel_is_never_followed_by_a_merge": test_worker.CANCELS,
    "test_submissions_with_one_key_at_once_are_one_run": test_queue.TIMES,
    "test_row_162_a_burst_of_three_hundred_is_held_back_and_not_failed": test_i_queue.BURST,
    "test_row_163_a_flood_is_bounded_and_holds_up_nobody_else": MOST_WAITING,
    "test_row_138_acknowledged_merges_survive_power_cuts": POWER_CUTS,
    "test_row_150_a_lost_reply_of_the_engine_is_healed": len(test_lost_replies.LOST),
    "test_row_150_a_connection_that_breaks_before_the_engine_is_done_leaves_nothing": len(test_lost_replies.EARLY),
    "test_row_152_a_disk_that_fills_up_at_any_moment_tears_no_record": len(test_i_state.MOMENTS),
    "test_row_157_merges_that_meet_add_up": AT_ONCE,
    "test_row_157_ten_thousand_runs_of_ten_keys_lose_nothing": RUNS,
    "test_row_158_results_that_come_again_late_or_shuffled_are_taken_once": DELIVERIES,
    "test_row_160_a_clock_that_is_set_neither_ends_a_run_nor_keeps_it": len(JUMPS),
}


@pytest.mark.parametrize("test", ROWS)
def test_a_row_names_a_test_that_is_there(test: str) -> None:
    """Whoever doubts a row opens its test."""
    assert f"\ndef {test}(" in (ROOT / ROWS[test]["file"]).read_text("utf-8")


@pytest.mark.parametrize("test", FIGURES)
def test_a_figure_is_the_tests_own(test: str) -> None:
    """A figure that nobody compares is soon another's."""
    assert ROWS[test]["often"].split()[0] == str(FIGURES[test])
