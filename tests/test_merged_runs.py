"""Whole runs that meet others, on the real engine: what they read, and steps that ran at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isolation.api import open_controller
from isolation.cli.effects import change_lines, conflict_lines
from isolation.cli.observed import observed_lines
from isolation.cli.paint import Paint
from isolation.model.event import StepStarted
from isolation.model.outcome import Outcome
from isolation.model.policy import Policy
from isolation.packaging.policy import load_policy
from tests.hostile.answers import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from isolation.controller import Controller
    from isolation.model.event import Event
    from isolation.model.run import Result

    Run = Callable[..., Result]

pytestmark = pytest.mark.engine

DOCUMENT = Path(__file__).parents[1] / "docs/merging.md"
STRICT = {"strict": True, "on_conflict": "rerun"}


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with open_controller(state=tmp_path / "state") as controller:
        yield controller


class Meanwhile:
    """Writes to the context when the first step has started, as somebody else would; once."""

    def __init__(self, controller: Controller, values: dict[str, Any]) -> None:
        self._controller, self._values = controller, values

    def on_event(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, StepStarted):
            write(self._controller, self._values, "somebody")
            self._values = {}


def write(controller: Controller, values: dict[str, Any], who: str) -> None:
    for key, value in values.items():
        controller.stores.contexts.set(key, value, who, "2025-01-01T00:00:00.000Z")


@pytest.fixture
def run(controller: Controller, tmp_path: Path) -> Run:
    """Run a recipe of texts under a rule for merges, while somebody else writes."""

    def start(recipe: str, scriptlet: str, merge: object, before: dict[str, Any], **meanwhile: Any) -> Result:  # noqa: ANN401 - JSON
        folder = tmp_path / "recipe"
        folder.mkdir(exist_ok=True)
        (folder / "recipe.yaml").write_text(recipe)
        name = re.findall(r"module: (\w+)", recipe)[0]
        (folder / f"{name}.py").write_text(scriptlet)
        write(controller, before, "ann")
        policy = merge if isinstance(merge, Policy) else Policy.model_validate({"name": "test", "merge": merge})
        return controller.run(folder, policy=policy, watcher=Meanwhile(controller, meanwhile))

    return start


def content(controller: Controller) -> dict[str, Any]:
    return {entry.key: entry.value for entry in controller.stores.contexts.list()}


ONE = """
metadata: {name: one}
context: {reads: ["a*"], writes: [out]}
steps: [{name: work, module: work, function: run}]
"""
LOOKS = {
    "gets": "context.get('a')",
    "finds nothing": "context.get('a.new')",
    "asks whether": "'a.new' in context",
    "lists": "context.keys()",
    "forks": "os._exit(0) if (pid := os.fork()) == 0 else os.waitpid(pid, 0)",
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_run_that_read_what_has_changed_is_run_again(controller: Controller, run: Run, look: str) -> None:
    """Whichever way it looked; what it says in the end comes from what is there."""
    scriptlet = f"import os\ndef run(context, params):\n    {LOOKS[look]}\n    context.set('out', 1)\n"
    result = run(ONE, scriptlet, STRICT, {"a": 1}, **{"a": 2, "a.new": 1})

    assert [attempt.outcome for attempt in result.attempts] == [Outcome.CONFLICT, Outcome.SUCCEEDED]
    assert content(controller)["out"] == 1


@pytest.mark.parametrize("read", ["context.set('out', 0)", "context.get('out')", "context.get('b')"])
def test_a_run_that_did_not_look_there_is_merged_at_once(run: Run, read: str) -> None:
    """It wrote blindly, looked at a key that nobody changed, or at one beyond what it may see."""
    scriptlet = f"def run(context, params):\n    {read}\n    context.set('out', 1)\n"

    assert len(run(ONE, scriptlet, STRICT, {"a": 1, "b": 1}, a=2, b=2).attempts) == 1


AT_ONCE = """
metadata: {name: two}
execution: {parallel_execution: true}
steps:
  - {name: left, module: two, function: run, args: {other: right}}
  - {name: right, module: two, function: run, args: {other: left}}
"""
TWO = """
import time
from pathlib import Path

def run(context, params):
    Path("/scratch", params["other"]).touch()
    while len(list(Path("/scratch").iterdir())) < 2:
        time.sleep(0.005)
    context.set("count", context.get("count", 0) + 1)
"""


def test_a_step_is_tried_again_on_what_another_made_meanwhile(controller: Controller, run: Run) -> None:
    """Inside the run: it is one attempt, and the run's own change is what both made."""
    result = run(AT_ONCE, TWO, {"on_conflict": "rerun", "strict": True}, {"count": 5})

    assert result.succeeded
    assert sorted(step.tries for step in result.attempts[-1].steps) == [1, 2]
    assert content(controller) == {"count": 7}


def test_steps_at_once_that_only_agree_lose_one_addition_unless_the_policy_is_strict(run: Run) -> None:
    """Both say 6, as two runs would."""
    assert run(AT_ONCE, TWO, {}, {"count": 5}).changes.set == {"count": 6}

    failed = run(AT_ONCE, TWO, {"strict": True}, {"count": 5})
    assert (failed.outcome, failed.cause.partition(":")[2].partition(":")[2]) == (Outcome.FAILED, "parallel_conflict")


def test_a_step_that_hides_what_it_read_is_merged_as_one_that_did_not_look(controller: Controller, run: Run) -> None:
    """A limit, and told as one: reads are the runner's word. What may be written is the host's to say."""
    look = "    context.get('a')\n    os.write(3, struct.pack('>BI', 32, len({0})) + {0})\n    os._exit(0)\n"
    says = "import os, struct\ndef run(context, params):\n" + look
    result = run(ONE, says.format(answer(set={"out": 1})), STRICT, {"a": 1}, a=2)
    assert (len(result.attempts), result.succeeded) == (1, True)

    beyond = run(ONE, says.format(answer(set={"a": 1})), STRICT, {})
    assert (beyond.outcome, content(controller)) == (Outcome.FAILED, {"a": 2, "out": 1})


def test_the_example_of_the_document_comes_out_as_it_says(controller: Controller, run: Run, tmp_path: Path) -> None:
    """Recipe, scriptlet, policy and what is shown are the document's own; which shop closes first is open."""
    text = DOCUMENT.read_text("utf-8")
    text = text[text.index("## An example") :]
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert [language for language, _ in blocks] == ["yaml", "python", "yaml", ""]
    recipe, scriptlet, rule, shown = (body for _, body in blocks)
    (tmp_path / "policy.yaml").write_text(f"name: shops\n{rule}")

    result = run(recipe, scriptlet, load_policy(tmp_path / "policy.yaml"), {"price.piece": 10}, **{"price.piece": 12})

    sections = [observed_lines(result, Paint()), change_lines(result, Paint()), conflict_lines(result)]
    said = "\n\n".join("\n".join(lines) for lines in sections) + "\n"
    first = "  north  sold               sold\n  south  sold               sold (combined)\n"
    other = "  north  sold               sold (combined)\n  south  sold               sold\n"
    assert first in shown
    assert said in {shown, shown.replace(first, other)}
    assert controller.rerun(result.run_id, fresh_context=True).changes.set == {"bill": 84, "sold": 7}
