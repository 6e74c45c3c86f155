from __future__ import annotations

import time
from contextlib import suppress
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isolation.errors import PackageError
from isolation.packaging.imports import Import, find_imports, read_source


def found(text: str) -> list[tuple[str, bool]]:
    """Return (name with its dots, conditional) of each import."""
    imports = find_imports(dedent(text).encode(), "x.py")
    return [("." * each.level + each.module, each.conditional) for each in imports]


def test_each_form_of_import_is_found() -> None:
    """What is overlooked here is missing in the container."""
    text = "import a, b.c as d; import e\nfrom .f import (g as h,\n  i,)\nfrom ... import j\nfrom k import *\n"
    assert find_imports(text.encode(), "x.py") == (
        Import(module="a", line=1),
        Import(module="b.c", line=1),
        Import(module="e", line=1),
        Import(module="f", level=1, names=("g", "i"), line=2),
        Import(module="", level=3, names=("j",), line=4),
        Import(module="k", names=("*",), line=5),
    )


@pytest.mark.parametrize(
    "text",
    [
        "if x:\n    import a",
        "if x: import a",
        "if (lambda: x)() or lambda: y: import a",
        "try:\n    import a\nexcept ImportError:\n    pass",
        "try: pass\nexcept ImportError: import a",
        "try:\n    pass\nexcept X:\n    pass\nelse:\n    import a",
        "while x:\n    import a",
        "for x in y:\n    import a",
        "match x:\n    case 1:\n        import a",
        "match x:\n    case {'k': 1}: import a",
        "def f():\n    if x:\n        with y:\n            import a",
        "if x:\n    def f():\n        import a",
        "x = __import__('a')",
        "import importlib\nimportlib.import_module('a')",
    ],
)
def test_an_import_under_a_condition_may_fail(text: str) -> None:
    """Such modules are often optional: their absence is the recipe's to handle."""
    assert ("a", True) in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "with x:\n    import a",
        "def f():\n    import a",
        "async def f(): import a",
        "class A:\n    import a",
        "if x:\n    pass\nimport a",
        "x = 'if y:'; import a",
        "try:\n    pass\nfinally:\n    import a",
        "match = 1\nimport a",
        "case: int = 3; import a",
        "x = {1:\n2}\nimport a",
        "if x:\n        y\n        if z:\n            y\nimport a",
        "\\\nimport \\\n  a",
        "#!/bin/sh\r\nimport a\r\n",
    ],
)
def test_an_import_without_condition_must_not_fail(text: str) -> None:
    """Only these can be refused before anything runs."""
    assert ("a", False) in found(text)


def test_imports_for_type_checkers_do_not_exist_when_it_runs() -> None:
    """They must neither be packed nor missed."""
    assert found("if TYPE_CHECKING:\n    import a\n    if x:\n        import b\nimport c\n") == [("c", False)]
    assert found("if typing.TYPE_CHECKING: import a\n") == []
    assert found("if not TYPE_CHECKING:\n    import a\n") == [("a", True)]


def test_text_that_looks_like_an_import_is_none() -> None:
    """Strings and comments are not code."""
    assert found('"""\nimport a\n"""\n# import b\nx.import_module(name)\n__import__(f"{x}")\n') == []


@pytest.mark.parametrize(
    ("content", "sentence", "line"),
    [
        (b"x = (1,\n", "the source is not Python: a bracket or a quote is never closed", 2),
        (b"if x:\n        a\n    b\n", "the source is not Python: unindent does not match", 3),
        (b"a\n\xff", "the source is not UTF-8 text", 2),
        (b"# coding: utf-7\nx", "the source is written in 'utf-7'", 1),
        (b"\n# -*- coding: rot13 -*-\n", "the source is written in 'rot13'", 1),
        (b"a\n\0", "the source holds a NUL character", 2),
    ],
)
def test_what_is_not_python_text_is_refused_with_its_place(content: bytes, sentence: str, line: int) -> None:
    """Decoding by another codec would import a module on the host by the recipe's wish (row 134)."""
    with pytest.raises(PackageError) as raised:
        read_source(content, "helpers/deep.py")
    assert raised.value.sentence.startswith(f"helpers/deep.py:{line}: {sentence}")
    assert (raised.value.path, raised.value.line) == ("helpers/deep.py", line)


def test_declared_latin_1_is_read() -> None:
    """Old sources have it, and it is harmless."""
    assert found("# coding: latin-1\nimport a\n") == [("a", False)]
    assert read_source("# coding: latin-1\nx = 'é'\n".encode("latin-1"), "x.py").names == {"x"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "x = " + "-" * 300_000 + "1",
        "x = " + "(" * 100_000 + ")" * 100_000,
        "x" + ".a" * 200_000,
        '"""' + "\n" * 300_000 + '"""',
        "x = 1\n" * 60_000,
        "if x:\n    y\n" * 30_000,
        "lambda: " * 50_000 + "0",
    ],
    ids=["unary", "brackets", "attributes", "a long string", "lines", "blocks", "lambdas"],
)
def test_no_source_exhausts_the_reader(text: str) -> None:
    """A compiler's recursion ends at some 5000 levels (row 134); tokens have no depth."""
    started = time.monotonic()
    read_source(text.encode(), "x.py")
    assert time.monotonic() - started < 20


def test_names_of_the_top_level_are_known() -> None:
    """So that a misspelt function is told before anything runs."""
    text = """
        import a, b.c, d as e
        from f import g as h, i
        class J: k = 1
        def l():
            m = 1
        async def n(): pass
        o = p = 1
        q, (r, s) = t()
        u: int = 3
        if x:
            def v(): pass
        for w in y: pass
        with z() as aa: pass
    """
    source = read_source(dedent(text).encode(), "x.py")
    expected = {"a", "b", "e", "h", "i", "J", "l", "n", "o", "p", "q", "r", "s", "u", "v", "w", "aa"}
    assert expected <= source.names
    assert not {"c", "d", "f", "g", "k", "m", "t", "x"} & source.names
    assert not source.open_ended
    assert read_source(b"from x import *", "x.py").open_ended
    assert read_source(b"globals()['x'] = 1", "x.py").open_ended


def test_a_docstring_is_no_code() -> None:
    """Such an ``__init__.py`` may be left out without a change."""
    assert not read_source(b'# comment\n"""Docstring."""\n\n', "x.py").has_code
    assert read_source(b'"""Docstring."""\nx = 1\n', "x.py").has_code
    assert read_source(b"pass", "x.py").has_code


WORDS = (
    "import from if else : try a . .. , ( ) [ { } as * lambda def class match case async = ; ' # \\ __import__ f'{ é"
)
FRAGMENTS = st.lists(st.sampled_from([*WORDS.split(), " ", "    ", "\n", "\n    ", "\t"]), max_size=30)


@settings(deadline=None)
@given(FRAGMENTS.map(" ".join) | FRAGMENTS.map("".join) | st.text(max_size=40))
def test_whatever_the_source_only_our_error_comes_out(text: str) -> None:
    """The source is hostile, and the reader stands in the controller."""
    with suppress(PackageError):
        read_source(text.encode("utf-8", "surrogatepass"), "x.py")
