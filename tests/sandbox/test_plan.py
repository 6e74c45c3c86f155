"""The plan: what the runner is told, and the deadlines that the host keeps itself."""

from __future__ import annotations

from typing import Any

from isolation.model.endpoint import Endpoint
from isolation.model.network import Network
from isolation.model.policy import Policy
from isolation.model.recipe import Recipe
from isolation.sandbox.egress.inside import hosts, variables
from isolation.sandbox.plan import deadlines, plan_document, write_scope

POLICY = Policy.model_validate(
    {"name": "p", "limits": {"wall": 50, "step_wall": 10}, "context": {"reads": ["*"], "writes": ["sales.*"]}}
)


def recipe(**more: Any) -> Recipe:  # noqa: ANN401 - as its author writes it
    steps = [
        {"name": "load", "module": "m", "function": "f", "args": {"n": 1}, "retry_count": 2},
        {"name": "sum", "module": "m", "function": "g", "depends_on": ["load"], "timeout": 3, "enabled": False},
        {"name": "say", "module": "m", "function": "h", "timeout": 99, "success": {"ctx_has_keys": ["a"]}},
    ]
    return Recipe.model_validate({"name": "r", "steps": steps, "config": {"c": 1}, **more})


def test_the_plan_holds_what_the_runner_needs_and_no_more() -> None:
    """The whole document: what a hostile container learns of its own run."""
    made = recipe()

    assert plan_document(made, made.steps, POLICY) == {
        "steps": [
            {"name": "load", "module": "m", "function": "f", "args": {"n": 1}, "args_from": [],
             "depends_on": [], "secrets": [],
             "ctx_has_keys": [], "timeout_s": 10.0, "retry_count": 2, "retry_delay_s": 0.0,
             "disabled": "", "cache": False},
            {"name": "sum", "module": "m", "function": "g", "args": {}, "args_from": [],
             "depends_on": ["load"], "secrets": [],
             "ctx_has_keys": [], "timeout_s": 3.0, "retry_count": 0, "retry_delay_s": 0.0,
             "disabled": "enabled: false", "cache": False},
            {"name": "say", "module": "m", "function": "h", "args": {}, "args_from": [],
             "depends_on": [], "secrets": [],
             "ctx_has_keys": ["a"], "timeout_s": 10.0, "retry_count": 0, "retry_delay_s": 0.0,
             "disabled": "", "cache": False},
        ],
        "workers": 1,
        "continue_on_error": True,
        "config": {"c": 1},
        "features": {},
        "environment": "",
        "writes": [["sales.*"]],
        "merge": {"strict": False, "on_conflict": "fail", "rules": [], "attempts": 5},
        "limits": {"result_bytes": 2**20, "artifact_count": 64},
        "egress": None,
        "determinism": {"seed": 0, "directory_order": "sorted", "cpu_count": 1},
        "stays": False,
        "kept": {},
    }  # fmt: skip


def test_the_least_of_all_deadlines_holds() -> None:
    """A recipe may ask for less time than its policy gives, never for more."""
    short = recipe(execution={"timeout_seconds": 20})
    long = recipe(execution={"timeout_seconds": 2000})

    assert deadlines(short, short.steps, POLICY).wall_s == 20
    assert deadlines(long, long.steps, POLICY).wall_s == 50
    assert deadlines(long, long.steps, POLICY).steps_s == (10, 3, 10)


def test_a_key_must_match_the_policy_and_the_recipe() -> None:
    """Two lists: one glob of each."""
    assert write_scope(recipe(context={"writes": ["sales.eu"]}), POLICY) == [["sales.*"], ["sales.eu"]]
    assert write_scope(recipe(context={"writes": []}), POLICY) == [["sales.*"], []]


def test_steps_run_side_by_side_only_when_the_recipe_says_so() -> None:
    """And at most eight: each is a process."""
    steps = [{"name": f"s{number}", "module": "m", "function": "f"} for number in range(20)]
    made = recipe(execution={"parallel_execution": True}, steps=steps)

    assert plan_document(made, made.steps, POLICY)["workers"] == 8
    assert plan_document(made, made.steps[:2], POLICY)["workers"] == 2


def test_a_plan_with_a_network_says_where_the_way_out_is() -> None:
    """The socket and the port are the same in every run; the names that are allowed are not told."""
    made = recipe()
    policy = POLICY.model_copy(update={"network": Network(allow=(Endpoint("example.org", 443),))})
    proxy = "http://127.0.0.1:3128"

    assert plan_document(made, made.steps, policy)["egress"] == {
        "socket": "/egress/proxy.sock",
        "port": 3128,
        "environment": {
            "HTTP_PROXY": proxy,
            "HTTPS_PROXY": proxy,
            "http_proxy": proxy,
            "https_proxy": proxy,
            "NO_PROXY": "localhost,127.0.0.1,::1",
        },
        "tcp": [],
    }


def test_each_name_of_tcp_has_a_loopback_address_of_its_own() -> None:
    """Two names may have the same port, and one name two; what is listed twice is listened for once."""
    made = recipe()
    listed = ["db.example.org:5432", "replica.example.org:5432", "db.example.org:5433", "DB.example.org:5432"]
    network = Network.model_validate({"tcp": listed})

    told = plan_document(made, made.steps, POLICY.model_copy(update={"network": network}))["egress"]

    assert told["tcp"] == [
        ["127.64.0.1", 5432, "db.example.org:5432"],
        ["127.64.0.2", 5432, "replica.example.org:5432"],
        ["127.64.0.1", 5433, "db.example.org:5433"],
    ]
    assert hosts(network) == "127.64.0.1 db.example.org\n127.64.0.2 replica.example.org\n"


def test_a_loopback_that_the_policy_lists_is_asked_of_the_proxy() -> None:
    """Who lists 127.0.0.1 means the host's: the cell's own needs no entry."""
    listed = Network(allow=(Endpoint("127.0.0.1", 5432), Endpoint("::1", 5432)))

    assert variables(listed)["NO_PROXY"] == "localhost"
