"""Rows 131, 134 and 135: what a recipe brings along to be run where it should not, or before it should."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from isolation.errors import PackageError
from isolation.model.determinism import Determinism
from isolation.model.outcome import Outcome
from isolation.model.package import canonical, digest_of
from isolation.packaging.requirements import Layers
from isolation.sandbox.hardening import environment
from isolation.settings import Settings
from isolation.wiring import open_controller
from tests.hostile.kit import outputs_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hostile.conftest import Attack
    from tests.hostile.kit import Arena

pytestmark = pytest.mark.engine

INJECTED = {
    "LD_PRELOAD": "/package/evil.so",
    "LD_LIBRARY_PATH": "/package",
    "PYTHONSTARTUP": "/package/evil.py",
    "PYTHONPATH": "/package",
    "PYTHONHOME": "/package",
    "PYTHONINSPECT": "1",
    "BASH_ENV": "/package/evil.sh",
    "http_proxy": "http://evil.example:1",
    "HTTPS_PROXY": "http://evil.example:1",
    "DOCKER_CONTENT_TRUST": "0",
}
LOOK = """
import os, sys
def run(context, params):
    flags = {name: getattr(sys.flags, name) for name in FLAGS}
    return {"environment": dict(os.environ), "path": sys.path, "flags": flags}
FLAGS = ("no_user_site", "no_site", "dont_write_bytecode", "safe_path")
"""


def test_row_131_nothing_of_our_environment_goes_in(
    attack: Attack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arena: Arena
) -> None:
    """Not from the controller's own, and not from a client's configuration, which hands proxies to all containers."""
    proxies = {"default": {"httpProxy": "http://user:word@evil.example:1", "noProxy": "*"}}
    (tmp_path / "config.json").write_text(json.dumps({"proxies": proxies, "HttpHeaders": {"X-Evil": "1"}}))
    for name, value in (INJECTED | {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)}).items():
        if not name.startswith(("LD_", "PYTHON")):  # these would be our own Python's
            monkeypatch.setenv(name, value)
    with open_controller(Settings(state=arena.state)) as controller:
        found = outputs_of(attack(LOOK, by=controller))

    assert found["environment"] == dict(line.split("=", 1) for line in environment(Determinism())) | {
        "HOSTNAME": "cell"
    }


def test_row_131_nor_does_what_steers_python_and_the_loader(arena: Arena) -> None:
    """From the environment of a controller that has it."""
    names = [name for name in INJECTED if name.startswith(("LD_", "PYTHON"))]
    folder = arena.recipe(LOOK)
    program = """
import os, sys
from isolation.settings import Settings
from isolation.wiring import open_controller
from isolation.model.policy import Limits, Policy
from pathlib import Path
import json
limits = Limits.model_validate(json.loads(sys.argv[4]))
os.environ |= dict.fromkeys(sys.argv[3].split(), "/package/evil")
with open_controller(Settings(state=Path(sys.argv[1]))) as controller:
    policy = Policy(name="hostile", runtime=sys.argv[5], limits=limits)
    result = controller.run(Path(sys.argv[2]), policy=policy)
    print(json.dumps(result.attempts[0].steps[0].outputs))
"""
    limits = arena.policy().limits.model_dump_json(by_alias=True)
    given = [str(arena.state), str(folder), " ".join(names), limits, arena.runtime]
    done = subprocess.run([sys.executable, "-c", program, *given], capture_output=True, text=True, check=True)

    assert {*names}.isdisjoint(json.loads(done.stdout)["environment"])


def test_row_131_the_runner_takes_no_word_from_its_folder_or_another_user(attack: Attack) -> None:
    """
    Without site and with a safe path: the folder where it stands has no say (python -s -P -S).

    Its environment has one, the seed of hashes; it is ours alone, and a cell with another is refused.
    """
    found = outputs_of(attack(LOOK))

    assert {name for name, value in found["flags"].items() if value} == {*found["flags"]}
    assert "" not in found["path"]
    assert "/scratch" not in found["path"]


EXPRESSIONS = {
    "a deep expression": "x = " + "(" * 5000 + "1" + ")" * 5000,
    "a chain of signs": "x = " + "-" * 90_000 + "1",
    "a chain of attributes": "x = a" + ".a" * 90_000,
    "a coding": "# -*- coding: rot13 -*-\nvzcbeg bf\n",
    "utf-7": "# -*- coding: utf-7 -*-\n+AGk-mport os\n",
    "a coding that is none": "# -*- coding: no-such -*-\n",
    "a code that runs when it is imported": "import pathlib\npathlib.Path(CANARY).touch()\n",
    "a decorator": "@__import__('pathlib').Path(CANARY).touch\ndef f(): ...\n",
    "a constant to fold": "x = 2 ** 9_999_999 ** 2\n",
    "a class": "class A(metaclass=__import__('pathlib').Path(CANARY).touch): ...\n",
    "an indentation": "".join("    " * level + "if 1:\n" for level in range(98)) + "    " * 98 + "pass\n",
}
PACKING = """
import sys
from pathlib import Path

seen = []
def listen(event, arguments):
    if event in {"compile", "exec", "import", "marshal.loads", "pickle.find_class"}:
        seen.append((event, repr(arguments)))
from isolation.errors import PackageError
from isolation.packaging.load import load_recipe
from isolation.packaging.pack import pack
from isolation.packaging.requirements import Layers
from isolation.storage.blobs import BlobStore

state, folder = Path(sys.argv[1]), Path(sys.argv[2])
blobs, layers = BlobStore(state / "blobs"), Layers(state / "layers")
sys.addaudithook(listen)
try:
    loaded = load_recipe(folder)
    pack(loaded, recipe=loaded.recipe, paths=[], blobs=blobs, layers=layers)
except PackageError as error:
    print("refused:", error.sentence)
signs = (str(folder), "work.py", "other.py", "'work'", "'other'", "a word of the recipe")
theirs = [one for one in seen if any(sign in one[1] for sign in signs)]
assert not theirs, theirs
"""


@pytest.mark.parametrize("what", EXPRESSIONS)
def test_row_134_the_controller_reads_python_and_neither_compiles_nor_imports_it(tmp_path: Path, what: str) -> None:
    """Python itself tells of every compilation, execution and import: none is of a recipe's."""
    folder = tmp_path / "recipe"
    folder.mkdir()
    canary = tmp_path / "canary"
    (folder / "recipe.yaml").write_text("steps: [{name: a, module: work, function: run}]\n")
    (folder / "work.py").write_text("import other\ndef run(context, params): ...\n")
    (folder / "other.py").write_text(
        EXPRESSIONS[what].replace("CANARY", repr(str(canary))) + "\n# a word of the recipe\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", PACKING, str(tmp_path / "state"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert not canary.exists()


def test_row_134_what_the_controller_could_not_compile_runs_or_fails_inside(attack: Attack) -> None:
    """An expression of five thousand levels is the step's own trouble."""
    result = attack(EXPRESSIONS["a deep expression"] + "\ndef run(context, params): ...\n")

    assert (result.outcome, result.cause) == (Outcome.FAILED, "step:s0:exception")
    assert result.errors[0].type in {"MemoryError", "RecursionError", "SyntaxError"}


HOOK = "import os\nopen('/tmp/hooked-' + str(os.getpid()), 'w').close()\n"
HOOKS = {
    "sitecustomize.py": HOOK,
    "usercustomize.py": HOOK,
    "evil.pth": "import os; open('/tmp/hooked-pth', 'w').close()\n",
    "contract.py": HOOK,
    "supervisor.py": HOOK,
    "pyvenv.cfg": "home = /package\n",
    "__main__.py": HOOK,
}
SHADOWS = ("json.py", "traceback.py", "pathlib.py", "encodings.py", "os.py", "site.py")
HOOKED = """
import os, subprocess, sys
HOOKS = sorted(name for name in os.listdir("/tmp") if name.startswith("hooked"))
def run(context, params):
    import json, orchestrator.context
    text = json.dumps({"x": 1})
    os.makedirs("/scratch/artifacts")
    open("/scratch/artifacts/kept", "w").close()
    files = [json.__file__, orchestrator.context.__file__]
    return {"before": HOOKS, "files": files, "text": text, "there": sorted(os.listdir("/package"))}
"""


OURS = ["/usr/lib/python3.11/json/__init__.py", "/opt/runner/library/orchestrator/context.py"]


def test_row_135_no_file_of_a_recipe_is_run_before_its_step(attack: Attack, arena: Arena) -> None:
    """What Python looks for when it starts, and modules by the names of ours and of the library's."""
    folder = arena.recipe(HOOKED, extra="files: ['*', 'orchestrator/*']", files=HOOKS)
    (folder / "orchestrator").mkdir()
    (folder / "orchestrator" / "context.py").write_text(HOOK)
    result = attack(folder)

    found = outputs_of(result)
    assert {*HOOKS} <= {*found["there"]}
    assert found["before"] == []
    assert found["text"] == '{"x": 1}'
    assert found["files"] == OURS
    assert [one.name for one in result.artifacts] == ["kept"]


@pytest.mark.parametrize("name", SHADOWS)
def test_row_135_no_module_of_a_recipe_stands_before_pythons_or_ours(arena: Arena, name: str) -> None:
    """Whoever reads its steps must be able to take `import json` for what it says."""
    folder = arena.recipe(f"import {name.removesuffix('.py')}\ndef run(context, params): ...")
    (folder / name).write_text(HOOK)

    with pytest.raises(PackageError, match="has the name of a module"):
        arena.controller.run(folder, policy=arena.policy())


def test_row_135_nor_is_one_of_its_requirements(attack: Attack, arena: Arena) -> None:
    """A package of an index can bring such files as well; its folder is one to import from, and nothing else."""
    lock = f'# requirements: ["hooks==1.0"]\nhooks==1.0 \\\n    --hash=sha256:{"1" * 64}\n'
    layers = Layers(arena.state / "layers")
    layer = arena.state / "layers" / digest_of(canonical([lock, *layers._target]))
    layer.mkdir(parents=True, exist_ok=True)
    for name in (*HOOKS, *SHADOWS):
        (layer / name).write_text(HOOKS.get(name, HOOK))
    (layer / "hooks.py").write_text("VALUE = 1\n")
    folder = arena.recipe("import hooks\n" + HOOKED)
    recipe = (folder / "recipe.yaml").read_text()
    (folder / "recipe.yaml").write_text(recipe.replace("hostile}", "hostile, requirements: ['hooks==1.0']}"))
    (folder / "recipe.lock").write_text(lock)

    found = outputs_of(attack(folder))

    assert found["before"] == []
    assert found["files"] == OURS
