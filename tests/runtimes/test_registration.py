"""``scripts/runtimes``, on an engine of the tests' own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.runtimes.conftest import OwnEngine

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.root, pytest.mark.usefixtures("crun", "runsc")]
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "runtimes"


def run_script(address: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [SCRIPT], env=os.environ | {"DOCKER_HOST": address}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_it_registers_both_and_then_has_nothing_to_say(own_engine: OwnEngine) -> None:
    """What else stands in the engine's configuration is somebody's; whoever registered a name meant it so."""
    mine = {"path": "/opt/mine/crun"}
    own_engine.register({"crun": mine})

    assert run_script(own_engine.address) == (0, "", "- registering crun and runsc with the engine\n")

    assert {*own_engine.runtimes()} == {"crun", "runsc"}
    arguments = ["--platform=ptrace", "--network=none", "--oci-seccomp"]
    assert json.loads(own_engine.config.read_text()) == {
        "log-level": "warn",
        "runtimes": {"crun": mine, "runsc": {"path": shutil.which("runsc"), "runtimeArgs": arguments}},
    }
    assert run_script(own_engine.address) == (0, "", "")


def test_a_configuration_that_is_none_is_left_as_it_is(own_engine: OwnEngine) -> None:
    """What cannot be read cannot be kept."""
    own_engine.register({})
    own_engine.config.write_text('{"log-level": warn')

    code, _, told = run_script(own_engine.address)

    assert code == 3
    assert told.splitlines()[-2:] == [
        "The engine's configuration could not be extended; the reason is above.",
        f"Mend {own_engine.config}, then run this again.",
    ]
    assert own_engine.config.read_text() == '{"log-level": warn'
    assert [path.name for path in own_engine.folder.iterdir() if path.name.startswith("tmp")] == []


ELSEWHERE = "The engine at {} does not lie on this host.\nRegister crun and runsc with it there.\n"
SILENT = "The Docker Engine at {} does not answer.\nRun scripts/engine first, or name another in DOCKER_HOST.\n"


@pytest.mark.parametrize(("address", "told"), [("tcp://127.0.0.1:1", ELSEWHERE), ("unix:///nowhere/sock", SILENT)])
def test_an_engine_that_it_cannot_reach_is_told(address: str, told: str) -> None:
    """Before anything is installed or written."""
    assert run_script(address) == (3, "", told.format(address))
