"""Where attacks take place: a controller on a real engine, and around it all that an attack must leave alone."""

from __future__ import annotations

import itertools
import json
import os
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import docker
import pytest
from sqlalchemy import func, select

from isolation.model.document import to_json
from isolation.model.outcome import Outcome
from isolation.model.policy import Limits, Policy
from isolation.owner import this_process
from isolation.sandbox.cells import MOST_BESIDE
from isolation.sandbox.engine import engine_address
from isolation.settings import Settings
from isolation.state.schema import attempts, context_entries, runs
from isolation.stores import Stores
from isolation.wiring import open_controller
from tests.hostile.canaries import HostCanary, Secrets
from tests.hostile.footprint import OURS, Watched, WatchedEngine
from tests.hostile.traces import Witness, check_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from isolation.controller import Controller
    from isolation.model.run import Result

Runtime = Literal["runc", "crun", "runsc"]
on_runc = pytest.mark.parametrize("runtime", ["runc"], indirect=True, scope="session")
"""For what is about the host and its faults, in which the runtime has no part."""

PROBE = """
def run(context, params):
    return {"sum": sum(range(1000)), "written": open("/tmp/x", "w").write("fine")}
"""
ATTACKS = Path(__file__).parent / "attacks"
_REMOVED_WITHIN_S = 20.0
_AT = "2025-01-02T03:04:05.678Z"


class Arena:
    """
    Runs attacks on one runtime. Every attack is followed by its invariants, so no test can forget them.

    ``last`` is the witness of the last attack: its events, and what the engine said of its containers.
    """

    def __init__(self, folder: Path, runtime: Runtime, secrets: Secrets, image: str) -> None:
        self.runtime = runtime
        self.image = image
        self.secrets = secrets
        self.host = HostCanary(folder / "host")
        self.client = docker.APIClient(base_url=engine_address(), version="auto")
        self.last = Witness(self.client)
        self._folder = folder
        self._numbers = itertools.count(1)
        with Stores(folder / "tenant") as tenant:
            tenant.contexts.set("secret", self.secrets.tenant, "tenant", _AT)
        self.idle = int(os.environ.get("HOSTILE_IDLE", "0"))
        self.controller = open_controller(Settings(state=folder / "state", image=image), idle=self.idle)
        self.probe()  # what is opened once is open now
        gate = threading.Barrier(MOST_BESIDE)  # and the threads that stay stand, all of them: there are no more later
        list(self.controller.cells.beside.map(lambda _: gate.wait(), range(MOST_BESIDE)))
        self._held = (self._volumes(), self._networks())
        self._watched = (Watched(os.getpid(), OURS), WatchedEngine(self.client))

    @property
    def state(self) -> Path:
        """The state folder."""
        return self._folder / "state"

    @property
    def tenant(self) -> Path:
        """The state folder of somebody else, whose context holds a secret under the key ``secret``."""
        return self._folder / "tenant"

    def policy(self, limits: Mapping[str, Any] | None = None, **more: Any) -> Policy:  # noqa: ANN401 - a policy's own
        """Make a policy for this runtime; ``limits`` are written as in a file: ``{"memory": "64MiB"}``."""
        own = {"wall": 60, "step_wall": 60} | ({"tmp_inodes": None, "pids": 128} if self.runtime == "runsc" else {})
        stated = Limits.model_validate({**own, **(limits or {})})
        return Policy(name="hostile", runtime=self.runtime, limits=stated, **more)

    def recipe(
        self,
        source: str,
        *,
        steps: int = 1,
        args: Mapping[str, Any] | None = None,
        extra: str = "",
        files: Mapping[str, str] | None = None,
    ) -> Path:
        """
        Write a recipe whose steps s0, s1, ... each call ``run`` of one module with that source and ``args``.

        ``extra`` are lines of its file beside the steps, ``files`` further files of its folder.
        """
        folder = self._folder / f"recipe-{next(self._numbers)}"
        folder.mkdir()
        (folder / "work.py").write_text(textwrap.dedent(source))
        for name, content in (files or {}).items():
            (folder / name).write_text(content)
        given = json.dumps(dict(args or {}))
        lines = [f"  - {{name: s{index}, module: work, function: run, args: {given}}}" for index in range(steps)]
        (folder / "recipe.yaml").write_text("\n".join(["metadata: {name: hostile}", extra, "steps:", *lines, ""]))
        return folder

    def program(self, name: str, *, steps: int = 1, args: Mapping[str, Any] | None = None) -> Path:
        """Write a recipe from one of the programs in ``attacks``."""
        kernel = (ATTACKS / "kernel.py").read_text()
        return self.recipe((ATTACKS / f"{name}.py").read_text(), steps=steps, args=args, files={"kernel.py": kernel})

    def attack(
        self,
        source: str | Path,
        *,
        steps: int = 1,
        args: Mapping[str, Any] | None = None,
        extra: str = "",
        limits: Mapping[str, Any] | None = None,
        policy: Policy | None = None,
        context: Mapping[str, Any] | None = None,
        during: Callable[[], object] | None = None,
        probing: bool = False,
        cancel: threading.Event | None = None,
        by: Controller | None = None,
    ) -> Result:
        """
        Run an attack and hold every invariant against it.

        ``source`` is a scriptlet's, or the folder of a whole recipe. ``during`` is called, in the host, at the attack's
        first line of output; ``probing`` has a benign recipe run beside the attack from that line on, and another
        after it: for attacks on resources. ``by`` is a controller on the same state folder that takes the arena's own's
        place. An attack that is refused raises what the controller raised.
        """
        folder = self.recipe(source, steps=steps, args=args, extra=extra) if isinstance(source, str) else source

        def run(witness: Witness) -> Result:
            return (by or self.controller).run(
                folder, policy=policy or self.policy(limits), context=context, watcher=witness, cancel=cancel
            )

        result, witness = self._witnessed(run, during, probing=probing)
        self.check(result, witness)
        if probing:
            self.probe()
        return result

    def _witnessed(
        self, run: Callable[[Witness], Result], during: Callable[[], object] | None, *, probing: bool
    ) -> tuple[Result, Witness]:
        """Run it with a witness of its own, since several may run at once, and what belongs beside it."""
        with ThreadPoolExecutor(1) as beside:
            probes: list[Future[Result]] = []

            def under_way() -> None:
                if probing:
                    probes.append(beside.submit(self.probe))
                if during is not None:
                    during()

            self.last = witness = Witness(self.client, under_way)
            try:
                result = run(witness)
            finally:
                self.host.check_facts()
            for probe in probes:
                probe.result()
        assert len(probes) == probing, "G3: the attack never said that it was under way"
        return result, witness

    def probe(self) -> Result:
        """G3: run a benign recipe, and assert that it finishes correctly within its policy's wall-clock limit."""
        folder = self._folder / "probe"
        if not folder.exists():
            folder = self.recipe(PROBE).rename(folder)
        result = self.controller.run(folder, policy=self.policy())
        assert result.outcome is Outcome.SUCCEEDED, f"G3: the probe ended {result.outcome}: {result.errors}"
        assert result.attempts[0].steps[0].outputs == {"sum": 499500, "written": 4}, "G3: the probe's outputs"
        return result

    def check(self, result: Result, witness: Witness) -> None:
        """Hold G1, G2, G4 and G6 against a run that has ended; G3 and G5 are looked at less often."""
        assert result.run_id == witness.run_id
        self.host.check_facts()
        self._check_secrets(result)
        if self.controller.cells.pool is not None:  # which removes beside what follows
            assert self.controller.cells.pool.wait_for_removals(_REMOVED_WITHIN_S), "G4: removals do not come to an end"
        check_gone(witness, self.client)
        assert self._held == (self._volumes(), self._networks()), "G4: a volume or a network"
        self._check_record(result)

    def check_calm(self) -> None:
        """Hold G3 and G5 against all attacks so far."""
        self.probe()
        for watched in self._watched:
            watched.check()

    def close(self) -> None:
        """Hold G1, G2 and G4 against everything, once more and thoroughly."""
        ours = {"label": f"isolation.owner={this_process().text()}"}
        left = [] if self.idle else self.client.containers(all=True, filters=ours)
        self.controller.close()
        left += self.client.containers(all=True, filters=ours)
        self.client.close()
        assert left == [], "G4: a container"
        self.host.check_content()
        self.secrets.check_files(self.state.rglob("*"))

    def _check_secrets(self, result: Result) -> None:
        self.secrets.check(to_json(result).encode(), "the result")
        self.secrets.check_files((self.state / "runs" / result.run_id).iterdir())
        for artifact in result.artifacts:
            self.secrets.check(self.controller.stores.blobs.get(artifact.digest), f"the artifact {artifact.name!r}")

    def _check_record(self, result: Result) -> None:
        """G6: one state, one outcome, each attempt once, and no entry in the context that is not of its one merge."""
        of_run = runs.c.run_id == result.run_id
        with self.controller.stores.database.reading() as connection:
            (row,) = connection.execute(select(runs.c.state, runs.c.outcome).where(of_run)).all()
            numbers = connection.scalars(select(attempts.c.number).where(attempts.c.run_id == result.run_id)).all()
            query = select(func.count()).where(context_entries.c.run_id == result.run_id)
            written = connection.execute(query.group_by(context_entries.c.key)).all()
        assert tuple(row) == ("finished", result.outcome.value), "G6"
        assert sorted(numbers) == [attempt.number for attempt in result.attempts], "G6"
        assert all(count == 1 for (count,) in written), "G6: merged more than once"
        assert not written or result.outcome is Outcome.SUCCEEDED, "G6: merged without success"

    def _volumes(self) -> set[str]:
        return {volume["Name"] for volume in self.client.volumes()["Volumes"] or ()}

    def _networks(self) -> set[str]:
        return {network["Id"] for network in self.client.networks()}


def outputs_of(result: Result) -> dict[str, Any]:
    """Return what the first step of a run that succeeded gave."""
    assert result.outcome is Outcome.SUCCEEDED, (result.cause, result.errors)
    outputs = result.attempts[-1].steps[0].outputs
    assert isinstance(outputs, dict)
    return outputs
