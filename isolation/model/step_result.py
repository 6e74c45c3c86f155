"""What a step made of what it found: kept, so that a later run may take it instead of running the step."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isolation.model.package import canonical, digest_of

if TYPE_CHECKING:
    from pydantic import JsonValue

LARGEST_RESULT_BYTES = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """
    A step's changes and outputs, and what they follow from.

    ``found`` is the digest of what the step found: its args as they were filled, and under each key of ``reads`` the
    value, or that it was not there. ``run_id`` is the run that made it, empty before it is kept.
    """

    step: str
    found: str
    reads: tuple[str, ...] = ()
    set: dict[str, JsonValue] = field(default_factory=dict)
    deleted: tuple[str, ...] = ()
    writers: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, JsonValue] | None = None
    run_id: str = ""

    def document(self) -> dict[str, JsonValue]:
        """Return what the runner is told of it, as JSON values."""
        return {
            "found": self.found,
            "reads": [*self.reads],
            "set": self.set,
            "deleted": [*self.deleted],
            "writers": {**self.writers},
            "outputs": self.outputs,
        }

    def content(self) -> str:
        """Write it as it is kept: mappings stay in their order, which a step can see."""
        return json.dumps(self.document(), ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @classmethod
    def read(cls, content: str, step: str, run_id: str) -> StepResult:
        """Read what was kept."""
        kept = json.loads(content)
        kept |= {"reads": tuple(kept["reads"]), "deleted": tuple(kept["deleted"])}
        return cls(step=step, run_id=run_id, **kept)


def key_of(step: str, *, package: str, policy: str, image: str) -> str:
    """
    Name a step's results by all that is settled before the step begins: the digests of what runs it, and its name.

    The package has the code, the recipe with its environment and features, and the locked requirements. So nobody can
    take what another package wrote.
    """
    return digest_of(canonical({"step": step, "package": package, "policy": policy, "image": image}))
