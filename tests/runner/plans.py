"""Plans for tests: steps, the document that they stand in, and processes that have ended."""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]


def step(name: str, **more: object) -> Json:
    plain = {
        "depends_on": [],
        "ctx_has_keys": [],
        "timeout_s": 5.0,
        "retry_count": 0,
        "retry_delay_s": 0.0,
        "disabled": "",
        "cache": False,
    }
    return {"name": name, "module": "m", "function": "f", "args": {}, "args_from": [], **plain, **more}


def document(
    *steps: Json,
    workers: int = 1,
    writes: object = (("*",),),
    merge: Json | None = None,
    continues: bool = True,
    kept: Json | None = None,
) -> Json:
    limits = {"result_bytes": 4096, "artifact_count": 4}
    rule = {"strict": False, "on_conflict": "fail", "rules": [], "attempts": 5, **(merge or {})}
    told: Json = {"config": {}, "features": {}, "environment": "", "determinism": {}, "continue_on_error": continues}
    told["kept"] = kept or {}
    return told | {"steps": list(steps), "workers": workers, "writes": writes, "limits": limits, "merge": rule}


class Ended:
    """A process that has ended, as the plan looks at it."""

    def __init__(self, of: Json, *, status: int = 0, number: int = 1, **answer: object) -> None:
        empty: Json = {"set": {}, "deleted": [], "writers": {}, "reads": [], "read_all": False, "outputs": None}
        empty |= {"import_s": None, "problem": None}
        self.step, self.number, self.status = of, number, status
        self.answer: bytes | None = json.dumps({**empty, **answer}).encode()
        self.timed_out = self.too_large = False
        self.rubbish = ""
        self.started_s = self.cpu_s = 0.0


def problem(cause: str = "exception") -> Json:
    return {"cause": cause, "type": "E", "message": "m", "traceback": ""}
