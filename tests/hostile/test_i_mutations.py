"""Row 167: without any one line of the hardening, some attack gets through. Else the attacks would prove nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isolation.model.outcome import Outcome
from isolation.settings import Settings
from isolation.wiring import open_controller
from tests.hostile.kit import on_runc
from tests.hostile.mutation_report import PROPERTY
from tests.hostile.mutations import MUTATIONS, SWITCH, applied, chosen

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.hostile.kit import Arena

pytestmark = [pytest.mark.engine, pytest.mark.slow]

HERE = Path(__file__).parent
_RED = re.compile(r"^FAILED \S+::(\w+)", re.MULTILINE)


def is_refused(arena: Arena, name: str) -> bool:
    """Tell whether the attestation of a cell finds out what it lacks."""
    folder = arena.recipe("def run(context, params):\n    pass")
    with applied(name, attested=True) as image, open_controller(Settings(state=arena.state, image=image)) as controller:
        outcome = controller.run(folder, policy=arena.policy()).outcome
    assert outcome in {Outcome.SUCCEEDED, Outcome.REFUSED}
    return outcome is Outcome.REFUSED


def red_without(name: str, folder: Path) -> list[str]:
    """Run the attacks that should notice, in a process that goes without, and name those that get through."""
    mutation = MUTATIONS[name]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=no", "-rf"]
    command += [
        "--basetemp",
        str(folder),
        "-k",
        f"runc and ({mutation.tests})",
        *(str(HERE / file) for file in mutation.files),
    ]
    done = subprocess.run(
        command, env=os.environ | {SWITCH: name}, cwd=HERE.parents[1], capture_output=True, text=True, check=False
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    return sorted({*_RED.findall(done.stdout)})


@on_runc
@pytest.mark.parametrize("name", MUTATIONS)
def test_row_167_without_one_line_of_the_hardening_an_attack_gets_through(
    arena: Arena, name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """And where the attestation sees the line, no such cell is ever given a recipe."""
    refused, red = is_refused(arena, name), red_without(name, tmp_path / "without")
    record_property(PROPERTY, [name, refused, red])

    assert red != []
    assert refused == MUTATIONS[name].attested


def test_row_167_nobody_goes_without_by_accident() -> None:
    """The switch is for the processes that this test starts."""
    assert chosen() is None
