"""What a recipe declared of the context, against what its steps really read and wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.model.run import ContextUse
from isolation.rules.scope import allows, matches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isolation.model.recipe import Scope
    from isolation.model.run import StepReport


def observe(declared: Scope, allowed: Sequence[str], steps: Sequence[StepReport]) -> ContextUse:
    """Compare; ``allowed`` are the policy's globs over the keys that may be read."""
    read = {key for step in steps for key in step.keys_read}
    wrote = {key for step in steps for key in (*step.keys_written, *step.keys_dropped)}
    everything = any(step.read_all for step in steps)
    return ContextUse(
        reads=declared.reads,
        writes=declared.writes,
        unused_reads=() if everything else _unused(declared.reads, read),
        unused_writes=_unused(declared.writes, wrote),
        not_shown=tuple(sorted(key for key in read - wrote if not allows(key, declared.reads, allowed))),
    )


def _unused(globs: Sequence[str] | None, keys: set[str]) -> tuple[str, ...]:
    return tuple(glob for glob in globs or () if not any(matches(key, (glob,)) for key in keys))
