"""The bill of whole runs, on the real engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isolation.api import open_controller
from isolation.rules.bill import share
from tests.site import Site

if TYPE_CHECKING:
    from isolation.model.run import Result

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]

IMPORT_S = 0.1
RECIPE = """
metadata: {name: billed}
steps:
  - {name: slow, module: slow, function: run}
  - {name: gone, module: gone, function: run, depends_on: [slow]}
"""
SLOW = f"import time\ntime.sleep({IMPORT_S})\ndef run(context, params):\n    context.set('a', 1)\n"
GONE = "import os\nos._exit(3)\ndef run(context, params):\n    pass\n"
PAGE = Path(__file__).parents[1] / "docs" / "bill.md"
EXPLAINED = {
    name
    for names in re.findall(r"^\| (`.*`) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    for name in re.findall("`(\\w+)`", names)
}
EVERY = {"pack", "freeze", "attest", "deliver", "run", "collect", "judge"}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    folder = tmp_path / "recipe"
    folder.mkdir()
    for name, content in (("recipe.yaml", RECIPE), ("slow.py", SLOW), ("gone.py", GONE)):
        (folder / name).write_text(content)
    return folder


def ran(recipe: Path, tmp_path: Path, *, only: str = "") -> Result:
    with open_controller(state=tmp_path / "state") as controller:
        result = controller.run(recipe, only=[only] if only else [])
        assert controller.stores.ledger.get(result.run_id) == result
        return result


def test_a_run_is_billed_phase_by_phase(recipe: Path, tmp_path: Path) -> None:
    """Each with the moment at which it began, in the order in which the data goes its way; the page explains each."""
    (attempt,) = ran(recipe, tmp_path, only="slow").attempts
    bill, at = attempt.phases_ms, attempt.phases_at_ms

    assert EVERY | {"merge", "import"} <= {*bill}
    assert {*bill} - {*at} == {"import"}
    assert {*bill} <= EXPLAINED
    in_order = ("pack", "freeze", "deliver", "run", "collect", "judge", "merge")
    assert sorted(in_order, key=lambda name: at[name]) == [*in_order]
    assert all(spent_ms >= 0 for spent_ms in bill.values())


def test_an_import_is_billed_as_a_part_of_its_step_and_the_step_as_a_part_of_the_run(
    recipe: Path, tmp_path: Path
) -> None:
    """And a step that is gone before it could tell has none: it is not zero."""
    (attempt,) = ran(recipe, tmp_path).attempts
    slow, gone = attempt.steps
    import_s, wall_s = slow.import_s or 0.0, slow.wall_s or 0.0
    shared = share(attempt)

    assert IMPORT_S <= import_s <= wall_s
    assert gone.import_s is None
    assert attempt.phases_ms["import"] == round(import_s * 1000, 3)
    assert attempt.phases_at_ms["run"] <= (slow.began_s or 0.0) * 1000 < (gone.began_s or 0.0) * 1000
    assert shared is not None
    assert wall_s * 1000 <= shared.steps_ms < shared.whole_ms


def test_a_run_from_the_queue_is_billed_for_its_wait(tmp_path: Path) -> None:
    """Which lies before the work on it."""
    site = Site(tmp_path, None)
    run_id = site.submit("def run(context, params):\n    pass\n")
    site.work()
    (attempt,) = site.wait(run_id).attempts

    assert attempt.phases_ms["queue"] == -attempt.phases_at_ms["queue"] >= 0
    assert {*attempt.phases_ms} >= EVERY
