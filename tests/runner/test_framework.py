"""What scriptlets are made from, and how one is called: what the container does, and the host as well."""

from __future__ import annotations

import subprocess
import sys
import types
from typing import TYPE_CHECKING, Any

import pytest

from tests.runner.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runner.conftest import Load

    Call = Callable[..., Any]

HEAD = "from scriptlets.framework import BaseScriptlet, Result, register_scriptlet\n"


@pytest.fixture
def call(load: Load) -> Call:
    """Write a module, and call what it defines, as a step does."""
    framework = load("scriptlets.framework")

    def calling(text: str, function: str, params: dict[str, Any] | None = None, context: object = None) -> Any:  # noqa: ANN401
        module = types.ModuleType("written")
        exec(HEAD + text, module.__dict__)  # noqa: S102 - written here
        return framework.call(module, function, context, params or {})

    return calling


DECLARED = """
class Greet(BaseScriptlet):
    required_params = ["name"]
    params = {
        "name": {"type": "string", "pattern": "[A-Z].*"},
        "times": {"type": "integer", "default": 1, "minimum": 1, "maximum": 9},
        "tone": {"enum": ["kind", "plain"], "default": "plain"},
        "to": {"type": "array", "items": {"type": ["string", "null"]}, "default": [], "maximum": 2},
        "post": {"type": "object", "properties": {"colour": {"type": "string", "default": "red"}}},
    }
    def setup(self, context, params):
        self.seen = params
    def run(self, context, params):
        return {"setup": self.seen, "run": params}
"""


def test_defaults_are_filled_in_before_setup(call: Call) -> None:
    """Setup and run see the same params, and what is declared of an object's insides holds, too."""
    outputs, _ = call(DECLARED, "Greet", {"name": "Ada", "post": {}})

    whole = {"name": "Ada", "times": 1, "tone": "plain", "to": [], "post": {"colour": "red"}}
    assert outputs == {"setup": whole, "run": whole}


def test_a_default_is_a_copy(call: Call) -> None:
    """A step that is tried again in one process must not find what the first try appended."""
    text = """
class Add(BaseScriptlet):
    params = {"to": {"default": []}}
    def run(self, context, params):
        params["to"].append(1)
        return {"to": params["to"]}
def twice(context, params):
    from scriptlets.framework import check_params
    one = Add()
    check_params(one, {})["to"].append(1)
    return check_params(one, {})
"""
    assert call(text, "twice")[0] == {"to": []}


def test_all_that_is_wrong_is_told_at_once_and_nothing_runs(load: Load, call: Call) -> None:
    """Who corrects one fault and then meets the next has been told too little."""
    wrong = {"tims": 2, "times": 10, "tone": "Kind", "to": ["a", None, 3], "post": {"color": "b"}}
    with pytest.raises(load("scriptlets.framework").ParamsError) as caught:
        call(DECLARED, "Greet", wrong)

    assert str(caught.value) == (
        "Greet: tims is unknown: did you mean times?; name is required; times must be at most 9, not 10; "
        'tone must be one of "kind", "plain", not "Kind"; the length of to must be at most 2, not 3; '
        "to[2] must be a string or null, not 3; post.color is unknown: did you mean colour?"
    )


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ({"type": "integer"}, [0, -1], [True, 1.0, "1", None]),
        ({"type": "number"}, [0, 1.5], [False, "1"]),
        ({"type": "boolean"}, [True, False], [0, "yes"]),
        ({"type": "string"}, ["", "a"], [None, 1, []]),
        ({"type": "null"}, [None], [0, "", False]),
        ({"type": "object"}, [{}], [[]]),
        ({"type": "array", "minimum": 1}, [[1]], [[], {}]),
        ({"type": ["string", "null"]}, ["a", None], [1]),
        ({"pattern": "[a-z]+"}, ["abc", 3], ["abc\n", "abC", ""]),
        ({"minimum": 2}, [2, 2.5, "ab", None, True], [1, "a", 1.9]),
        ({"enum": [1, "a", None]}, [1, "a", None], [True, 1.0, "b"]),
    ],
    ids=str,
)
def test_each_word_means_what_it_says(load: Load, rule: dict[str, Any], good: list[Any], bad: list[Any]) -> None:
    """True is no number, a pattern holds for the whole text, and a bound only for what has a size."""
    check = load("scriptlets._params").check

    assert [check({"a": value}, {"a": rule}) for value in good] == [({"a": value}, []) for value in good]
    assert [value for value in bad if len(check({"a": value}, {"a": rule})[1]) != 1] == []


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("params = {'a': {'typ': 'string'}}", "the declaration of a has the unknown word 'typ': did you mean type"),
        ("params = {'a': {'type': 'text'}}", "the declaration of a has the unknown type 'text'"),
        ("params = {'a': 'string'}", "the declaration of a is no mapping"),
        ("params = {'a': {'items': {'max': 1}}}", r"the declaration of a\[\] has the unknown word 'max'"),
        ("params = {'a': {'properties': {'b': {'x': 1}}}}", r"the declaration of a\.b has the unknown word 'x'"),
        ("required_params = 'name'", r"required_params is a text: write \['name'\]"),
    ],
)
def test_a_declaration_that_is_none_is_its_authors_fault(call: Call, declared: str, said: str) -> None:
    """A word that is misspelt would check nothing, in silence."""
    with pytest.raises(TypeError, match=said):
        call(f"class Wrong(BaseScriptlet):\n    {declared}\n    run = print\n", "Wrong")


def test_required_params_alone_leave_the_rest_open(load: Load, call: Call) -> None:
    """Names only, and all others are let through as they are."""
    text = "class Some(BaseScriptlet):\n    required_params = ('a', 'b')\n    def run(self, c, p): return p\n"
    assert call(text, "Some", {"a": 1, "b": None, "c": 2})[0] == {"a": 1, "b": None, "c": 2}
    with pytest.raises(load("scriptlets.framework").ParamsError, match="Some: a is required; b is required"):
        call(text, "Some", {"c": 2})


def test_a_function_declares_its_params_where_it_is_registered(load: Load, call: Call) -> None:
    """And stays the function that it was; a class says so in its body."""
    text = """
@register_scriptlet(name="twofold", params={"n": {"type": "integer", "default": 2}})
def double(context, params):
    return {"n": params["n"] * 2}
"""
    assert [call(text, name)[0] for name in ("double", "twofold")] == [{"n": 4}, {"n": 4}]
    with pytest.raises(load("scriptlets.framework").ParamsError, match="double: n must be an integer, not"):
        call(text, "twofold", {"n": "2"})
    with pytest.raises(TypeError, match="Some is a class: declare params"):
        call("@register_scriptlet(params={'a': {}})\nclass Some: pass\n", "Some")
    with pytest.raises(TypeError, match="3 is no scriptlet"):
        call("register_scriptlet(3)", "Some")


@pytest.mark.parametrize(
    "text",
    [
        "class Some:\n    params = 5\n    def run(self, context, params): return params\n",
        "class Some:\n    def run(self, context, args, **kwargs): return {**args, **kwargs}\n",
        "class Made:\n    def run(self, context, params): return params\nSome = Made()\n",
        "@register_scriptlet\nclass Some:\n    def run(self, context, params): return params\n",
        "@register_scriptlet(name='Some')\nclass Other(BaseScriptlet):\n    def run(self, c, params): return params",
        "def Some(context, params): return params\n",
        "Some = lambda context, params: params\n",
    ],
)
def test_whatever_has_run_or_can_be_called_is_a_scriptlet(call: Call, text: str) -> None:
    """In each of the forms that recipes are written in."""
    assert call(text, "Some", {"a": 1}) == ({"a": 1}, "")


def test_a_name_that_nothing_has_is_told_with_the_one_that_comes_close(load: Load, call: Call) -> None:
    """What another module has registered is not this module's."""
    load("scriptlets.framework").register_scriptlet(type("Elsewhere", (), {"run": print}))
    with pytest.raises(AttributeError, match="module 'written' has no scriptlet 'Sume': did you mean 'Some'"):
        call("class Some(BaseScriptlet): pass\n", "Sume")
    with pytest.raises(AttributeError, match=r"has no scriptlet 'Elsewhere'$"):
        call("limit = 3\n", "Elsewhere")


RESULTS: list[tuple[str, tuple[object, str]]] = [
    ("Result()", (None, "")),
    ("Result({'a': 1})", ({"a": 1}, "")),
    ("Result({'a': 1}, 3, 'no rows')", (3, "no rows")),
    ("Result(exit_code=-1)", (-1, "")),
    ("{'a': 1}", ({"a": 1}, "")),
    ("7", (7, "")),
    ("None", (None, "")),
]


@pytest.mark.parametrize(("returned", "told"), RESULTS, ids=str)
def test_a_result_says_at_once_what_comes_out_and_whether_it_failed(
    call: Call, returned: str, told: tuple[object, str]
) -> None:
    """Outputs of a failure are not handed on."""
    assert call(f"def some(context, params): return {returned}\n", "some") == told


@pytest.mark.parametrize("wrong", [([1],), ({}, True), ({}, 0.5), ({}, None), ({}, 0, None)], ids=str)
def test_a_result_of_other_things_is_none(load: Load, wrong: tuple[Any, ...]) -> None:
    """An exit code of half, or of true, would have to be guessed at; where it is made, its author sees it."""
    with pytest.raises(TypeError, match="outputs is a dict or None, exit_code an int, message a text"):
        load("scriptlets.framework").Result(*wrong)


def test_a_result_is_a_frozen_value(load: Load) -> None:
    """Equal to another that says the same, and it says all in its text."""
    result = load("scriptlets.framework").Result
    with pytest.raises(AttributeError, match="a Result is frozen: make another, with exit_code=1"):
        result().exit_code = 1
    assert result({"a": 1}, 0, "m") == result({"a": 1}, message="m")
    assert result({"a": 1}) != result({"a": 2})
    assert result() != (None, 0, "")
    assert repr(result({"a": 1}, 2)) == "Result(outputs={'a': 1}, exit_code=2, message='')"


def test_the_message_of_a_success_is_logged(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    """It would be lost otherwise."""
    caplog.set_level("INFO")
    call("def some(context, params): return Result({}, 0, 'loaded 5 %s')\n", "some")

    assert [(record.name, record.getMessage()) for record in caplog.records] == [("some", "loaded 5 %s")]


LIFE = """
class Life(BaseScriptlet):
    params = {"fail": {"type": "array", "default": []}}
    def __init__(self):
        super().__init__()
    def _do(self, what, context, params=None):
        self.fail = params["fail"] if params else self.fail
        context.append(what)
        if what in self.fail:
            raise OSError(what)
    def setup(self, context, params): self._do("setup", context, params)
    def run(self, context, params): self._do("run", context, params)
    def teardown(self, context): self._do("teardown", context)
"""


@pytest.mark.parametrize(
    ("fail", "done", "error"),
    [
        ([], ["setup", "run", "teardown"], None),
        (["setup"], ["setup", "teardown"], "setup"),
        (["run"], ["setup", "run", "teardown"], "run"),
        (["teardown"], ["setup", "run", "teardown"], "teardown"),
        (["run", "teardown"], ["setup", "run", "teardown"], "run"),
    ],
)
def test_teardown_is_called_whatever_happened(call: Call, fail: list[str], done: list[str], error: str | None) -> None:
    """And what went wrong first is what the step died of: a retry asks for its type."""
    seen: list[str] = []
    if error is None:
        call(LIFE, "Life", {"fail": fail}, seen)
    else:
        with pytest.raises(OSError, match=error) as caught:
            call(LIFE, "Life", {"fail": fail}, seen)
        notes = getattr(caught.value, "__notes__", [])
        assert notes == (["teardown failed, too: OSError: teardown"] if len(fail) > 1 else [])
    assert seen == done


def test_wrong_params_are_found_before_setup_and_need_no_teardown(load: Load, call: Call) -> None:
    """Nothing was set up."""
    seen: list[str] = []
    with pytest.raises(load("scriptlets.framework").ParamsError):
        call(LIFE, "Life", {"fail": 1}, seen)
    assert seen == []


def test_a_logger_keeps_what_its_scriptlet_makes_of_it(load: Load) -> None:
    """Its level, its handlers; and a scriptlet may put another in its place."""
    scriptlet = load("scriptlets.framework").BaseScriptlet()
    scriptlet.name = "mine"
    scriptlet.logger.setLevel("ERROR")
    assert (scriptlet.logger.name, scriptlet.logger.level) == ("mine", 40)

    scriptlet.logger = "another"
    assert scriptlet.logger == "another"


def test_a_scriptlet_that_made_nothing_of_its_own_has_a_logger_all_the_same(load: Load) -> None:
    """Framework0's authors forget super().__init__()."""
    base = load("scriptlets.framework").BaseScriptlet
    made = type("Bare", (base,), {"__init__": lambda _: None})()

    assert made.logger.name == "Bare"


def test_the_framework_loads_nothing_that_a_step_has_not_loaded_already() -> None:
    """Every step pays for its import."""
    program = (
        "import sys, __future__; before = {*sys.modules}; sys.path.insert(0, sys.argv[1])\n"
        "import scriptlets.framework; print(*sorted({*sys.modules} - before))"
    )
    library = str(ROOT / "framework0")
    done = subprocess.run([sys.executable, "-S", "-c", program, library], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["scriptlets", "scriptlets.framework"]
