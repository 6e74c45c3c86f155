"""What a cell says of its own confinement is hostile too: whatever it says, it is compared, and nothing breaks."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as some

from isolation.contract import Malformed
from isolation.model.policy import Policy
from isolation.sandbox.attestation import Standing, attest
from isolation.sandbox.frames import Hello, read_frame
from isolation.sandbox.hardening import Mounts, create_body
from isolation.testing import FakeEngine

if TYPE_CHECKING:
    from isolation.model.attestation import Attestation

UID = 231_099
STATUS = f"Uid:\t{UID}\nGid:\t{UID}\nGroups:\t\n" + "".join(
    f"Cap{name}:\t0\n" for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")
)
VIEW: dict[str, Any] = {
    "texts": {
        "status": STATUS + "NoNewPrivs:\t1\nSeccomp:\t2\n",
        "mountinfo": "75 50 0:39 / / ro,relatime master:2 - overlay overlay rw,lowerdir=/e/l/A:/e/l/B,workdir=/e\n",
        "limits": "Max open files            1024                 1024                 files\n",
        "cgroup": "0::/\n",
        "net/dev": "Inter-|\n face |bytes\n    lo: 0 0\n",
        "oom_score_adj": "1000\n",
        "attr/current": "docker-default (enforce)\n",
    },
    "namespaces": {"net": "net:[4026531840]", "user": "user:[4026531837]"},
    "descriptors": {"0": "pipe:[1]", "1": "pipe:[2]", "2": "pipe:[3]"},
    "folders": {"/dev": ["null"], "/proc": ["keys"], "/sys": ["firmware"], "/sys/devices/virtual": ["mem"]},
    "environment": {"PATH": "/usr/bin"},
    "rlimits": {"nofile": ["1024", "1024"]},
    "calls": {"ptrace": "EPERM"},
}
PIECES = some.sampled_from(
    [":", "\t", " ", "\n", "-", "/", "0x", "-1", "zz", "=", ",", "\x1b", "\u202e", "9" * 50, " - a b", "Cap"]
)
TEXTS = some.lists(PIECES | some.sampled_from(STATUS.split("\n")), max_size=8).map("".join) | some.text(max_size=20)


@some.composite
def views(draw: some.DrawFn) -> dict[str, Any]:
    """Draw a view with some of its texts, names and lists spoilt."""
    view = copy.deepcopy(VIEW)
    for _ in range(draw(some.integers(1, 4))):
        part = view[draw(some.sampled_from(sorted(view)))]
        name = draw(some.sampled_from(sorted(part))) if part and draw(some.booleans()) else draw(TEXTS)
        before = part.pop(name, "")
        if draw(some.booleans()):
            listed = isinstance(next(iter(part.values()), before), list)
            text = before + draw(TEXTS) if isinstance(before, str) and draw(some.booleans()) else draw(TEXTS)
            part[name] = draw(some.lists(TEXTS, max_size=3)) if listed else text
    return view


def attested(view: dict[str, Any], runtime: str, *, nameless: bool = True) -> Attestation:
    hello = read_frame(Hello, json.dumps({"contract": 1, "python": "3", "view": view}).encode())
    policy = Policy.model_validate(
        {"name": "p", "runtime": runtime, "limits": {"tmp_inodes": 99 if runtime == "runc" else None}}
    )
    body = create_body(
        policy,
        image_id="sha256:0",
        uid=UID,
        mounts=Mounts(package=Path("/p"), snapshot=Path("/i")),
        labels={},
        cgroup_parent=None,
        cell_memory_bytes=2**29,
    )
    standing = Standing(
        policy=policy,
        uid=UID,
        body=body,
        inspected={},
        view=hello.view,
        own=("/package", "/in"),
        in_force=None,
        nameless=nameless,
    )
    return attest(standing, FakeEngine().facts(), local=False)


@settings(max_examples=150)
@given(views(), some.sampled_from(["runc", "runsc"]))
def test_no_view_breaks_its_attestation(view: dict[str, Any], runtime: str) -> None:
    """An exception of ours would end the run as a defect, where it should end as refused, with the difference named."""
    with suppress(Malformed):
        for fact in attested(view, runtime).facts:
            assert fact.verdict in {"held", "mismatch", "unverified"}
