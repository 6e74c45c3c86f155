"""Rows over HTTP, against a real server on the loopback; and one signed PUT for S3."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.runner.kit import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runner.conftest import Load
    from tests.runner.kit import Kit, Site


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


ROWS = [{"id": 1, "name": "é"}, {"id": 2, "name": None}]


@pytest.mark.parametrize(
    ("function", "content", "options"),
    [
        (
            "HttpExtractor",
            '{"data": {"items": [{"id": 1, "name": "é"}, {"id": 2, "name": null}]}}',
            {"records": "data.items"},
        ),
        ("HttpExtractor", '{"id": 1, "name": "é"}\n{"id": 2, "name": null}\n', {"format": "jsonl"}),
        ("JsonLinesExtractor", '{"id": 1, "name": "é"}\n{"id": 2, "name": null}\n', {}),
    ],
)
def test_rows_are_got_in_each_format(
    kit: Kit, site: Site, function: str, content: str, options: dict[str, object]
) -> None:
    """By the one that is made for it, or by one that reads files, too."""
    site.answers["/rows"] = (200, {}, content.encode())
    assert kit.extract(function, f"{site.url}/rows", **options) == ROWS


def test_csv_is_got_as_from_a_file(kit: Kit, site: Site) -> None:
    """With the same options."""
    site.answers["/rows"] = (200, {}, b"a;b\n1;2\n")
    assert kit.extract("CsvExtractor", f"{site.url}/rows", delimiter=";") == [{"a": "1", "b": "2"}]
    assert kit.extract("HttpExtractor", f"{site.url}/rows", format="csv") == [{"a;b": "1;2"}]


def test_a_token_is_a_secret_and_goes_to_nobody_else(kit: Kit, site: Site) -> None:
    """Where the answer sends on to another place, neither it nor any other header goes along."""
    kit.renew(secrets={"API": "hunter22"})
    site.answers["/rows"] = (302, {"Location": "/elsewhere"}, b"")
    site.answers["/elsewhere"] = (200, {}, b"[]")
    kit.extract("HttpExtractor", f"{site.url}/rows", token_secret="API", headers={"X-Key": "k"})  # noqa: S106

    first, second = site.asked
    assert (first.headers["authorization"], first.headers["x-key"]) == ("Bearer hunter22", "k")
    assert (second.path, {"authorization", "x-key"} & {*second.headers}) == ("/elsewhere", set())


def test_the_proxy_of_the_environment_is_asked(kit: Kit, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container there is no other way out."""
    monkeypatch.setenv("HTTP_PROXY", site.url)
    monkeypatch.setenv("http_proxy", site.url)
    site.answers["http://far.example/rows"] = (200, {}, b"[]")
    kit.extract("HttpExtractor", "http://far.example/rows")

    assert site.asked[0].headers["host"] == "far.example"


@pytest.mark.parametrize(
    ("answer", "options", "said"),
    [
        ((503, {}, b"later\n"), {}, "GET {url}: 503 Service Unavailable: later"),
        ((403, {}, b""), {}, "GET {url}: 403 Forbidden"),
        ((302, {"Location": "file:///etc/passwd"}, b""), {}, "GET {url}: 302 "),
        ((200, {}, b"[" + b" " * 20 + b"]"), {"max_bytes": 21}, "GET {url}: the answer has more than 21 bytes"),
        ((200, {"Content-Length": "9"}, b"[{}]"), {}, "GET {url}: the answer was cut off, 5 bytes are missing"),
        ((200, {}, b"<html>"), {}, "not JSON: Expecting value"),
    ],
)
def test_what_is_no_good_answer_is_told(
    kit: Kit, site: Site, answer: tuple[int, dict[str, str], bytes], options: dict[str, object], said: str
) -> None:
    """With the address, the status, and the server's first words."""
    site.answers["/rows"] = answer
    with pytest.raises((RuntimeError, ValueError)) as caught:
        kit.extract("HttpExtractor", f"{site.url}/rows", **options)
    assert str(caught.value).startswith(said.format(url=f"{site.url}/rows"))


def test_an_answer_of_just_the_limit_is_taken(kit: Kit, site: Site) -> None:
    """A bound that refuses its own value is off by one."""
    site.answers["/rows"] = (200, {}, b'[{"a":1}]')
    assert kit.extract("HttpExtractor", f"{site.url}/rows", max_bytes=9) == [{"a": 1}]


@pytest.mark.parametrize(
    ("url", "options", "said"),
    [
        ("file:///etc/passwd", {}, "'file:///etc/passwd' is no address"),
        ("http:///rows", {}, "is no address"),
        ("http://me:secret@127.0.0.1/", {}, "an address must hold no password: name a secret as token_secret"),
        ("http://127.0.0.1:1/", {"headers": {"a": 1}}, "the header a is 1, not a text"),
        ("http://127.0.0.1:1/", {}, "GET http://127.0.0.1:1/: .*Connection refused"),
        ("http://127.0.0.1:1/", {"format": "xml"}, 'connection_params.format must be one of "csv", "jsonl", "json"'),
    ],
)
def test_what_cannot_be_asked_is_told(kit: Kit, url: str, options: dict[str, object], said: str) -> None:
    """Before anything is asked, where that is possible."""
    with pytest.raises((RuntimeError, ValueError), match=said):
        kit.extract("HttpExtractor", url, **options)


def test_who_does_not_answer_is_not_waited_for(kit: Kit) -> None:
    """A server that takes a connection and then says nothing."""
    import socket  # noqa: PLC0415 - for this one

    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(RuntimeError, match="timed out"):
        kit.extract("HttpExtractor", f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout_s=0.05)


def test_rows_are_sent_in_one_request(kit: Kit, site: Site) -> None:
    """With their type and their length."""
    kit.renew(secrets={"API": "hunter22"})
    kit.load("HttpLoader", f"{site.url}/in", ROWS, token_secret="API")  # noqa: S106
    kit.load("HttpLoader", f"{site.url}/in", ROWS[:1], method="PUT", format="csv", headers={"Content-Type": "x/y"})

    post, put = site.asked
    assert (post.method, post.path, post.body.decode()) == (
        "POST",
        "/in",
        '[\n{"id":1,"name":"é"},\n{"id":2,"name":null}\n]\n',
    )
    assert (post.headers["content-type"], post.headers["authorization"]) == ("application/json", "Bearer hunter22")
    assert (put.method, put.body.decode(), put.headers["content-type"]) == ("PUT", "id,name\r\n1,é\r\n", "x/y")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 400, 500])
def test_rows_that_were_not_taken_are_an_error(kit: Kit, site: Site, status: int) -> None:
    """Who follows to another place sends a GET there, and nothing is delivered."""
    site.answers["/in"] = (status, {"Location": "/elsewhere"}, b"no")
    with pytest.raises(RuntimeError, match=f"POST {site.url}/in: {status} "):
        kit.load("HttpLoader", f"{site.url}/in", ROWS)
    assert len(site.asked) == 1


def test_more_than_the_limit_is_not_sent(kit: Kit, site: Site) -> None:
    """Nor a part of it."""
    with pytest.raises(RuntimeError, match="the rows are 4 bytes: max_bytes allows 3"):
        kit.load("HttpLoader", f"{site.url}/in", [], max_bytes=3, format="csv", columns=["ab"])
    assert site.asked == []


EMPTY = hashlib.sha256(b"").hexdigest()
WELCOME = hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()
AWS: list[tuple[str, str, dict[str, str], str, str]] = [
    (
        "GET",
        "/test.txt",
        {"Range": "bytes=0-9"},
        EMPTY,
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    (
        "PUT",
        "/test%24file.text",
        {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
        WELCOME,
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    ("GET", "/?lifecycle", {}, EMPTY, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
    ("GET", "/?prefix=J&max-keys=2", {}, EMPTY, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
]


@pytest.mark.parametrize(("method", "path", "headers", "payload", "signature"), AWS)
def test_signatures_are_those_that_aws_publishes(  # noqa: PLR0917 - a published example
    load: Load, method: str, path: str, headers: dict[str, str], payload: str, signature: str
) -> None:
    """The examples of its page on the Authorization header."""
    s3 = load("scriptlets._etl.s3")
    keys = s3.Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    url = f"https://examplebucket.s3.amazonaws.com{path}"
    now = datetime(2013, 5, 24, tzinfo=UTC)
    signed = s3.sign(method, url, headers, payload, keys=keys, region="us-east-1", now=now)
    assert signed["Authorization"].endswith(f"Signature={signature}")


@pytest.mark.parametrize(
    ("bucket", "key", "endpoint", "address"),
    [
        ("sales", "a b/ü+.csv", None, "https://sales.s3.eu-west-1.amazonaws.com/a%20b/%C3%BC%2B.csv"),
        ("sales.eu", "a", None, "https://s3.eu-west-1.amazonaws.com/sales.eu/a"),
        ("sales", "a~_-.$", "http://store:9000/", "http://store:9000/sales/a~_-.%24"),
    ],
)
def test_an_object_has_the_address_that_its_bucket_has(
    load: Load, bucket: str, key: str, endpoint: str | None, address: str
) -> None:
    """At AWS by the bucket's name, elsewhere by path; quoted as it is signed."""
    assert load("scriptlets._etl.s3").address(bucket, key, "eu-west-1", endpoint) == address


KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG",
    "TOKEN": "tok en",
}


@pytest.mark.parametrize(
    ("target", "options", "path", "body"),
    [
        ("s3://bucket/", {}, "/bucket/rows.jsonl", b'{"a":1}\n'),
        ("s3://bucket", {"format": "csv"}, "/bucket/rows.csv", b"a\r\n1\r\n"),
        ("s3://bucket/2026/a b.json", {}, "/bucket/2026/a%20b.json", b'[\n{"a":1}\n]\n'),
        ("s3://bucket/x", {"format": "jsonl", "session_token_secret": "TOKEN"}, "/bucket/x", b'{"a":1}\n'),
    ],
)
def test_an_object_is_put_with_a_signature_over_all_that_is_sent(  # noqa: PLR0917 - what is put, and what comes of it
    load: Load, kit: Kit, site: Site, target: str, options: dict[str, object], path: str, body: bytes
) -> None:
    """Signed again over what the server saw, it is the same."""
    kit.renew(secrets=KEYS)
    kit.load("S3Loader", target, [{"a": 1}], endpoint_url=site.url, region="eu-west-1", **options)

    (put,) = site.asked
    assert (put.method, put.path, put.body) == ("PUT", path, body)
    said = put.headers["authorization"]
    names = said.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert {"content-length", "content-type", "host", "x-amz-content-sha256", "x-amz-date"} <= {*names}
    s3 = load("scriptlets._etl.s3")
    again = s3.sign(
        "PUT",
        f"{site.url}{put.path}",
        {name: put.headers[name] for name in names if name not in {"host", "x-amz-date", "x-amz-content-sha256"}},
        hashlib.sha256(put.body).hexdigest(),
        keys=s3.Keys(
            KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"], put.headers.get("x-amz-security-token", "")
        ),
        region="eu-west-1",
        now=datetime.strptime(put.headers["x-amz-date"], "%Y%m%dT%H%M%S%z"),
    )
    assert again["Authorization"] == said
    assert ("x-amz-security-token" in names) == ("session_token_secret" in options)


def test_a_bucket_that_takes_from_anybody_needs_no_keys(kit: Kit, site: Site) -> None:
    """But it has to be said: without it, a step that has no keys fails."""
    kit.load("S3Loader", "s3://bucket/a.csv", [{"a": 1}], endpoint_url=site.url, anonymous=True)
    assert "authorization" not in site.asked[0].headers
    with pytest.raises(LookupError, match="this step did not ask for the secret 'AWS_ACCESS_KEY_ID'"):
        kit.load("S3Loader", "s3://bucket/a.csv", [{"a": 1}], endpoint_url=site.url)


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        ("http://bucket/a.csv", {}, "'http://bucket/a.csv' is no target in S3: s3://bucket/key"),
        ("s3:///a.csv", {}, "is no target in S3"),
        ("s3://bucket/a.csv?x", {}, "is no target in S3"),
        ("s3://bucket/a.xml", {}, "the name 'a.xml' does not tell a format"),
        ("s3://bucket/a", {"endpoint_url": "ftp://x"}, "load_options.endpoint_url must match"),
        ("s3://bucket/a.csv", {"endpoint_url": "http://127.0.0.1:1"}, "PUT http://127.0.0.1:1/bucket/a.csv: "),
    ],
)
def test_what_cannot_be_put_is_told(kit: Kit, target: str, options: dict[str, object], said: str) -> None:
    """By what is wrong with it."""
    with pytest.raises((RuntimeError, ValueError), match=said):
        kit.load("S3Loader", target, [{"a": 1}], anonymous=True, **options)
