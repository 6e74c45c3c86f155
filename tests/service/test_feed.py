"""The feed by itself: what is told, to whom, and after what."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from isolation.service.live.feed import LOOK_S, Feed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isolation.service.live.feed import Change

from isolation.stores import Stores

AT = "2025-01-01T00:00:00.000Z"


def test_nothing_is_told_before_somebody_was_greeted(tmp_path: Path) -> None:
    """What is written while they are told what there is, comes after it, and is not lost."""
    happened: list[object] = []

    async def subscribe(stores: Stores) -> None:
        told = asyncio.Event()

        async def tell(name: str, change: Change) -> None:
            happened.append((name, change[0].value))
            told.set()

        async def greet(name: str, globs: Sequence[str], version: int) -> None:
            stores.contexts.set("a", "meanwhile", "bob", AT)
            feed.wake()
            try:  # the window is what this proves: several looks would have come and gone
                await asyncio.wait_for(told.wait(), LOOK_S * 3)
            except TimeoutError:
                happened.append((name, globs, version))

        feed = Feed(stores.contexts, tell, greet, lambda _: True)
        await feed.subscribe("other", ["b"], 0)  # so that it runs already
        assert await feed.subscribe("ann", ["a"], None) == 1
        await asyncio.wait_for(told.wait(), 30)
        feed.unsubscribe("ann")
        feed.unsubscribe("other")
        assert len(feed) == 0

    with Stores(tmp_path / "state") as stores:
        stores.contexts.set("a", "before", "bob", AT)
        asyncio.run(subscribe(stores))
    assert happened == [("ann", ["a"], 1), ("ann", "meanwhile")]


def test_who_has_no_room_catches_up_in_order(tmp_path: Path) -> None:
    """And nobody else waits for them."""
    told: dict[str, list[int]] = {"slow": [], "fast": []}
    room = {"slow": 3}

    def has_room(name: str) -> bool:
        return len(told[name]) < room.get(name, 10**6)

    async def tell(name: str, change: Change) -> None:
        told[name].append(change[0].version)

    async def greet(*_: object) -> None:
        return

    async def reach(name: str, count: int) -> None:
        async with asyncio.timeout(30):
            while len(told[name]) < count:  # noqa: ASYNC110 - as long as that has room
                await asyncio.sleep(LOOK_S / 10)

    async def follow(stores: Stores) -> None:
        feed = Feed(stores.contexts, tell, greet, has_room)
        for name in told:
            await feed.subscribe(name, ["k.*"], None)
        for number in range(1200):
            stores.contexts.set(f"k.{number}" if number % 3 else "other", number, "bob", AT)
        feed.wake()
        await reach("fast", 800)
        assert len(told["slow"]) == 3
        room["slow"] = 500
        await reach("slow", 500)
        room["slow"] = 10**6
        stores.contexts.set("k.end", 1, "bob", AT)
        await reach("slow", 801)
        for name in told:
            feed.unsubscribe(name)

    with Stores(tmp_path / "state") as stores:
        asyncio.run(follow(stores))
    assert told["slow"] == told["fast"] == sorted({*told["fast"]})
