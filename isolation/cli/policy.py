"""``isolation policy``: which policies there are, what they say, whether one can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.cli.session import print_json, say, takes_json
from isolation.cli.table import table
from isolation.cli.values import clip
from isolation.rules.escape import escape
from isolation.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from argparse import Namespace

    from isolation.cli.parser import Parser
    from isolation.model.policy import Policy


def register(parser: Parser) -> None:
    """Add the group of commands."""
    group = parser.add("policy", None, "Show and check policies.", examples=("isolation policy check mine.yaml",))
    added = group.add("list", list_, "List the project's own policies.", examples=("isolation policy list",))
    takes_json(added)
    added = group.add(
        "show",
        show,
        "Print a policy: its file as it is written, or with --json every value that holds.",
        examples=("isolation policy show strict > mine.yaml", "isolation policy show mine.yaml --json"),
    )
    _takes_policy(added)
    added = group.add(
        "check", check, "Check that a policy can be read.", examples=("isolation policy check mine.yaml",)
    )
    _takes_policy(added)


def list_(given: Namespace) -> int:
    """List the project's own policies."""
    from isolation.packaging.policy import load_policy, policy_names  # noqa: PLC0415 - slow to import

    policies = [load_policy(name) for name in policy_names()]
    if given.json:
        print_json([{"name": policy.name, "description": policy.description} for policy in policies])
    else:
        head = ["policy", "memory", "CPUs", "processes", "wall", ""]
        say("\n".join(table([head, *(_row(policy) for policy in policies)], right=[1, 2, 3, 4], indent="")))
    return 0


def show(given: Namespace) -> int:
    """Print a policy."""
    from isolation.packaging.policy import load_policy, policy_path  # noqa: PLC0415 - slow to import

    loaded = load_policy(given.policy)
    if given.json:
        print_json(loaded.model_dump(mode="json", by_alias=True))
    else:
        say(escape(policy_path(given.policy).read_text(encoding="utf-8"), lines=True).rstrip("\n"))
    return 0


def check(given: Namespace) -> int:
    """Check a policy."""
    from isolation.packaging.policy import load_policy  # noqa: PLC0415 - slow to import

    loaded = load_policy(given.policy)
    if given.json:
        print_json({"name": loaded.name, "valid": True})
    else:
        say(f"policy {escape(loaded.name)} is in order")
    return 0


def _takes_policy(parser: Parser) -> None:
    parser.add_argument("policy", metavar="NAME|FILE", help="one of `isolation policy list`, or a file")
    takes_json(parser)


def _row(policy: Policy) -> list[str]:
    limits = policy.limits
    numbers = [format_bytes(limits.memory_bytes), f"{limits.cpus:g}", str(limits.pids), format_seconds(limits.wall_s)]
    return [escape(policy.name), *numbers, clip(" ".join(policy.description.split()), 80)]
