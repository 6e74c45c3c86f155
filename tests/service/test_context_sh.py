"""tools/context.sh against a real server: every call as people print it, and whatever a value may be."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.service.server import Server
from tests.test_documents import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow
TOOL = ROOT / "tools" / "context.sh"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that lets in who has no token, as somebody who may write."""
    with Server(tmp_path_factory.mktemp("shell"), "--slots", "0", "--anonymous", "runner") as server:
        yield server


def call(server: Server, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Call the tool, from a folder that is not its own."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ISOLATION_")}
    environment = own | {"ISOLATION_URL": server.url} | variables
    return subprocess.run(
        [TOOL, *words], env=environment, cwd="/", capture_output=True, text=True, check=False, timeout=60
    )


def said(server: Server, *words: str) -> str:
    """Call it, and return what it printed."""
    done = call(server, *words)
    assert (done.returncode, done.stderr) == (0, ""), words
    return done.stdout


def test_every_call_does_what_it_says(server: Server) -> None:
    """In the order in which somebody would deploy something, options before and after the words."""
    said(server, "set", "deployment.version", "1.2.3", "--who", "deployment_script")
    said(server, "--who", "setup", "set", "config.environment", "production")
    assert said(server, "get", "deployment.version", "--format", "plain") == "1.2.3\n"
    everything = json.loads(said(server, "list", "--format", "json"))
    assert everything == {"config.environment": "production", "deployment.version": "1.2.3"}
    written = said(
        server,
        "dump",
        "--dump-format",
        "csv",
        "--filename",
        "daily_backup",
        "--include-history",
        "--who",
        "backup_cron",
    )
    assert written == "daily_backup.csv\n"
    assert "daily_backup.csv" in said(server, "dumps")
    dump = said(server, "download", "daily_backup.csv")
    assert "deployment_script" in dump
    assert "history" in dump
    said(server, "delete", "config.environment", "--who", "setup")
    assert "config.environment" not in said(server, "list")
    history = said(server, "history", "config.*").splitlines()
    assert [line.split("\t")[2:] for line in history] == [
        ["setup", "config.environment", "deleted"],
        ["setup", "config.environment", "production"],
    ]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ('say "hi" \\ $(id) `id` %41 + &', 'say "hi" \\ $(id) `id` %41 + &'),
        ("two\nlines\n", "two\nlines\n"),
        ("", ""),
        ("tëxt 文字", "tëxt 文字"),
        ("@/etc/hostname", "@/etc/hostname"),
        ("-n", "-n"),
        ("1.50", 1.5),
        ('{"a": [null, true]}', {"a": [None, True]}),
        ('"1"', "1"),
        ("True", "True"),
        ("NaN", "NaN"),
    ],
)
def test_a_value_is_json_if_it_is_and_a_text_else(server: Server, given: str, kept: object) -> None:
    """Byte for byte."""
    said(server, "set", "--who", "w", "--", "odd.value", given)
    assert json.loads(said(server, "get", "odd.value", "--format", "json")) == kept
    if isinstance(kept, str):
        assert said(server, "get", "odd.value") == f"{kept}\n"


@pytest.mark.parametrize("key", ["a b&c=d", "ä/ö?#", 'quote"d', "per%cent", "*"])
def test_a_key_is_a_key_whatever_its_signs(server: Server, key: str) -> None:
    """And no part of an address."""
    said(server, "set", key, f"of {key}")
    assert said(server, "get", key) == f"of {key}\n"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["get", "not.there"], 1, "the context has no key 'not.there'"),
        (["download", "none.csv"], 1, "none.csv"),
        (["get"], 2, "does not take 0 words"),
        (["set", "a"], 2, "does not take 1 words"),
        (["fetch", "a"], 2, "there is no command fetch"),
        (["get", "a", "--form", "plain"], 2, "there is no option --form"),
        (["get", "a", "--format"], 2, "--format needs a value"),
        (["set", "a\tb", "1"], 2, "cannot be printed"),
        (["dump", "--filename", "../escape"], 2, "cannot be named"),
        (["dump", "--dump-format", "exe"], 2, "format"),
        (["get", "a", "--token", "iso_wrong"], 3, "no token that counts"),
        (["get", "a", "--url", "http://127.0.0.1:1"], 3, "cannot be reached"),
        (["get", "a", "--url", "127.0.0.1:8080"], 2, "is no address of a server"),
        (["get", "a", "--url", "http://127.0.0.1@example.org"], 2, "is no address of a server"),
        (["get", "a", "--url", "http://example.org@http://127.0.0.1"], 2, "is no address of a server"),
        ([], 2, "context.sh set KEY VALUE"),
    ],
)
def test_what_is_wrong_is_said(server: Server, words: list[str], code: int, told: str) -> None:
    """On the error's stream, with a code that tells a script what it was."""
    done = call(server, *words)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert told in done.stderr


def test_the_token_is_on_no_command_line(server: Server) -> None:
    """Whoever lists processes would have it."""
    text = TOOL.read_text(encoding="utf-8")
    assert 'curl "${options[@]}" --config /dev/fd/3' in text
    assert call(server, "list", ISOLATION_TOKEN=server.token).returncode == 0
    assert call(server, "list", ISOLATION_TOKEN="iso_wrong").returncode == 3  # noqa: S106 - none


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1.example.org", "127.example.org", "[::2]", "0.0.0.0"])  # noqa: S104 - refused is what it is
def test_a_token_goes_readable_to_no_other_machine(server: Server, host: str) -> None:
    """Neither by an address that looks like one of this machine."""
    refused = call(server, "get", "a", "--url", f"http://{host}:1", ISOLATION_TOKEN=server.token)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"readable on the way to {host}, which is not this machine\nName the server by https" in refused.stderr


def test_who_has_no_token_or_nobody_to_fear_may_ask(server: Server) -> None:
    """As with the clients in Python."""
    words = ("get", "a", "--url", "http://0.0.0.0:1")
    assert "cannot be reached" in call(server, *words).stderr
    assert "cannot be reached" in call(server, *words, "--allow-plain", ISOLATION_TOKEN=server.token).stderr


def test_no_proxy_reads_the_token(server: Server) -> None:
    """What the environment says of proxies counts for TLS alone."""
    proxies = dict.fromkeys(("http_proxy", "ALL_PROXY"), "http://127.0.0.1:1")
    done = call(server, "list", ISOLATION_TOKEN=server.token, **proxies)
    assert done.returncode == 0, done.stderr
