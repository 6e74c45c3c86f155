"""How secrets get to a runner, and that a runner gone bad cannot have them recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from isolation import contract
from isolation.clock import SystemClock
from isolation.controller import Controller
from isolation.model.outcome import Outcome
from isolation.model.policy import Policy
from isolation.sandbox.cells import Cells
from isolation.sandbox.streams import DIAGNOSTIC_BYTES
from isolation.stores import Stores
from isolation.testing import IMAGE, FakeEngine, Inside, answering
from isolation.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from isolation.sandbox.leases import Leases

VALUES = {"TAKEN": "hunter22-hunter33", "ALSO_TAKEN": "héllo-world", "LEFT": "never-delivered", "OFF": "off-and-out"}
POLICY = Policy(name="test", secrets=("*",))
RECIPE = """
metadata: {name: tiny}
secrets: [TAKEN, ALSO_TAKEN, LEFT, OFF]
steps:
  - {name: a, module: work, function: run, secrets: [TAKEN]}
  - {name: b, module: work, function: run, secrets: [ALSO_TAKEN, TAKEN]}
  - {name: c, module: work, function: run, secrets: [OFF], enabled: false}
"""


@pytest.fixture
def given(tmp_path: Path, fake: FakeEngine, leases: Leases) -> Iterator[Controller]:
    cells, vault = Cells(fake, leases, local=False), Vault(given=VALUES)
    stores = Stores(tmp_path / "state")
    with Controller(
        stores=stores, engine=fake, cells=cells, clock=SystemClock(), image=IMAGE, vault=vault
    ) as controller:
        yield controller


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "work.py").write_text("def run(context, params): ...\n")
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


def test_what_steps_take_is_delivered_after_the_plan_and_apart_from_it(
    given: Controller, fake: FakeEngine, folder: Path
) -> None:
    """One frame of lengths and bytes: no more than is taken, and nothing of it in the plan or the create body."""
    heard: dict[str, Any] = {}

    def script(inside: Inside) -> int:
        inside.hello()
        heard["plan"] = inside.hear_plan()
        heard["secrets"] = inside.secrets
        heard["body"] = [container.body for container in fake.containers.values()]
        return 0

    fake.script = script
    given.run(folder, policy=POLICY)

    wide, narrow = "héllo-world".encode(), b"hunter22-hunter33"
    assert heard.pop("secrets") == (
        b"\x0a" + len(wide).to_bytes(4, "big") + b"ALSO_TAKEN" + wide + b"\x05\x00\x00\x00\x11TAKEN" + narrow
    )
    assert [step["secrets"] for step in heard["plan"]["steps"]] == [["TAKEN"], ["ALSO_TAKEN", "TAKEN"], ["OFF"]]
    assert [value for value in VALUES.values() if value in repr(heard)] == []


def test_a_run_without_secrets_delivers_none(given: Controller, fake: FakeEngine, folder: Path) -> None:
    """The frame is there, and empty."""
    heard: list[bytes] = []

    def script(inside: Inside) -> int:
        inside.hello()
        inside.hear_plan()
        heard.append(inside.secrets)
        return 0

    fake.script = script
    (folder / "recipe.yaml").write_text("steps: [{name: a, module: work, function: run}]\n")
    given.run(folder, policy=Policy(name="test"))

    assert heard == [b""]


def rubbish(inside: Inside) -> None:
    """Say what is no frame of a runner's, with a secret in it."""
    inside.say(contract.STEP_STARTED, {"step": 0, "try": 1})
    inside.write(contract.frame(contract.RECORD, b'{"hunter22-hunter33":1,"hunter22-hunter33":2}'))


def last_words(inside: Inside) -> None:
    """Die with a secret on the lips, after so much that one more, at the beginning, is cut in the middle."""
    lips = b"\nValueError: hunter22-hunter33\n"
    whole = b"hunter22-hunter33" + b"x" * (DIAGNOSTIC_BYTES - 12 - len(lips)) + lips
    inside.write(whole, stream=2)


@pytest.mark.parametrize(
    ("say", "told"),
    [
        (rubbish, ("BadAnswer", "the key '[secret TAKEN]' stands twice in one object")),
        (last_words, ("Runner", f"[secret TAKEN]{'x' * 16_341}\nValueError: [secret TAKEN]")),
    ],
)
def test_what_a_runner_says_in_its_ruin_has_no_secret(
    given: Controller, fake: FakeEngine, folder: Path, say: Callable[[Inside], None], told: tuple[str, str]
) -> None:
    """Its frames that are none, and its standard error: both are told to people."""

    def script(inside: Inside) -> int:
        inside.hello()
        inside.hear_plan()
        say(inside)
        return 1

    fake.script = script
    result = given.run(folder, policy=POLICY)

    assert [(error.type, error.message) for error in result.errors] == [told]
    assert "hunter" not in repr(result)


def test_a_secret_that_a_runner_reports_as_merged_is_not(given: Controller, fake: FakeEngine, folder: Path) -> None:
    """The host looks for itself."""
    fake.script = answering({"a": "hunter22-hunter33"})
    result = given.run(folder, policy=POLICY)

    assert (result.outcome, result.cause) == (Outcome.FAILED, "step:a:secret_in_context")
    assert given.stores.contexts.list() == ()
