"""
What the server does in a second: ``.venv/bin/python benchmarks/service.py [--clients 16] [--requests 300]``.

One server process, as ``isolation serve`` starts it, and this one that asks it, over loopback. The floors are the same
server's answer to what needs no token and no database, and a transaction of SQLite's own that survives a power cut.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sqlite3
import statistics
import time
from typing import TYPE_CHECKING

import socketio
from server import RECIPE, SCRIPTLET, on_a_disk, serving

if TYPE_CHECKING:
    from pathlib import Path

    from server import Target

SUBSCRIBERS = 100
CHANGES = 30


def main() -> None:
    """Measure all rows and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--requests", type=int, default=300, help="of each client")
    given = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}")
    with on_a_disk() as folder:
        rate = 1 / _durable_s(folder / "floor.db", 300)
        print(f"{'floor: durable transactions, one after another':66} {rate:9.0f} /s")
        with serving(folder) as target:
            asyncio.run(_measure(target, given.clients, given.requests))


async def _measure(target: Target, clients: int, count: int) -> None:
    value = {"value": {"n": 1, "text": "some"}, "who": "bench"}
    hundred = {"set": {f"k.{number}": {"n": number, "text": "some"} for number in range(100)}}
    rows: list[tuple[str, bytes, int, int]] = [
        ("floor: GET /version", target.request("GET", "/version"), count, 1),
        ("durable writes, one key each", target.request("PUT", "/v1/context/entry?key=a", value), count, 1),
        (
            "durable keys, in transactions of 100",
            target.request("POST", "/v1/context/changes", hundred),
            count // 5,
            100,
        ),
        ("reads of one key", target.request("GET", "/v1/context/entry?key=a"), count, 1),
    ]
    for what, request, times, each in rows:
        await _ask(target, request, clients, 20)  # what is opened once is open now
        began_s = time.perf_counter()
        spent = await _ask(target, request, clients, times)
        rate = clients * times * each / (time.perf_counter() - began_s)
        median_ms = statistics.median(spent) * 1000
        print(f"{f'{what}, {clients} clients':66} {rate:9.0f} /s, median {median_ms:6.1f} ms")
    await _submissions(target, count)
    await _events(target)


async def _submissions(target: Target, count: int) -> None:
    document = {"recipe": RECIPE, "files": {"work.py": SCRIPTLET}}
    spent = await _ask(target, target.request("POST", "/v1/runs", document), 1, min(count, 200))
    median_ms, worst_ms = statistics.median(spent) * 1000, max(spent) * 1000
    print(f"{'a submission, acknowledged and durable, one client':66} median {median_ms:6.1f} ms, worst {worst_ms:.1f}")


async def _events(target: Target) -> None:
    """From before the request is sent until each of the subscribers has its event: the median over all of them."""
    heard: list[float] = []
    arrived = asyncio.Event()

    async def hear(_data: object) -> None:
        heard.append(time.perf_counter())
        if len(heard) == SUBSCRIBERS:
            arrived.set()

    clients = [socketio.AsyncClient(reconnection=False) for _ in range(SUBSCRIBERS)]
    for client in clients:
        client.on("context_changed", hear)
        await client.connect(target.url, auth={"token": target.token}, transports=["websocket"])
        await client.call("subscribe", {"keys": ["event.*"]})
    request = target.request("PUT", "/v1/context/entry?key=event.a", {"value": 1})
    spent: list[float] = []
    for _ in range(CHANGES):
        heard.clear()
        arrived.clear()
        began_s = time.perf_counter()
        await _ask(target, request, 1, 1)
        await asyncio.wait_for(arrived.wait(), 30)
        spent += [at_s - began_s for at_s in heard]
    for client in clients:
        await client.disconnect()
    median_ms, worst_ms = statistics.median(spent) * 1000, max(spent) * 1000
    what = f"a change, until each of {SUBSCRIBERS} subscribers has heard of it"
    print(f"{what:66} median {median_ms:6.1f} ms, worst {worst_ms:.1f}")


async def _ask(target: Target, request: bytes, clients: int, times: int) -> list[float]:
    spent: list[float] = []
    await asyncio.gather(*(_one(target, request, times, spent) for _ in range(clients)))
    return spent


async def _one(target: Target, request: bytes, times: int, spent: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    for _ in range(times):
        began_s = time.perf_counter()
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 2"):
            raise RuntimeError(head.decode())
        await reader.readexactly(int(head.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0]))
        spent.append(time.perf_counter() - began_s)
    writer.close()


def _durable_s(path: Path, count: int) -> float:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE one (number INTEGER)")
    began_s = time.perf_counter()
    for number in range(count):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO one VALUES (?)", (number,))
        connection.execute("COMMIT")
    spent_s = time.perf_counter() - began_s
    connection.close()
    return spent_s / count


if __name__ == "__main__":
    main()
