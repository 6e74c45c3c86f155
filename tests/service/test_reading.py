"""How bodies are read: of whom, and in which thread."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from starlette.concurrency import run_in_threadpool

from isolation.service import reading
from isolation.service.reading import MOST_AT_ONCE, SMALL_BYTES, parsed
from isolation.service.routes import context
from tests.service.sending import LOAD, RECIPE

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from tests.service.conftest import ClientFor

JSON = {"Content-Type": "application/json"}
LARGE = {"value": [["ü", 1.5, None, {"a": True}]] * (SMALL_BYTES // 10)}


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Collect what is done in another thread than that which serves everybody."""
    found: list[object] = []

    async def beside(function: Any, *given: Any) -> object:  # noqa: ANN401 - as the real one
        found.append(function)
        return await run_in_threadpool(function, *given)

    monkeypatch.setattr(reading, "run_in_threadpool", beside)
    monkeypatch.setattr(context, "run_in_threadpool", beside)
    return found


@pytest.mark.parametrize(
    "body", ["{}", "[" * 50 + "]" * 50, '"\\ud83d\\ude00"', "NaN", "-1e400", '{"a": 1, "a": 2}', "1" * 99]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_both_ways_to_read_read_the_same(body: str, encoding: str) -> None:
    """Whatever it is that only one of them would take."""
    for padded in (body, body + " " * SMALL_BYTES):
        found = asyncio.run(parsed(padded.encode(encoding)))
        assert repr(found) == repr(json.loads(body))


@pytest.mark.parametrize("body", ["", "{", "[1,]", "'a'", '{"a" 1}', "[1] 2"])
def test_what_is_no_json_is_none_however_long(body: str) -> None:
    """With the place at which it is not."""
    with pytest.raises(json.JSONDecodeError) as short:
        asyncio.run(parsed(body))
    with pytest.raises(json.JSONDecodeError) as long:
        asyncio.run(parsed(" " * SMALL_BYTES + body))
    assert (long.value.msg, long.value.pos) == (short.value.msg, short.value.pos + SMALL_BYTES)


@pytest.mark.slow
def test_who_reads_much_lets_others_go_on() -> None:
    """A parser in C would not, in whichever thread: nobody else is heard of until it has ended."""
    seen: list[str] = []

    async def go_on() -> None:
        while True:
            seen.append("others")
            await asyncio.sleep(0)

    async def read() -> None:
        others = asyncio.create_task(go_on())
        await parsed(f"[NaN{', []' * 500_000}, NaN]", seen.append)  # which takes no turn between threads by itself
        others.cancel()

    asyncio.run(read())
    first = seen.index("NaN")
    assert "others" in seen[first : seen.index("NaN", first + 1)]


def test_of_many_large_ones_few_are_read_at_once() -> None:
    """Each takes memory and a thread, of which nobody else has any meanwhile: whoever has a token may send them."""
    going: list[int] = [0]

    def note(_: str) -> None:
        with lock:
            begins = threading.get_ident() not in at
            at.symmetric_difference_update({threading.get_ident()})
            going.append(going[-1] + (1 if begins else -1))

    async def read() -> None:
        await asyncio.gather(*(parsed(f"[NaN{', []' * 50_000}, NaN]", note) for _ in range(4 * MOST_AT_ONCE)))

    lock, at = threading.Lock(), set[int]()
    asyncio.run(read())
    assert len(going) == 1 + 8 * MOST_AT_ONCE
    assert max(going) == MOST_AT_ONCE


@pytest.mark.parametrize("padding", [0, SMALL_BYTES])
@pytest.mark.parametrize(("path", "status"), [("/v1/context/entry?key=a", 400), ("/v1/context/text?key=a", 422)])
def test_what_is_too_deep_is_refused(client: TestClient, path: str, status: int, padding: int) -> None:
    """Python would go no deeper."""
    body = b'{"value":' + b"[" * 5_000 + b"]" * 5_000 + b" " * padding + b"}"
    assert client.put(path, content=body, headers=JSON).status_code == status


def test_what_is_large_is_read_and_checked_beside(client: TestClient, elsewhere: list[object]) -> None:
    """And what is small at once: another thread would take longer."""
    assert client.put("/v1/context/entry", params={"key": "a"}, json={"value": 1}).status_code == 200
    assert elsewhere == []
    assert client.put("/v1/context/entry", params={"key": "a"}, json=LARGE).status_code == 200
    assert client.get("/v1/context/entry", params={"key": "a"}).json()["value"] == LARGE["value"]
    assert len(elsewhere) == 2
    assert client.put("/v1/context/text", params={"key": "b"}, content=json.dumps(LARGE["value"])).status_code == 200
    assert client.get("/v1/context/entry", params={"key": "b"}).json()["value"] == LARGE["value"]
    assert len(elsewhere) == 4
    long = " " * SMALL_BYTES + "{"
    wrong = client.put("/v1/context/entry?key=a", content=long, headers=JSON)
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/context/entry?key=a"),
        ("POST", "/v1/context/changes"),
        ("POST", "/ctx"),
        ("POST", "/ctx/dump"),
        ("POST", "/v1/context/dumps"),
        ("POST", "/v1/runs"),
        ("POST", "/v1/runs/last/rerun"),
        ("POST", "/v1/batches"),
        ("POST", "/v1/check/recipe"),
        ("POST", "/v1/check/policy"),
        ("POST", "/v1/tokens"),
    ],
)
def test_nobody_without_a_token_is_listened_to(
    client_for: ClientFor, elsewhere: list[object], method: str, path: str
) -> None:
    """Not even what they send is read: anybody could keep the server busy with it."""
    answer = client_for(None).request(method, path, content=b"{", headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    large = {"recipe": RECIPE, "files": {"load.py": LOAD + " " * SMALL_BYTES}}
    assert client_for(None).request(method, path, json=large).status_code == 401
    assert elsewhere == []
