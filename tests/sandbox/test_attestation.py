"""What confines a cell, compared with what must be: texts as kernels and engines write them, with one thing wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from isolation.model.attestation import Attestation, Fact
from isolation.model.policy import Limits, Policy
from isolation.sandbox.attestation import record
from isolation.sandbox.attestation.mounts import AS_ASKED, differences, names_of_the_host, read_mounts, rules
from isolation.sandbox.attestation.process import Process, describe
from isolation.sandbox.hardening import Mounts, create_body

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

UID = 231_099
LIMITS = Limits.model_validate({"tmp": "8MiB", "tmp_inodes": 99})
STATUS = f"""Name:\tpython3
Uid:\t{UID}\t{UID}\t{UID}\t{UID}
Gid:\t{UID}\t{UID}\t{UID}\t{UID}
Groups:\t{UID}
CapInh:\t0000000000000000
CapPrm:\t0000000000000000
CapEff:\t0000000000000000
CapBnd:\t0000000000000000
CapAmb:\t0000000000000000
NoNewPrivs:\t1
Seccomp:\t2
Seccomp_filters:\t1
"""
SCRATCH = f"rw,size=8192k,nr_inodes=99,mode=700,uid={UID},gid={UID}"
MOUNTINFO = f"""75 50 0:39 / / ro,relatime master:2 - overlay overlay rw,lowerdir=/e/l/A:/e/l/B,workdir=/e
76 75 0:42 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
77 75 0:43 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
78 77 0:44 / /dev/pts rw,nosuid,noexec,relatime - devpts devpts rw,gid=5,mode=620,ptmxmode=666
79 75 0:45 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs ro
80 79 0:46 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,mode=755
81 80 0:29 / /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime - cgroup cgroup rw,memory
90 77 0:41 / /dev/mqueue rw,nosuid,nodev,noexec,relatime - mqueue mqueue rw
92 75 0:51 / /package ro,nosuid,nodev,relatime - overlay overlay ro,lowerdir=/proc/self/fd/7:/proc/self/fd/8
93 75 0:52 / /in ro,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,mode=755,nr_inodes=16
94 75 0:47 / /tmp rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs {SCRATCH}
95 75 0:48 / /scratch rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs {SCRATCH}
96 75 254:0 /e/containers/c/hostname /etc/hostname ro,relatime - ext4 /dev/vda rw
54 76 0:42 /sys /proc/sys ro,nosuid,nodev,noexec,relatime - proc proc rw
55 76 0:49 / /proc/acpi ro,relatime - tmpfs tmpfs ro
59 76 0:43 /null /proc/keys rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
62 79 0:50 / /sys/firmware ro,relatime - tmpfs tmpfs ro
"""
FOLDERS = {"/proc": ["acpi", "keys", "sys", "cpuinfo"], "/sys": ["firmware", "fs"], "/sys/devices/virtual": ["mem"]}


def compare(text: str) -> str:
    return differences(read_mounts(text), rules(LIMITS, UID, ["/package", "/in"]), FOLDERS)


def test_the_mounts_of_a_good_cell_are_as_asked() -> None:
    """Else nothing would ever run."""
    assert compare(MOUNTINFO) == AS_ASKED


ON_SCRATCH = "/scratch rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs "
WRONG_MOUNTS = {
    "a root that can be written": ("/ / ro,relatime", "/ / rw,relatime", "/ is not ro"),
    "a package that can be written": ("/package ro,nosuid", "/package rw,nosuid", "/package is not ro"),
    "a scratch that executes": (
        "/scratch rw,nosuid,nodev,noexec",
        "/scratch rw,nosuid,nodev",
        "/scratch is not noexec",
    ),
    "a scratch without a size": (
        ON_SCRATCH + SCRATCH,
        ON_SCRATCH + SCRATCH.replace(",size=8192k", ""),
        "/scratch is not size=8192k",
    ),
    "a scratch of another's": (
        ON_SCRATCH + SCRATCH,
        ON_SCRATCH + SCRATCH.replace(str(UID), "0"),
        "/scratch is not gid=231099,uid=231099",
    ),
    "a scratch on a disk": (ON_SCRATCH, ON_SCRATCH.replace("tmpfs", "ext4"), "/scratch is ext4, not tmpfs"),
    "a group that can be written": (
        "/sys/fs/cgroup/memory ro",
        "/sys/fs/cgroup/memory rw",
        "/sys/fs/cgroup/memory is not ro",
    ),
    "a kernel that can be told": (
        "54 76 0:42 /sys /proc/sys ro",
        "54 76 0:42 /sys /proc/sys rw",
        "/proc/sys can be written; /proc/sys is not ro",
    ),
    "open keys": (
        "59 76 0:43 /null /proc/keys",
        "59 76 0:43 / /nothing",
        "/proc/keys is open; /nothing is mounted (tmpfs)",
    ),
    "keys bound to themselves": (
        "0:43 /null /proc/keys rw,nosuid - tmpfs tmpfs",
        "0:42 /keys /proc/keys rw,nosuid - proc proc",
        "/proc/keys is open",
    ),
    "the engine's socket": ("/etc/hostname ro", "/run/docker.sock ro", "/run/docker.sock is mounted (ext4)"),
    "no snapshot": ("93 75 0:52 / /in ", "93 75 0:52 / /inn ", "/in is not mounted; /inn is mounted (tmpfs)"),
}


@pytest.mark.parametrize(("before", "after", "said"), WRONG_MOUNTS.values(), ids=WRONG_MOUNTS)
def test_a_mount_that_is_not_as_asked_is_named(before: str, after: str, said: str) -> None:
    """The one who reads it must know which, and what is wrong with it."""
    assert before in MOUNTINFO
    assert compare(MOUNTINFO.replace(before, after)) == said


def test_folders_tell_where_they_lie_unless_they_have_a_file_system_of_their_own() -> None:
    """The engine's own names are its own; ours must show nothing."""
    told = MOUNTINFO.replace("0:51 / /package", "254:0 /home/ann/.local/share/isolation/packages/ab /package")
    layers = MOUNTINFO.replace("lowerdir=/proc/self/fd/7", "lowerdir=/home/ann/x")

    hosts = MOUNTINFO + "79 75 0:99 {} /etc/hosts ro,nosuid,nodev - tmpfs tmpfs rw\n"
    own = ("/package", "/in", "/layer", "/base", "/etc/hosts")

    assert names_of_the_host(read_mounts(MOUNTINFO), own) == "none"
    assert names_of_the_host(read_mounts(told), own) == "/home/ann/.local/share/isolation/packages/ab"
    assert names_of_the_host(read_mounts(layers), own) == "/"
    assert names_of_the_host(read_mounts(hosts.format("/isolation/cells/231099/hosts")), own) == "none"
    assert names_of_the_host(read_mounts(hosts.format("/home/ann/hosts")), own) == "/home/ann/hosts"
    assert names_of_the_host(read_mounts(hosts.format("/engine/hosts")), own[:-1]) == "none"


def test_a_line_that_is_no_mount_makes_nothing_up() -> None:
    """A cut text has a mount less, and that is found missing."""
    assert read_mounts("75 50 0:39 / /\n\nrubbish - - -") == ()


DESCRIBED = {"uid": str(UID), "gid": str(UID), "groups": "none", "capabilities": "none"}
DESCRIBED |= {"new privileges": "refused", "seccomp": "filter"}
WRONG_STATUS = {
    "root somewhere": (f"Uid:\t{UID}\t{UID}", f"Uid:\t{UID}\t0", "uid", f"0 {UID}"),
    "a group more": (f"Groups:\t{UID}", f"Groups:\t{UID} 27", "groups", "27"),
    "a capability": (
        "CapEff:\t0000000000000000",
        "CapEff:\t0000000000200000",
        "capabilities",
        "CapEff=0000000000200000",
    ),
    "one to be gained": (
        "CapBnd:\t0000000000000000",
        "CapBnd:\t00000000a80425fb",
        "capabilities",
        "CapBnd=00000000a80425fb",
    ),
    "privileges to be gained": ("NoNewPrivs:\t1", "NoNewPrivs:\t0", "new privileges", "possible"),
    "no filter": ("Seccomp:\t2", "Seccomp:\t0", "seccomp", "none"),
}


def test_a_process_without_anything_is_described_so() -> None:
    """The words are compared with those of the policy."""
    assert describe(Process(texts={"status": STATUS})) == DESCRIBED


@pytest.mark.parametrize(("before", "after", "name", "said"), WRONG_STATUS.values(), ids=WRONG_STATUS)
def test_what_a_process_may_do_shows(before: str, after: str, name: str, said: str) -> None:
    """One line of its status, one fact."""
    assert describe(Process(texts={"status": STATUS.replace(before, after)})) == DESCRIBED | {name: said}


def test_what_could_not_be_read_is_left_out_and_never_made_up() -> None:
    """An absent fact is unverified; an empty one might equal something."""
    assert describe(Process(texts={})) == {}
    assert "capabilities" not in describe(Process(texts={"status": STATUS.replace("CapBnd", "X")}))


LIMITS_TEXT = """Limit                     Soft Limit           Hard Limit           Units
Max open files            1024                 4096                 files
Max core file size        0                    unlimited            bytes
"""


def test_limits_of_a_process_are_told_soft_and_hard() -> None:
    """A soft limit below the hard one is advice."""
    assert describe(Process(texts={"limits": LIMITS_TEXT})) == {
        "limits of a process": "core=0:unlimited nofile=1024:4096"
    }


def test_a_link_that_some_kernels_and_runtimes_bring_is_no_device() -> None:
    """Most kernels of distributions have /proc/kcore, and runc then links it; this machine's may not."""
    devices = {"devices": "null zero"}

    assert describe(Process(texts={}, folders={"/dev": ["zero", "null"]})) == devices
    assert describe(Process(texts={}, folders={"/dev": ["zero", "core", "null"]})) == devices
    assert describe(Process(texts={}, folders={"/dev": ["zero", "kmsg", "null"]})) != devices


def test_interfaces_are_all_named() -> None:
    """One more than loopback is a way out."""
    text = "Inter-|   Receive\n face |bytes\n    lo:       0\n  eth0:     12\n"

    assert describe(Process(texts={"net/dev": text})) == {"interfaces": "eth0 lo"}


@pytest.fixture
def body(tmp_path: Path) -> dict[str, Any]:
    return create_body(
        Policy(name="test", limits=LIMITS),
        image_id="sha256:abc",
        uid=UID,
        mounts=Mounts(package=tmp_path / "p", snapshot=tmp_path / "s"),
        labels={"isolation.run": "r"},
        cgroup_parent="/isolation/x",
        cell_memory_bytes=2**29,
    )


def recorded(body: dict[str, Any]) -> dict[str, Any]:
    config = {name: value for name, value in body.items() if name not in {"Image", "HostConfig"}}
    config |= {"Labels": {**body["Labels"], "of the image": "x"}, "Volumes": None, "Env": [*reversed(body["Env"])]}
    host = {**body["HostConfig"], "CapAdd": None, "KernelMemory": 0, "ConsoleSize": [0, 0], "ShmSize": 2**26}
    return {"Image": body["Image"], "Config": config, "HostConfig": host}


def test_an_engine_that_wrote_down_what_it_was_told_is_believed(body: dict[str, Any]) -> None:
    """It fills in what it was not told, and writes nothing for nothing."""
    assert record.differences(recorded(body), body) == AS_ASKED


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a capability": (lambda r: r["HostConfig"].update(CapAdd=["SYS_ADMIN"]), "CapAdd=['SYS_ADMIN']"),
    "privileged": (lambda r: r["HostConfig"].update(Privileged=True), "Privileged=True"),
    "a bind": (lambda r: r["HostConfig"].update(Binds=["/:/host"]), "Binds=['/:/host']"),
    "a field we do not know": (
        lambda r: r["HostConfig"].update(Annotations={"a": "b"}),
        "Annotations={'a': 'b'}, which nobody asked for",
    ),
    "another network": (lambda r: r["HostConfig"].update(NetworkMode="host"), "NetworkMode='host'"),
    "no filter": (
        lambda r: r["HostConfig"].update(SecurityOpt=["no-new-privileges:true"]),
        "SecurityOpt=['no-new-privileges:true']",
    ),
    "another image": (lambda r: r.update(Image="sha256:evil"), "Image='sha256:evil'"),
    "a variable more": (lambda r: r["Config"]["Env"].append("LD_PRELOAD=/x"), "Env="),
    "another command": (lambda r: r["Config"].update(Entrypoint=["/bin/sh"]), "Entrypoint=['/bin/sh']"),
}


@pytest.mark.parametrize(("change", "said"), CHANGES.values(), ids=CHANGES)
def test_an_engine_that_wrote_down_something_else_is_found_out(
    body: dict[str, Any], change: Callable[[dict[str, Any]], object], said: str
) -> None:
    """Whatever lies between us and it may have changed the request."""
    found = recorded(body)
    change(found)

    assert record.differences(found, body).startswith(said)


HELD = Fact(name="seccomp", view="host", verdict="held", expected="filter", found="filter")
OPEN = Fact(name="environment", view="host", verdict="unverified", expected="A=1", why="this user may not read it")
WRONG = replace(HELD, verdict="mismatch", found="none")


def test_a_mismatch_always_is_an_objection() -> None:
    """Whatever the policy requires: it is the difference between asked and got."""
    attestation = Attestation(runtime="runc", facts=(HELD, OPEN, WRONG))

    assert attestation.objection(all_required=False) == "seccomp (host) should be filter, and is none"


def test_what_is_unverified_is_an_objection_where_everything_is_required() -> None:
    """Elsewhere it stands in the record as what it is."""
    attestation = Attestation(runtime="runc", facts=(HELD, OPEN))

    assert attestation.objection(all_required=False) == ""
    assert (
        attestation.objection(all_required=True)
        == "environment (host) could not be verified: this user may not read it"
    )
