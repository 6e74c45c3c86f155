"""A program that takes scriptlets from a folder, and writes the beginnings of new ones, as people write it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from textwrap import dedent

import pytest

from isolation.errors import InputError
from orchestrator.context import Context
from orchestrator.runner import EnhancedRecipeRunner
from scriptlets.framework import BaseScriptlet
from scriptlets.plugin_manager import PluginManager
from src.core.logger import get_logger

MINE = """
from scriptlets.framework import BaseScriptlet, register_scriptlet

@register_scriptlet
class Shout(BaseScriptlet):
    '''Says it loudly.'''

    def __init__(self):
        super().__init__()
        self.name = "shout"

    def run(self, context, params):
        return {"said": params["text"].upper()}
"""


class Plugins:
    """Imports the scriptlets of a folder itself: the program trusts that folder."""

    def __init__(self, plugin_dir: str) -> None:
        self.plugin_dir = Path(plugin_dir)
        self.manager = PluginManager()
        self.logger = get_logger(__name__)

    def load_custom_scriptlets(self) -> None:
        """Import what lies there, and register what is a scriptlet."""
        for file in self.plugin_dir.glob("*.py"):
            if not file.name.startswith("scriptlet_"):
                continue
            spec = importlib.util.spec_from_file_location(file.stem, file)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            for name in dir(module):
                item = getattr(module, name)
                if isinstance(item, type) and issubclass(item, BaseScriptlet) and item != BaseScriptlet:
                    self.manager.register_scriptlet(item())
                    self.logger.info("loaded %s", name)

    def create_scriptlet_template(self, scriptlet_name: str) -> str:
        """Return the source of a scriptlet that does nothing yet."""
        name = scriptlet_name.lower()
        return dedent(f'''\
            import os
            from typing import Any, Dict

            from orchestrator.context import Context
            from scriptlets.framework import BaseScriptlet, register_scriptlet
            from src.core.logger import get_logger

            logger = get_logger(__name__, debug=os.getenv("DEBUG") == "1")


            @register_scriptlet
            class {scriptlet_name}Scriptlet(BaseScriptlet):
                """The beginning of {name}."""

                def __init__(self) -> None:
                    super().__init__()
                    self.name = "{name}"
                    self.version = "1.0"

                def run(self, context: Context, params: Dict[str, Any]) -> Dict[str, Any]:
                    logger.info(f"{{self.name}} begins")
                    context.set(f"{{self.name}}.result", {{}}, who=self.name)
                    return {{"status": "success", "message": f"{{self.name}} is done"}}
            ''')


@pytest.fixture
def plugins(tmp_path: Path) -> Plugins:
    folder = tmp_path / "plugins/scriptlets"
    folder.mkdir(parents=True)
    (folder / "scriptlet_shout.py").write_text(MINE)
    (folder / "other.py").write_text("raise RuntimeError('nobody asked for this one')")
    return Plugins(str(folder))


def test_a_program_registers_what_it_has_imported_itself(plugins: Plugins, caplog: pytest.LogCaptureFixture) -> None:
    """Instances, under their own names, of the files that are scriptlets; and what it logs is the library's logging."""
    with caplog.at_level("INFO"):
        plugins.load_custom_scriptlets()

    assert plugins.manager.list_scriptlets() == ["shout"]
    assert caplog.messages == ["loaded Shout"]
    found = plugins.manager.get_scriptlet("shout")
    assert isinstance(found, BaseScriptlet)
    assert found.run(Context(), {"text": "hello"}) == {"said": "HELLO"}


def test_the_same_folder_is_known_without_importing_any_of_it(plugins: Plugins) -> None:
    """Which is the way for a folder that nobody has to trust; what is known that way runs in a container alone."""
    hostile = MINE.replace("Shout", "Cry").replace("shout", "cry") + "\nraise SystemExit(7)\n"
    (plugins.plugin_dir / "scriptlet_hostile.py").write_text(hostile)

    assert sorted(plugins.manager.load_folder(plugins.plugin_dir)) == ["cry", "shout"]
    with pytest.raises(InputError, match="was read and not imported"):
        plugins.manager.get_scriptlet("cry")


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
def test_a_scriptlet_that_was_generated_runs_isolated_as_it_is(plugins: Plugins, tmp_path: Path) -> None:
    """Written into the folder, found there by reading it, named by a recipe, and run with nothing added."""
    (plugins.plugin_dir / "scriptlet_data_processor.py").write_text(plugins.create_scriptlet_template("DataProcessor"))
    (tmp_path / "recipe.yaml").write_text(
        "metadata: {name: generated}\nsteps:\n"
        "  - {name: first, module: scriptlet_data_processor, function: DataProcessorScriptlet}\n"
    )
    assert "dataprocessor" in plugins.manager.load_folder(plugins.plugin_dir)

    context = Context()
    with EnhancedRecipeRunner(context, paths=[plugins.plugin_dir], state=tmp_path / "state") as runner:
        result = runner.run_recipe(tmp_path / "recipe.yaml")

    assert result.global_errors == ()
    assert result.step_results[0].outputs == {"status": "success", "message": "dataprocessor is done"}
    assert context.get("dataprocessor.result") == {}
    assert [entry["who"] for entry in context.get_history()] == ["first as dataprocessor"]


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
def test_what_the_manager_itself_generates_runs_isolated_too(plugins: Plugins, tmp_path: Path) -> None:
    """Under the name that the snippet makes of it, with an argument that it declares."""
    source = plugins.manager.create_scriptlet_template("DataProcessor")
    (plugins.plugin_dir / "scriptlet_data_processor.py").write_text(source)
    (tmp_path / "recipe.yaml").write_text(
        "metadata: {name: generated}\nsteps:\n"
        "  - {name: first, module: scriptlet_data_processor, function: DataProcessorScriptlet, args: {text: hello}}\n"
    )

    context = Context()
    with EnhancedRecipeRunner(context, paths=[plugins.plugin_dir], state=tmp_path / "state") as runner:
        result = runner.run_recipe(tmp_path / "recipe.yaml")

    assert (result.overall_success, result.global_errors) == (True, ())
    assert context.to_dict() == {"data_processor.text": "hello"}
