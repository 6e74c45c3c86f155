"""What is not in the records, and what is wrong with the folder that keeps them."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from isolation.settings import Settings
from isolation.wiring import open_stores
from tests.wrong_inputs.conftest import Desk, Gate, Wrong

if TYPE_CHECKING:
    from pathlib import Path

    from isolation.model.run import Digests

LISTED = "`isolation runs` lists them."
FREE = "Free some space there (`isolation clean` removes what old runs left), or choose another folder with --state."
MEETING_A_FAULT = [
    (("runs",), "{state}"),
    (("context", "set", "a", "1"), "{state}"),
    (("package", "{folder}"), "{state}/blobs"),
]

# The state folder is there, and holds a key and two runs.
RECORDS = {
    **{
        f"an unknown run to {name}": Wrong(
            command=(name, "19700101"), told="there is no run '19700101' in this state folder", hint=LISTED
        )
        for name in ("show", "logs", "rerun")
    },
    "the beginning of two runs": Wrong(
        command=("show", "2026"),
        told="more than one run begins with '2026': 20260101-000000-aaaaaaaa, 20260101-000000-bbbbbbbb",
        hint="Give more of the id.",
    ),
    "a log that is not there": Wrong(
        command=("logs", "last", "--attempt", "2"),
        told="the run 20260101-000000-bbbbbbbb has no log of an attempt 2",
        hint="It has none yet.",
    ),
    "an unknown key": Wrong(
        command=("context", "get", "sales.totl"),
        told="the context has no key 'sales.totl'",
        hint="Did you mean 'sales.total'?",
        code=1,
    ),
    "an unknown key to delete": Wrong(
        command=("context", "delete", "weather"),
        told="the context has no key 'weather'",
        hint="`isolation context list` shows all.",
        code=1,
    ),
}


@pytest.mark.parametrize("wrong", RECORDS.values(), ids=RECORDS)
def test_what_is_not_recorded_is_told(desk: Desk, digests: Digests, wrong: Wrong) -> None:
    """Asking changes nothing, whatever was asked for."""
    with open_stores(Settings(state=desk.state)) as stores:
        for end in ("aaaaaaaa", "bbbbbbbb"):
            stores.ledger.start(f"20260101-000000-{end}", "etl", "default", digests, "2026-01-01T00:00:00.000Z")
        stores.contexts.set("sales.total", 1, "ann", "2026-01-01T00:00:00.000Z")

    assert desk.run(*wrong.command) == (wrong.code, "", desk.text(wrong))
    with open_stores(Settings(state=desk.state)) as stores:
        assert (len(stores.ledger.list(9)), stores.contexts.version()) == (2, 1)


def test_no_run_yet(desk: Desk) -> None:
    """The first thing that somebody tries may be ``last``."""
    told = "isolation: there are no runs yet\nBegin one: `isolation run RECIPE`.\n"
    assert desk.run("show", "last") == (2, "", told)


@pytest.mark.parametrize(("command", "place"), MEETING_A_FAULT)
def test_a_state_folder_of_somebody_else(
    desk: Desk, as_a_user: tuple[str, ...], command: tuple[str, ...], place: str
) -> None:
    """Whatever meets it first says the same."""
    desk.state.mkdir()
    desk.state.chmod(0o555)

    code, printed, told = desk.run(*command, before=as_a_user)

    assert (code, printed) == (4, "")
    assert told == desk.fill(
        f"isolation: the state folder {place} may not be used by this user\n"
        "Give this user the right to read and write it, or choose another folder with --state.\n"
    )
    assert list(desk.state.iterdir()) == []


@pytest.mark.root
@pytest.mark.parametrize(("command", "place"), MEETING_A_FAULT)
def test_a_state_folder_on_a_full_disk(desk: Desk, small_disk: Path, command: tuple[str, ...], place: str) -> None:
    """Whatever meets it first says the same, and nothing half made is left."""
    desk.state = small_disk / "state"
    desk.state.mkdir()
    fill_up(small_disk)

    assert desk.run(*command) == (
        4,
        "",
        desk.fill(f"isolation: the state folder {place} is full\n{FREE}\n"),
    )
    assert [path for path in desk.state.rglob("*") if path.is_file()] == []


@pytest.mark.engine
@pytest.mark.root
def test_a_run_on_a_full_disk_is_told_before_a_container_is_made(desk: Desk, gate: Gate, small_disk: Path) -> None:
    """A run whose record cannot be kept must not begin."""
    desk.state = small_disk / "state"
    desk.state.mkdir()
    fill_up(small_disk)

    assert desk.run("run", "{folder}", engine=gate.address) == (
        4,
        "",
        desk.fill(f"isolation: the state folder {{state}}/blobs is full\n{FREE}\n"),
    )
    assert {method for method, _ in gate.asked()} == {"GET"}


@pytest.mark.root
@pytest.mark.parametrize(("command", "place"), MEETING_A_FAULT)
def test_a_state_folder_on_a_read_only_disk(desk: Desk, small_disk: Path, command: tuple[str, ...], place: str) -> None:
    """Told from a full one: the way out is another."""
    desk.state = small_disk / "state"
    desk.state.mkdir()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)  # noqa: S607 - where it lies differs

    assert desk.run(*command) == (
        4,
        "",
        desk.fill(
            f"isolation: the state folder {place} is read-only\n"
            "Mount it writable, or choose another folder with --state.\n"
        ),
    )


def fill_up(disk: Path) -> None:
    with (disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while ballast.write(b"x" * 2**12):
            pass
