"""The pipeline of the snippets with a real database at its beginning: rows of PostgreSQL go into a bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from isolation.model.outcome import Outcome
from tests.conformance.test_orchestration import ETL, Generator
from tests.runner.kit import serving
from tests.sandbox.egress.conftest import network
from tests.test_integrations import DATABASE, copy, reaching, run

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

pytestmark = [pytest.mark.engine, pytest.mark.requirements, pytest.mark.postgresql, pytest.mark.usefixtures("engine")]


def test_a_rendered_pipeline_takes_rows_of_postgresql_into_a_bucket(
    tmp_path: Path, shop: psycopg.Connection[Any]
) -> None:
    """With one line more than the snippet has: the driver among the requirements."""
    shop.execute("CREATE TABLE fruit (id integer, what text)")
    shop.execute("INSERT INTO fruit VALUES (1, 'pears'), (2, 'plums')")
    shop.execute("GRANT SELECT ON fruit TO app")
    folder = copy(DATABASE, tmp_path / "recipe", [])
    policy = reaching(DATABASE)
    with serving() as site:
        generator = Generator(ETL.replace("steps:", '  requirements: ["psycopg2-binary>=2.9,<3"]\nsteps:', 1))
        recipe = generator.create_etl_recipe(
            {
                "type": "Database",
                "url": "postgres://app:correct-horse-battery@db.example.org:5432/shop",
                "params": {"query": "SELECT id, what FROM fruit WHERE id > %s", "parameters": [1]},
            },
            {"type": "S3", "url": "s3://bucket/", "options": {"endpoint_url": site.url, "anonymous": True}},
        )
        (folder / "recipe.yaml").write_text(recipe)
        allowed = [*map(str, policy.network.allow), site.url.removeprefix("http://")]
        policy = policy.model_copy(update={"network": network(allowed, [*map(str, policy.network.tcp)])})
        result, _ = run(folder, tmp_path, policy, {})

    assert (result.outcome, result.errors) == (Outcome.SUCCEEDED, ())
    assert [(put.path, put.body) for put in site.asked] == [("/bucket/rows.jsonl", b'{"id":2,"what":"plums"}\n')]
