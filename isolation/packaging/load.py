"""The only module that knows how a recipe file looks: two dialects, in YAML or JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field, JsonValue

from isolation.errors import RecipeError, did_you_mean
from isolation.model.recipe import (
    MOST_SECRETS,
    Environment,
    EnvironmentName,
    Execution,
    Identifier,
    Leeway,
    Name,
    Recipe,
    Scope,
    SecretName,
    Step,
    Strict,
)
from isolation.packaging.files import read_regular
from isolation.packaging.shape import shape
from isolation.packaging.text import LARGEST_TEXT_BYTES, Document, read
from isolation.rules.order import find_cycle, order
from isolation.rules.outputs import misplaced

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from isolation.packaging.text import Place

FILE_NAMES = ("recipe.yaml", "recipe.yml", "recipe.json")
HEADS = ("metadata", "test_meta")
PARAMETERS = "parameters"
"""What a template has and a recipe has not."""
_TEMPLATE = "this is a template: it has parameters, for which values must be given first"
_RENDER = "`isolation render TEMPLATE --set NAME=VALUE --output recipe.yaml` makes a recipe of it."


class _About(Strict):
    """What both heads of a recipe may hold."""

    version: str = ""
    description: str = ""
    tags: tuple[str, ...] = Field(default=(), strict=False)
    requirements: tuple[str, ...] = Field(default=(), strict=False)


class _Metadata(_About):
    name: Name
    author: str = ""


class _TestMeta(_About):
    test_id: Name
    tester: str = ""


class _File(Strict):
    """A recipe as its file has it."""

    metadata: _Metadata | None = None
    test_meta: _TestMeta | None = None
    execution: Execution = Execution()
    config: dict[str, JsonValue] = Field(default_factory=dict)
    features: dict[Identifier, bool] = Field(default_factory=dict)
    environments: dict[EnvironmentName, Environment] = Field(default_factory=dict)
    context: Scope = Scope()
    determinism: Leeway = Leeway()
    secrets: tuple[SecretName, ...] = Field(default=(), max_length=MOST_SECRETS, strict=False)
    files: tuple[str, ...] = Field(default=(), strict=False)
    steps: tuple[Step, ...] = Field(min_length=1, max_length=10_000, strict=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedRecipe:
    """
    A recipe with the file that it was read from.

    ``folder`` is resolved; scriptlets and data files are looked for below it. ``text`` is what was read, the one
    time that the file was read.
    """

    recipe: Recipe
    path: Path
    folder: Path
    text: bytes
    document: Document

    def step_line(self, name: str, key: str) -> int:
        """Find the line of one of a step's keys, or else that of the step."""
        index = next(index for index, step in enumerate(self.recipe.steps) if step.name == name)
        return self.document.line(("steps", index, key))

    def requirements_line(self) -> int:
        """Find the line of the requirements, in whichever head they stand."""
        return max(self.document.line((head, "requirements")) for head in HEADS)


def load_recipe(path: Path) -> LoadedRecipe:
    """
    Read a recipe from its file, or from the one recipe file of a folder.

    Raises RecipeError, with file and line, for whatever does not say exactly one thing: an unknown key, a name
    that two steps share, a dependency that does not exist or goes in a circle.
    """
    file = _find(path)
    text = read_regular(file, LARGEST_TEXT_BYTES)
    folder = file.parent.resolve()
    document = _read(text, file)
    recipe = recipe_of(document, file, folder.name)
    return LoadedRecipe(recipe=recipe, path=file, folder=folder, text=text, document=document)


def recipe_of(document: Document, path: Path | str, folder_name: str) -> Recipe:
    """
    Check a recipe that was read; one without a name is called as its folder. Raises RecipeError, with file and line.

    Numbers in the recipe's head become text, in the document too: ``version: 1.10`` means what is written.
    """
    if isinstance(document.value, dict) and PARAMETERS in document.value:
        raise RecipeError(_TEMPLATE, hint=_RENDER, path=path, line=document.line((PARAMETERS,)))
    written = shape(_File, _numbers_as_text(document), path)
    if written.metadata and written.test_meta:
        line = document.line(("test_meta",))
        raise RecipeError("'metadata' and 'test_meta' are both there", hint="Keep one.", path=path, line=line)
    _check_steps(written.steps, document, path)
    _check_outputs(written.steps, document, path)
    _check_secrets(written, document, path)
    _check_features(written, document, path)
    _check_cached(written.steps, document, path)
    return Recipe(
        **_head(written, folder_name),
        execution=written.execution,
        config=written.config,
        features=written.features,
        environments=written.environments,
        context=written.context,
        determinism=written.determinism,
        secrets=written.secrets,
        files=written.files,
        steps=written.steps,
    )


def _read(text: bytes, path: Path) -> Document:
    try:
        return read(text, path)
    except RecipeError as error:
        if b"{{" in text:
            error.hint = f"{error.hint} If this is a template: {_RENDER}"
        raise


def _find(path: Path) -> Path:
    if not path.is_dir():
        if path.suffix == ".py":
            raise RecipeError(
                "a recipe is YAML or JSON, and this is Python", hint="Name the recipe that calls it.", path=path
            )
        return path
    found = [path / name for name in FILE_NAMES if (path / name).exists()]
    if not found:
        raise RecipeError("there is no recipe in this folder", hint=f"Put a {FILE_NAMES[0]} in it.", path=path)
    if len(found) > 1:
        names = " and ".join(file.name for file in found)
        raise RecipeError(f"{names} are both in this folder", hint="Name the one that you mean.", path=path)
    return found[0]


def _numbers_as_text(document: Document) -> Document:
    """In a recipe's head all is text: an unquoted ``version: 1.10`` or ``test_id: 42`` means what is written."""
    for place, written in document.written.items():
        if place[0:1] in {(head,) for head in HEADS}:
            owner: Any = document.value
            for part in place[:-1]:
                owner = owner[part]
            owner[place[-1]] = written
    return document


def _head(written: _File, folder_name: str) -> dict[str, Any]:
    if written.test_meta:
        head = written.test_meta.model_dump()
        return {"name": head.pop("test_id"), "author": head.pop("tester")} | head
    if written.metadata:
        return written.metadata.model_dump()
    return {"name": re.sub(r"[^A-Za-z0-9_.\-]+", "-", folder_name).strip("-.")[:100] or "recipe"}


def _check_steps(steps: tuple[Step, ...], document: Document, path: Path | str) -> None:
    first: dict[str, int] = {}
    for index, step in enumerate(steps):
        line = document.line(("steps", index, "name"))
        if step.name in first:
            hint = f"Rename one: line {first[step.name]} has the first."
            raise RecipeError(f"two steps are named {step.name!r}", hint=hint, path=path, line=line)
        first[step.name] = line
    for index, step in enumerate(steps):
        for number, name in enumerate(step.depends_on):
            if name not in first:
                line = document.line(("steps", index, "depends_on", number))
                raise RecipeError(
                    f"step {step.name!r} depends on {name!r}, which is no step of this recipe",
                    hint=did_you_mean(name, first) or f"The steps are: {', '.join(list(first)[:20])}.",
                    path=path,
                    line=line,
                )
    if cycle := find_cycle(steps):
        raise RecipeError(
            f"the steps depend on each other in a circle: {' -> '.join(cycle)}",
            hint="Take one of them out of a 'depends_on'.",
            path=path,
            line=first[cycle[0]],
        )


def _check_outputs(steps: tuple[Step, ...], document: Document, path: Path | str) -> None:
    if not any(step.args_from for step in steps):
        return
    for found in misplaced(order(steps)):
        index = next(index for index, step in enumerate(steps) if step.name == found.step.name)
        line = document.line(("steps", index, "args_from", found.number))
        raise RecipeError(found.why, hint=found.hint, path=path, line=line)


def _check_secrets(written: _File, document: Document, path: Path | str) -> None:
    for index, step in enumerate(written.steps):
        for number, name in enumerate(step.secrets):
            if name not in written.secrets:
                raise RecipeError(
                    f"step {step.name!r} takes the secret {name!r}, which the recipe does not declare",
                    hint=did_you_mean(name, written.secrets) or f"Add it at the top: `secrets: [{name}]`.",
                    path=path,
                    line=document.line(("steps", index, "secrets", number)),
                )


def _check_cached(steps: tuple[Step, ...], document: Document, path: Path | str) -> None:
    for index, step in enumerate(steps):
        if step.cache and step.secrets:
            raise RecipeError(
                f"step {step.name!r} takes secrets, so nothing that it makes is kept: 'cache' would do nothing",
                hint="Take `cache: true` away, or what needs the secret into a step of its own.",
                path=path,
                line=document.line(("steps", index, "cache")),
            )


def _check_features(written: _File, document: Document, path: Path | str) -> None:
    def refuse(said: str, name: str, known: Iterable[str], place: Place) -> RecipeError:
        hint = did_you_mean(name, known) or f"Add it at the top, with the value that it has elsewhere: `{name}: ...`."
        return RecipeError(said, hint=hint, path=path, line=document.line(place))

    for index, step in enumerate(written.steps):
        name = (step.feature or "").removeprefix("!")
        if name and name not in written.features:
            said = f"step {step.name!r} asks for the feature {name!r}, which the recipe does not have"
            raise refuse(said, name, written.features, ("steps", index, "feature"))
    for environment, changed in written.environments.items():
        for kind, ours, theirs in (
            ("feature", changed.features, written.features),
            ("config value", changed.config, written.config),
        ):
            for name in ours:
                if name not in theirs:
                    said = (
                        f"the environment {environment!r} changes the {kind} {name!r}, which the recipe does not have"
                    )
                    key = "features" if kind == "feature" else "config"
                    raise refuse(said, name, theirs, ("environments", environment, key, name))
