"""
Rows 84 to 100: files that a run leaves for the host.

No folder of a cell can be written by both sides: the runner sends a run's files over the channel once every other
process there is dead, and the host keeps bytes under names of its own. Each row is put to that.
"""

from __future__ import annotations

import hashlib
import json
import stat
import textwrap
from typing import TYPE_CHECKING

import pytest

from isolation.cli.artifacts import ArtifactFolder
from isolation.model.outcome import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from isolation.model.run import Result
    from tests.hostile.conftest import Attack
    from tests.hostile.kit import Arena

pytestmark = pytest.mark.engine


def kept(result: Result, arena: Arena) -> dict[str, bytes]:
    """Return what the host has, by the recipe's names."""
    assert result.outcome is Outcome.SUCCEEDED, (result.cause, result.errors)
    return {one.name: arena.controller.stores.blobs.get(one.digest) for one in result.artifacts}


def said(result: Result, arena: Arena) -> str:
    """Return the log, where it is said what was not kept."""
    return "\n".join(line.text for line in arena.controller.stores.logs.read(result.run_id))


def leaving(body: str) -> str:
    """Write a scriptlet that leaves files in the folder of artifacts, where it stands."""
    opening = "os.makedirs('/scratch/artifacts')\nos.chdir('/scratch/artifacts')\n"
    return "import os, socket\ndef run(context, params):\n" + textwrap.indent(opening + body.strip(), "    ")


def test_row_084_a_link_to_a_file_is_not_followed(attack: Attack, arena: Arena) -> None:
    """Neither to a file of the cell's nor to one that is there on the host alone."""
    source = leaving("""
for number, target in enumerate(params["targets"]):
    os.symlink(target, f"link{number}")
open("plain", "w").write("plain")
""")
    targets = ["/etc/passwd", str(arena.secrets.file), "/in/snapshot.json", "plain", "/nowhere"]
    result = attack(source, args={"targets": targets})

    assert kept(result, arena) == {"plain": b"plain"}
    assert said(result, arena).count("was not kept: Too many levels of symbolic links") == len(targets)


def test_row_085_a_link_to_a_folder_is_not_followed(attack: Attack, arena: Arena) -> None:
    """Also where the folder of artifacts is itself one."""
    inner = attack(leaving('os.symlink("/etc", "sub")\nos.symlink("/proc/self/root", "root")'))
    outer = attack("import os\ndef run(context, params):\n    os.symlink('/etc', '/scratch/artifacts')")

    assert kept(inner, arena) == {}
    assert said(inner, arena).count("was not kept") == 2
    assert kept(outer, arena) == {}


TRAVERSALS = [
    "../../etc/passwd",
    "/etc/passwd",
    "a/../../x",
    "..",
    "a//b",
    "./a",
    "~/x",
    "..\\x",
    "a/.ssh/b",
    "c\0d",
    "-v:\n",
]


@pytest.mark.parametrize("name", TRAVERSALS)
def test_row_086_a_name_that_leads_elsewhere_is_refused_whoever_says_it(treason: Attack, name: str) -> None:
    """A step cannot make such a file; a runner that was taken over can say that it did."""
    result = treason(
        """
        import json
        def run(channel, plan):
            channel.settle()
            announced = {"name": json.loads(plan["steps"][0]["args"]["name"]), "size": 4, "refused": None}
            channel.send(channel.contract.ARTIFACT, json.dumps(announced).encode())
            channel.send(channel.contract.CHUNK, b"evil")
            channel.end()
            channel.wait_for_bye()
        """,
        args={"name": json.dumps(name)},
    )

    assert (result.outcome, result.cause) == (Outcome.BAD_ANSWER, "channel")
    assert result.artifacts == ()


def test_row_086_a_runner_that_says_plain_names_is_believed(treason: Attack, arena: Arena) -> None:
    """Else the test before would prove nothing."""
    result = treason(
        """
        def run(channel, plan):
            channel.settle()
            channel.send_json(channel.contract.ARTIFACT, {"name": "a/b", "size": 4, "refused": None})
            channel.send(channel.contract.CHUNK, b"fine")
            channel.end()
            channel.wait_for_bye()
        """
    )

    assert kept(result, arena) == {"a/b": b"fine"}


def test_row_087_a_hard_link_gives_nothing_that_is_not_the_recipes_own(attack: Attack, arena: Arena) -> None:
    """What lies elsewhere cannot be linked to; of two names for one file each is kept as a file of its own."""
    source = leaving("""
elsewhere = ["/etc/passwd", "/in/snapshot.json", "/package/work.py", "/opt/runner/run.py", "/proc/1/mem"]
for number, target in enumerate(elsewhere):
    try:
        os.link(target, f"link{number}")
    except OSError:
        continue
open("one", "w").write("both")
os.link("one", "two")
""")

    assert kept(attack(source), arena) == {"one": b"both", "two": b"both"}


def test_row_088_a_pipe_holds_nobody_up(attack: Attack, arena: Arena) -> None:
    """It cannot be made; and if it could, it would be opened without waiting, and is no regular file."""
    source = leaving("""
try:
    os.mkfifo("pipe")
    print("a pipe")
except PermissionError:
    print("no pipe")
os.symlink("/dev/stdin", "input")
os.symlink("/proc/1/fd/1", "channel")
""")
    result = attack(source)

    assert kept(result, arena) == {}
    assert "no pipe" in said(result, arena)


def test_row_089_a_socket_a_folder_and_links_to_devices_are_not_kept(attack: Attack, arena: Arena) -> None:
    """A device that never ends would fill the host."""
    source = leaving("""
socket.socket(socket.AF_UNIX).bind("socket")
os.mkdir("folder")
for name in ("zero", "urandom", "full", "null", "tty"):
    os.symlink(f"/dev/{name}", name)
""")
    result = attack(source)

    assert kept(result, arena) == {}
    assert said(result, arena).count("was not kept") == 6


def test_row_091_the_host_writes_nothing_where_a_recipe_can(attack: Attack, arena: Arena) -> None:
    """A recipe makes every name that anybody might write, as a link to a file of the host's; none is written."""
    names = [
        "snapshot.json",
        "result.json",
        "meta.json",
        "run.sh",
        "plan.json",
        "log",
        "stdout",
        "core",
        "attempt-1.jsonl",
    ]
    result = attack(
        """
        import os
        def run(context, params):
            if context.get("planted", default=None) is None:
                for folder in ("/scratch", "/tmp", "/scratch/artifacts"):
                    os.makedirs(folder, exist_ok=True)
                    for name in params["names"]:
                        os.symlink(params["target"], f"{folder}/{name}")
                context.set("planted", 1)
            return {"links": sum(os.path.islink(f"{folder}/{name}") and not os.path.exists(params["target"])
                                 for folder in ("/scratch", "/tmp", "/scratch/artifacts") for name in params["names"])}
        """,
        steps=2,
        args={"names": names, "target": str(arena.host.folder / "plain.txt")},
        extra="execution: {parallel_execution: false}",
    )

    assert kept(result, arena) == {}
    assert [step.outputs for step in result.attempts[0].steps] == [{"links": 3 * len(names)}] * 2


def test_row_094_a_file_that_changes_while_it_is_read_is_read_when_nobody_can(attack: Attack, arena: Arena) -> None:
    """A daemon that writes and truncates without end is dead before the first byte is sent."""
    source = leaving("""
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    fd = os.open("changing", os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"x" * 100_000)
    os.write(write, b"x")
    while True:
        os.ftruncate(fd, 10)
        os.pwrite(fd, b"x" * 1_000_000, 0)
os.read(read, 1)
""")
    result = attack(source)

    content = kept(result, arena)["changing"]
    assert result.artifacts[0].size_bytes == len(content)
    assert result.artifacts[0].digest == hashlib.sha256(content).hexdigest()
    assert content == b"x" * len(content) or set(content) <= {0, ord("x")}


def test_row_094_a_file_that_is_yet_to_be_sent_cannot_be_changed_by_who_sees_another_go(
    attack: Attack, arena: Arena
) -> None:
    """A daemon that watches when the first file is read would change the last one; by then it is dead."""
    source = leaving("""
open("first", "wb").write(bytes(8 * 2**20))
open("last", "w").write("early")
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    before = os.stat("first").st_atime_ns
    os.write(write, b"x")
    while os.stat("first").st_atime_ns == before:
        pass
    open("last", "w").write("later")
    os._exit(0)
os.read(read, 1)
""")

    assert kept(attack(source), arena)["last"] == b"early"


@pytest.mark.parametrize("sent", [3, 5], ids=["shorter", "longer"])
def test_row_094_a_file_of_another_size_than_announced_is_no_file(treason: Attack, sent: int) -> None:
    """The limit was held against what was announced."""
    result = treason(
        """
        def run(channel, plan):
            channel.settle()
            channel.send_json(channel.contract.ARTIFACT, {"name": "a", "size": 4, "refused": None})
            channel.send(channel.contract.CHUNK, b"x" * plan["steps"][0]["args"]["sent"])
            channel.end()
            channel.wait_for_bye()
        """,
        args={"sent": sent},
    )

    assert (result.outcome, result.cause) == (Outcome.BAD_ANSWER, "channel")
    assert result.artifacts == ()


def test_row_095_what_cannot_be_read_is_named_and_the_cell_is_gone_all_the_same(attack: Attack, arena: Arena) -> None:
    """Files and folders without rights; attributes of files stay behind."""
    source = leaving("""
for name in ("shut", "fine"):
    open(name, "w").write(name)
try:
    os.setxattr("fine", "user.secret", b"value")
except OSError:
    pass
os.makedirs("closed/inner")
open("closed/inner/lost", "w").write("lost")
os.makedirs("listed")
open("listed/lost", "w").write("lost")
os.chmod("shut", 0)
os.chmod("listed", 0o400)
os.chmod("closed", 0)
""")
    result = attack(source)

    assert kept(result, arena) == {"fine": b"fine"}
    assert {name for name in ("shut", "closed", "listed/lost") if f"'{name}' was not kept" in said(result, arena)} == {
        *("shut", "closed", "listed/lost")
    }
    assert b"value" not in (arena.state / "runs" / result.run_id / "attempt-1.jsonl").read_bytes()


def test_row_096_no_mode_of_a_file_comes_with_it(attack: Attack, arena: Arena, tmp_path: Path) -> None:
    """Neither in our store nor where a person has it copied to: nothing runs, nothing is setuid, nobody else reads."""
    result = attack(leaving('open("tool", "w").write("#!/bin/sh\\n")\nos.chmod("tool", 0o6777)'))
    (artifact,) = result.artifacts
    blobs = arena.controller.stores.blobs
    problem = ArtifactFolder.prepare(tmp_path / "copied").copy(result.artifacts, blobs)

    assert problem is None
    for path in (blobs.path(artifact.digest), tmp_path / "copied" / "tool"):
        assert stat.S_IMODE(path.stat().st_mode) & ~0o644 == 0
