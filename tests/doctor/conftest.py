"""A host and an engine laid out for the doctor: files, programs, and what the engine says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from isolation.errors import ImageError
from isolation.sandbox.doctor import Check, Host, examine_with
from isolation.sandbox.engine import EngineFacts

if TYPE_CHECKING:
    from pathlib import Path

KERNEL = "6.1.0-cloud"
FACTS = EngineFacts(
    name="docker",
    version="29.5.1",
    cgroup_version=2,
    cgroup_driver="systemd",
    runtimes=("crun", "io.containerd.runc.v2", "runc", "runsc"),
    security=("name=seccomp,profile=default", "name=apparmor"),
    cpus=2,
    memory_bytes=2**33,
    kernel=KERNEL,
    programs={"crun": ("crun",), "runc": ("runc",), "runsc": ("runsc", "--platform=ptrace", "--oci-seccomp")},
)
GOOD = {
    "kernel.io_uring_disabled": "2",
    "kernel.kptr_restrict": "2",
    "fs.protected_symlinks": "1",
    "fs.suid_dumpable": "0",
    "kernel.core_pattern": "core",
    "user.max_user_namespaces": "0",
}
VERSIONS = {"runc": "runc version 1.5.0", "crun": "crun version 1.30", "runsc": "runsc version release-20261102.0"}


@dataclass
class FakeEngine:
    """Says of itself what it is given."""

    described: EngineFacts = FACTS
    labels: dict[str, str] = field(default_factory=dict)
    has_image: bool = True
    address: str = "unix:///engine.sock"
    parts: dict[str, str] = field(default_factory=lambda: {"containerd": "2.0.0", "runc": "1.5.0"})

    def facts(self) -> EngineFacts:
        """Describe the engine."""
        return self.described

    def components(self) -> dict[str, str]:
        """Return versions."""
        return self.parts

    def image_id(self, name: str) -> str:
        """Return an id."""
        if not self.has_image:
            raise ImageError(f"the runner image {name} is not on the engine", hint="Build it with scripts/image.")
        return "sha256:" + "ab" * 32

    def image_labels(self, name: str) -> dict[str, str]:  # noqa: ARG002 - the protocol's name
        """Return the labels."""
        return self.labels


def engine_with(**facts: Any) -> FakeEngine:  # noqa: ANN401 - any of its facts
    """Lay out an engine that is in order but for some facts."""
    return FakeEngine(replace(FACTS, **facts))


class LaidOut:
    """A host below a folder, in order until it is changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.set("proc/meminfo", "MemTotal: 8 kB\nSwapTotal: 0 kB\n")
        self.set("security/lsm", "lockdown,capability,yama,apparmor")
        (folder / "cgroup").mkdir()
        for name, value in GOOD.items():
            self.setting(name, value)
        for name, told in VERSIONS.items():
            self.program(name, f'echo "{told}"; echo "spec: 1.0.2"')

    def set(self, path: str, text: str) -> None:
        """Write one of its files."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="ascii")

    def setting(self, name: str, value: str) -> None:
        """Set one of its kernel's settings."""
        self.set(f"proc/sys/{name.replace('.', '/')}", f"{value}\n")

    def program(self, name: str, script: str) -> None:
        """Put a program on its PATH."""
        self.set(f"bin/{name}", f"#!/bin/sh\n{script}\n")
        (self.folder / "bin" / name).chmod(0o755)

    def host(self, **changed: Any) -> Host:  # noqa: ANN401 - any of its parts
        """Return it as the doctor takes it."""
        host = Host(
            proc=self.folder / "proc",
            cgroup=self.folder / "cgroup",
            security=self.folder / "security",
            documents=self.folder / "doc",
            project=self.folder,
            path=str(self.folder / "bin"),
            kernel=KERNEL,
            python="3.11.17",
            is_root=True,
        )
        return replace(host, **changed)


@pytest.fixture
def laid_out(tmp_path: Path) -> LaidOut:
    return LaidOut(tmp_path)


Examined = Callable[..., dict[str, Check]]


@pytest.fixture
def examined(laid_out: LaidOut, tmp_path: Path) -> Examined:
    """Examine an engine on the host that is laid out; the checks by their names."""

    def examine(engine: FakeEngine | None = None, host: Host | None = None, state: Path = tmp_path) -> dict[str, Check]:
        patient, there = engine or FakeEngine(), host or laid_out.host()
        checks = examine_with(lambda: patient, there, image="isolation-runner:latest", state=state)
        return {check.name: check for check in checks}

    return examine
