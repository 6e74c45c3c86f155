"""Row 167: each hardening option is removed once, and something must notice: who cannot fail proves nothing."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isolation.model.outcome import Outcome
from isolation.model.policy import Policy
from isolation.settings import Settings
from isolation.wiring import open_controller
from tests.hostile.mutations import MUTATIONS, PROPERTY, SWITCH, restore, weaken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.usefixtures("engine")]
_ROOT = Path(__file__).parents[2]
_RED = re.compile(r"^(?:FAILED|ERROR) tests/hostile/(\S+?\.py)::(\w+)", re.MULTILINE)
HARMLESS = "def run(context, params):\n    context.set('ran', True)\n"


@pytest.fixture
def without() -> Iterator[Callable[[str], None]]:
    yield weaken
    restore()


@pytest.mark.parametrize("option", [name for name, mutation in MUTATIONS.items() if mutation.attested])
def test_row_167_a_cell_without_an_option_is_refused(
    option: str, without: Callable[[str], None], tmp_path: Path
) -> None:
    """The first to notice is the attestation: nothing is delivered."""
    (tmp_path / "work.py").write_text(HARMLESS)
    (tmp_path / "recipe.yaml").write_text("metadata: {name: tiny}\nsteps: [{name: s, module: work, function: run}]\n")
    without(option)

    with open_controller(Settings(state=tmp_path / "state")) as controller:
        result = controller.run(tmp_path, policy=Policy(name="test"))

    assert result.outcome is Outcome.REFUSED


@pytest.mark.parametrize("option", MUTATIONS)
def test_row_167_without_an_option_a_hostile_test_goes_red(
    option: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """With the attestation switched off: then it is the attacks that must notice."""
    red: list[str] = []
    for number, selection in enumerate(MUTATIONS[option].caught_by):
        red += _red(option, selection, tmp_path / str(number))
        if red:
            break

    refused = "refused" if MUTATIONS[option].attested else "not seen"
    shown = ", ".join(dict.fromkeys(red)) or "nothing"
    record_property(PROPERTY, f"{option:28} attestation: {refused:9} tests: {shown}")
    assert red


def _red(option: str, selection: str, folder: Path) -> list[str]:
    file, *narrowed = shlex.split(selection)
    asked = f"({narrowed[-1]}) and not runsc" if narrowed else "not runsc"
    quiet = ["-q", "-rfE", "-p", "no:cacheprovider", "-p", "no:xdist", "--basetemp", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", file, "-k", asked, *quiet],
        cwd=_ROOT,
        env={**os.environ, SWITCH: option},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return [name for _, name in _RED.findall(done.stdout)]
