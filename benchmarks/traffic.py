"""
An hour's traffic of one server: what comes, how often, and what is to be answered.

Writes, reads and transactions of 100 keys come at a hundredth of what the server has to manage of each alone
(``benchmarks/service.py``: 1,500, 2,500 and 200 a second), all of the hour: 15, 25 and 2 a second. The rest is what
some dozens of people and programs do beside that.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import socketio
from server import RECIPE, SCRIPTLET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from itertools import count

    from server import Target

STAY_S = 2.0
"""So long somebody listens to changes, or to a log that has no end yet."""
PATIENCE_S = 30
"""So long somebody waits for an answer."""
AT_ONCE = 32
"""So many of one kind are there at most; the next waits, and comes late."""
_KEYS = 100
_A_TRANSACTION = 100


class UnexpectedError(Exception):
    """An answer that should not have come."""


@dataclass
class Crowd:
    """Those who ask one server, what they have done, and what went wrong; numbers are not used twice."""

    target: Target
    numbers: Iterator[int]
    shared: aiohttp.ClientSession
    runs: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    async def ask(
        self,
        method: str,
        path: str,
        *expected: int,
        by: aiohttp.ClientSession | None = None,
        **how: Any,  # noqa: ANN401 - whatever aiohttp takes
    ) -> str:
        """Ask, over a connection that is kept or by somebody of their own; UnexpectedError for any other status."""
        async with (by or self.shared).request(method, path, allow_redirects=False, **how) as answer:
            text = await answer.text()
            if answer.status not in (expected or (200,)):
                raise UnexpectedError(f"{method} {path.partition('?')[0]}: {answer.status} {text[:200]}")
            return text

    async def one(self, kind: Kind) -> None:
        """Have somebody do what they came for, and count it."""
        try:
            await kind.does(self)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is counted, and ends the soak with 1
            self.wrong[f"{kind.name}: {type(error).__name__}: {error}"] += 1
        else:
            self.done[kind.name] += 1


@dataclass(frozen=True)
class Kind:
    """Something that happens so often in an hour."""

    name: str
    an_hour: int
    does: Callable[[Crowd], Awaitable[None]]

    async def come(self, crowd: Crowd, seconds: float, speed: float) -> None:
        """Come at an even pace, ``speed`` times as fast as in truth, until the time is over and all have left."""
        wanted = max(1, round(self.an_hour / 3600 * speed * seconds))
        room, loop = asyncio.Semaphore(AT_ONCE), asyncio.get_running_loop()
        began_s = loop.time()

        async def one() -> None:
            try:
                await crowd.one(self)
            finally:
                room.release()

        async with asyncio.TaskGroup() as group:
            for number in range(wanted):
                await asyncio.sleep(began_s + number * seconds / wanted - loop.time())
                await room.acquire()
                if loop.time() - began_s > seconds:
                    return
                group.create_task(one())


@asynccontextmanager
async def somebody(target: Target, *, shows: bool = True) -> AsyncIterator[aiohttp.ClientSession]:
    """Be somebody with connections and cookies of their own, who shows the token or not."""
    headers = {"Authorization": f"Bearer {target.token}"} if shows else {}
    # A cookie of an address without a name is not kept unless that is asked for.
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(target.url, headers=headers, cookie_jar=jar) as session:
        yield session


async def drive(target: Target, numbers: count[int], seconds: float, speed: float) -> Crowd:
    """Have all kinds come at once; returns when the last has left."""
    async with somebody(target) as shared:
        crowd = Crowd(target, numbers, shared)
        for kind in (WRITE, CHANGE, SUBMIT):  # so that there is something to be found
            await crowd.one(kind)
        await asyncio.gather(*(kind.come(crowd, seconds, speed) for kind in KINDS))
        return crowd


async def _write(crowd: Crowd) -> None:
    number = next(crowd.numbers)
    await crowd.ask("PUT", f"/v1/context/entry?key=k.{number % _KEYS}", json={"value": {"n": number, "text": "some"}})


async def _change(crowd: Crowd) -> None:
    first = next(crowd.numbers)
    values = {f"t.{number}": {"n": first, "text": "some"} for number in range(_A_TRANSACTION)}
    await crowd.ask("POST", "/v1/context/changes", json={"set": values, "who": "soak"})


async def _read(crowd: Crowd) -> None:
    await crowd.ask("GET", f"/v1/context/entry?key=t.{next(crowd.numbers) % _A_TRANSACTION}")


async def _list(crowd: Crowd) -> None:
    await crowd.ask("GET", "/v1/context?glob=t.*&limit=50")
    await crowd.ask("GET", "/v1/context/history?glob=k.*&limit=50&replaced=true")


async def _subscribe(crowd: Crowd) -> None:
    heard: list[object] = []
    client = socketio.AsyncClient(reconnection=False)
    client.on("context_changed", heard.append)
    await client.connect(
        crowd.target.url, auth={"token": crowd.target.token}, transports=["websocket"], wait_timeout=PATIENCE_S
    )
    try:
        answer = await client.call("subscribe", {"keys": [f"k.{next(crowd.numbers) % _KEYS}"]})
        if "version" not in answer:
            raise UnexpectedError(str(answer))
        await asyncio.sleep(STAY_S)
    finally:
        await client.disconnect()


async def _submit(crowd: Crowd) -> None:
    document = {"recipe": RECIPE, "files": {"work.py": SCRIPTLET}}
    key = {"Idempotency-Key": f"soak {next(crowd.numbers)}"}
    told = await crowd.ask("POST", "/v1/runs", 202, json=document, headers=key)
    crowd.runs.append(json.loads(told)["run_id"])


async def _follow(crowd: Crowd) -> None:
    path = f"/v1/runs/{crowd.runs[-1]}/logs/live"
    async with somebody(crowd.target) as session, session.get(path) as answer:
        if answer.status != 200:  # noqa: PLR2004 - HTTP's own
            raise UnexpectedError(f"GET {path}: {answer.status}")
        try:
            async with asyncio.timeout(STAY_S):
                async for line in answer.content:
                    if line.startswith(b"event: end"):
                        return
        except TimeoutError:  # who has heard enough goes, in the midst of it
            return


async def _look(crowd: Crowd) -> None:
    run = crowd.runs[next(crowd.numbers) % len(crowd.runs)]
    await crowd.ask("GET", f"/v1/runs/{run}")
    await crowd.ask("GET", f"/v1/runs/{run}/result", 200, 409)
    await crowd.ask("GET", f"/v1/runs/{run}/logs")
    await crowd.ask("GET", "/v1/runs?limit=20")


async def _browse(crowd: Crowd) -> None:
    run = crowd.runs[next(crowd.numbers) % len(crowd.runs)]
    async with somebody(crowd.target, shows=False) as browser:
        await crowd.ask("POST", "/login", 303, by=browser, data={"token": crowd.target.token})
        for path in ("/", f"/runs/{run}", "/context?glob=k.*", "/context/history?key=k.1", "/policies", "/host"):
            await crowd.ask("GET", path, by=browser)


async def _dump(crowd: Crowd) -> None:
    name = f"soak-{next(crowd.numbers)}"
    await crowd.ask("POST", "/v1/context/dumps", json={"format": "json", "filename": name})
    await crowd.ask("GET", f"/v1/context/dumps/{name}.json")
    await crowd.ask("DELETE", f"/v1/context/dumps/{name}.json", 204)


async def _scrape(crowd: Crowd) -> None:
    await crowd.ask("GET", "/metrics")
    await crowd.ask("GET", "/readyz")


async def _manage(crowd: Crowd) -> None:
    wanted = {"name": f"soak {next(crowd.numbers)}", "role": "viewer", "namespaces": ["default"]}
    made = json.loads(await crowd.ask("POST", "/v1/tokens", 201, json=wanted))
    await crowd.ask("GET", "/v1/me", headers={"Authorization": f"Bearer {made['token']}"})
    await crowd.ask("DELETE", f"/v1/tokens/{made['token_id']}")
    await crowd.ask("GET", "/v1/audit?limit=100")


async def _knock(crowd: Crowd) -> None:
    await crowd.ask("GET", "/v1/me", 401, headers={"Authorization": "Bearer iso_wrong"})


WRITE = Kind("writes of one key", 54_000, _write)
CHANGE = Kind("transactions of 100 keys", 7_200, _change)
SUBMIT = Kind("runs submitted", 600, _submit)
KINDS = (
    WRITE,
    CHANGE,
    Kind("reads of one key", 90_000, _read),
    Kind("pages of keys and of history", 1_800, _list),
    Kind("subscribers that come and go", 1_800, _subscribe),
    SUBMIT,
    Kind("followers of a log", 1_200, _follow),
    Kind("looks at a run", 1_800, _look),
    Kind("browsers that come in", 600, _browse),
    Kind("dumps written, fetched, deleted", 60, _dump),
    Kind("scrapes of /metrics", 240, _scrape),
    Kind("tokens made and revoked", 60, _manage),
    Kind("tokens that do not count", 60, _knock),
)
"""What comes in an hour."""
