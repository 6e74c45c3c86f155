"""What sources offer, found by reading alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.errors import PackageError
from isolation.packaging.scriptlets import Scriptlet, find_scriptlets, scan

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = '''
"""A module."""
import os
from scriptlets.framework import BaseScriptlet, register_scriptlet

raise RuntimeError("this must never run")

@register_scriptlet
class ApiScriptlet(BaseScriptlet):
    """
    Talks to an API.

    More of it.
    """
    required_params = ("endpoint", "token")
    params = {"timeout": {"type": "number", "default": {"not": "this"}}, 'endpoint': {}}

    def __init__(self):
        super().__init__()
        self.name = "api"
        self.version = "1.2"
        self.description = "made " + "up"

    def run(self, context, params):
        self.name = "not this"

class Derived(ApiScriptlet): pass

class _Hidden(BaseScriptlet):
    def run(self, context, params): ...

class Plain:
    def run(self, context, params): ...

@register_scriptlet(name="counter")
def count(context, params):
    """Counts."""

def helper(context, params): ...
'''


def found(source: str, tmp_path: Path) -> list[tuple[Scriptlet, bool]]:
    return find_scriptlets(source.encode(), tmp_path / "scriptlet_x.py", "scriptlet_x")


def test_classes_and_functions_are_found_with_what_is_said_of_them(tmp_path: Path) -> None:
    """What is computed is left out, what is private or registered by nobody is not offered, and nothing runs."""
    api, derived, counter = found(WHOLE, tmp_path)

    assert api == (
        Scriptlet(
            name="api",
            function="ApiScriptlet",
            kind="class",
            module="scriptlet_x",
            path=str(tmp_path / "scriptlet_x.py"),
            line=9,
            version="1.2",
            description="Talks to an API.",
            parameters=("endpoint", "token", "timeout"),
        ),
        True,
    )
    assert (derived[0].function, derived[1]) == ("Derived", True)
    assert (counter[0].name, counter[0].function, counter[0].kind, counter[0].description) == (
        "counter",
        "count",
        "function",
        "Counts.",
    )


@pytest.mark.parametrize(
    "head",
    [
        "from scriptlets.framework import BaseScriptlet\nclass A(BaseScriptlet):",
        "import scriptlets.framework\nclass A(scriptlets.framework.BaseScriptlet):",
        "from scriptlets import framework as f\nclass A(Mixin, f.BaseScriptlet, metaclass=M(1, 2)):",
        "class A(\n    BaseScriptlet,\n):",
        "from scriptlets.framework import register_scriptlet\n@register_scriptlet()\nclass A:",
        "import scriptlets.framework as f\n@other(1)\n@f.register_scriptlet\n@other\nclass A(object):",
    ],
)
def test_a_scriptlet_is_known_however_its_base_or_decorator_is_spelt(head: str, tmp_path: Path) -> None:
    """By its last name, as people read it."""
    ((told, runs),) = found(f"{head}\n    def run(self, context, params): return 1\n", tmp_path)

    assert (told.function, runs) == ("A", True)


def test_a_name_in_an_init_counts_and_one_elsewhere_does_not(tmp_path: Path) -> None:
    """Where the framework's own scriptlets set it."""
    ((told, _),) = found(
        "class A(BaseScriptlet):\n    version = '2'\n    def __init__(self):\n        self.name = 'right'\n"
        "    def run(self, context, params):\n        self.name = 'wrong'\n",
        tmp_path,
    )

    assert (told.name, told.version) == ("right", "2")


def test_a_class_that_cannot_run_is_told_and_not_offered(tmp_path: Path) -> None:
    """A folder tells of each file what it offers, and of the others why not."""
    (tmp_path / "scriptlet_a.py").write_text("class A(BaseScriptlet):\n    x = 1\n")
    (tmp_path / "scriptlet_b.py").write_text("x = (\n")
    (tmp_path / "scriptlet_c.py").write_text("class C(BaseScriptlet):\n    def run(self, context, params): ...\n")
    (tmp_path / "scriptlet_d.py").write_text("x = 1\n")
    (tmp_path / "scriptlet_e.py").symlink_to(tmp_path / "nowhere")
    (tmp_path / "other.py").write_text("class O(BaseScriptlet):\n    def run(self, context, params): ...\n")
    offered, unreadable = scan(tmp_path)

    assert [one.name for one in offered] == ["C"]
    assert [(one.path.rpartition("/")[2], one.why) for one in unreadable] == [
        ("scriptlet_a.py:1", "the class 'A' has no run()"),
        ("scriptlet_b.py:2", "the source is not Python: a bracket or a quote is never closed"),
        ("scriptlet_d.py", "there is no scriptlet in it"),
        ("scriptlet_e.py", "there is no such file"),
    ]
    with pytest.raises(PackageError):
        scan(tmp_path / "nowhere")


@given(st.text(alphabet="class defrun@_():=,.'\"\n     abAB", max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    """It is read, or it is no Python."""
    from pathlib import Path  # noqa: PLC0415 - a value here

    try:
        find_scriptlets(text.encode(), Path("x.py"), "x")
    except PackageError as error:
        assert error.hint  # noqa: PT017 - what it says is the point
