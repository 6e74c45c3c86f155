"""What the documents name is there, and what they show is in order; tests/test_documents.py runs it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from isolation.packaging.load import load_recipe
from isolation.packaging.pack import pack
from isolation.packaging.policy import load_policy
from isolation.storage.blobs import BlobStore
from tests.hostile.rows import ROWS
from tests.test_documents import DOCUMENTS, README, ROOT, blocks

NAMES = ["README", *(path.stem for path in DOCUMENTS)]

if TYPE_CHECKING:
    from pathlib import Path


POLICIES = {
    f"{path.name}-{number}": body if body.startswith("name:") else f"name: shown\n{body}"
    for path in DOCUMENTS
    for number, body in enumerate(blocks(path.read_text(encoding="utf-8"), "yaml"))
    if not body.startswith("metadata:")
}


@pytest.mark.parametrize("text", POLICIES.values(), ids=POLICIES)
def test_every_policy_that_a_document_shows_is_in_order(text: str, tmp_path: Path) -> None:
    """Whole ones, and parts of one."""
    (tmp_path / "policy.yaml").write_text(text)

    known = {"shown", "counting", "careful", "patient", "walled", "held-still"}
    assert load_policy(tmp_path / "policy.yaml").name in known


RECIPES = {
    f"{path.name}-{number}": body
    for path in DOCUMENTS
    for number, body in enumerate(blocks(path.read_text(encoding="utf-8"), "yaml"))
    if body.startswith("metadata:")
}


@pytest.mark.parametrize("text", RECIPES.values(), ids=RECIPES)
def test_every_recipe_that_a_document_shows_is_in_order(text: str, tmp_path: Path) -> None:
    """As whoever copies it reads it: keys, steps, and what these take from each other."""
    (tmp_path / "recipe.yaml").write_text(text)

    assert load_recipe(tmp_path).recipe.steps


def test_the_recipe_that_the_readme_explains_is_the_real_one() -> None:
    """A reader who opens the file must find what was explained."""
    real = (ROOT / "recipes/quickstart/recipe.yaml").read_text(encoding="utf-8")
    (shown,) = blocks(README, "yaml")
    assert shown.strip() == real[real.index("metadata:") :].strip()

    scriptlet, _ = blocks(README, "python")
    assert scriptlet in (ROOT / "recipes/quickstart/report.py").read_text(encoding="utf-8")


def test_the_recipe_with_every_key_is_accepted(tmp_path: Path) -> None:
    """The reference in docs/recipes.md lists keys that exist, with values that may be."""
    shown = blocks((ROOT / "docs/recipes.md").read_text(encoding="utf-8"), "yaml")[0]
    (tmp_path / "recipe.yaml").write_text(shown.replace('requirements: ["tabulate>=0.9,<1"]', "requirements: []"))
    (tmp_path / "builder.py").write_text("class Builder:\n    def run(self, context, params):\n        return None\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/some.csv").write_text("a,b\n")

    package = pack(load_recipe(tmp_path), blobs=BlobStore(tmp_path / "blobs"))

    assert [file.path for file in package.files] == ["builder.py", "data/some.csv", "recipe.yaml"]


@pytest.mark.parametrize("document", [README, *(path.read_text("utf-8") for path in DOCUMENTS)], ids=NAMES)
def test_every_file_that_a_document_names_is_there(document: str) -> None:
    """A promise names the test that keeps it, and a reader will look for it."""
    for named in re.findall(r"`((?:tests|isolation|benchmarks|recipes|policies|scripts)/[\w/.-]+)`", document):
        assert (ROOT / named).exists(), named


def test_every_row_that_a_promise_names_is_tested() -> None:
    """A row with a listed reason, or none at all, keeps no promise."""
    text = (ROOT / "docs/security.md").read_text("utf-8")
    promises = text[text.index("## Promises") : text.index("## What is left")]
    named: set[int] = set()
    for first, last in re.findall(r"\b(\d+) to (\d+)\b", promises):
        named |= {row for rows in ROWS.values() for row in rows if int(first) <= row <= int(last)}
    for listed in re.findall(r"rows? ([\d, ]+)", promises):
        named |= {int(row) for row in listed.replace(",", " ").split()}

    assert named
    assert named <= {row for rows in ROWS.values() for row in rows}


@pytest.mark.parametrize("name", ["README.md", *(f"docs/{path.name}" for path in DOCUMENTS), "CHANGELOG.md"])
def test_every_link_of_a_document_leads_somewhere(name: str) -> None:
    """A dead link is a promise not kept."""
    document = ROOT / name
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target
