"""
The pytest plugin: fixtures that run scriptlets and recipes, in this process, in a container, or in both.

Where is said by a test's marker ``isolation("container")``, else by ``--isolation``, else by ``isolation`` among
pytest's settings, else it is this process. Every session of pytest loads this: it imports nothing that takes time.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from isolation.testing.kit import Kit, RunRecipe, RunScriptlet, Where
    from orchestrator.context import Context

_CHOICES = ("process", "container", "both")
_OF_A_TEST = "isolation_where"

pytest.register_assert_rewrite("isolation.testing.ran")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option and the settings."""
    group = parser.getgroup("isolation", "scriptlets and recipes")
    group.addoption("--isolation", choices=_CHOICES, help="where tests run scriptlets and recipes (default: process)")
    parser.addini("isolation", "as --isolation", default=_CHOICES[0])
    parser.addini("isolation_paths", "folders with modules of recipes, from the settings' own folder", type="paths")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "isolation(where): run its scriptlets and recipes in process, container or both")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have a test that runs in both run twice."""
    if _OF_A_TEST in metafunc.fixturenames and _chosen(metafunc.definition) == "both":
        metafunc.parametrize(_OF_A_TEST, ("process", "container"))


def _chosen(item: pytest.Item) -> str:
    marker, config = item.get_closest_marker("isolation"), item.config
    where = str(marker.args[0] if marker and marker.args else config.option.isolation or config.getini("isolation"))
    if where not in _CHOICES:
        raise pytest.UsageError(f"isolation is one of {', '.join(_CHOICES)}, not {where!r}: {item.nodeid}")
    return where


@pytest.fixture
def isolation_where(request: pytest.FixtureRequest) -> Where:
    """Say where this test runs scriptlets and recipes: process or container."""
    return "container" if _chosen(request.node) == "container" else "process"


@pytest.fixture
def context() -> Context:
    """Make an empty context: what runs of this test see, and where what they change comes back."""
    from orchestrator.context import Context  # noqa: PLC0415 - most sessions do without

    return Context(who="test")


@pytest.fixture(scope="session")
def _isolation_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("isolation") / "state"


@pytest.fixture
def _isolation_kit(
    request: pytest.FixtureRequest,
    context: Context,
    isolation_where: Where,
    tmp_path_factory: pytest.TempPathFactory,
    _isolation_state: Path,
) -> Kit:
    from isolation.testing.kit import Kit  # noqa: PLC0415 - slow to import

    return Kit(
        where=isolation_where,
        context=context,
        folder=request.path.parent,
        paths=[Path(path) for path in request.config.getini("isolation_paths")],
        scratch=tmp_path_factory.mktemp("isolation"),
        state=_isolation_state,
    )


@pytest.fixture
def run_scriptlet(_isolation_kit: Kit) -> RunScriptlet:
    """Run a scriptlet: ``run_scriptlet("module:Name", {"param": 1})``; returns ``isolation.testing.Ran``."""
    return _isolation_kit.scriptlet


@pytest.fixture
def run_recipe(_isolation_kit: Kit) -> RunRecipe:
    """Run a recipe: ``run_recipe("recipe.yaml")``; returns ``isolation.testing.Ran``."""
    return _isolation_kit.recipe
