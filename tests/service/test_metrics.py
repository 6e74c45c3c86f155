"""What Prometheus is told, and to whom."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from isolation.clock import timestamp
from isolation.model.access import Role
from isolation.model.usage import Usage
from isolation.sandbox.pool.pool import Standing

if TYPE_CHECKING:
    from httpx2 import Client

    from isolation.service.service import Service
    from tests.conftest import ResultOf
    from tests.service.conftest import ClientFor


def told(client: Client) -> dict[tuple[str, ...], float]:
    """Read what is told, by name and labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


def end(service: Service, result_of: ResultOf, run_id: str, namespace: str = "default") -> None:
    """Record a run that ends now, with figures."""
    ledger = service.within(namespace).ledger
    result = result_of(run_id)
    usage = Usage(wall_s=0.3, cpu_s=None, memory_peak_bytes=3 * 2**20)
    attempt = replace(result.attempts[0], usage=usage, phases_ms={"run": 40.0})
    now = timestamp(service.clock.now())
    ledger.start(run_id, "etl", "default", result.digests, now)
    with ledger.settling(run_id) as settling:
        settling.finish(replace(result, attempts=(attempt,)), now)


def test_runs_are_counted_and_measured_once(service: Service, client: Client, result_of: ResultOf) -> None:
    """However often somebody asks; what was not measured is no zero."""
    end(service, result_of, "r1")
    service.stores.ledger.start("r2", "etl", "default", result_of("r2").digests, timestamp(service.clock.now()))
    told(client)
    found = told(client)
    assert found["isolation_runs_ended_total", "default", "succeeded"] == 1
    assert found["isolation_runs_running", "default"] == 1
    assert found["isolation_attempt_wall_seconds_count", "default"] == 1
    assert found["isolation_attempt_wall_seconds_sum", "default"] == 0.3
    assert found["isolation_attempt_memory_peak_bytes_sum", "default"] == 3 * 2**20
    assert found["isolation_phase_seconds_sum", "default", "run"] == 0.04
    assert ("isolation_attempt_cpu_seconds_count", "default") not in found
    assert sum(value for key, value in found.items() if key[0] == "isolation_host_pressure") == 1


def test_the_pools_cells_are_told_where_there_is_a_pool(service: Service, client: Client) -> None:
    """Who runs nothing here knows of none, which is no zero; the host's page says the same."""
    assert not [key for key in told(client) if key[0].startswith("isolation_pool")]
    assert "Cells of the pool" not in client.get("/host").text
    service.standing = lambda: Standing(idle=2, used=0, wanted=3)
    found = told(client)
    states = {key[1]: value for key, value in found.items() if key[0] == "isolation_pool_cells"}
    assert states == {"idle": 2, "used": 0, "wanted": 3}
    assert "2 ready of 3 wanted, 0 in use" in client.get("/host").text


def test_another_namespaces_figures_are_not_told(service: Service, client_for: ClientFor, result_of: ResultOf) -> None:
    """Neither its counts nor its histograms, and nothing of the host that all share."""
    service.standing = lambda: Standing(idle=2, used=0, wanted=3)
    end(service, result_of, "r1", "default")
    end(service, result_of, "r2", "theirs")
    theirs = told(client_for(Role.OPERATOR, "theirs"))
    assert theirs["isolation_runs_ended_total", "theirs", "succeeded"] == 1
    assert not [key for key in theirs if "default" in key]
    assert not [key for key in theirs if key[0].startswith(("isolation_host", "isolation_pool"))]
    assert client_for(Role.VIEWER).get("/metrics").status_code == 403
