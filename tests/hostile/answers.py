"""What a step can answer by hand, past our library: frames and raw bytes on the descriptor that its answer goes to."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isolation.model.run import Result
    from tests.hostile.kit import Arena

ANSWER: dict[str, Any] = {
    "set": {"said": 1},
    "deleted": [],
    "writers": {},
    "reads": [],
    "read_all": False,
    "import_s": None,
    "outputs": None,
    "problem": None,
}

SAY = """
import base64, os, signal, struct
def frame(content):
    return struct.pack(">BI", 32, len(content)) + content
def run(context, params):
    for piece in params["pieces"]:
        os.write(3, base64.b64decode(piece["content"]) if piece["raw"] else frame(base64.b64decode(piece["content"])))
    if params["signal"]:
        os.kill(os.getpid(), params["signal"])
    os._exit(params["code"])
"""


def saying(*pieces: bytes, raw: bool = False, signal: int = 0, code: int = 0) -> dict[str, Any]:
    """Write what a step is to say, frame by frame or as raw bytes, and how it is to end."""
    said = [{"content": base64.b64encode(piece).decode(), "raw": raw} for piece in pieces]
    return {"pieces": said, "signal": signal, "code": code}


def nothing_merged(result: Result, arena: Arena) -> bool:
    """Tell whether the run left the context as it was."""
    history = arena.controller.stores.contexts.history()
    return result.merge.status == "none" and not [one for one in history if one.run_id == result.run_id]


def answer(**more: object) -> bytes:
    """Write an answer that is as it must be, but for what is given."""
    return json.dumps(ANSWER | more).encode()
