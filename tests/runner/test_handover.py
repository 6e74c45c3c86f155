"""The secrets in the runner: bytes of one buffer, handed to the steps that name them."""

from __future__ import annotations

import secrets
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from isolation.contract import SECRETS, frame
from isolation.model.secret import Secret
from isolation.sandbox.plan import secrets_payload
from tests.runner.conftest import FOLDERS, ROOT

if TYPE_CHECKING:
    from tests.runner.conftest import Load

NAMES = some.from_regex(r"[A-Z_][A-Z0-9_]{0,63}", fullmatch=True)
VALUES = some.text(some.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)


def payload(values: dict[str, str]) -> bytearray:
    return bytearray(secrets_payload({name: Secret(name, value) for name, value in values.items()}))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some.dictionaries(NAMES, VALUES, max_size=5), some.data())
def test_a_step_gets_what_it_names_and_the_rest_is_wiped(
    load: Load, values: dict[str, str], data: some.DataObject
) -> None:
    """In any order, any text, with any neighbours."""
    buffer = payload(values)
    names = data.draw(some.lists(some.sampled_from(sorted(values)), unique=True)) if values else []

    assert load("handover").Secrets(buffer).hand_over(names) == {name: values[name] for name in names}
    assert not any(buffer)


def test_wiping_happens_in_place(load: Load) -> None:
    """A second buffer with zeros would leave the first one as it was."""
    buffer = payload({"A": "hunter22" * 1000})
    view = memoryview(buffer)

    load("handover").Secrets(buffer).wipe()

    assert not any(view)


def test_a_step_that_names_one_that_was_not_delivered_fails(load: Load) -> None:
    """The host delivers what steps name; if it did not, nobody goes on as if it had."""
    with pytest.raises(KeyError):
        load("handover").Secrets(payload({"A": "hunter22"})).hand_over(["B"])


RECEIVE = r"""
import os, re, sys
sys.path[:0] = sys.argv[2:]
from channel import Channel
from handover import Secrets

def scan():
    fd = os.open("/proc/self/mem", os.O_RDONLY)
    found = set()
    for line in open("/proc/self/maps").readlines():
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        for place in range(start, min(end, 2**47), 2**20):
            try:
                found.update(re.findall(rb"canary-[0-9a-f]{8}", os.pread(fd, min(2**20, end - place), place)))
            except OSError:
                continue
    return len(found)

def tell():
    if os.fork() == 0:  # what a scan finds is in its own memory, too
        os.write(1, b"%d\n" % scan())
        os._exit(0)
    os.wait()

channel = Channel(0, 1)
held = [Secrets(channel.receive_secrets()) for _ in range(int(sys.argv[1]))]
tell()
for one in held:
    one.wipe()
tell()
"""


def test_no_copy_of_a_secret_is_left_in_the_runner() -> None:
    """Of any size: what is read in pieces, or made into text, is freed memory later, and every step's to read."""
    sizes = [*range(20, 520, 20), 1_000, 5_000, 20_000, 65_536]
    values = [(f"canary-{secrets.token_hex(4)}" * size)[:size] for size in sizes]
    frames = b"".join(frame(SECRETS, bytes(payload({"A": value}))) for value in values)
    command = [sys.executable, "-c", RECEIVE, str(len(sizes)), *(str(ROOT / folder) for folder in FOLDERS)]

    done = subprocess.run(command, input=frames, capture_output=True, check=False)

    assert done.stdout.split() == [str(len(sizes)).encode(), b"0"], done.stderr.decode()
