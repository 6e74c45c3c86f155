"""Whatever a host is like, the doctor comes to an end and says something."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from isolation.sandbox.docker_engine import DockerEngine
from isolation.sandbox.doctor import Host, examine

if TYPE_CHECKING:
    from pathlib import Path

    from tests.doctor.conftest import Examined, LaidOut

FILES = ("proc/meminfo", "security/lsm", "proc/sys/kernel/kptr_restrict", "proc/sys/kernel/core_pattern", "bin/crun")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"-", b"SwapTotal:", b"SwapTotal: many kB", b"\n" * 1000])
def test_files_that_say_something_else_are_no_reason_to_stop(
    examined: Examined, laid_out: LaidOut, content: bytes
) -> None:
    """A kernel of tomorrow may write them otherwise."""
    for name in FILES:
        (laid_out.folder / name).write_bytes(content)

    checks = examined()

    assert checks["swap"].found == "not told"
    assert checks["crun"].status == "warning"


def test_a_host_without_any_of_these_files_is_examined(examined: Examined, tmp_path: Path) -> None:
    """Such as one that is no Linux."""
    nothing = Host(
        proc=tmp_path / "a", cgroup=tmp_path / "b", security=tmp_path / "c", documents=tmp_path / "d",
        project=tmp_path / "e", path="", is_root=False,
    )  # fmt: skip
    assert {check.status for check in examined(host=nothing).values()} >= {"ok", "warning"}


def test_a_state_folder_that_this_user_may_not_even_see_is_missing(tmp_path: Path, as_a_user: tuple[str, ...]) -> None:
    """Asking whether it is there is an error of its own in Python."""
    program = (
        "from pathlib import Path\n"
        "from isolation.sandbox.doctor.project import check_state\n"
        f"print(check_state(Path({str(tmp_path)!r}) / 'private' / 'state').status)\n"
    )
    (tmp_path / "private").mkdir(mode=0)
    command = [*as_a_user, sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "missing\n"
    (tmp_path / "private").chmod(0o700)


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
def test_this_host_is_examined(tmp_path: Path) -> None:
    """What the engine's own parts tell is what their programs tell, and all of it can be written as JSON."""
    checks = {
        check.name: check for check in examine(engine_address=None, image="isolation-runner:latest", state=tmp_path)
    }

    assert json.loads(json.dumps([asdict(check) for check in checks.values()]))
    assert "missing" not in {check.status for check in checks.values()}
    assert checks["runc"].found.startswith(DockerEngine().components()["runc"])
    assert [check.name for check in checks.values() if check.holes and not check.mend] == []
