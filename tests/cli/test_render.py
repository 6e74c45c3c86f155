"""``isolation render``: values as people type them, a recipe that can be run, and nothing written over."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from isolation.cli import boundary
from isolation.packaging.load import load_recipe
from isolation.packaging.text import read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]

TEMPLATE = """\
parameters:
  text: {type: string, default: ""}
  number: {type: number, default: 0}
  any: {default: null}
metadata: {name: made}
config: {text: {{ text }}, number: {{ number }}, any: {{ any }}}
steps: [{name: a, module: m, function: f}]
"""
PARAMETERS = "The parameters are: text, number, any."


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in a folder with a template."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.yaml").write_text(TEMPLATE)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = boundary.run(["render", "t.yaml", *arguments])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


@pytest.mark.parametrize(
    ("typed", "config"),
    [
        ("text=1.10", {"text": "1.10"}),
        ("text=[1]", {"text": "[1]"}),
        ("text={{ any }}", {"text": "{{ any }}"}),
        ("text=", {"text": ""}),
        ("number=1.10", {"number": 1.1}),
        ("any=1.10", {"any": 1.1}),
        ("any=[1, null]", {"any": [1, None]}),
        ("any=eu west", {"any": "eu west"}),
        ('any="1"', {"any": "1"}),
        ("any=a=b", {"any": "a=b"}),
    ],
)
def test_a_value_is_read_as_its_parameter_is_declared(run: Run, typed: str, config: dict[str, object]) -> None:
    """A declared text is the text itself; else it is JSON if it is JSON."""
    code, printed, told = run("--set", typed)

    assert (code, told) == (0, "")
    assert yaml.safe_load(printed)["config"] == {"text": "", "number": 0, "any": None} | config


def test_values_come_from_a_file_and_from_the_line(run: Run, tmp_path: Path) -> None:
    """The line's go first."""
    (tmp_path / "v.yaml").write_text("text: from the file\nany: {k: [1]}\n")
    (tmp_path / "v.json").write_text('{"text": "from the file", "any": {"k": [1]}}')

    for name in ("v.yaml", "v.json"):
        printed = run("--values", name, "--set", "text=from the line")[1]
        assert yaml.safe_load(printed)["config"] == {"text": "from the line", "number": 0, "any": {"k": [1]}}


@pytest.mark.parametrize("options", [["-o", "recipe.yaml"], ["-o", "recipe.json"], ["-o", "recipe.json", "--json"]])
def test_what_is_written_is_a_recipe(run: Run, tmp_path: Path, options: list[str]) -> None:
    """In the form that its name promises."""
    text = "\u202e\x1b[31m\n{{ any }}"
    code, printed, told = run("--set", f"text={text}", *options)

    assert (code, printed, told) == (0, f"{options[1]}: the recipe 'made'\n", "")
    assert load_recipe(tmp_path / options[1]).recipe.config["text"] == text


def test_what_is_printed_is_fit_to_be_shown_and_still_the_recipe(run: Run) -> None:
    """What does not print is escaped, in YAML's or JSON's own way; nothing in quotes is only half of one."""
    text = "a\u202e\x1b[31m\r\n\u2028\ufeff\U000e0041\x85\xa0é'\"\\"

    for options, name in (([], "r.yaml"), (["--json"], "r.json")):
        printed = run("--set", f"text={text}", "--set", f"any={json.dumps({text: text})}", *options)[1]
        assert read(printed.encode(), name).value["config"] == {"text": text, "number": 0, "any": {text: text}}
        assert all(char.isprintable() or char in "\n\xa0" for char in printed)


@pytest.mark.parametrize(
    ("line", "told", "hint"),
    [
        ("--set number=x", "t.yaml:3: 'number' must be a number, not 'x'", PARAMETERS),
        ("--set txt=x", "t.yaml:1: 'txt' is no parameter (did you mean 'text'?)", PARAMETERS),
        ("--set text", "'text' is not KEY=VALUE", "Write it as in `--set region=eu`."),
        ("--values v.yaml", "v.yaml: there is no such file", "Check its name, and that of its folder."),
        ("--values l.yaml", "l.yaml: values are a mapping", "Write a line such as `name: value` for each."),
        (
            "--values w.yaml",
            "w.yaml:1: anchors and aliases are not allowed: '&a'",
            "Write the value out, or put it in quotes if it is text.",
        ),
        ("-o t.yaml", "t.yaml is the template itself", "Name another file with -o."),
        (
            "--set any=9007199254740993",
            "the value of 'any' is or holds a whole number beyond 2**53; write it as text",
            "Give text, a number, true, false, null, a list or a mapping.",
        ),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(
    run: Run, tmp_path: Path, line: str, told: str, hint: str
) -> None:
    """With the template's lines, and exit code 2."""
    (tmp_path / "l.yaml").write_text("[text]\n")
    (tmp_path / "w.yaml").write_text("text: &a b\n")

    assert run(*line.split()) == (2, "", f"isolation: {told}\n{hint}\n")
    assert (tmp_path / "t.yaml").read_text() == TEMPLATE


def test_a_template_that_makes_no_recipe_is_refused(run: Run, tmp_path: Path) -> None:
    """What cannot be run is not printed, and told with the template's line."""
    (tmp_path / "t.yaml").write_text(TEMPLATE.replace("module: m", "module: '{{ text }}'"))

    code, printed, told = run("--set", "text=os; rm")
    assert (code, printed) == (2, "")
    assert told.startswith("isolation: t.yaml:7: 'module' in step 'a' has characters that are not allowed here")


def test_a_place_that_cannot_be_written_is_told(run: Run) -> None:
    """With the exit code of storage."""
    code, printed, told = run("-o", "missing/recipe.yaml")
    assert (code, printed) == (4, "")
    assert told.startswith("isolation: missing/recipe.yaml cannot be written: no such file or directory\n")
