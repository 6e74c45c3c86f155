"""The machine is what most users have, and the demo brings it from nothing of ours to a recipe's result."""

from __future__ import annotations

import json
import os
from pathlib import Path

from isolation.sandbox.docker_engine import DockerEngine


def demo(call: str, kind: str) -> str:
    return (Path(os.environ["ISOLATION_DEMO"]) / f"{call}.{kind}").read_text(encoding="utf-8")


def steps(call: str) -> list[str]:
    return [line.split(" (")[0] for line in demo(call, "words").splitlines() if line.startswith("- ")]


def test_this_machine_has_cgroup_v2_alone_and_the_systemd_driver_and_apparmor() -> None:
    """Else all that is found here would say nothing of such a machine."""
    facts = DockerEngine().facts()
    mounted = [line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]

    assert {where: kind for _, where, kind, *_ in mounted if kind.startswith("cgroup")} == {"/sys/fs/cgroup": "cgroup2"}
    assert (facts.cgroup_version, facts.cgroup_driver) == (2, "systemd")
    assert any("apparmor" in option for option in facts.security)
    assert not any("unconfined" in option for option in facts.security)


def test_the_demo_runs_on_a_fresh_machine() -> None:
    """Nothing of ours was there, and no engine ran: each stage had something to do."""
    assert steps("first") == ["- starting the Docker Engine", "- making .venv", "- building the runner image"]

    result = json.loads(demo("first", "json"))
    assert (result["outcome"], result["merge"]["status"]) == ("succeeded", "merged")
    assert result["engine"]["cgroup_version"] == 2


def test_a_second_demo_does_no_set_up_work() -> None:
    """What was missing, the first has done."""
    assert steps("second") == []
    assert json.loads(demo("second", "json"))["outcome"] == "succeeded"
