"""What is wrong with the engine, or asked of it that it does not have."""

from __future__ import annotations

import socket

import pytest

from tests.wrong_inputs.conftest import NOWHERE, WITH_POLICY, Desk, Gate, Wrong, policy, refuse_at_the_gate

NO_ENGINE = (
    "isolation: the Docker Engine at {} does not answer\n"
    "Start it, or name another with --engine; `isolation doctor` shows what is missing.\n"
)
HOSTS_OWN = "Lower it: a limit above the host's own is none."

# Found when the engine has been asked what it is and has, and nothing more.
BEYOND_THE_HOST = {
    "more processors than there are": Wrong(
        files=policy("limits: {cpus: 1000}\n"),
        command=WITH_POLICY,
        told="limits.cpus of policy 'p' is 1000, but this host has {cpus}",
        hint=HOSTS_OWN,
        code=3,
    ),
    "more memory than there is": Wrong(
        files=policy("limits: {memory: 100TiB}\n"),
        command=WITH_POLICY,
        told="limits.memory of policy 'p' is 100 TiB, but this host has {memory}",
        hint=HOSTS_OWN,
        code=3,
    ),
    "an image that is not there": Wrong(
        environment={"ISOLATION_IMAGE": "isolation-runner:none"},
        told="the runner image isolation-runner:none is not on the engine at {engine}",
        hint="Build it with scripts/image, in a checkout of the project.",
        code=3,
    ),
}

BEYOND_GVISOR = {
    "a limit that gVisor does not hold": Wrong(
        files=policy("runtime: runsc\n"),
        command=WITH_POLICY,
        told="limits.tmp_inodes of policy 'p' cannot be held by gVisor: it counts no inodes",
        hint="Say `tmp_inodes: null`: they count as memory, and limits.memory holds.",
        code=3,
    ),
    "less memory than gVisor needs": Wrong(
        files=policy("runtime: runsc\nlimits: {memory: 32MiB, tmp_inodes: null}\n"),
        command=WITH_POLICY,
        told="limits.memory of policy 'p' is 32 MiB, but gVisor alone needs 48 MiB",
        hint="Raise it, or choose another runtime.",
        code=3,
    ),
}


def test_no_engine(desk: Desk) -> None:
    """The most common of all; what was found wrong before it is told instead."""
    assert desk.run("run", "{folder}") == (3, "", NO_ENGINE.format(NOWHERE))
    assert desk.run("clean") == (3, "", NO_ENGINE.format(NOWHERE))


def test_no_right_to_use_the_engine(desk: Desk, as_a_user: tuple[str, ...]) -> None:
    """It is told from an engine that is not there: the way out is another."""
    path = desk.path / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0o000)
        told = desk.run("run", "{folder}", engine=f"unix://{path}", before=as_a_user)

    assert told == (
        3,
        "",
        desk.fill(
            "isolation: this user may not use the Docker Engine at unix://{here}/engine.sock\n"
            "Run as root, or join the group that owns the socket (it is as good as root), and log in again.\n"
        ),
    )


@pytest.mark.engine
@pytest.mark.parametrize("wrong", BEYOND_THE_HOST.values(), ids=BEYOND_THE_HOST)
def test_what_the_host_does_not_have_is_told_before_a_container_is_made(desk: Desk, gate: Gate, wrong: Wrong) -> None:
    """The engine was asked what it is and has; no run is recorded."""
    refuse_at_the_gate(desk, gate, wrong)


@pytest.mark.engine
def test_the_gate_hears_a_container_being_made(desk: Desk, gate: Gate) -> None:
    """Else no test that asks the gate could fail."""
    assert desk.run("run", "{folder}", engine=gate.address)[0] == 0
    assert {("GET", "/info"), ("POST", "/containers/create")} <= gate.asked()


@pytest.mark.engine
@pytest.mark.usefixtures("runsc")
@pytest.mark.parametrize("wrong", BEYOND_GVISOR.values(), ids=BEYOND_GVISOR)
def test_what_gvisor_cannot_hold_is_told_before_a_container_is_made(desk: Desk, gate: Gate, wrong: Wrong) -> None:
    """A limit that does not hold is none, and a kernel needs some room itself."""
    refuse_at_the_gate(desk, gate, wrong)
