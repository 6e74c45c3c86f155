"""Scriptlets in their container: what the framework promises there, and the built-in library end to end."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

from isolation.model.outcome import Outcome
from isolation.packaging.policy import load_policy
from isolation.settings import Settings
from isolation.wiring import open_controller
from tests.runner.kit import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from isolation.controller import Controller
    from isolation.model.run import Result

    Run = Callable[..., Result]

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]

SECRETS = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG"}


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with open_controller(Settings(state=tmp_path / "state"), secrets=SECRETS) as controller:
        yield controller


@pytest.fixture
def run(controller: Controller, tmp_path: Path) -> Run:
    """Run a recipe of these files, under a policy of this text or the default."""

    def running(policy: str = "", **files: str) -> Result:
        folder = tmp_path / "recipe"
        for name, text in files.items():
            stem, _, suffix = name.replace("__", "/").rpartition("_")
            path = folder / f"{stem}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text), "utf-8")
        (tmp_path / "policy.yaml").write_text(policy)
        return controller.run(folder, policy=load_policy(tmp_path / "policy.yaml" if policy else "default"))

    return running


def step_of(result: Result, name: str) -> Any:  # noqa: ANN401 - a report
    return next(step for step in result.attempts[-1].steps if step.name == name)


FRAMEWORK = """
    from scriptlets.framework import BaseScriptlet, Result, register_scriptlet

    @register_scriptlet
    class Greet(BaseScriptlet):
        params = {"name": {"type": "string", "required": True}, "times": {"type": "integer", "default": 2}}

        def run(self, context, params):
            self.logger.warning("greeting %s", params["name"], extra={"times": params["times"], "to": ["x"]})
            return Result({"said": f"hello {params['name']} " * params["times"]}, message="done")

    @register_scriptlet(name="in_short", required_params=["name"])
    def greet(context, params):
        return Result({"lost": True}, 3, f"nobody is called {params['name']}")
"""
STEPS = """
    steps:
      - {{name: greet, module: greeting, function: {function}, args: {{{args}}}}}
"""


def test_a_scriptlet_gets_its_defaults_and_logs_with_fields(run: Run, controller: Controller) -> None:
    """Level, text and whatever was given as extra, with the step and the time; so does the message of a success."""
    result = run(greeting_py=FRAMEWORK, recipe_yaml=STEPS.format(function="Greet", args="name: Ada"))

    assert result.outcome is Outcome.SUCCEEDED, result.errors
    assert step_of(result, "greet").outputs == {"said": "hello Ada hello Ada "}
    lines = list(controller.stores.logs.read(result.run_id))
    assert [(line.step, line.stream, line.level, line.text, line.fields) for line in lines] == [
        ("greet", "log", "WARNING", "greeting Ada", {"times": 2, "to": ["x"]}),
        ("greet", "log", "INFO", "done", {}),
    ]
    assert all(line.at for line in lines)


def test_wrong_params_fail_the_step_with_all_that_is_wrong(run: Run) -> None:
    """And with nothing of ours in the traceback: there is nothing to see there."""
    result = run(greeting_py=FRAMEWORK, recipe_yaml=STEPS.format(function="Greet", args="nme: Ada, times: two"))

    (error,) = result.errors
    assert (error.type, error.message) == (
        "scriptlets.framework.ParamsError",
        'Greet: nme is unknown: did you mean name?; name is required; times must be an integer, not "two"',
    )
    assert "File" not in error.traceback


def test_a_function_is_called_by_the_name_that_it_is_registered_under(run: Run) -> None:
    """And the message of its Result says why it failed."""
    result = run(greeting_py=FRAMEWORK, recipe_yaml=STEPS.format(function="in_short", args="name: Bob"))

    report = step_of(result, "greet")
    assert (report.cause, report.outputs) == ("exit_code", None)
    assert [error.message for error in result.errors] == ["the step returned 3: nobody is called Bob"]


OWN = """
    steps:
      - {name: mine, module: scriptlets.extractors, function: CsvExtractor, args: {source_url: data.csv}}
      - {name: ours, module: scriptlets.loaders, function: ContextLoader, depends_on: [mine], args: {target_url: rows}}
"""


def test_a_recipes_own_scriptlets_go_before_the_built_in_ones(run: Run) -> None:
    """Its module takes the place of one of ours, may build on it, and leaves the others where they are."""
    result = run(
        recipe_yaml=OWN,
        data_csv="a,b\n1,2\n",
        scriptlets__extractors_py="""
            from scriptlets.builtin import extractors
            from scriptlets.upper import upper

            class CsvExtractor(extractors.CsvExtractor):
                def rows(self, *args):
                    for row in super().rows(*args):
                        yield {upper(name): value for name, value in row.items()}
        """,
        scriptlets__upper_py="upper = str.upper\n",
    )

    assert result.outcome is Outcome.SUCCEEDED, result.errors
    assert result.changes.set == {"rows": [{"A": "1", "B": "2"}]}


MANY = """
    context: {writes: [etl.*]}
    steps:
      - {name: make, module: make, function: run}
      - {name: keep, module: scriptlets.transformers, function: DataTransformerScriptlet, depends_on: [make],
         args: {transformation_rules: [{filter: {field: id, op: "<", value: 9000}}]}}
      - {name: load, module: scriptlets.loaders, function: SqlLoader, depends_on: [keep],
         args: {target_url: many.db, load_options: {table: many}}}
"""


def test_rows_by_the_thousand_travel_by_a_file_of_the_run(run: Run, controller: Controller, tmp_path: Path) -> None:
    """The context of one step could not hold them under this policy."""
    result = run(
        "name: careful\nlimits: {result: 256KiB}\n",
        recipe_yaml=MANY,
        make_py="""
            from scriptlets.builtin.extractors import CsvExtractor

            def run(context, params):
                with open("/scratch/in.csv", "w") as file:
                    file.write("id,text\\n" + "".join(f"{n},{'x' * 60}\\n" for n in range(10_000)))
                return CsvExtractor().run(context, {
                    "source_url": "/scratch/in.csv",
                    "connection_params": {"delimiter": ",", "encoding": "utf-8"},
                    "output_key": "etl.rows",
                })
        """,
    )
    assert [error.message for error in result.errors] == [
        "rule 1 (filter), row 1, field 'id': '0' is a string, 9000 a number: cast it before"
    ]
    result = run(
        "name: careful\nlimits: {result: 256KiB}\n",
        recipe_yaml=MANY.replace("[{filter", "[{cast: {id: integer}}, {filter"),
    )
    assert result.outcome is Outcome.SUCCEEDED, result.errors
    assert step_of(result, "keep").outputs == {"rows_in": 10_000, "rows": 9_000}
    (artifact,) = result.artifacts
    (tmp_path / "many.db").write_bytes(controller.stores.blobs.get(artifact.digest))
    with closing(sqlite3.connect(tmp_path / "many.db")) as connection:
        assert connection.execute("SELECT count(*), max(id) FROM many").fetchall() == [(9_000, 8_999)]


PIPELINE = """
    files: [shop.db]
    steps:
      - name: "extract_data"
        idx: 1
        type: "python"
        module: "scriptlets.extractors"
        function: "DatabaseExtractor"
        args:
          source_url: "sqlite:///shop.db"
          connection_params: {query: "SELECT id, name, price FROM shop WHERE price > ? ORDER BY id", parameters: [1]}

      - name: "transform_data"
        idx: 2
        type: "python"
        module: "scriptlets.transformers"
        function: "DataTransformerScriptlet"
        depends_on: ["extract_data"]
        args:
          transformation_rules: []

      - name: "load_data"
        idx: 3
        type: "python"
        module: "scriptlets.loaders"
        function: "S3Loader"
        depends_on: ["transform_data"]
        args:
          target_url: "s3://bucket/"
          load_options: OPTIONS
"""


def test_a_database_goes_into_a_bucket_through_the_allow_list(run: Run, tmp_path: Path) -> None:
    """Rows of a file of the recipe's, which is read-only in there, to a store that only the policy's proxy reaches."""
    (tmp_path / "recipe").mkdir()
    with closing(sqlite3.connect(tmp_path / "recipe/shop.db")) as connection, connection:
        connection.execute("CREATE TABLE shop (id INTEGER, name TEXT, price REAL)")
        connection.execute("INSERT INTO shop VALUES (1, 'salt', 0.5), (2, 'tea', 2.5), (3, 'rice', 1.5)")
    with serving() as site:
        host = site.url.removeprefix("http://")
        policy = f"name: out\nnetwork: {{allow: ['{host}']}}\nsecrets: [AWS_*]\n"
        signed = f"{{endpoint_url: '{site.url}'}}\n        secrets: [AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY]"
        declared = "    secrets: [AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY]\n"
        open_to_all = f"{{endpoint_url: '{site.url}', anonymous: true}}"
        results = [
            run(policy, recipe_yaml=PIPELINE.replace("OPTIONS", open_to_all)),
            run(policy, recipe_yaml=declared + PIPELINE.replace("OPTIONS", signed)),
        ]
    assert [(result.outcome, result.errors) for result in results] == [(Outcome.SUCCEEDED, ())] * 2
    body = b'{"id":2,"name":"tea","price":2.5}\n{"id":3,"name":"rice","price":1.5}\n'
    assert [(put.method, put.path, put.body) for put in site.asked] == [("PUT", "/bucket/rows.jsonl", body)] * 2
    assert ["authorization" in put.headers for put in site.asked] == [False, True]
    assert [result.attempts[0].network.decisions[0].allowed for result in results] == [True, True]


def test_a_place_that_the_policy_does_not_list_is_told_with_the_entry_that_it_needs(run: Run) -> None:
    """In the error of the step, by the proxy's own words."""
    result = run(
        "name: out\nnetwork: {allow: ['api.example.org:443']}\n",
        recipe_yaml="""
            steps:
              - {name: get, module: scriptlets.extractors, function: HttpExtractor,
                 args: {source_url: 'http://far.example/'}}
        """,
    )
    (error,) = result.errors
    assert error.message == (
        "GET http://far.example/: 403 Forbidden: far.example:80 is not allowed; the policy's network needs the entry "
        "'far.example:80'"
    )
