"""
One program in a fresh container, by others and by us: ``.venv/bin/python benchmarks/peers.py --peers PYTHON``.

PYTHON is of an environment of their own, since what they need may not agree with what we do::

    python3 -m venv build/peers
    build/peers/bin/pip install epicbox 'llm-sandbox[docker]' mini-swe-agent 'urllib3<2'  # epicbox knows no later one

All take turns in one run, after a first turn that is not kept: `docker run --rm`, our runs in a cell made for them and
in one that stood ready, and each peer, in a process of its own that has everything imported. All have the same base
image; the network is what each gives by default. Timed is the call until the program's words are in hand; who removes
the container before that, or merges a result as we do, pays for it. What is not installed is said to be.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from speed import ALONE, PROGRAM, against, await_idle, count, first, opened, run, show, timed_ms

if TYPE_CHECKING:
    from collections.abc import Callable

BEGIN = f"""
import importlib.metadata, json, logging, os, subprocess, sys, time
image, program, words = sys.argv[1], {PROGRAM!r}, os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what a library says is no answer
command = "python3 -c " + repr(program)
"""
"""What each peer's process begins with; it defines ``call``, which returns what the program said, and ``after``."""
SERVE = """
print(json.dumps(importlib.metadata.version(name)), file=words, flush=True)
for _ in sys.stdin:
    began_s = time.perf_counter()
    said = call()
    took_ms = (time.perf_counter() - began_s) * 1000
    after()
    assert said == "hello\\n", said
    print(json.dumps(took_ms), file=words, flush=True)
"""
PEERS = {
    "epicbox": """
import epicbox
name, after = "epicbox", lambda: None
logging.disable(logging.ERROR)
epicbox.configure(profiles=[epicbox.Profile("python", image)])
def call():
    return epicbox.run("python", command)["stdout"].decode()
""",
    "llm-sandbox": """
import llm_sandbox
name, made = "llm-sandbox", []
def call():
    made.append(llm_sandbox.SandboxSession(image=image, lang="python", skip_environment_setup=True))
    made[-1].open()
    return made[-1].run(program).stdout
def after():
    made.pop().container.remove(force=True)  # its own way waits ten seconds for a shell that hears no signal
""",
    "mini-swe-agent": """
from minisweagent.environments.docker import DockerEnvironment
name, made = "mini-swe-agent", []
def call():
    made.append(DockerEnvironment(image=image))
    return made[-1].execute({"command": command})["output"]
def after():
    # Its own way leaves that to a process behind, in everybody's time.
    left = made.pop()
    subprocess.run(["docker", "rm", "--force", left.container_id], check=True, stdout=subprocess.DEVNULL)
    left.container_id = None
""",
}


def main() -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON", help="the interpreter that has them")
    parser.add_argument("--image", default=base_image(), help="of Debian with python3, and no entrypoint")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    machine = f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, {given.image}"
    print(machine)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        turns, missing = actions(Path(folder), stack, given.peers, with_names(given.image))
        times: dict[str, list[float]] = {name: [] for name in turns}
        for _ in range(count(50, given.scale) + 1):
            for name, action in turns.items():
                times[name].append(action())
    found = against(first(times), "docker run") | dict.fromkeys(missing, "not installed")
    show(found)
    if given.json:
        given.json.write_text(json.dumps({"machine": machine, "peers": found}, indent=1) + "\n")


def actions(
    folder: Path, stack: ExitStack, python: str, image: str
) -> tuple[dict[str, Callable[[], float]], list[str]]:
    """Return what takes turns, by name: calls that return ms; and the names of the peers that are not installed."""
    warm, cold = (stack.enter_context(opened(folder, idle=idle)) for idle in (1, 0))

    def run_warm() -> float:
        await_idle(warm)
        return timed_ms(functools.partial(run, warm, folder, ALONE))

    docker_run = ["docker", "run", "--rm", image, "python3", "-c", PROGRAM]
    turns: dict[str, Callable[[], float]] = {
        "docker run": lambda: timed_ms(lambda: subprocess.run(docker_run, check=True, stdout=subprocess.DEVNULL)),
        "isolation, cold": lambda: timed_ms(functools.partial(run, cold, folder, ALONE)),
        "isolation, warm": run_warm,
    }
    missing = []
    for name, program in PEERS.items():
        peer = Peer(python, program, image)
        stack.callback(peer.end)
        if peer.version:
            turns[f"{name} {peer.version}"] = peer.run
        else:
            missing.append(name)
    return turns, missing


class Peer:
    """A process with a peer's library; ``version`` is None where it is not installed."""

    def __init__(self, python: str, program: str, image: str) -> None:
        pipe = subprocess.PIPE
        command = [python, "-c", BEGIN + program + SERVE, image]
        self._words = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self._words, text=True)
        said = self._answer()
        self.version: str | None = json.loads(said) if said else None
        if self.version is None and "ModuleNotFoundError" not in self._complaint():
            raise SystemExit(self._complaint())

    def run(self) -> float:
        """Have it run the program once; returns ms."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        said = self._answer()
        if not said:
            raise SystemExit(self._complaint())
        return float(json.loads(said))

    def end(self) -> None:
        """Let it end."""
        self._process.communicate()
        self._words.close()

    def _answer(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        return self._process.stdout.readline()

    def _complaint(self) -> str:
        self._process.wait()
        self._words.seek(0)
        return self._words.read()


def with_names(image: str) -> str:
    """Give an image what peers look for in it: a program `python`, and a command; returns its name."""
    text = f'FROM {image}\nRUN ln -s python3 /usr/bin/python\nCMD ["bash"]\n'
    command = ["docker", "build", "--quiet", "--network", "none", "--tag", "isolation-peers", "-"]
    subprocess.run(command, input=text, check=True, capture_output=True, text=True)
    return "isolation-peers"


def base_image() -> str:
    """Name the image that our runner's is made from, as scripts/image left it."""
    command = ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "isolation-base"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.partition("\n")[0]


if __name__ == "__main__":
    main()
