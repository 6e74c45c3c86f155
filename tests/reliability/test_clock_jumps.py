"""Row 160: the host's clock is set while a recipe runs, for the whole process and all of its libraries."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reliability.counts import JUMPS

pytestmark = [pytest.mark.engine, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
WORKS_S, ENDLESS_S = 1.5, 600
WALL_S = {WORKS_S: 20, ENDLESS_S: 2}
WORK = "import time\ndef run(context, params):\n    print('under way', flush=True)\n    time.sleep({})\n"


@pytest.fixture
def under_faketime(tmp_path: Path) -> dict[str, str]:
    """Give the environment of a process whose time of day a file sets; the monotonic clock stays the true one."""
    if shutil.which("faketime") is None:
        pytest.skip("faketime is not installed; scripts/test installs it on Debian and Ubuntu")
    command = ["faketime", "-m", "-f", "+0", "env"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (library,) = (line for line in shown.splitlines() if line.startswith("LD_PRELOAD="))
    clock = tmp_path / "clock"
    clock.write_text("+0")
    own = {"FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    return {**os.environ, **own, "LD_PRELOAD": library.removeprefix("LD_PRELOAD=")}


@pytest.mark.parametrize("sleeps_s", WALL_S)
@pytest.mark.parametrize("offset", JUMPS)
def test_row_160_a_clock_that_is_set_neither_ends_a_run_nor_keeps_it(
    under_faketime: dict[str, str], engine: None, tmp_path: Path, offset: str, sleeps_s: float
) -> None:
    """One that has time left ends well, and one that has none is stopped when its time is over, and no later."""
    del engine  # it is there
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "work.py").write_text(WORK.format(sleeps_s))
    (folder / "recipe.yaml").write_text("metadata: {name: tiny}\nsteps: [{name: s, module: work, function: run}]\n")
    words = [str(tmp_path / "state"), str(folder), str(WALL_S[sleeps_s]), offset]

    done = subprocess.run(
        [sys.executable, "-m", "tests.reliability.jump", *words],
        cwd=ROOT,
        env=under_faketime,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    outcome, wall_s, jumped_s = done.stdout.split()
    assert outcome == ("succeeded" if sleeps_s == WORKS_S else "timed_out")
    assert min(sleeps_s, WALL_S[sleeps_s]) <= float(wall_s) < 15
    assert abs(float(jumped_s) - JUMPS[offset]) < 60
