"""What tests of templates start from: rendering a text, and reading what a person is told."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from isolation.errors import IsolationError
from isolation.packaging.text import read
from isolation.templates.render import render, render_recipe
from isolation.templates.template import parse_template

if TYPE_CHECKING:
    from isolation.model.recipe import Recipe

STEPS = """\
steps:
  - {name: a, module: m, function: f}
  - name: b
    module: m
    function: f
    depends_on: [a]
    args:
"""


class Make(Protocol):
    """What the fixture ``tree`` gives."""

    def __call__(self, text: str, **values: object) -> Any:  # noqa: ANN401 - any tree
        """Render a template, and read what it makes."""


class Told(Protocol):
    """What the fixture ``told`` gives."""

    def __call__(self, text: str, **values: object) -> str:
        """Return what a person reads: the sentence and the hint."""


@pytest.fixture
def tree() -> Make:
    def make(text: str, **values: object) -> Any:  # noqa: ANN401 - any tree
        return read(render(parse_template(dedent(text).encode()), values).encode(), "r.yaml").value

    return make


@pytest.fixture
def told() -> Told:
    def tell(text: str, **values: object) -> str:
        with pytest.raises(IsolationError) as raised:
            recipe(text, **values)
        return "\n".join(part for part in (raised.value.sentence, raised.value.hint) if part)

    return tell


def recipe(text: str, **values: object) -> Recipe:
    return render_recipe(parse_template(dedent(text).encode()), values)
