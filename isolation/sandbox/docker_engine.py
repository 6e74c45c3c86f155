"""The only module that knows Docker exists. Everything else asks the ``Engine`` protocol."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.transport.unixconn import UnixHTTPAdapter, UnixHTTPConnection, UnixHTTPConnectionPool

from isolation.errors import EngineError, EngineUnreachableError, ImageError
from isolation.owner import this_process
from isolation.sandbox.engine import LABEL, OWNER_LABEL, Ended, EngineFacts, Leftover, engine_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_OLDEST_API = "1.41"
_API_TIMEOUT_S = 60
_EVERY_URL = "every URL"
_REMOVED_WITHIN_S = 20.0
_MADE_WITHIN_S = 20.0
_HEARD_WITHIN_S = 5.0
"""How long an engine may take to hear from the kernel; a busy one takes half a second."""
_LOOK_EVERY_S = 0.01
_BROKEN = (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError)
"""How the end of a connection before that of an answer shows; what the engine itself says is another's matter."""


class DockerEngine:
    """A Docker Engine from 20.10 on, at an address such as ``unix:///var/run/docker.sock``."""

    def __init__(self, address: str | None = None) -> None:
        self.address = engine_address(address)
        self._facts: EngineFacts | None = None
        self._client = self._connect(_OLDEST_API)

    def __repr__(self) -> str:
        return f"DockerEngine({self.address!r})"

    def facts(self) -> EngineFacts:
        """Describe the engine; asked once."""
        if self._facts is None:
            with self._errors("describe itself"):
                self._facts = _facts(self._ask_info())
        return self._facts

    def components(self) -> dict[str, str]:
        """Return the versions of what the engine is made of, by name: Engine, containerd, runc, docker-init."""
        with self._errors("tell its version"):
            found = self._client.version().get("Components") or ()
        return {str(part.get("Name")): str(part.get("Version")) for part in found}

    def image_id(self, name: str) -> str:
        """Return the id of a local image. Raises ImageError where it is not there; never pulls."""
        with self._errors("inspect an image"):
            try:
                return str(self._client.inspect_image(name)["Id"])
            except ImageNotFound as error:
                sentence = f"the runner image {name} is not on the engine at {self.address}"
                raise ImageError(sentence, hint="Build it with scripts/image, in a checkout of the project.") from error

    def image_labels(self, name: str) -> dict[str, str]:
        """Return the labels of a local image."""
        with self._errors("inspect an image"):
            return dict(self._client.inspect_image(name)["Config"].get("Labels") or {})

    def create(self, name: str, body: dict[str, Any]) -> str:
        """Create a container from a raw create body; returns its id."""
        with self._errors("create a container"):
            try:
                return self._make(name, body)
            except ImageNotFound as error:
                sentence = f"the image {body['Image']} is not on the engine at {self.address}"
                raise ImageError(
                    sentence, hint="It was removed since; build one with scripts/image, in a checkout."
                ) from error

    def attach(self, container_id: str) -> socket.socket:
        """Attach to its three standard streams, before it is started, so that no byte is lost."""
        with self._errors("attach to a container"):
            params = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            return _take_socket(self._client.attach_socket(container_id, params=params))

    def start(self, container_id: str) -> None:
        """Start it; returns when its first process has been started."""
        with self._errors("start a container"):
            self._client.start(container_id)

    def inspect(self, container_id: str) -> dict[str, Any]:
        """Return the engine's own record of a container, as its API gives it."""
        with self._errors("inspect a container"):
            record: dict[str, Any] = _ask(lambda: self._client.inspect_container(container_id))
            return record

    def update(self, container_id: str, limits: dict[str, Any]) -> None:
        """Give a started container other limits, named as in a create body's ``HostConfig``."""
        with self._errors("give a container other limits"):
            # The client's own method knows not all of the API's names.
            url = self._client._url("/containers/{0}/update", container_id)  # noqa: SLF001 - as its own methods do
            self._client._result(self._client._post_json(url, data=limits), json=True)  # noqa: SLF001 - as above

    def kill(self, container_id: str) -> None:
        """Send SIGKILL to its init; a container that is not running any more is no error."""
        with self._errors("kill a container"):
            try:
                _ask(lambda: self._client.kill(container_id, signal="KILL"))
            except APIError as error:
                if error.status_code not in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
                    raise

    def wait(self, container_id: str, timeout_s: float) -> Ended | None:
        """Wait until it has stopped; None if it has not within the time, or nobody knows it any more."""
        self._client.close()  # an engine that goes down ends containers, and tells whoever is still connected
        with self._errors("wait for a container"):
            try:
                code = int(_ask(lambda: self._client.wait(container_id, timeout=timeout_s))["StatusCode"])
                state = _ask(lambda: self._client.inspect_container(container_id))["State"]
            except NotFound:
                return None
            except (requests.exceptions.Timeout, *_BROKEN) as error:
                if _is_timeout(error):
                    return None
                raise
            return Ended(exit_code=code, oom_killed=bool(state.get("OOMKilled")))

    def remove(self, container_id: str) -> None:
        """Remove it by force; one that is gone already is no error."""
        with self._errors("remove a container"), contextlib.suppress(NotFound):
            try:
                _ask(lambda: self._client.remove_container(container_id, force=True, v=True))
            except APIError as error:
                if "already in progress" not in str(error):
                    raise
                # By another hand; only when that has done it is the container gone.
                self._client.wait(container_id, timeout=_REMOVED_WITHIN_S, condition="removed")

    def remove_ended(self, container_id: str) -> None:
        """Do as ``remove`` with one that has ended by the kernel's word, which an engine hears somewhat later."""
        with self._errors("wait for a container"), contextlib.suppress(NotFound, requests.exceptions.Timeout, *_BROKEN):
            self._client.wait(container_id, timeout=_HEARD_WITHIN_S)
        self.remove(container_id)

    def settle(self, name: str) -> None:
        """Return when no container of that name is being made any more: who gets the name knows."""
        with self._errors("tell whether a container is being made"):
            images = self._client.images(quiet=True)
            if images:  # without any, there is nothing to make one of
                labels = {LABEL: "", OWNER_LABEL: this_process().text()}
                quiet = {"NetworkMode": "none", "LogConfig": {"Type": "none"}}
                body = {"Image": images[0], "Cmd": ["-"], "Labels": labels, "HostConfig": quiet}
                container = self._client.inspect_container(self._find_or_make(name, body))
                if labels.items() <= container["Config"]["Labels"].items():
                    self.remove(container["Id"])

    def leftovers(self) -> tuple[Leftover, ...]:
        """List all containers that carry our label."""
        with self._errors("list containers"):
            found = self._client.containers(all=True, filters={"label": [LABEL]})
        return tuple(
            Leftover(
                container_id=container["Id"],
                run_id=container["Labels"][LABEL],
                owner=container["Labels"].get(OWNER_LABEL, ""),
                running=container["State"] == "running",
            )
            for container in found
        )

    def stats(self, container_id: str) -> dict[str, Any]:
        """Return the engine's own reading of a running container's counters."""
        with self._errors("read a container's counters"):
            answer: dict[str, Any] = self._client.stats(container_id, stream=False, one_shot=True)
            return answer

    def _make(self, name: str, body: dict[str, Any]) -> str:
        """Create it. If the connection breaks, its name, which nobody else uses, tells what became of it."""
        try:
            return str(self._client.create_container_from_config(body, name)["Id"])
        except _BROKEN as error:
            if _is_timeout(error):
                raise
        return self._find_or_make(name, body)

    def _find_or_make(self, name: str, body: dict[str, Any]) -> str:
        until_s = time.monotonic() + _MADE_WITHIN_S
        while True:
            with contextlib.suppress(NotFound):
                return str(self._client.inspect_container(name)["Id"])
            try:
                return str(self._client.create_container_from_config(body, name)["Id"])
            except APIError as error:  # the name is taken, and has no container: it is still being made
                if error.status_code != HTTPStatus.CONFLICT or time.monotonic() >= until_s:
                    raise
            time.sleep(_LOOK_EVERY_S)

    def _connect(self, version: str) -> Any:  # noqa: ANN401 - the published stubs of docker are wrong in places
        with self._errors("answer"):
            client = docker.APIClient(base_url=self.address, version=version, timeout=_API_TIMEOUT_S)
        if self.address.startswith("unix://"):
            client.trust_env = False  # no proxy leads to a socket; to look for one takes as long as the rest of a call
            client.mount("http+docker://", _OnePool(f"http+{self.address}", _API_TIMEOUT_S))
        return client

    def _ask_info(self) -> dict[str, Any]:
        try:
            info: dict[str, Any] = self._client.info()
        except APIError as error:
            if error.status_code != HTTPStatus.BAD_REQUEST or "too old" not in str(error):
                raise
            self._client = self._connect("auto")
            info = self._client.info()
        return info

    @contextlib.contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except APIError as error:
            said = error.explanation or str(error)
            raise EngineError(
                f"the Docker Engine at {self.address} could not {doing}: {said}",
                hint="`isolation doctor` shows what this host gives and lacks.",
            ) from error
        except (DockerException, requests.exceptions.RequestException, OSError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: BaseException) -> EngineUnreachableError:
        if _is_caused_by(error, PermissionError):
            return EngineUnreachableError(
                f"this user may not use the Docker Engine at {self.address}",
                hint="Run as root, or join the group that owns the socket (it is as good as root), and log in again.",
            )
        return EngineUnreachableError(
            f"the Docker Engine at {self.address} does not answer",
            hint="Start it, or name another with --engine; `isolation doctor` shows what is missing.",
        )


class _OnePool(UnixHTTPAdapter):
    """Keeps its connections for whatever is asked next; the library's have each but one URL, and are used once."""

    def get_connection(self, url: str | bytes, proxies: object = None) -> Any:  # noqa: ANN401, ARG002 - as it is overridden
        with self.pools.lock:
            if self.pools.get(_EVERY_URL) is None:
                self.pools[_EVERY_URL] = _Pool(_EVERY_URL, self.socket_path, self.timeout, maxsize=self.max_pool_size)
            return self.pools[_EVERY_URL]


class _Pool(UnixHTTPConnectionPool):
    def _new_conn(self) -> Any:  # noqa: ANN401 - the published stubs of docker are wrong in places
        return _Connection(self.base_url, self.socket_path, _API_TIMEOUT_S)


class _Connection(UnixHTTPConnection):
    """Closes a socket that leads nowhere, which the library leaves to whoever collects its error."""

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(self.timeout)
        try:
            sock.connect(self.unix_socket)
        except BaseException:
            sock.close()
            raise
        self.sock = sock


def _ask(ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - the published stubs of docker are wrong in places
    """Ask once more if the connection broke before the answer came: only what may be done twice (RFC 9110, 9.2.2)."""
    try:
        return ask()
    except _BROKEN as error:
        if _is_timeout(error):
            raise
        return ask()


def _is_timeout(error: requests.exceptions.RequestException) -> bool:
    # While a body is read, a timeout comes as a connection's error.
    return isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error).lower()


def _is_caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    seen: set[int] = set()
    pending = [error]
    while pending:
        found = pending.pop()
        if found is None or id(found) in seen:
            continue
        if isinstance(found, kind):
            return True
        seen.add(id(found))
        pending += [found.__cause__, found.__context__]
        pending += [item for item in found.args if isinstance(item, BaseException)]
    return False


def _take_socket(stream: socket.SocketIO) -> socket.socket:
    """
    Take the connection out of the HTTP response that it began as, so that closing it closes it.

    The response's own reader holds the socket open beyond our ``close``, and an engine whose output nobody takes
    can neither stop nor remove the container.
    """
    taken = socket.socket(fileno=os.dup(stream.fileno()))
    response: requests.Response = vars(stream)["_response"]  # the client keeps it there
    response.close()
    return taken


def _facts(info: dict[str, Any]) -> EngineFacts:
    return EngineFacts(
        name="docker",
        version=str(info.get("ServerVersion", "")),
        cgroup_version=int(info.get("CgroupVersion") or 1),
        cgroup_driver=str(info.get("CgroupDriver", "none")),
        runtimes=tuple(sorted(info.get("Runtimes") or ())),
        security=tuple(info.get("SecurityOptions") or ()),
        cpus=int(info.get("NCPU") or 1),
        memory_bytes=int(info.get("MemTotal") or 0),
        kernel=str(info.get("KernelVersion", "")),
        warnings=tuple(info.get("Warnings") or ()),
        programs={
            name: (str(runtime["path"]), *(runtime.get("runtimeArgs") or ()))
            for name, runtime in (info.get("Runtimes") or {}).items()
            if isinstance(runtime, dict) and runtime.get("path")
        },
        architecture=str(info.get("Architecture", "")),
        live_restore=bool(info.get("LiveRestoreEnabled")),
    )
