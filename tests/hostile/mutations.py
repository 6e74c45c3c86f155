"""
One hardening option less: what each is removed by, and the tests that must notice.

Only for tests: ``ISOLATION_TEST_WITHOUT=<option>`` makes this process create its cells without that option, and
switches the attestation off, which would refuse each of them. Nothing of the product knows of it.
"""

from __future__ import annotations

import io
import tarfile
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import docker

from isolation.model.attestation import Attestation
from isolation.sandbox import cell, cells
from isolation.sandbox.cells import Cells
from isolation.sandbox.docker_engine import DockerEngine
from isolation.sandbox.engine import engine_address
from isolation.sandbox.groups.make import make_group
from isolation.sandbox.hardening import create_body
from isolation.settings import _DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from isolation.model.policy import Limits
    from isolation.sandbox.groups.group import Group

SWITCH = "ISOLATION_TEST_WITHOUT"
PROPERTY = "hardening option"
"""Under this name a test's report carries a row: the option, and what noticed that it was gone."""
Body = dict[str, Any]
HERE = "tests/hostile"


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """``body`` and ``limits`` change what the engine and the cgroup are asked, ``runner`` what the image starts."""

    caught_by: tuple[str, ...]
    body: Callable[[Body], object] | None = None
    limits: Callable[[Limits], Limits] | None = None
    runner: str = ""
    attested: bool = True
    """Whether the attestation refuses it as well."""


def _host(**values: object) -> Callable[[Body], object]:
    return lambda body: body["HostConfig"].update(values)


def _security(*left: int) -> Callable[[Body], object]:
    def change(body: Body) -> None:
        options = body["HostConfig"]["SecurityOpt"]
        body["HostConfig"]["SecurityOpt"] = [options[index] for index in left] + ([] if 1 in left else [_UNFILTERED])

    return change


def _tmpfs(*lacking: str) -> Callable[[Body], object]:
    def change(body: Body) -> None:
        for path, options in body["HostConfig"]["Tmpfs"].items():
            kept = [word for word in options.split(",") if not word.startswith(lacking)]
            body["HostConfig"]["Tmpfs"][path] = ",".join([*kept, *(_OPPOSITE[word] for word in lacking)])

    return change


def _writable_mounts(body: Body) -> None:
    for mount in body["HostConfig"]["Mounts"]:
        mount["ReadOnly"] = False


def _hosts_network(body: Body) -> None:
    body["NetworkDisabled"] = False
    body["HostConfig"]["NetworkMode"] = "host"


def _wider(**factors: int) -> Callable[[Limits], Limits]:
    return lambda limits: limits.model_copy(
        update={name: getattr(limits, name) * factor for name, factor in factors.items()}
    )


def _wide_memory(body: Body) -> None:
    body["HostConfig"].update(Memory=2**31, MemorySwap=2**31)


_UNFILTERED = "seccomp=unconfined"
_OPPOSITE = {"noexec": "exec", "nosuid": "suid", "nodev": "dev", "size=": "size=1g", "nr_inodes=": "nr_inodes=4000000"}
_START = "import os, sys\nsys.path.insert(0, '/opt/runner')\n{}\nfrom supervisor import main\nos._exit(main())\n"
_CIS = f"{HERE}/test_cis.py"
_PRIVILEGE = f"{HERE}/test_a_privilege.py"
_SURFACE = f"{HERE}/test_a_surface.py"
_FILES = f"{HERE}/test_b_memory_and_files.py"
_LEAKS = f"{HERE}/test_e_leaks.py"

MUTATIONS = {
    "capabilities dropped": Mutation(body=_host(CapDrop=[]), caught_by=(_PRIVILEGE, _CIS)),
    "no new privileges": Mutation(body=_security(1), caught_by=(_PRIVILEGE, _CIS)),
    "system calls filtered": Mutation(body=_security(0), caught_by=(_SURFACE, _CIS)),
    "a uid of its own": Mutation(body=lambda body: body.update(User="0:0"), caught_by=(_PRIVILEGE, _CIS)),
    "a read-only root": Mutation(body=_host(ReadonlyRootfs=False), caught_by=(_CIS,)),
    "read-only mounts": Mutation(body=_writable_mounts, caught_by=(_CIS,)),
    "a limit of processes": Mutation(
        body=_host(PidsLimit=4096),
        limits=_wider(pids=100),
        caught_by=(f"{HERE}/test_b_time_and_processes.py -k row_032",),
    ),
    "a limit of memory": Mutation(
        body=_wide_memory, limits=_wider(memory_bytes=16), caught_by=(f"{_FILES} -k row_037",)
    ),
    "limits of each process": Mutation(body=_host(Ulimits=[]), caught_by=(f"{_FILES} -k 'row_045 or row_047'", _CIS)),
    "no network": Mutation(body=_hosts_network, caught_by=(f"{HERE}/test_d_network.py -k one_interface", _CIS)),
    "no shared memory": Mutation(body=_host(IpcMode="private"), caught_by=(f"{_FILES} -k row_040",)),
    "processes of its own": Mutation(body=_host(PidMode="host"), caught_by=(f"{_LEAKS} -k row_073", _CIS)),
    "a cgroup of its own to see": Mutation(body=_host(CgroupnsMode="host"), caught_by=(f"{_LEAKS} -k row_075",)),
    "masked paths": Mutation(body=_host(MaskedPaths=[]), caught_by=(f"{_LEAKS} -k row_075",)),
    "read-only paths": Mutation(body=_host(ReadonlyPaths=[]), caught_by=(f"{_LEAKS} -k row_075", _SURFACE, _PRIVILEGE)),
    "an environment of its own": Mutation(
        body=lambda body: body["Env"].append("LEAK=1"), caught_by=(f"{_LEAKS} -k row_071",)
    ),
    "no devices": Mutation(
        body=_host(Devices=[{"PathOnHost": "/dev/kmsg", "PathInContainer": "/dev/kmsg", "CgroupPermissions": "r"}]),
        caught_by=(f"{_SURFACE} -k row_017", _CIS),
    ),
    "scratch: noexec": Mutation(body=_tmpfs("noexec"), caught_by=(f"{_PRIVILEGE} -k row_002", _CIS)),
    "scratch: nosuid": Mutation(body=_tmpfs("nosuid"), caught_by=(f"{_PRIVILEGE} -k row_002", _CIS)),
    "scratch: nodev": Mutation(body=_tmpfs("nodev"), caught_by=(f"{_PRIVILEGE} -k row_002", _CIS)),
    "scratch: a size": Mutation(body=_tmpfs("size="), caught_by=(f"{_FILES} -k row_039",)),
    "scratch: a number of files": Mutation(body=_tmpfs("nr_inodes="), caught_by=(f"{_FILES} -k row_041",)),
    "a runner that hides": Mutation(
        runner=_START.format("import walls\nwalls.hide = lambda: None"), caught_by=(f"{_SURFACE} -k row_008",)
    ),
    "artifacts without links": Mutation(
        runner=_START.format("os.O_NOFOLLOW = 0"),
        caught_by=(f"{HERE}/test_f_artifacts.py -k row_084",),
        attested=False,
    ),
}
"""
Limits are widened where without any the attack would meet the host's own; links are a matter of the runner's code,
which is attested by the image's id alone.
"""


def remove(option: str) -> None:
    """Create cells without the option from now on, in this process, and attest none of them."""
    weaken(option)
    Cells.attest = lambda *_: Attestation(runtime="", facts=())  # type: ignore[method-assign]


def weaken(option: str) -> None:
    """Create cells without the option from now on, in this process."""
    mutation = MUTATIONS[option]

    def create(*args: Any, **kwargs: Any) -> Body:  # noqa: ANN401 - passed on
        body = deepcopy(create_body(*args, **kwargs))  # cells share its parts
        if mutation.body is not None:
            mutation.body(body)
        return body

    def group(name: str, limits: Limits, **more: Any) -> Group | None:  # noqa: ANN401 - passed on
        return make_group(name, mutation.limits(limits) if mutation.limits else limits, **more)

    vars(cell)["create_body"] = create
    vars(cells)["make_group"] = group
    if mutation.runner:
        image = make_image(mutation.runner)
        DockerEngine.image_id = lambda *_: image  # type: ignore[method-assign]


def restore() -> None:
    """Undo what ``weaken`` did."""
    vars(cell)["create_body"] = create_body
    vars(cells)["make_group"] = make_group
    DockerEngine.image_id = _image_id  # type: ignore[method-assign]


_image_id = DockerEngine.image_id


@cache
def make_image(program: str) -> str:
    """Make an image like ours that starts another program; returns its id. What this creates is never started."""
    with io.BytesIO() as whole, tarfile.open(fileobj=whole, mode="w") as archive:
        member = tarfile.TarInfo("run.py")
        member.size, member.mode = len(program.encode()), 0o644
        archive.addfile(member, io.BytesIO(program.encode()))
        archive.close()
        content = whole.getvalue()
    client = docker.APIClient(base_url=engine_address(), version="auto")
    container = client.create_container(_DEFAULTS["image"])["Id"]
    try:
        client.put_archive(container, "/opt/runner", content)
        return str(client.commit(container)["Id"])
    finally:
        client.remove_container(container)
        client.close()
