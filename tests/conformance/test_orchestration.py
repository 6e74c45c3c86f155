"""Applications that run recipes, as the people write them for whom this was made: the same calls, the same names."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from isolation.packaging.policy import load_policy
from orchestrator.context import Context
from orchestrator.recipe_template import RecipeTemplateEngine
from orchestrator.runner import EnhancedRecipeRunner
from tests.runner.kit import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from isolation.model.policy import Policy

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]

DATA_PROCESSING = """
metadata: {name: data_processing, version: 1.0}
steps:
  - {name: process, idx: 1, type: python, module: processing, function: process,
     success: {ctx_has_keys: [workflow.output]}}
"""
FILE_PROCESSOR = """
metadata: {name: file_processor, version: 1.0}
steps:
  - {name: process, idx: 1, type: python, module: processing, function: one_file}
"""
PROCESSING = """
def process(context, params):
    given = context.get("workflow.input")
    context.set("workflow.output", {"from": given["source"], "length": len(given["source"])}, who="processing")

def one_file(context, params):
    path = context.get("batch.current_file")
    if path.endswith(".broken"):
        raise ValueError(f"{path} is broken")
    context.set(f"batch.seen.{path}", True)
"""


class Application:
    """An application that keeps one context and one runner for as long as it lives."""

    def __init__(self) -> None:
        self.context = Context()
        self.runner = EnhancedRecipeRunner(self.context)

    def process_data_workflow(self, input_data: dict[str, Any]) -> dict[str, Any]:
        """Run one recipe on what it is given, and return what came of it."""
        self.context.set("workflow.input", input_data, who="application")
        try:
            result = self.runner.run_recipe("workflows/data_processing.yaml")
        except Exception as error:  # noqa: BLE001 - as an application does that has an answer to everything
            return {"success": False, "error": str(error)}
        if not result.overall_success:
            return {"success": False, "errors": result.global_errors}
        return {"success": True, "data": self.context.get("workflow.output")}

    def batch_process_files(self, file_list: list[str]) -> list[dict[str, Any]]:
        """Run one recipe for each file, one after another."""
        done = []
        for path in file_list:
            self.context.set("batch.current_file", path, who="batch_processor")
            result = self.runner.run_recipe("workflows/file_processor.yaml")
            done.append(
                {"file": path, "success": result.overall_success, "execution_time": result.execution_time_seconds}
            )
        return done


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Application]:
    """Start it where its workflows are, as it would be."""
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows/data_processing.yaml").write_text(DATA_PROCESSING)
    (tmp_path / "workflows/file_processor.yaml").write_text(FILE_PROCESSOR)
    (tmp_path / "workflows/processing.py").write_text(PROCESSING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ISOLATION_STATE", str(tmp_path / "state"))
    app = Application()
    yield app
    app.runner.close()


def test_an_embedded_recipe_works_on_what_the_application_has_set(app: Application) -> None:
    """What it changed is in the application's own context, and who changed what stands in the history."""
    said = app.process_data_workflow({"source": "/data/input.csv"})

    assert said == {"success": True, "data": {"from": "/data/input.csv", "length": 15}}
    assert [(entry["key"], entry["who"]) for entry in app.context.get_history()] == [
        ("workflow.input", "application"),
        ("workflow.output", "process as processing"),
    ]


def test_an_embedded_recipe_that_fails_says_why_in_its_result(app: Application) -> None:
    """A failure of the recipe is no exception, and leaves the context as it was."""
    said = app.process_data_workflow({"sauce": "/data/input.csv"})

    assert said == {"success": False, "errors": ("process: KeyError: 'source'",)}
    assert app.context.keys() == ["workflow.input"]


def test_a_recipe_that_is_not_there_is_an_exception_with_words(app: Application, tmp_path: Path) -> None:
    """The application shows it to people."""
    (tmp_path / "workflows/data_processing.yaml").unlink()

    said = app.process_data_workflow({"source": "x"})

    assert said["success"] is False
    assert "workflows/data_processing.yaml" in said["error"]


def test_files_are_processed_one_after_another_by_one_runner(app: Application) -> None:
    """Each run sees its own file; one that fails is told, and stops no other."""
    done = app.batch_process_files(["a.csv", "b.broken", "c.csv"])

    assert [(one["file"], one["success"]) for one in done] == [("a.csv", True), ("b.broken", False), ("c.csv", True)]
    assert all(one["execution_time"] > 0 for one in done)
    assert app.context.keys() == ["batch.current_file", "batch.seen.a.csv", "batch.seen.c.csv"]


def test_files_are_processed_at_once_as_the_snippet_promises(app: Application) -> None:
    """The same recipe and the same files; no line of the loop is needed, and the order of the results is theirs."""
    files = ["a.csv", "b.broken", "c.csv"]
    results = app.runner.run_many(
        "workflows/file_processor.yaml", [{"batch.current_file": path} for path in files], workers=2
    )

    assert [result.overall_success for result in results] == [True, False, True]
    assert results[1].global_errors == ("process: ValueError: b.broken is broken",)
    assert app.context.keys() == ["batch.seen.a.csv", "batch.seen.c.csv"]


ETL = """
metadata:
  name: "etl_{{ timestamp }}"
  version: "1.0"
steps:
  - {name: extract_data, idx: 1, type: python, module: scriptlets.extractors, function: "{{ extractor_type }}Extractor",
     args: {source_url: "{{ source_url }}", connection_params: {{ source_params }}}}
  - {name: transform_data, idx: 2, type: python, module: scriptlets.transformers, function: DataTransformerScriptlet,
     depends_on: [extract_data], args: {transformation_rules: {{ transform_rules }}}}
  - {name: load_data, idx: 3, type: python, module: scriptlets.loaders, function: "{{ loader_type }}Loader",
     depends_on: [transform_data], args: {target_url: "{{ target_url }}", load_options: {{ load_options }}}}
"""


class Generator:
    """Makes recipes of what an application has been told about sources and targets."""

    def __init__(self, template: str = ETL) -> None:
        self.template = template
        self.template_engine = RecipeTemplateEngine()

    def create_etl_recipe(self, source_config: dict[str, Any], target_config: dict[str, Any]) -> str:
        """Render a pipeline for a source and a target."""
        values = {
            "timestamp": int(time.time()),
            "extractor_type": source_config["type"],
            "source_url": source_config["url"],
            "source_params": source_config["params"],
            "transform_rules": source_config.get("transformations", []),
            "loader_type": target_config["type"],
            "target_url": target_config["url"],
            "load_options": target_config.get("options", {}),
        }
        return self.template_engine.render(self.template, values)


RULES = [{"cast": {"cents": "integer"}}, {"filter": {"field": "cents", "op": ">", "value": 100}}, {"select": ["who"]}]


def test_a_rendered_pipeline_runs_end_to_end_with_the_built_in_library(tmp_path: Path) -> None:
    """From an address into a bucket, both behind the policy's list, without a line of code in the recipe."""
    with serving() as site:
        site.answers["/orders.csv"] = (200, {}, b"who,cents\nAda,250\nBob,99\n")
        recipe = Generator().create_etl_recipe(
            {"type": "Csv", "url": f"{site.url}/orders.csv", "params": {"timeout_s": 10}, "transformations": RULES},
            {"type": "S3", "url": "s3://bucket/", "options": {"endpoint_url": site.url, "anonymous": True}},
        )
        (tmp_path / "etl.yaml").write_text(recipe)
        with EnhancedRecipeRunner(policy=reaching(tmp_path, site.url), state=tmp_path / "state") as runner:
            result = runner.run_recipe(tmp_path / "etl.yaml")

    assert (result.overall_success, result.global_errors) == (True, ())
    assert [(step.class_name, step.outputs) for step in result.step_results] == [
        ("CsvExtractor", {"rows": 2}),
        ("DataTransformerScriptlet", {"rows_in": 2, "rows": 1}),
        ("S3Loader", {"rows": 1}),
    ]
    asked = [(one.method, one.path, one.body) for one in site.asked]
    assert asked == [("GET", "/orders.csv", b""), ("PUT", "/bucket/rows.jsonl", b'{"who":"Ada"}\n')]


def test_a_rendered_pipeline_without_params_runs_too(tmp_path: Path) -> None:
    """Where a source needs none: a file beside the recipe, into an artifact, with nothing done to it between."""
    (tmp_path / "orders.csv").write_text("who,cents\nAda,250\n")
    recipe = Generator().create_etl_recipe(
        {"type": "Csv", "url": "orders.csv", "params": {}}, {"type": "JsonLines", "url": "orders.jsonl"}
    )
    (tmp_path / "etl.yaml").write_text(recipe)
    with EnhancedRecipeRunner(state=tmp_path / "state") as runner:
        result = runner.run_recipe(tmp_path / "etl.yaml")

    assert [step.outputs for step in result.step_results] == [{"rows": 1}, {"rows_in": 1, "rows": 1}, {"rows": 1}]


def test_a_rendered_pipeline_that_cannot_work_says_what_is_missing(tmp_path: Path) -> None:
    """A database of which nothing is asked gives no rows; nothing is loaded, and the step says what it needs."""
    recipe = Generator().create_etl_recipe(
        {"type": "Database", "url": "postgres://reader@db.internal/shop", "params": {}},
        {"type": "S3", "url": "s3://bucket/", "options": {}},
    )
    (tmp_path / "etl.yaml").write_text(recipe)
    with EnhancedRecipeRunner(state=tmp_path / "state") as runner:
        result = runner.run_recipe(tmp_path / "etl.yaml")

    assert [step.status for step in result.step_results] == ["failed", "skipped", "skipped"]
    (error,) = result.global_errors
    assert "query" in error
    assert "table" in error


def reaching(folder: Path, url: str) -> Policy:
    policy = folder / "policy.yaml"
    policy.write_text(f"name: out\nnetwork: {{allow: ['{url.removeprefix('http://')}']}}\n")
    return load_policy(policy)
