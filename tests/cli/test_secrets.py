"""How a person and a program give secrets to a run: by a file, by the environment, by the call."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import isolation

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "secret"
COMMAND = [Path(sys.executable).with_name("isolation"), "run", RECIPE, "--policy", RECIPE / "policy.yaml"]
VALUE = "correct horse battery staple"
SIGNATURE = "95c87b76ccfa0944715c38685136f557a190c62e473867d765c622e1237d58f6"


def call(state: Path, *more: object, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("ISOLATION_")}
    own |= {
        "ISOLATION_STATE": str(state),
        "XDG_CONFIG_HOME": str(state),
        "ISOLATION_POOL": os.environ["ISOLATION_POOL"],
    }
    own |= environment
    command = [str(word) for word in (*COMMAND, *more)]
    return subprocess.run(command, env=own, capture_output=True, text=True, check=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secrets.toml"
    path.touch(mode=0o600)
    path.write_text(f'SIGNING_KEY = "{VALUE}"\n', encoding="utf-8")
    return path


@pytest.mark.parametrize("way", ["an option", "a setting", "a variable"])
def test_a_secret_goes_in_by_each_way_and_never_comes_out(file: Path, tmp_path: Path, way: str) -> None:
    """The recipe prints it, by a slip."""
    state = tmp_path / "state"
    more = ("--secrets", file) if way == "an option" else ()
    variables = {"a setting": {"ISOLATION_SECRETS": str(file)}, "a variable": {"ISOLATION_SECRET_SIGNING_KEY": VALUE}}
    done = call(state, *more, **variables.get(way, {}))

    assert done.returncode == 0, done.stderr
    assert f'+ order.signature = "{SIGNATURE[:40]}' in done.stdout
    assert VALUE not in done.stdout + done.stderr


def test_a_program_gives_values_or_the_file_that_has_them(file: Path, tmp_path: Path) -> None:
    """A program may have them from a store of its own."""
    for secrets in ({"SIGNING_KEY": VALUE}, file, str(file)):
        result = isolation.run(RECIPE, policy=str(RECIPE / "policy.yaml"), state=tmp_path / "state", secrets=secrets)
        assert result.changes.set == {"order.signature": SIGNATURE}


def test_what_a_recipe_asks_for_can_be_seen_before_it_runs(tmp_path: Path) -> None:
    """Whoever is to give the values must know which."""
    command = [str(word) for word in (COMMAND[0], "--state", tmp_path, "package", RECIPE)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "\nsecrets that its steps take, where the policy allows it\n  SIGNING_KEY\n" in shown
