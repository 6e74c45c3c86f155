"""Rows 71 to 75: what a cell tells of the host, of the controller and of others. One cell is looked at for most."""

from __future__ import annotations

import re
import socket
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from isolation.model.determinism import Determinism
from isolation.sandbox.hardening import ENTRYPOINT, environment
from tests.hostile.kit import outputs_of
from tests.hostile.on_gvisor import differs

if TYPE_CHECKING:
    from tests.hostile.kit import Arena

pytestmark = pytest.mark.engine
Json = dict[str, Any]

GOLDEN = Path(__file__).parent / "golden_proc_and_sys.txt"
SHUT = (
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/key-users",
    "/proc/kmsg",
    "/proc/timer_list",
    "/proc/config.gz",
    "/proc/cmdline",
    "/proc/diskstats",
    "/proc/locks",
    "/proc/sched_debug",
    "/proc/pressure/*",
    "/proc/acpi/*",
    "/proc/scsi/*",
    "/proc/asound/*",
    "/sys/firmware/*",
    "/sys/devices/virtual/dmi/*",
    "/sys/devices/virtual/powercap/*",
    "*/thermal_throttle/*",
    "*serial_number*",
    "*/product_uuid",
    "*/wwid",
    "*/vpd_pg*",
    "*/backing_file",
    "/sys/kernel/debug/*",
    "/sys/kernel/tracing/*",
    "/sys/kernel/security/*",
)
"""What the catalogue names, and files of their kind: unreadable or empty."""


def identities() -> list[str]:
    """Read what tells this host from all others: names, addresses, numbers."""
    files = ["/etc/machine-id", "/proc/cmdline", "/sys/class/dmi/id/product_uuid", "/sys/class/dmi/id/product_serial"]
    found = [Path(file).read_text().strip() for file in files if Path(file).exists()]
    families = {psutil.AF_LINK, socket.AF_INET, socket.AF_INET6}
    addresses = [one for name, all_of_it in psutil.net_if_addrs().items() if name != "lo" for one in all_of_it]
    found += [one.address for one in addresses if one.family in families]
    return [word for word in {*found, socket.gethostname()} if len(word) > 6]


@pytest.fixture(scope="module")
def names(arena: Arena) -> list[str]:
    """Words that are the controller's alone: where it keeps its state and its recipes, and who it is."""
    return [str(arena.state), str(arena.state.parent), arena.state.parent.name, "recipe-"]


@pytest.fixture(scope="module")
def seen(arena: Arena, names: list[str]) -> Json:
    folders = ["/", "/in", "/package", "/in/..", "/package/..", "/etc", "/run", "/opt/runner"]
    recipe = arena.program("inventory", args={"words": [*identities(), *names], "folders": folders})
    result = arena.attack(recipe)
    (artifact,) = result.artifacts
    readable = arena.controller.stores.blobs.get(artifact.digest).decode().splitlines()
    return outputs_of(result) | {"readable": readable}


def test_row_071_the_environment_is_the_list_and_nothing_else(seen: Json) -> None:
    """Not the controller's, not the engine's, and no proxy of either."""
    assert seen["environment"] == dict(line.split("=", 1) for line in environment(Determinism())) | {"HOSTNAME": "cell"}


def test_row_073_there_is_nobody_but_the_runner_and_its_steps(seen: Json) -> None:
    """No process of the host, and of those that are there no word that was not theirs."""
    commands = {text.strip() for name, text in seen["texts"].items() if name.endswith("/cmdline")}
    environments = {text for name, text in seen["texts"].items() if name.endswith("/environ")}

    assert {name.split("/")[0] for name in seen["texts"]} == {"1", str(seen["own"])}
    assert commands == {"\n".join(ENTRYPOINT)}
    assert all(set(text.split("\n")) <= {*environment(Determinism()), "HOSTNAME=cell", ""} for text in environments)


def golden(arena: Arena) -> tuple[list[str], list[str]]:
    """Read the list: what may be readable, and what is another kernel's own."""
    lines = [line for line in GOLDEN.read_text().splitlines() if line and not line.startswith("#")]
    own = [line.removeprefix("gVisor: ") for line in lines if line.startswith("gVisor: ")]
    return lines, own if differs(arena, 75) else []


def test_row_075_nothing_is_readable_that_nobody_has_looked_at(seen: Json, arena: Arena) -> None:
    """A new kernel brings new files: somebody decides for each kind whether a stranger may read it."""
    known, own = golden(arena)

    assert [path for path in seen["readable"] if not any(fnmatchcase(path, glob) for glob in (*known, *own))] == []


def test_row_075_what_tells_of_the_hosts_hardware_and_life_is_shut(seen: Json, arena: Arena) -> None:
    """Keystrokes show in interrupts, secrets in power, machines in serial numbers."""
    _, own = golden(arena)
    open_ones = [path for path in seen["readable"] if any(fnmatchcase(path, glob) for glob in SHUT)]

    assert {*open_ones} - {*own} == set()


def test_row_075_no_file_holds_what_tells_this_host_from_others(seen: Json) -> None:
    """Its names, its numbers, its addresses, and the paths of its controller are looked for in every file."""
    assert seen["telling"] == []


ENGINES_OWN = "hostname|hosts|resolv.conf"


def test_row_075_mounts_show_of_the_host_only_where_the_engine_keeps_its_own(seen: Json, arena: Arena) -> None:
    """The root's layers and the engine's own files lie in its folder; ours have no names at all."""
    root = re.escape(arena.client.info()["DockerRootDir"])
    allowed = re.compile(rf"/|/null|/(bus|fs|irq|sys|sysrq-trigger)|{root}/containers/[0-9a-f]{{64}}/({ENGINES_OWN})")
    layers = re.compile(rf"(lowerdir|upperdir|workdir)=(({root}/overlay2/[\w/]+|/proc/self/fd/\d+):?)+")
    for line in seen["texts"][f"{seen['own']}/mountinfo"].splitlines():
        fields = line.split()
        options = [option for option in fields[-1].split(",") if "dir=" in option and "redirect_dir" not in option]

        assert allowed.fullmatch(fields[3]), line
        assert all(layers.fullmatch(option) for option in options), line


def test_row_075_the_cgroup_does_not_tell_where_it_is(seen: Json) -> None:
    """A namespace of its own: the path would show the run's id and the controller's folder of groups."""
    paths = {line.split(":", 2)[-1] for line in seen["texts"][f"{seen['own']}/cgroup"].splitlines()}

    assert paths <= {"/"}
