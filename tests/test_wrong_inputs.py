"""What people get wrong, as real commands: the exact text that they read, the exit code, and that nothing was done."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isolation.sandbox.docker_engine import DockerEngine
from isolation.sandbox.engine import DEFAULT_ADDRESS
from isolation.settings import Settings, load_settings
from isolation.units import format_bytes
from isolation.wiring import open_stores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from isolation.model.run import Digests

COMMAND = Path(sys.executable).with_name("isolation")
NOWHERE = "unix:///nonexistent.sock"
TIME_S = 120.0

STEPS = "steps:\n  - name: load\n    module: load\n    function: run\n"
SUM = "  - name: sum\n    module: load\n    function: sum_up\n"
MODULE = "def run(context, params):\n    return {}\n"
SLEEPER = (
    "import time\n"
    "def run(context, params):\n    context.set('sales.total', 1)\n"
    "def sum_up(context, params):\n    time.sleep(3600)\n"
)
NO_ENGINE = (
    "isolation: the Docker Engine at {} does not answer\n"
    "Start it, or name another with --engine; `isolation doctor` shows what is missing.\n"
)


class Desk:
    """Where a person works: a recipe's folder, a state folder, and an environment in which nobody set anything."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path / "etl"
        self.state = path / "state"
        self.write({"recipe.yaml": STEPS, "load.py": MODULE, "../settings.toml": ""})

    def write(self, files: Mapping[str, str]) -> None:
        """Write files below the recipe's folder; one whose text is empty is removed, if it is there."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.fill(text), encoding="utf-8")

    def fill(self, text: str) -> str:
        """Put this test's own names in the place of those in braces."""
        names = {"recipe": self.folder / "recipe.yaml", "folder": self.folder, "state": self.state, "here": self.path}
        for name, value in names.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text

    def command(self, arguments: Sequence[str], engine: str, environment: Mapping[str, str]) -> dict[str, Any]:
        """Return what subprocess needs to know."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("ISOLATION_", "DOCKER_"))}
        own |= {"ISOLATION_SETTINGS": str(self.path / "settings.toml")}
        own |= {name: self.fill(value) for name, value in environment.items()}
        given = [str(COMMAND), "--state", str(self.state), "--engine", engine, *map(self.fill, arguments)]
        return {"args": given, "env": own, "cwd": self.path, "text": True, "stdin": subprocess.DEVNULL}

    def run(
        self,
        *arguments: str,
        engine: str = NOWHERE,
        environment: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
    ) -> tuple[int, str, str]:
        """Run a command; returns its exit code, what it printed, and what it told on stderr."""
        command = self.command(arguments, engine, environment or {})
        command["args"] = [*before, *command["args"]]
        done = subprocess.run(**command, capture_output=True, timeout=TIME_S, check=False)
        return done.returncode, done.stdout, done.stderr

    def text(self, wrong: Wrong) -> str:
        """Write what a person reads."""
        return self.fill(f"isolation: {wrong.told}\n{wrong.hint}\n")


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """One wrong input, and what a person is told of it."""

    files: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ("run", "{folder}")
    environment: Mapping[str, str] = field(default_factory=dict)
    told: str
    hint: str
    code: int = 2


KNOWN = "Known: config, context, execution, files, metadata, steps, test_meta."
LOOK = "Look at this line and the one before it: at quotes, brackets, commas, colons and tabs."
OUTCOMES = (
    "Known: succeeded, failed, out_of_memory, timed_out, too_many_processes, disk_full, output_limit, no_answer, "
    "bad_answer, cancelled, lost, conflict."
)
CHECK = ("policy", "check", "{folder}/p.yaml")
USED = "`isolation run --help` shows how it is used."
LISTED = "`isolation runs` lists them."


def recipe(text: str) -> dict[str, str]:
    return {"recipe.yaml": text}


def policy(text: str) -> dict[str, str]:
    return {"p.yaml": f"name: p\n{text}"}


# Nobody answers at the engine's address: what is told here was found before the engine was asked for anything.
RECIPES = {
    "broken YAML": Wrong(
        files=recipe("steps:\n  - {name: load, module: load\nfiles: []\n"),
        told="{recipe}:3: the text is not YAML: did not find expected ',' or '}'",
        hint=LOOK,
    ),
    "a tab": Wrong(
        files=recipe("steps:\n\t- name: load\n"),
        told="{recipe}:2: the text is not YAML: found character that cannot start any token",
        hint=LOOK,
    ),
    "an anchor": Wrong(
        files=recipe("config: &all {a: 1}\n" + STEPS),
        told="{recipe}:1: anchors and aliases are not allowed: '&all'",
        hint="Write the value out, or put it in quotes if it is text.",
    ),
    "an alias": Wrong(
        files=recipe(STEPS + "    args: *all\n"),
        told="{recipe}:5: anchors and aliases are not allowed: '*all'",
        hint="Write the value out, or put it in quotes if it is text.",
    ),
    "a tag": Wrong(
        files=recipe("config: !!python/object/apply:os.system [id]\n" + STEPS),
        told="{recipe}:1: tags are not allowed: '!!python/object/apply:os.system'",
        hint="Put it in quotes if it is text.",
    ),
    "a key twice": Wrong(
        files=recipe(STEPS + "    module: other\n"),
        told="{recipe}:5: the key 'module' stands here for the second time",
        hint="Keep one: line 3 has the first.",
    ),
    "an unknown key": Wrong(
        files=recipe("step: []\n" + STEPS), told="{recipe}:1: unknown key 'step'", hint="Did you mean 'steps'?"
    ),
    "an unknown key that is like none": Wrong(
        files=recipe("privileged: true\n" + STEPS), told="{recipe}:1: unknown key 'privileged'", hint=KNOWN
    ),
    "an unknown key deep in a step": Wrong(
        files=recipe(STEPS + "    success:\n      ctx_has_key: [a]\n"),
        told="{recipe}:6: unknown key 'ctx_has_key' in 'success' of step 'load'",
        hint="Did you mean 'ctx_has_keys'?",
    ),
    "a wrong type": Wrong(
        files=recipe(STEPS + "    depends_on: load\n"),
        told="{recipe}:5: 'depends_on' in step 'load' must be a list, not 'load'",
        hint="Write it as [a, b], or as lines below it that begin with a dash.",
    ),
    "a missing key": Wrong(
        files=recipe("steps:\n  - name: load\n    module: load\n"),
        told="{recipe}:2: 'function' in step 'load' is missing",
        hint="Add it.",
    ),
    "a bad duration": Wrong(
        files=recipe(STEPS + "    timeout: 5 parsecs\n"),
        told="{recipe}:5: 'timeout' in step 'load': '5 parsecs' has the unknown unit 'parsecs'",
        hint="Known: ms, s, m, min, h, d.",
    ),
    "a step that is no Python": Wrong(
        files=recipe(STEPS + "    type: shell\n"),
        told="{recipe}:5: 'type' in step 'load' must be 'python', not 'shell'",
        hint="Write 'python'.",
    ),
    "a cycle": Wrong(
        files=recipe(f"{STEPS}    depends_on: [sum]\n{SUM}    depends_on: [load]\n"),
        told="{recipe}:2: the steps depend on each other in a circle: load -> sum -> load",
        hint="Take one of them out of a 'depends_on'.",
    ),
    "an unknown dependency": Wrong(
        files=recipe(f"{STEPS}{SUM}    depends_on: [laod]\n"),
        told="{recipe}:8: step 'sum' depends on 'laod', which is no step of this recipe",
        hint="Did you mean 'load'?",
    ),
    "a name twice": Wrong(
        files=recipe(STEPS + STEPS.removeprefix("steps:\n")),
        told="{recipe}:5: two steps are named 'load'",
        hint="Rename one: line 2 has the first.",
    ),
    "an empty recipe": Wrong(
        files=recipe(""), told="{recipe}:1: the file must hold a mapping, not nothing", hint=KNOWN
    ),
    "a Python file for a recipe": Wrong(
        command=("run", "{folder}/load.py"),
        told="{folder}/load.py: a recipe is YAML or JSON, and this is Python",
        hint="Name the recipe that calls it.",
    ),
    "a comma too many in JSON": Wrong(
        files={"x.json": '{"steps": [\n  {"name": "a",}\n]}\n'},
        command=("run", "{folder}/x.json"),
        told="{folder}/x.json:2: the text is not JSON: a comma stands before the closing bracket",
        hint=LOOK,
    ),
    "no such recipe": Wrong(
        command=("run", "{folder}/recipes.yaml"),
        told="{folder}/recipes.yaml: there is no such file",
        hint="Check its name, and that of its folder.",
    ),
    "a folder without a recipe": Wrong(
        files={"empty/readme.txt": ""},
        command=("run", "{folder}/empty"),
        told="{folder}/empty: there is no recipe in this folder",
        hint="Put a recipe.yaml in it.",
    ),
    "two recipes in a folder": Wrong(
        files={"recipe.json": "{}"},
        told="{folder}: recipe.yaml and recipe.json are both in this folder",
        hint="Name the one that you mean.",
    ),
    "a recipe of 2 MB": Wrong(
        files=recipe("#" * 2_000_000),
        told="{recipe}: the file is larger than 1 MiB",
        hint="Make it smaller, or check that it is the one that you mean.",
    ),
}

POLICIES = {
    "an unknown policy": Wrong(
        command=("run", "{folder}", "--policy", "strickt"),
        told="there is no policy 'strickt'",
        hint="Did you mean 'strict'?",
    ),
    "an unknown policy that is like none": Wrong(
        command=("run", "{folder}", "--policy", "mine"),
        told="there is no policy 'mine'",
        hint="Known: default, generous, strict; or name a file.",
    ),
    "no such policy file": Wrong(
        command=("run", "{folder}", "--policy", "{here}/mine.yaml"),
        told="{here}/mine.yaml: there is no such file",
        hint="Check its name, and that of its folder.",
    ),
    "an unknown key of a policy": Wrong(
        files=policy("limits:\n  cpu: 1\n"),
        command=("run", "{folder}", "--policy", "{folder}/p.yaml"),
        told="{folder}/p.yaml:3: unknown key 'cpu' in 'limits'",
        hint="Did you mean 'cpus'?",
    ),
    "a unit that nobody knows": Wrong(
        files=policy("limits:\n  memory: 512 megs\n"),
        command=CHECK,
        told="{folder}/p.yaml:3: 'memory' in 'limits': '512 megs' has the unknown unit 'megs'",
        hint="Known: b, kb, mb, gb, tb, k, m, g, t, kib, mib, gib, tib.",
    ),
    "no quantity": Wrong(
        files=policy("limits:\n  wall: soon\n"),
        command=CHECK,
        told="{folder}/p.yaml:3: 'wall' in 'limits': 'soon' is no quantity",
        hint="Write one such as 30s.",
    ),
    "a limit below the least": Wrong(
        files=policy("limits: {pids: 1}\n"),
        command=CHECK,
        told="{folder}/p.yaml:2: 'pids' in 'limits' must be greater than or equal to 8, not 1",
        hint="Raise it.",
    ),
    "an unknown runtime": Wrong(
        files=policy("runtime: docker\n"),
        command=CHECK,
        told="{folder}/p.yaml:2: 'runtime' must be 'runc', 'crun' or 'runsc', not 'docker'",
        hint="Write 'runc', 'crun' or 'runsc'.",
    ),
    "a retry of an unknown outcome": Wrong(
        files=policy("retry:\n  oom: {attempts: 2}\n"),
        command=CHECK,
        told="{folder}/p.yaml:3: 'oom' in 'retry': 'oom' is no outcome",
        hint=OUTCOMES,
    ),
}

CHOICES = {
    "only a step that is none": Wrong(
        command=("run", "{folder}", "--only", "laod"),
        told="--only names 'laod', which is no step of 'etl'",
        hint="Did you mean 'load'?",
    ),
    "skip a step that is none": Wrong(
        command=("run", "{folder}", "--skip", "extract"),
        told="--skip names 'extract', which is no step of 'etl'",
        hint="The steps are: load.",
    ),
    "nothing left to run": Wrong(
        command=("run", "{folder}", "--skip", "load"),
        told="no step of 'etl' is left to run",
        hint="Choose others: each one is disabled, skipped, or depends on one that is.",
    ),
    "a key without a value": Wrong(
        command=("run", "{folder}", "--set", "region"),
        told="'region' is not KEY=VALUE",
        hint="Write it as in `--set region=eu`.",
    ),
    "a value for a key that may not be read": Wrong(
        files=recipe("context: {reads: [sales.*]}\n" + STEPS),
        command=("run", "{folder}", "--set", "region=eu"),
        told="the recipe 'etl' may not read 'region', so setting it for this run would change nothing",
        hint="It reads: sales.*.",
    ),
    "a value that is no number": Wrong(
        command=("run", "{folder}", "--set", "rates=[1, NaN]"),
        told="NaN is no value that the context can keep",
        hint='Write null, or "NaN" for the text.',
    ),
    "a number without an end": Wrong(
        command=("run", "{folder}", "--set", "rate=1e999"),
        told="the value of the context key 'rate' cannot be kept: inf at $ is not a finite number",
        hint="A value is JSON: null, true, false, numbers, text, lists, and objects with text keys.",
    ),
    "a key with a line break": Wrong(
        command=("run", "{folder}", "--set", "a\nb=1"),
        told="the context key 'a\\nb' has a character that cannot be printed",
        hint="Use letters, digits, dots, dashes and the like; no tab, no line break.",
    ),
    "a key with a space before it": Wrong(
        command=("run", "{folder}", "--set", " sales=1"),
        told="the context key ' sales' begins or ends with a space",
        hint="Write 'sales'.",
    ),
    "artifacts into a file": Wrong(
        command=("run", "{folder}", "--artifacts", "{recipe}"),
        told="artifacts cannot go to {recipe}: a file of that name is there already",
        hint="Name a folder that this user may write with --artifacts.",
    ),
}

SETTINGS = {
    "an unknown setting": Wrong(
        files={"../settings.toml": 'polcy = "strict"\n'},
        told="{here}/settings.toml: the setting 'polcy' is unknown",
        hint="Did you mean 'policy'?",
    ),
    "settings that are not TOML": Wrong(
        files={"../settings.toml": "policy: strict\n"},
        told="{here}/settings.toml:1: the settings file is not TOML: expected '=' after a key in a key/value pair",
        hint='Write each setting as in policy = "strict".',
    ),
    "a setting that is no text": Wrong(
        files={"../settings.toml": "policy = 3\n"},
        told="{here}/settings.toml: the setting 'policy' must be a text, not 3",
        hint='Write it as in policy = "...".',
    ),
    "no such settings": Wrong(
        environment={"ISOLATION_SETTINGS": "{here}/none.toml"},
        told="{here}/none.toml: there is no such settings file",
        hint="ISOLATION_SETTINGS names it; unset that, or write the file.",
    ),
    "an unknown policy by default": Wrong(
        environment={"ISOLATION_POLICY": "strickt"}, told="there is no policy 'strickt'", hint="Did you mean 'strict'?"
    ),
    "a state folder that is a file": Wrong(
        command=("--state", "{recipe}", "runs"),
        told="the state folder {recipe} is a file, and no folder",
        hint="Choose another folder with --state.",
        code=4,
    ),
}

LINES = {
    "an unknown command": Wrong(
        command=("runn", "{folder}"), told="there is no command 'isolation runn'", hint="Did you mean 'run'?"
    ),
    "an unknown command that is like none": Wrong(
        command=("xyzzy",),
        told="there is no command 'isolation xyzzy'",
        hint="`isolation --help` shows how it is used.",
    ),
    "no command": Wrong(command=(), told="no command is named", hint="`isolation --help` lists them."),
    "an unknown command of a group": Wrong(
        command=("context", "gett", "a"),
        told="there is no command 'isolation context gett'",
        hint="Did you mean 'get'?",
    ),
    "an unknown option": Wrong(
        command=("run", "{folder}", "--polcy", "strict"),
        told="there is no option '--polcy'",
        hint="Did you mean '--policy'?",
    ),
    "an option of Docker's": Wrong(
        command=("run", "{folder}", "--privileged"), told="there is no option '--privileged'", hint=USED
    ),
    "an argument too many": Wrong(
        command=("run", "{folder}", "again"), told="'again' is one argument too many", hint=USED
    ),
    "an argument too few": Wrong(command=("run",), told="an argument is missing: RECIPE", hint=USED),
    "an option without its value": Wrong(
        command=("run", "{folder}", "--policy"), told="--policy needs a value", hint=USED
    ),
    "a number that is none": Wrong(
        command=("runs", "--limit", "many"),
        told="--limit: 'many' is not a number from 1",
        hint="`isolation runs --help` shows how it is used.",
    ),
    "an unknown outcome": Wrong(command=("runs", "--outcome", "broken"), told="'broken' is no outcome", hint=OUTCOMES),
    "an unknown shell": Wrong(
        command=("completion", "tcsh"), told="SHELL cannot be 'tcsh'", hint="Known: bash, zsh, fish."
    ),
}
BEFORE_THE_ENGINE = {**RECIPES, **POLICIES, **CHOICES, **SETTINGS, **LINES}

# The state folder is there, and holds a key and two runs.
RECORDS = {
    **{
        f"an unknown run to {name}": Wrong(
            command=(name, "19700101"), told="there is no run '19700101' in this state folder", hint=LISTED
        )
        for name in ("show", "logs", "rerun")
    },
    "the beginning of two runs": Wrong(
        command=("show", "2026"),
        told="more than one run begins with '2026': 20260101-000000-aaaaaaaa, 20260101-000000-bbbbbbbb",
        hint="Give more of the id.",
    ),
    "a log that is not there": Wrong(
        command=("logs", "last", "--attempt", "2"),
        told="the run 20260101-000000-bbbbbbbb has no log of an attempt 2",
        hint="It has none yet.",
    ),
    "an unknown key": Wrong(
        command=("context", "get", "sales.totl"),
        told="the context has no key 'sales.totl'",
        hint="Did you mean 'sales.total'?",
        code=1,
    ),
    "an unknown key to delete": Wrong(
        command=("context", "delete", "weather"),
        told="the context has no key 'weather'",
        hint="`isolation context list` shows all.",
    ),
}

HOSTS_OWN = "Lower it: a limit above the host's own is none."
WITH_POLICY = ("run", "{folder}", "--policy", "{folder}/p.yaml")
PUT = "Put {} beside the recipe, or list its distribution under requirements."
ABOVE = "Copy what is needed into the folder, and name it by its path from there."


def requires(text: str) -> dict[str, str]:
    return recipe(f"metadata:\n  name: etl\n  requirements: [{text}]\n{STEPS}")


# Found when the engine has been asked what it is and has, and nothing more.
BEFORE_A_CONTAINER = {
    "a missing module": Wrong(
        files=recipe(STEPS.replace("module: load", "module: laod")),
        told="{recipe}:3: module 'laod' of step 'load' is not found",
        hint="Did you mean 'load'?",
    ),
    "a missing module that is like none": Wrong(
        files=recipe(STEPS.replace("module: load", "module: lib.reader")),
        told="{recipe}:3: module 'lib.reader' of step 'load' is not found",
        hint="Put lib/reader.py beside the recipe, or name its folder with --path.",
    ),
    "a missing module, two imports deep": Wrong(
        files={"load.py": f"import first\n{MODULE}", "first.py": "\nimport second\n", "second.py": "import gone\n"},
        told="module 'gone' is not found; imported by second.py:1, imported by first.py:2, imported by load.py:1, "
        "used by step 'load'",
        hint=PUT.format("gone.py"),
    ),
    "a missing function": Wrong(
        files=recipe(STEPS.replace("function: run", "function: rum")),
        told="{recipe}:4: load.py defines no 'rum', which step 'load' calls",
        hint="Did you mean 'run'?",
    ),
    "a module that is not Python": Wrong(
        files={"load.py": f"{MODULE}rows = [\n"},
        told="load.py:4: the source is not Python: a bracket or a quote is never closed",
        hint="Correct it: Python would refuse it, too.",
    ),
    "a data file that is not there": Wrong(
        files=recipe(f"{STEPS}files:\n  - load.py\n  - data/*.csv\n"),
        told="{recipe}:7: 'data/*.csv' under files matches no file of 'etl'",
        hint="Correct it, or put the file there.",
    ),
    "a data file outside of the folder": Wrong(
        files=recipe(f"{STEPS}files: [../settings.toml]\n"),
        told="{recipe}:5: '../settings.toml' under files is not a path below the recipe's folder",
        hint=ABOVE,
    ),
    "a data file of the host's": Wrong(
        files=recipe(f"{STEPS}files: [/etc/passwd]\n"),
        told="{recipe}:5: '/etc/passwd' under files is not a path below the recipe's folder",
        hint=ABOVE,
    ),
    "no such folder of modules": Wrong(
        command=("run", "{folder}", "--path", "{here}/more"),
        told="{here}/more: there is no such folder to look for modules in",
        hint="--path, or `paths` in the settings, names it.",
    ),
    "more processors than there are": Wrong(
        files=policy("limits: {cpus: 1000}\n"),
        command=WITH_POLICY,
        told="limits.cpus of policy 'p' is 1000, but this host has {cpus}",
        hint=HOSTS_OWN,
        code=3,
    ),
    "more memory than there is": Wrong(
        files=policy("limits: {memory: 100TiB}\n"),
        command=WITH_POLICY,
        told="limits.memory of policy 'p' is 100 TiB, but this host has {memory}",
        hint=HOSTS_OWN,
        code=3,
    ),
    "an image that is not there": Wrong(
        environment={"ISOLATION_IMAGE": "isolation-runner:none"},
        told="the runner image isolation-runner:none is not on the engine at {engine}",
        hint="Build it with scripts/image.",
        code=3,
    ),
    "a requirement that is an address": Wrong(
        files=requires("'six @ https://example.org/six.whl'"),
        told="{recipe}:3: 'six @ https://example.org/six.whl' names an address",
        hint="Requirements come from the package index: write a name and versions.",
    ),
    "a requirement that is an option": Wrong(
        files=requires("--index-url=https://example.org"),
        told="{recipe}:3: '--index-url=https://example.org' is not a requirement",
        hint="Write a name and versions, such as requests>=2.31,<3.",
    ),
    "a lock of other requirements": Wrong(
        files=requires("six>=1") | {"recipe.lock": '# requirements: ["six<1"]\n'},
        told="{folder}/recipe.lock: this lock was made from other requirements than the recipe has now",
        hint="Make it again: `isolation package {folder} --lock -o {folder}/recipe.lock`.",
    ),
    "a lock that names a file of the host's": Wrong(
        files=requires("six>=1") | {"recipe.lock": '# requirements: ["six>=1"]\n-r /etc/passwd\n'},
        told="{folder}/recipe.lock:2: this is neither a pinned name nor a hash: '-r /etc/passwd'",
        hint="Make it again: `isolation package {folder} --lock -o {folder}/recipe.lock`.",
    ),
}

# Nothing but the index can tell.
BY_THE_INDEX = {
    "a distribution that nobody has": Wrong(
        files=requires("no-such-0a1b2c"),
        told="{recipe}:3: the requirements (no-such-0a1b2c) cannot be resolved: Because no-such-0a1b2c was not found "
        "in the package registry and you require no-such-0a1b2c",
        hint="Check the names and versions under requirements.",
    ),
    "a version that nobody has": Wrong(
        files=requires("six==99"),
        told="{recipe}:3: the requirements (six==99) cannot be resolved: Because there is no version of six==99 "
        "and you require six==99",
        hint="Check the names and versions under requirements.",
    ),
    "a distribution without wheels": Wrong(
        files=requires("docopt"),
        told="{recipe}:3: the requirements (docopt) cannot be resolved: Because all versions of docopt have no usable "
        "wheels and you require docopt",
        hint="Choose versions that have wheels: building one would run its code on this machine.",
    ),
}


FREE = "Free some space there (`isolation clean` removes what old runs left), or choose another folder with --state."
MEETING_A_FAULT = [
    (("runs",), "{state}"),
    (("context", "set", "a", "1"), "{state}"),
    (("package", "{folder}"), "{state}/blobs"),
]


class Gate(socketserver.ThreadingUnixStreamServer):
    """Stands before the engine: passes everything on, and notes what was asked for."""

    daemon_threads = False

    def __init__(self, path: Path, address: str) -> None:
        super().__init__(str(path), _Passage)
        self.address = f"unix://{path}"
        self.engine = address.removeprefix("unix://")
        self.heard = b""

    def asked(self) -> set[tuple[str, str]]:
        """Return the methods and paths of all requests, without the API's version."""
        found = re.findall(rb"^([A-Z]+) (?:/v[\d.]+)?(/[^? ]*)\S* HTTP/1", self.heard, re.MULTILINE)
        return {(method.decode(), path.decode()) for method, path in found}


class _Passage(socketserver.BaseRequestHandler):
    server: Gate

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as engine:
            engine.connect(self.server.engine)
            back = threading.Thread(target=_pass_on, args=(engine, self.request))
            back.start()
            while chunk := self.request.recv(2**16):
                self.server.heard += chunk
                engine.sendall(chunk)
            engine.shutdown(socket.SHUT_RDWR)
            back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):  # whoever asked has gone
        while chunk := source.recv(2**16):
            target.sendall(chunk)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def gate(tmp_path: Path, engine: None) -> Iterator[Gate]:
    del engine  # it is there
    with Gate(tmp_path / "gate", load_settings().engine or os.environ.get("DOCKER_HOST") or DEFAULT_ADDRESS) as gate:
        thread = threading.Thread(target=gate.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield gate
        gate.shutdown()
        thread.join()


@pytest.fixture
def as_a_user() -> tuple[str, ...]:
    """Begin a command without root's right to pass by permissions (capabilities(7)): it is held to them as all are."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("without setpriv, root cannot try what others may not")
    return ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


@pytest.mark.parametrize("wrong", BEFORE_THE_ENGINE.values(), ids=BEFORE_THE_ENGINE)
def test_a_wrong_input_is_told_before_the_engine_is_asked(desk: Desk, wrong: Wrong) -> None:
    """Nothing can have been started, and nothing at all is left in the state folder."""
    desk.write(wrong.files)

    assert desk.run(*wrong.command, environment=wrong.environment) == (wrong.code, "", desk.text(wrong))
    assert not desk.state.exists()


def test_a_pipe_is_no_recipe(desk: Desk) -> None:
    """Opening it would wait for ever for somebody to write."""
    (desk.folder / "recipe.yaml").unlink()
    os.mkfifo(desk.folder / "recipe.yaml")

    assert desk.run("run", "{folder}") == (
        2,
        "",
        desk.fill(
            "isolation: {recipe}: this is not a regular file\nName a plain file: no folder, pipe, socket or device.\n"
        ),
    )


@pytest.mark.parametrize("wrong", RECORDS.values(), ids=RECORDS)
def test_what_is_not_recorded_is_told(desk: Desk, digests: Digests, wrong: Wrong) -> None:
    """Asking changes nothing, whatever was asked for."""
    with open_stores(Settings(state=desk.state)) as stores:
        for end in ("aaaaaaaa", "bbbbbbbb"):
            stores.ledger.start(f"20260101-000000-{end}", "etl", "default", digests, "2026-01-01T00:00:00.000Z")
        stores.contexts.set("sales.total", 1, "ann", "2026-01-01T00:00:00.000Z")

    assert desk.run(*wrong.command) == (wrong.code, "", desk.text(wrong))
    with open_stores(Settings(state=desk.state)) as stores:
        assert (len(stores.ledger.list(9)), stores.contexts.version()) == (2, 1)


def test_no_run_yet(desk: Desk) -> None:
    """The first thing that somebody tries may be ``last``."""
    told = "isolation: there are no runs yet\nBegin one: `isolation run RECIPE`.\n"
    assert desk.run("show", "last") == (2, "", told)


def test_no_engine(desk: Desk) -> None:
    """The most common of all; what was found wrong before it is told instead."""
    assert desk.run("run", "{folder}") == (3, "", NO_ENGINE.format(NOWHERE))
    assert desk.run("clean") == (3, "", NO_ENGINE.format(NOWHERE))


def test_no_right_to_use_the_engine(desk: Desk, as_a_user: tuple[str, ...]) -> None:
    """It is told from an engine that is not there: the way out is another."""
    path = desk.path / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0o000)
        told = desk.run("run", "{folder}", engine=f"unix://{path}", before=as_a_user)

    assert told == (
        3,
        "",
        desk.fill(
            "isolation: this user may not use the Docker Engine at unix://{here}/engine.sock\n"
            "Run as root, or join the group that owns the socket (it is as good as root), and log in again.\n"
        ),
    )


@pytest.mark.parametrize(("command", "place"), MEETING_A_FAULT)
def test_a_state_folder_of_somebody_else(
    desk: Desk, as_a_user: tuple[str, ...], command: tuple[str, ...], place: str
) -> None:
    """Whatever meets it first says the same."""
    desk.state.mkdir()
    desk.state.chmod(0o555)

    code, printed, told = desk.run(*command, before=as_a_user)

    assert (code, printed) == (4, "")
    assert told == desk.fill(
        f"isolation: the state folder {place} may not be used by this user\n"
        "Give this user the right to read and write it, or choose another folder with --state.\n"
    )
    assert list(desk.state.iterdir()) == []


@pytest.mark.root
@pytest.mark.parametrize(("command", "place"), MEETING_A_FAULT)
def test_a_state_folder_on_a_full_disk(desk: Desk, small_disk: Path, command: tuple[str, ...], place: str) -> None:
    """Whatever meets it first says the same, and nothing half made is left."""
    desk.state = small_disk / "state"
    desk.state.mkdir()
    fill_up(small_disk)

    assert desk.run(*command) == (
        4,
        "",
        desk.fill(f"isolation: the state folder {place} is full\n{FREE}\n"),
    )
    assert [path for path in desk.state.rglob("*") if path.is_file()] == []


@pytest.mark.engine
@pytest.mark.root
def test_a_run_on_a_full_disk_is_told_before_a_container_is_made(desk: Desk, gate: Gate, small_disk: Path) -> None:
    """A run whose record cannot be kept must not begin."""
    desk.state = small_disk / "state"
    desk.state.mkdir()
    fill_up(small_disk)

    assert desk.run("run", "{folder}", engine=gate.address) == (
        4,
        "",
        desk.fill(f"isolation: the state folder {{state}}/blobs is full\n{FREE}\n"),
    )
    assert {method for method, _ in gate.asked()} == {"GET"}


@pytest.mark.root
@pytest.mark.parametrize(("command", "place"), MEETING_A_FAULT)
def test_a_state_folder_on_a_read_only_disk(desk: Desk, small_disk: Path, command: tuple[str, ...], place: str) -> None:
    """Told from a full one: the way out is another."""
    desk.state = small_disk / "state"
    desk.state.mkdir()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)  # noqa: S607 - where it lies differs

    assert desk.run(*command) == (
        4,
        "",
        desk.fill(
            f"isolation: the state folder {place} is read-only\n"
            "Mount it writable, or choose another folder with --state.\n"
        ),
    )


@pytest.mark.engine
@pytest.mark.parametrize("wrong", BEFORE_A_CONTAINER.values(), ids=BEFORE_A_CONTAINER)
def test_a_wrong_input_is_told_before_a_container_is_made(desk: Desk, gate: Gate, wrong: Wrong) -> None:
    """The engine was asked what it is and has; no run is recorded."""
    refuse_at_the_gate(desk, gate, wrong)


@pytest.mark.engine
def test_the_gate_hears_a_container_being_made(desk: Desk, gate: Gate) -> None:
    """Else the tests above could not fail."""
    assert desk.run("run", "{folder}", engine=gate.address)[0] == 0
    assert {("GET", "/info"), ("POST", "/containers/create")} <= gate.asked()


@pytest.mark.engine
@pytest.mark.requirements
@pytest.mark.parametrize("wrong", BY_THE_INDEX.values(), ids=BY_THE_INDEX)
def test_what_the_index_does_not_have_is_told_before_a_container_is_made(desk: Desk, gate: Gate, wrong: Wrong) -> None:
    """A resolver's report is long; its reason is not."""
    refuse_at_the_gate(desk, gate, wrong)


@pytest.mark.engine
@pytest.mark.parametrize("runtime", ["crun", "runsc"])
def test_a_runtime_that_the_engine_does_not_know(desk: Desk, gate: Gate, runtime: str) -> None:
    """Running with another one would be less isolated than what somebody asked for."""
    facts = DockerEngine(gate.address).facts()
    if runtime in facts.runtimes:
        pytest.skip(f"this engine knows {runtime}")
    known = ", ".join(name for name in facts.runtimes if "." not in name)
    wrong = Wrong(
        files=policy(f"runtime: {runtime}\n"),
        command=WITH_POLICY,
        told=f"the runtime '{runtime}' of policy 'p' is not known to the engine",
        hint=f"It knows: {known}. Install and register it, or choose another in the policy.",
        code=3,
    )
    refuse_at_the_gate(desk, gate, wrong)


@pytest.mark.engine
@pytest.mark.parametrize("named", ["files: [secret.txt]\n", "files: ['*.txt']\n", "    args: {path: secret.txt}\n"])
def test_a_link_out_of_the_folder_is_refused(desk: Desk, gate: Gate, named: str) -> None:
    """A recipe must not read the host's files through us, however it names them."""
    desk.write(recipe(STEPS + named))
    (desk.folder / "secret.txt").symlink_to("/etc/passwd")
    wrong = Wrong(
        told="{folder}/secret.txt: 'secret.txt' is a symbolic link that leads out of 'etl'",
        hint="Copy the file into the folder.",
    )
    refuse_at_the_gate(desk, gate, wrong)


@pytest.mark.requirements
def test_a_stale_lock_is_made_again_as_its_hint_says(desk: Desk) -> None:
    """A hint that does not help would be worse than none."""
    desk.write(BEFORE_A_CONTAINER["a lock of other requirements"].files)

    made = desk.run("package", "{folder}", "--lock", "-o", "{folder}/recipe.lock")

    assert made == (0, desk.fill("{folder}/recipe.lock: the locked requirements\n"), "")
    code, printed, told = desk.run("package", "{folder}")
    assert (code, told) == (0, "")
    assert "six==" in printed


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_an_interrupted_run_is_cancelled_and_leaves_nothing(desk: Desk, number: signal.Signals) -> None:
    """Ctrl-C, a service manager and a closed terminal all mean: no container, no merge, and a record that says so."""
    desk.write({"recipe.yaml": STEPS + SUM + "    depends_on: [load]\n", "load.py": SLEEPER})
    address = load_settings().engine or os.environ.get("DOCKER_HOST") or DEFAULT_ADDRESS
    command = desk.command(("run", "{folder}"), address, {})
    with subprocess.Popen(**command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        begun = [process.stderr.readline(), process.stderr.readline()]
        process.send_signal(number)
        printed, told = process.communicate(timeout=TIME_S)

    run_id = begun[0].split()[1]
    assert begun[0] == f"run {run_id} of etl: 2 steps\n"
    assert begun[1].startswith("step load ... succeeded in ")
    assert (process.returncode, printed) == (130, "")
    assert told == (
        f"isolation: the run {run_id} was interrupted\n"
        f"Its container is gone, nothing was merged; `isolation show {run_id}` shows how far it came.\n"
    )
    assert [left for left in DockerEngine(address).leftovers() if left.run_id == run_id] == []
    with open_stores(Settings(state=desk.state)) as stores:
        result = stores.ledger.get(run_id)
        assert (result.outcome.value, result.merge.status, stores.contexts.version()) == ("cancelled", "none", 0)
        assert [step.outcome.value for step in result.attempts[-1].steps] == ["succeeded", "unknown"]


def test_every_message_is_one_sentence_and_one_hint() -> None:
    """In the style of the house: what, without a full stop; then what to do, from a capital letter to a full stop."""
    for name, wrong in {**BEFORE_THE_ENGINE, **RECORDS, **BEFORE_A_CONTAINER, **BY_THE_INDEX}.items():
        assert not wrong.told.endswith((".", "!", "?")), name
        assert "\n" not in wrong.told + wrong.hint, name
        assert re.match(r"[A-Z`]|--", wrong.hint), name
        assert wrong.hint.endswith((".", "?")), name


def refuse_at_the_gate(desk: Desk, gate: Gate, wrong: Wrong) -> None:
    """Check that a person is told so, that the engine was only looked at, and that no run is recorded."""
    desk.write(wrong.files)

    code, printed, told = desk.run(*wrong.command, engine=gate.address, environment=wrong.environment)

    assert {method for method, _ in gate.asked()} == {"GET"}
    facts = DockerEngine(gate.address).facts()
    expected = desk.text(wrong)
    for name, value in {
        "engine": gate.address,
        "cpus": str(facts.cpus),
        "memory": format_bytes(facts.memory_bytes),
    }.items():
        expected = expected.replace(f"{{{name}}}", value)
    assert (code, printed, told) == (wrong.code, "", expected)
    with open_stores(Settings(state=desk.state)) as stores:
        assert stores.ledger.list(1) == ()


def fill_up(disk: Path) -> None:
    with (disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while ballast.write(b"x" * 2**12):
            pass
