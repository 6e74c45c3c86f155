"""What every engine promises, the real one and the fake."""

from __future__ import annotations

import contextlib
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING, Any

import docker
import pytest

from isolation import contract
from isolation.errors import EngineError, ImageError
from isolation.sandbox.docker_engine import DockerEngine
from isolation.sandbox.engine import LABEL, OWNER_LABEL, Engine, engine_address
from isolation.sandbox.engine_beside import EngineBeside
from isolation.sandbox.first import FirstProcess
from isolation.sandbox.streams import Channel
from isolation.testing import IMAGE, FakeEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor, Future


@pytest.fixture(
    params=[
        pytest.param("docker", marks=pytest.mark.engine),
        pytest.param(
            "beside",
            marks=[
                pytest.mark.engine,
                # The test runner has threads; the child touches nothing of theirs.
                pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
            ],
        ),
        "fake",
    ]
)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == "beside":
        with EngineBeside() as beside:
            yield beside
    else:
        yield DockerEngine() if request.param == "docker" else FakeEngine()


@pytest.fixture
def body(engine: Engine) -> dict[str, Any]:
    labels = {LABEL: "contract", OWNER_LABEL: "nobody"}
    streams = {"OpenStdin": True, "StdinOnce": True, "AttachStdin": True, "AttachStdout": True, "AttachStderr": True}
    quiet = {"NetworkMode": "none", "LogConfig": {"Type": "none"}}
    return {"Image": engine.image_id(IMAGE), "Labels": labels, "HostConfig": quiet, "NetworkDisabled": True, **streams}


@pytest.fixture
def name(engine: Engine) -> Iterator[str]:
    name = f"isolation-contract-{secrets.token_hex(4)}"
    yield name
    engine.remove(name)


@pytest.fixture
def created(engine: Engine, body: dict[str, Any], name: str) -> str:
    return engine.create(name, body)


def test_an_engine_says_what_it_is(engine: Engine) -> None:
    """Limits are checked against these facts before anything is made."""
    facts = engine.facts()

    assert facts.cgroup_version in {1, 2}
    assert facts.cpus >= 1
    assert facts.memory_bytes > 0
    assert "runc" in facts.runtimes
    assert any("seccomp" in option for option in facts.security)
    assert {*facts.programs} <= {*facts.runtimes}


def test_an_image_that_is_not_there_is_never_pulled(engine: Engine) -> None:
    """What runs is what was built here; a name must not fetch a stranger's image."""
    with pytest.raises(ImageError):
        engine.image_id("isolation-no-such-image:latest")


def test_a_container_of_an_unknown_image_is_refused(engine: Engine, body: dict[str, Any], name: str) -> None:
    """A recorded run may name an image that was removed since."""
    with pytest.raises(ImageError):
        engine.create(name, body | {"Image": f"sha256:{'1' * 64}"})


def test_a_name_is_given_once(engine: Engine, body: dict[str, Any], name: str, created: str) -> None:
    """Two containers must not share a cell's name: uid, group and slot hang on it."""
    assert created
    with pytest.raises(EngineError):
        engine.create(name, body)


def test_bytes_from_the_first_on_come_through_the_attached_stream(engine: Engine, created: str) -> None:
    """Attached before the start, nothing is lost; the runner greets first."""
    channel = Channel(engine.attach(created), result_bytes=1024)
    engine.start(created)

    frames: list[tuple[int, bytes]] = []
    while not frames and not channel.closed:
        frames += channel.receive(10)

    assert frames[0][0] == contract.HELLO
    channel.close()


def test_a_running_container_is_not_waited_for_beyond_the_time(engine: Engine, created: str) -> None:
    """The deadline is ours, never the engine's."""
    channel = Channel(engine.attach(created), result_bytes=1024)
    engine.start(created)

    assert engine.wait(created, 0.1) is None
    channel.close()


def test_a_killed_container_says_137(engine: Engine, created: str) -> None:
    """And the engine does not call that out of memory."""
    channel = Channel(engine.attach(created), result_bytes=1024)
    engine.start(created)
    engine.kill(created)
    ended = engine.wait(created, 10)

    assert ended is not None
    assert (ended.exit_code, ended.oom_killed) == (137, False)
    channel.close()


def test_killing_what_does_not_run_is_no_error(engine: Engine, created: str) -> None:
    """It may have ended between our decision and our word."""
    engine.kill(created)
    engine.remove(created)
    engine.kill(created)


def test_removing_twice_is_no_error(engine: Engine, created: str, name: str) -> None:
    """Also by name, for a container whose id never reached us."""
    engine.remove(name)
    engine.remove(created)

    assert engine.wait(created, 0.1) is None


def test_one_that_has_ended_is_removed_and_not_killed(engine: Engine, created: str) -> None:
    """An engine hears of the end after the kernel does; a kill then costs it a process, for nothing."""
    stream = engine.attach(created)
    began_s = int(time.time())
    engine.start(created)
    first = FirstProcess.of(engine.inspect(created)["State"]["Pid"], created)
    stream.close()  # the runner ends where nobody speaks with it
    if first is not None:
        with contextlib.closing(first):
            assert first.wait(10) is not None
    engine.remove_ended(created)

    assert engine.wait(created, 0.1) is None
    assert "kill" not in _told_of(engine, created, began_s)


def _told_of(engine: Engine, container_id: str, since_s: int) -> list[str]:
    """Return what the real engine says happened to a container."""
    if isinstance(engine, FakeEngine):
        return []
    with contextlib.closing(docker.APIClient(base_url=engine_address(), version="auto")) as client:
        filters = {"container": [container_id]}
        told = client.events(since=since_s, until=int(time.time()) + 1, filters=filters, decode=True)
        return [event["Action"] for event in told]


def test_a_container_that_nobody_knows_cannot_be_started(engine: Engine, created: str) -> None:
    """Silence would be taken for a running cell."""
    engine.remove(created)
    with pytest.raises(EngineError):
        engine.start(created)


def test_what_carries_our_label_is_found_again(engine: Engine, created: str) -> None:
    """A controller that crashed leaves only this behind to be found by."""
    found = [leftover for leftover in engine.leftovers() if leftover.container_id == created]

    assert [(one.run_id, one.owner, one.running) for one in found] == [("contract", "nobody", False)]


def test_a_name_of_which_nothing_is_being_made_is_free(engine: Engine, body: dict[str, Any], name: str) -> None:
    """And is so afterwards."""
    engine.settle(name)

    assert engine.create(name, body) in {left.container_id for left in engine.leftovers()}


def test_what_is_being_made_is_listed_when_its_name_was_asked_after(engine: Engine, body: dict[str, Any]) -> None:
    """Also where whoever wanted it does not wait for it."""
    with ThreadPoolExecutor(1) as another:
        name, made = _wanted_by(another, engine, body)
        engine.settle(name)
        listed = {left.container_id for left in engine.leftovers()}
    engine.remove(made.result())

    assert made.result() in listed


def _wanted_by(another: Executor, engine: Engine, body: dict[str, Any]) -> tuple[str, Future[str]]:
    """Have another make a container, and return when the engine knows its name: there may be no container yet."""
    for _ in range(100):
        name, begins = f"isolation-contract-{secrets.token_hex(4)}", Event()
        made = another.submit(_create, engine, name, body, begins)
        begins.wait()
        engine.image_id(IMAGE)  # which takes as long as the other needs to be first, mostly
        try:
            engine.remove(engine.create(name, body))
        except EngineError:
            return name, made
        made.exception()
        engine.remove(name)
    raise AssertionError("the other was never first")


def _create(engine: Engine, name: str, body: dict[str, Any], begins: Event) -> str:
    begins.set()
    return engine.create(name, body)


def test_what_has_been_made_stays_when_its_name_is_asked_after(engine: Engine, created: str, name: str) -> None:
    """It is whoever cleans up who takes it away."""
    engine.settle(name)

    assert engine.inspect(name)["Id"] == created


def test_counters_are_told_of_a_running_container_alone(engine: Engine, created: str) -> None:
    """Of one that has not started, nothing is known: the reading must not look like zero processes."""
    assert not engine.stats(created).get("pids_stats", {}).get("current")

    channel = Channel(engine.attach(created), result_bytes=1024)
    engine.start(created)

    assert engine.stats(created)["pids_stats"]["current"] >= 1
    channel.close()
