"""
A runner image whose runner is an attacker's, as if a step had taken it over.

It greets as ours does, and then does as the recipe says: ``run(channel, plan)`` of its module ``work``. The channel is
our own runner's end of it, with the true nonce, so whatever a host could be told, it can be told here;
``channel.contract`` has the words, and ``channel.settle()`` says that the only step succeeded.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from isolation.settings import Settings
from isolation.wiring import open_controller
from tests.hostile.images import changed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isolation.controller import Controller
    from tests.hostile.kit import Arena

RUNNER = """
import os, sys

sys.path.insert(0, "/opt/runner")
import channel, walls
from isolation import contract
from view import look

class Traitor(channel.Channel):
    contract = contract

    def send(self, kind, *pieces):
        super().send(kind, *pieces)
        self.flush()

    def settle(self, **more):
        self.send_json(contract.STEP_STARTED, {"step": 0, "try": 1})
        ended = {"step": 0, "outcome": "succeeded", "tries": 1, "cause": "", **more}
        self.send_json(contract.STEP_ENDED, ended)

walls.hide()
seen = look()
own = Traitor.take_over_stdio()
version = sys.version.split()[0]
own.send_json(contract.HELLO, {"contract": contract.CONTRACT_VERSION, "python": version, "view": seen})
plan = own.receive_plan()
own.receive_secrets()
sys.path.insert(0, "/package")
from work import run

os._exit(run(own, plan) or 0)
"""


@contextmanager
def turned(arena: Arena) -> Iterator[Controller]:
    """Give a controller whose image is the traitor's; it shares the arena's state folder."""
    with (
        changed(arena.image, {"run.py": RUNNER}) as image,
        open_controller(Settings(state=arena.state, image=image)) as controller,
    ):
        yield controller
