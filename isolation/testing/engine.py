"""
A container engine for tests, without containers: it keeps the promises of ``Engine``, and breaks those it is told to.

    engine = FakeEngine(answering({"total": 3}))
    engine.fail("create", after=True)        # the container is made, the engine's reply is lost

It is held to ``tests/sandbox/test_engine_contract.py``, as the real one is.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from isolation import contract
from isolation.errors import EngineError, EngineUnreachableError, ImageError
from isolation.sandbox.engine import LABEL, OWNER_LABEL, Ended, EngineFacts, Leftover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pydantic import JsonValue

IMAGE = "isolation-runner:latest"
_PACKET = struct.Struct(">BxxxI")
_KILLED = 137


class Inside:
    """The runner's end of a channel: says frames as the engine passes them on, in packets."""

    def __init__(self, stream: socket.socket) -> None:
        self._socket = stream
        self._tally = contract.Tally()
        self.nonce = bytes(contract.NONCE_BYTES)
        self.secrets = b""
        self.killed = threading.Event()

    def write(self, content: bytes, stream: int = 1) -> None:
        """Write raw bytes as one packet; 1 is standard output, 2 standard error."""
        self._socket.sendall(_PACKET.pack(stream, len(content)) + content)

    def say(self, kind: int, payload: object) -> None:
        """Say one frame; anything but bytes is said as JSON."""
        content = payload if isinstance(payload, bytes) else contract.dumps(payload)
        whole = contract.frame(kind, content)
        self._tally.add(whole)
        self.write(whole)

    def hello(self) -> None:
        """Greet."""
        self.say(contract.HELLO, {"contract": contract.CONTRACT_VERSION, "python": "3.11.2"})

    def hear_plan(self) -> dict[str, Any]:
        """Take the nonce, the plan, which is returned, and the ``secrets``, as the bytes that they came in."""
        self.nonce = self._hear(contract.NONCE_BYTES)
        plan: dict[str, Any] = json.loads(self._hear_frame(contract.PLAN))
        self.secrets = self._hear_frame(contract.SECRETS)
        return plan

    def step(self, index: int, changes: Mapping[str, JsonValue] | None = None) -> None:
        """Say that a step began and succeeded, with what it set."""
        self.say(contract.STEP_STARTED, {"step": index, "try": 1})
        ended = {"step": index, "outcome": "succeeded", "tries": 1, "cause": "", "set": dict(changes or {})}
        self.say(contract.STEP_ENDED, ended)

    def end(self) -> None:
        """Prove all that was said."""
        self.write(contract.frame(contract.END, self._tally.end(self.nonce)))

    def hear_bye(self) -> None:
        """Wait until the host lets go."""
        self._hear(contract.HEADER.size)

    def stay(self) -> None:
        """Do nothing until killed."""
        self.killed.wait()

    def _hear_frame(self, wanted: int) -> bytes:
        kind, length = contract.HEADER.unpack(self._hear(contract.HEADER.size))
        assert kind == wanted, kind  # noqa: S101 - a fake runner may insist
        return self._hear(length)

    def _hear(self, length: int) -> bytes:
        heard = bytearray()
        while len(heard) < length:
            piece = self._socket.recv(length - len(heard))
            if not piece:
                raise EOFError
            heard += piece
        return bytes(heard)


def idle(inside: Inside) -> int:
    """Greet, and stay."""
    inside.hello()
    inside.stay()
    return 0


def answering(changes: Mapping[str, JsonValue] | None = None) -> Callable[[Inside], int]:
    """Make a script of a runner whose steps all succeed; the first makes the changes."""

    def script(inside: Inside) -> int:
        inside.hello()
        for index, _ in enumerate(inside.hear_plan()["steps"]):
            inside.step(index, {} if index else changes)
        inside.end()
        inside.hear_bye()
        return 0

    return script


@dataclass
class FakeContainer:
    """What the engine holds of one container."""

    container_id: str
    name: str
    body: dict[str, Any]
    host_end: socket.socket
    inside: Inside
    inner_end: socket.socket
    exit_code: int | None = None
    started: bool = False
    ended: threading.Event = field(default_factory=threading.Event)


@dataclass
class _Fault:
    error: EngineError
    after: bool


class FakeEngine:
    """An engine whose containers are threads that run ``script`` with the inner end of their channel."""

    def __init__(self, script: Callable[[Inside], int] = idle) -> None:
        self.address = "fake://engine"
        self.script = script
        self.containers: dict[str, FakeContainer] = {}
        self.asked: list[str] = []
        """Every method called, in order."""
        self._faults: dict[str, list[_Fault]] = {}
        self._gone = False

    def fail(self, method: str, error: EngineError | None = None, *, after: bool = False) -> None:
        """Let the next call of a method fail: before it does anything, or ``after`` it has done all of it."""
        fault = _Fault(error or EngineUnreachableError("the fake engine does not answer"), after)
        self._faults.setdefault(method, []).append(fault)

    def vanish(self) -> None:
        """Let everything that is asked from now on fail, and cut all channels, as a daemon that dies does."""
        self._gone = True
        for container in self.containers.values():
            _cut(container.inner_end)

    def forget(self) -> None:
        """Know no container any more, as a daemon does that lost its state."""
        for container in [*self.containers.values()]:
            self._discard(container)

    def facts(self) -> EngineFacts:
        """Describe the engine; asked once."""
        return EngineFacts(
            name="fake",
            version="1",
            cgroup_version=1,
            cgroup_driver="none",
            runtimes=("runc",),
            security=("name=seccomp,profile=default",),
            cpus=64,
            memory_bytes=2**40,
            kernel="",
        )

    def image_id(self, name: str) -> str:
        """Return the id of a local image. Raises ImageError where it is not there; never pulls."""
        with self._asked("image_id"):
            if name != IMAGE:
                raise ImageError(f"the runner image {name} is not on the engine at {self.address}")
            return f"sha256:{'0' * 64}"

    def create(self, name: str, body: dict[str, Any]) -> str:
        """Create a container from a raw create body; returns its id."""
        with self._asked("create"):
            if body["Image"] not in {IMAGE, self.image_id(IMAGE)}:
                raise ImageError(f"the image {body['Image']} is not on the engine at {self.address}")
            if any(container.name == name for container in self.containers.values()):
                raise EngineError(f"the name {name} is in use")
            host_end, inner_end = socket.socketpair()
            container_id = secrets.token_hex(32)
            self.containers[container_id] = FakeContainer(
                container_id, name, body, host_end, Inside(inner_end), inner_end
            )
            return container_id

    def attach(self, container_id: str) -> socket.socket:
        """Attach to its three standard streams, before it is started, so that no byte is lost."""
        with self._asked("attach"):
            return self._known(container_id).host_end

    def start(self, container_id: str) -> None:
        """Start it; returns when its first process has been started."""
        with self._asked("start"):
            container = self._known(container_id)
            container.started = True
            threading.Thread(target=self._live, args=(container,), daemon=True).start()

    def inspect(self, container_id: str) -> dict[str, Any]:
        """Return the engine's own record of a container."""
        with self._asked("inspect"):
            container = self._known(container_id)
            body = container.body
            config = {name: value for name, value in body.items() if name not in {"HostConfig", "Image"}}
            record = {"Id": container.container_id, "Image": body["Image"], "Config": config}
            return record | {
                "HostConfig": body.get("HostConfig", {}),
                "State": {"Running": container.started, "Pid": 0},
            }

    def update(self, container_id: str, limits: dict[str, Any]) -> None:
        """Give a started container other limits, named as in a create body's ``HostConfig``."""
        with self._asked("update"):
            self._known(container_id).body["HostConfig"] |= limits

    def kill(self, container_id: str) -> None:
        """Send SIGKILL to its init; a container that is not running any more is no error."""
        with self._asked("kill"):
            container = self._find(container_id)
            if container is not None:
                self._end(container, _KILLED)

    def wait(self, container_id: str, timeout_s: float) -> Ended | None:
        """Wait until it has stopped; None if it has not within the time, or nobody knows it any more."""
        with self._asked("wait"):
            container = self._find(container_id)
            if container is None or not container.ended.wait(timeout_s) or self._find(container_id) is None:
                return None
            return Ended(exit_code=container.exit_code or 0, oom_killed=False)

    def remove(self, container_id: str) -> None:
        """Remove it by force, and return when it is gone; one that is gone already is no error."""
        with self._asked("remove"):
            container = self._find(container_id)
            if container is not None:
                self._discard(container)

    def remove_ended(self, container_id: str) -> None:
        """Do as ``remove`` with one that has ended by the kernel's word, which an engine hears somewhat later."""
        self.remove(container_id)

    def settle(self, name: str) -> None:  # noqa: ARG002 - there is never any
        """Return when no container of that name is being made any more: this one makes them in no time."""
        with self._asked("settle"):
            return

    def leftovers(self) -> tuple[Leftover, ...]:
        """List all containers that carry our label."""
        with self._asked("leftovers"):
            return tuple(
                Leftover(
                    container_id=container.container_id,
                    run_id=container.body["Labels"][LABEL],
                    owner=container.body["Labels"].get(OWNER_LABEL, ""),
                    running=container.started and not container.ended.is_set(),
                )
                for container in self.containers.values()
                if LABEL in container.body.get("Labels", {})
            )

    def stats(self, container_id: str) -> dict[str, Any]:
        """Return the engine's own reading of a running container's counters."""
        with self._asked("stats"):
            container = self._known(container_id)
            alive = container.started and not container.ended.is_set()
            return {"pids_stats": {"current": 1} if alive else {}}

    @contextlib.contextmanager
    def _asked(self, method: str) -> Iterator[None]:
        self.asked.append(method)
        if self._gone:
            raise EngineUnreachableError("the fake engine is gone")
        fault = self._faults[method].pop(0) if self._faults.get(method) else None
        if fault is not None and not fault.after:
            raise fault.error
        yield
        if fault is not None:
            raise fault.error

    def _find(self, name: str) -> FakeContainer | None:
        held = [*self.containers.values()]  # another thread may remove one meanwhile
        return next((found for found in held if name in {found.container_id, found.name}), None)

    def _known(self, name: str) -> FakeContainer:
        container = self._find(name)
        if container is None:
            raise EngineError(f"no such container: {name}")
        return container

    def _live(self, container: FakeContainer) -> None:
        code = 1
        with container.inner_end:
            with contextlib.suppress(OSError, EOFError):  # killed, or the host is gone
                code = self.script(container.inside)
            self._end(container, code)

    def _discard(self, container: FakeContainer) -> None:
        del self.containers[container.container_id]  # first: from here on nobody can ask how it ended
        self._end(container, _KILLED)
        container.host_end.close()
        if not container.started:
            container.inner_end.close()

    def _end(self, container: FakeContainer, code: int) -> None:
        if container.exit_code is None:
            container.exit_code = code
        container.inside.killed.set()
        _cut(container.inner_end)
        container.ended.set()


def _cut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):  # cut already
        end.shutdown(socket.SHUT_RDWR)
