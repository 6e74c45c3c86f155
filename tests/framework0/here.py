"""Recipes that are written by a test and run in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.context import Context
from orchestrator.runner import EnhancedRecipeRunner

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.result import RecipeExecutionResult


WORK = """
import os
from pathlib import Path

TIMES = []

class Double:
    def run(self, context, params):
        context.set("out.value", params["by"] * context.get("in.value"), who="doubling")
        return {"doubled": True}

def see(context, params):
    return {"keys": context.keys(), "config": context.config, "is_here": os.getpid(), **params}

def forget(context, params):
    context.delete("in.value")

def fail(context, params):
    context.set("out.value", "never seen")
    raise ValueError("on purpose")

def count(context, params):
    TIMES.append(1)
    with open(params["file"], "a") as file:
        file.write("x")
    if Path(params["file"]).stat().st_size < params["until"]:
        raise OSError("not yet")
    return {"times": len(TIMES)}

def leave(context, params):
    raise SystemExit(params["code"])

def odd(context, params):
    return {"set": {1, 2}}

def spend(context, params):
    if params.get("say"):
        raise ValueError(context.secret("TOKEN"))
    context.set("out.value", context.secret("TOKEN")) if params.get("leak") else None
    return {"length": len(context.secret("TOKEN"))}

def keep(context, params):
    context.artifact("report.txt").write_text("kept")

def read(context, params):
    return {"text": Path("data.txt").read_text()}
"""


def recipe(folder: Path, *steps: str, **more: str) -> Path:
    """Write one: a step is its name, which is its function's, and what else it has."""
    (folder / "work.py").write_text(WORK)
    lines = ["metadata: {name: here}", *(f"{key}: {value}" for key, value in more.items()), "steps:"]
    for step in steps:
        name, _, rest = step.partition(" ")
        lines.append(f"  - {{name: {name}, module: work, function: {name}{', ' if rest else ''}{rest}}}")
    (folder / "recipe.yaml").write_text("\n".join(lines))
    return folder


def run(path: Path, values: dict[str, Any] | None = None, **choices: Any) -> tuple[RecipeExecutionResult, Context]:  # noqa: ANN401
    context = Context({"in.value": 21} if values is None else values)
    own = {name: choices.pop(name) for name in ("secrets", "paths") if name in choices}
    return EnhancedRecipeRunner(context, isolated=False, **own).run_recipe(path, **choices), context
