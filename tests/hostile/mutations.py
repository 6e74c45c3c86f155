"""
Row 167: each line of the hardening, taken away by itself, so that it can be seen which attack then gets through.

A switch for tests alone: ``ISOLATION_TEST_WITHOUT`` names the line that this process goes without, and cells are then
started whatever their attestation says.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from isolation.model.attestation import Attestation
from isolation.sandbox import artifacts, cell, cells, hardening, stage, streams
from isolation.sandbox.groups import make
from isolation.sandbox.groups.make import cpus_for_runs
from isolation.settings import Settings
from tests.hostile.images import changed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SWITCH = "ISOLATION_TEST_WITHOUT"
_RUN = ('sys.path.insert(0, "/opt/runner")', 'sys.path[:0] = ["/opt/runner/changed", "/opt/runner"]')
_RUNNER = Path(__file__).parents[2] / "runner_image"
Body = dict[str, Any]


def _nothing(_: Body) -> None:
    return


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """
    One line taken away, and the attacks of which at least one must get through without it.

    ``body`` changes the create body, ``limits`` those of the run's group, ``runner`` texts of the runner's files (each:
    file, what it says, what it says instead), ``host`` functions of ours (each: where, its name, what is in its place).
    """

    files: tuple[str, ...]
    tests: str
    attested: bool
    """Whether the cell's attestation finds it out, before a byte of a recipe is there."""
    body: Callable[[Body], None] = _nothing
    limits: dict[str, Any] = field(default_factory=dict)
    runner: tuple[tuple[str, str, str], ...] = ()
    host: tuple[tuple[object, str, object], ...] = ()


def _set(**values: Any) -> Callable[[Body], None]:  # noqa: ANN401 - JSON
    return lambda body: body["HostConfig"].update(values)


def _without_security(beginning: str, instead: str = "") -> Callable[[Body], None]:
    def change(body: Body) -> None:
        kept = [option for option in body["HostConfig"]["SecurityOpt"] if not option.startswith(beginning)]
        body["HostConfig"]["SecurityOpt"] = [*kept, instead] if instead else kept

    return change


def _without_ulimit(name: str) -> Callable[[Body], None]:
    def change(body: Body) -> None:
        body["HostConfig"]["Ulimits"] = [one for one in body["HostConfig"]["Ulimits"] if one["Name"] != name]

    return change


def _tmpfs(option: str) -> Callable[[Body], None]:
    def change(body: Body) -> None:
        for path, text in body["HostConfig"]["Tmpfs"].items():
            kept = [one for one in text.split(",") if one.partition("=")[0] != option]
            opposite = [option.removeprefix("no")] if option.startswith("no") else []  # the engine's default is shut
            body["HostConfig"]["Tmpfs"][path] = ",".join([*kept, *opposite])

    return change


def _writable_mounts(body: Body) -> None:
    for mount in body["HostConfig"]["Mounts"]:
        mount["ReadOnly"] = False


def _on_the_hosts_network(body: Body) -> None:
    body["NetworkDisabled"] = False
    body["HostConfig"]["NetworkMode"] = "host"


def _with_the_images_environment(body: Body) -> None:
    body["Env"] = [*body["Env"], "http_proxy=http://proxy.invalid:3128"]


PRIVILEGE, SURFACE, OUTSIDE = "test_a_privilege.py", "test_a_surface.py", "test_a_from_outside.py"
PROCESSES, FILES, LEAKS = "test_b_time_and_processes.py", "test_b_memory_and_files.py", "test_e_leaks.py"
ARTIFACTS, NETWORK = "test_f_artifacts.py", "test_d_network.py"

MUTATIONS = (
    {
        "capabilities dropped": Mutation(
            files=(PRIVILEGE, OUTSIDE),
            tests="row_001 or (row_027 and not golden)",
            attested=True,
            body=_set(CapDrop=[]),
        ),
        "no new privileges": Mutation(
            files=(PRIVILEGE, OUTSIDE),
            tests="row_001 or (row_027 and not golden)",
            attested=True,
            body=_without_security("no-new-privileges"),
        ),
        "our filter of system calls, the engine's in its place": Mutation(
            files=(PRIVILEGE, SURFACE),
            tests="row_001 or row_008 or row_010 or row_012 or row_014",
            attested=True,
            body=_without_security("seccomp="),
        ),
        "any filter of system calls": Mutation(
            files=(PRIVILEGE, SURFACE),
            tests="row_001 or row_004 or row_009 or row_010 or row_011",
            attested=True,
            body=_without_security("seccomp=", "seccomp=unconfined"),
        ),
        "a user of its own": Mutation(
            files=(PRIVILEGE, OUTSIDE),
            tests="row_001 or (row_027 and not golden)",
            attested=True,
            body=lambda body: body.update(User="0:0"),
        ),
        "a read-only root": Mutation(files=(FILES,), tests="row_040", attested=True, body=_set(ReadonlyRootfs=False)),
        "read-only mounts": Mutation(files=(FILES,), tests="row_040", attested=True, body=_writable_mounts),
        "the limit of processes": Mutation(
            files=(PROCESSES,),
            tests="row_032 or row_033",
            attested=True,
            body=_set(PidsLimit=0),
            limits={"pids": 1_000},
        ),
        "the limit of memory": Mutation(
            files=(FILES,),
            tests="row_037_a_child",
            attested=True,
            body=_set(Memory=0, MemorySwap=0),
            limits={"memory_bytes": 2**40},
        ),
        "the limit of processors": Mutation(
            files=(PROCESSES,),
            tests="row_028",
            attested=True,
            body=_set(NanoCpus=0),
            limits={"cpus": cpus_for_runs(os.cpu_count() or 1)},
        ),
        "the score for running out of memory": Mutation(
            files=(PRIVILEGE,), tests="row_026", attested=True, body=_set(OomScoreAdj=0)
        ),
        "no network": Mutation(
            files=(NETWORK, OUTSIDE),
            tests="row_064_there_is or (row_027 and not golden)",
            attested=True,
            body=_on_the_hosts_network,
        ),
        "no memory shared by name": Mutation(
            files=(FILES,), tests="row_040", attested=True, body=_set(IpcMode="private")
        ),
        "IPC of its own": Mutation(
            files=(OUTSIDE,), tests="(row_027 and not golden)", attested=True, body=_set(IpcMode="host")
        ),
        "processes of its own": Mutation(
            files=(OUTSIDE, LEAKS),
            tests="(row_027 and not golden) or row_073",
            attested=True,
            body=_set(PidMode="host"),
        ),
        "a host name of its own": Mutation(
            files=(OUTSIDE,),
            tests="(row_027 and not golden)",
            attested=True,
            body=lambda body: (body["HostConfig"].update(UTSMode="host"), body.pop("Hostname"))[0],
        ),
        "no devices": Mutation(
            files=(SURFACE,),
            tests="row_017",
            attested=True,
            body=_set(Devices=[{"PathOnHost": "/dev/kmsg", "PathInContainer": "/dev/kmsg", "CgroupPermissions": "r"}]),
        ),
        "a view of cgroups of its own": Mutation(
            files=(PRIVILEGE, OUTSIDE, LEAKS),
            tests="row_007 or (row_027 and not golden) or row_075_the_cgroup",
            attested=True,
            body=_set(CgroupnsMode="host"),
        ),
        "paths of the kernel masked": Mutation(
            files=(SURFACE, LEAKS), tests="row_009 or row_024 or row_075", attested=True, body=_set(MaskedPaths=[])
        ),
        "paths of the kernel read-only": Mutation(
            files=(SURFACE,), tests="row_024", attested=True, body=_set(ReadonlyPaths=[])
        ),
        "an environment of our own": Mutation(
            files=(LEAKS,), tests="row_071", attested=True, body=_with_the_images_environment
        ),
        "names of the host hidden in mounts": Mutation(
            files=(LEAKS,), tests="row_075_mounts", attested=False, host=((stage, "_may_mount", lambda: False),)
        ),
        "the runner closed to its steps": Mutation(
            files=(SURFACE,), tests="row_008", attested=True, runner=(("supervisor.py", "    walls.hide()\n", ""),)
        ),
        "the channel closed in a step": Mutation(
            files=(SURFACE,),
            tests="row_021",
            attested=False,
            runner=(
                ("supervisor.py", "        self._channel.forget()\n", ""),
                ("process.py", "        os.closerange(_ANSWER_FD + 1 + len(told), 65536)\n", ""),
                ("supervisor.py", "Spare.fork(self._channel.forget)", "Spare.fork(lambda: None)"),
            ),
        ),
        "the runner deaf to interrupts": Mutation(
            files=(PROCESSES,),
            tests="row_031",
            attested=False,
            runner=(("supervisor.py", "    signal.signal(signal.SIGINT, signal.SIG_DFL)", "    pass"),),
        ),
        "everybody dead before files are sent": Mutation(
            files=(ARTIFACTS,),
            tests="row_094_a_file_that",
            attested=False,
            runner=(("supervisor.py", "    kill_all_others()\n    send", "    send"),),
        ),
        "links not followed by the runner": Mutation(
            files=(ARTIFACTS,), tests="row_084", attested=False, runner=(("artifacts.py", "os.O_NOFOLLOW | ", ""),)
        ),
        "names of files checked by the host": Mutation(
            files=(ARTIFACTS,),
            tests="row_086",
            attested=False,
            host=((artifacts, "check_artifact_name", lambda _: None),),
        ),
        "the proof at the end of the channel": Mutation(
            files=("test_i_records.py",),
            tests="row_143",
            attested=False,
            host=((streams.Channel, "check_end", lambda *_: None),),
        ),
    }
    | {
        f"{option} for what can be written": Mutation(files=files, tests=tests, attested=True, body=_tmpfs(option))
        for option, files, tests in (
            ("noexec", (PRIVILEGE,), "row_002"),
            ("nosuid", (PRIVILEGE,), "row_002"),
            ("nodev", (PRIVILEGE,), "row_002"),
            ("size", (FILES,), "row_039_a_tmpfs"),
            ("nr_inodes", (FILES,), "row_041"),
        )
    }
    | {
        f"the limit of a process: {name}": Mutation(
            files=(PRIVILEGE,), tests="row_047", attested=True, body=_without_ulimit(name)
        )
        for name in ("nofile", "core", "fsize", "memlock", "msgqueue", "sigpending", "nproc")
    }
)
"""By what is taken away. Of the limits of a process, ``rtprio`` and ``nice`` are 0 for every process here anyway."""


@contextmanager
def applied(name: str | None, *, attested: bool) -> Iterator[str]:
    """Go without a line for as long as the block lasts; gives the name of the image to run."""
    image = Settings(state=Path()).image
    if name is None:
        yield image
        return
    mutation = MUTATIONS[name]
    with ExitStack() as stack:
        stack.enter_context(patch.object(cell, "create_body", _changed_body(mutation)))
        stack.enter_context(patch.object(cells, "make_group", _changed_group(mutation)))
        for place, function, instead in mutation.host:
            stack.enter_context(patch.object(place, function, instead))
        if not attested:
            stack.enter_context(patch.object(Attestation, "objection", lambda *_, **__: ""))
        if mutation.runner:
            image = stack.enter_context(changed(image, _changed_files(mutation)))
        yield image


def chosen() -> str | None:
    """Return what this process goes without."""
    return os.environ.get(SWITCH)


def _changed_body(mutation: Mutation) -> Callable[..., Body]:
    original = hardening.create_body

    def create_body(*arguments: Any, **named: Any) -> Body:  # noqa: ANN401 - passed on
        body = deepcopy(original(*arguments, **named))  # cells share its parts
        mutation.body(body)
        return body

    return create_body


def _changed_group(mutation: Mutation) -> Callable[..., object]:
    original = make.make_group

    def make_group(name: str, limits: Any, **named: Any) -> object:  # noqa: ANN401 - passed on
        return original(name, limits.model_copy(update=mutation.limits), **named)

    return make_group


def _changed_files(mutation: Mutation) -> dict[str, str]:
    """Lay the changed files beside the image's, which are compiled and would be taken as they were."""
    files = {"run.py": _changed("run.py", *_RUN)}
    for name, said, instead in mutation.runner:
        files[f"changed/{name}"] = _changed(name, said, instead, files.get(f"changed/{name}"))
    return files


def _changed(name: str, said: str, instead: str, so_far: str | None = None) -> str:
    text = so_far or (_RUNNER / name).read_text()
    assert said in text, f"{name} does not say {said!r} any more"
    return text.replace(said, instead)
