"""``isolation serve`` and ``isolation token``: the server, and who may ask it."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.cli.parser import natural
from isolation.cli.runs import moment
from isolation.cli.session import print_json, say, settings_of, takes_json
from isolation.cli.table import table
from isolation.cli.values import seconds
from isolation.clock import SystemClock, timestamp
from isolation.errors import InputError, SettingsError
from isolation.model.access import Role
from isolation.rules.escape import escape
from isolation.wiring import open_stores

if TYPE_CHECKING:
    from argparse import Namespace

    from isolation.cli.parser import Parser
    from isolation.model.access import Token

_ROLES = [role.value for role in Role]


def register(parser: Parser) -> None:
    """Add the commands."""
    _register_serve(parser)
    _register_token(parser)


def _register_serve(parser: Parser) -> None:
    added = parser.add(
        "serve",
        serve,
        "Serve runs and the context over HTTP, and run what is submitted.",
        examples=("isolation serve", "isolation serve --port 9000 --slots 4", "isolation serve --slots 0"),
        notes="Who asks needs a token: the first is printed once, `isolation token new` makes more.",
    )
    added.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="listen on this address (127.0.0.1)")
    added.add_argument("--port", type=natural, metavar="N", default=8080, help="and this port (8080; 0: any)")
    added.add_argument(
        "--slots",
        type=natural,
        metavar="N",
        default=os.cpu_count() or 1,
        help="run so many at once here (CPUs; 0: none)",
    )
    added.add_argument("--tls-cert", metavar="FILE", help="speak TLS with this certificate (PEM)")
    added.add_argument("--tls-key", metavar="FILE", help="and its key (PEM)")
    added.add_argument("--proxy", metavar="ADDRESS", default="", help="trust this proxy, which speaks TLS, on who asks")
    added.add_argument("--exposed", action="store_true", help="listen beyond this machine without TLS all the same")
    added.add_argument("--anonymous", choices=_ROLES, help="let in who has no token, as this; on loopback alone")
    added.add_argument(
        "--patience", metavar="TIME", default="30s", help="wait so long for a request's head, and for its body (30s)"
    )
    added.add_argument("--secrets", metavar="FILE", help="take the secrets' values from here (TOML, chmod 600)")


def _register_token(parser: Parser) -> None:
    group = parser.add(
        "token", None, "Say who may ask the server.", examples=("isolation token new ann --role author",)
    )
    added = group.add(
        "new",
        new,
        "Make a token, and print it: once, since only its digest is kept.",
        examples=("isolation token new ann --role author --namespaces 'team-*'",),
    )
    added.add_argument("name", metavar="NAME", help="whose it is, for the audit log")
    added.add_argument("--role", choices=_ROLES, default=Role.VIEWER.value, help="what it is for (viewer)")
    added.add_argument(
        "--namespaces",
        action="append",
        metavar="GLOB",
        help="where it counts; may be given again (that of --namespace)",
    )
    added.add_argument("--expires", metavar="TIME", help="it counts for so long, such as 12h (for ever)")
    takes_json(added)
    takes_json(group.add("list", list_, "List all tokens.", examples=("isolation token list --json",)))
    added = group.add("revoke", revoke, "Let a token count no more.", examples=("isolation token revoke 1a2b3c4d",))
    added.add_argument("token_id", metavar="ID", help="its id, as `isolation token list` shows it")
    takes_json(added)


def serve(given: Namespace) -> int:
    """Serve until a signal ends it."""
    try:
        from isolation.service.serve import Place  # noqa: PLC0415 - slow to import
        from isolation.service.serve import serve as begin  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"the server needs {error.name}, which is not installed", hint="Install recipe-isolation[service]."
        ) from error
    if bool(given.tls_cert) != bool(given.tls_key):
        raise InputError("--tls-cert and --tls-key go together", hint="Give both, or none.")
    place = Place(
        host=given.host,
        port=given.port,
        certificate=Path(given.tls_cert) if given.tls_cert else None,
        key=Path(given.tls_key) if given.tls_key else None,
        proxy=given.proxy,
        exposed=given.exposed,
        anonymous=Role(given.anonymous) if given.anonymous else None,
        patience_s=seconds("--patience", given.patience) or 0,
    )

    def tell(text: str) -> None:
        say(text)
        sys.stdout.flush()

    begin(settings_of(given), place, tell, slots=given.slots)
    return 0


def new(given: Namespace) -> int:
    """Make a token."""
    from isolation.storage.tokens import Tokens  # noqa: PLC0415 - slow to import

    settings, now = settings_of(given), SystemClock().now()
    life_s = seconds("--expires", given.expires)
    expires_at = None if life_s is None else timestamp(now + timedelta(seconds=life_s))
    with open_stores(settings) as stores:
        token, secret = Tokens(stores.database).make(
            given.name, Role(given.role), given.namespaces or [settings.namespace], timestamp(now), expires_at
        )
    if given.json:
        print_json({**asdict(token), "token": secret})
    else:
        say(secret)
    return 0


def list_(given: Namespace) -> int:
    """List all tokens."""
    from isolation.storage.tokens import Tokens  # noqa: PLC0415 - slow to import

    with open_stores(settings_of(given)) as stores:
        found = Tokens(stores.database).list()
    if given.json:
        print_json([asdict(token) for token in found])
        return 0
    rows = [["id", "name", "role", "namespaces", "made", "counts"], *(_row(token) for token in found)]
    for line in table(rows):
        say(line)
    return 0


def revoke(given: Namespace) -> int:
    """Let a token count no more."""
    from isolation.storage.tokens import Tokens  # noqa: PLC0415 - slow to import

    with open_stores(settings_of(given)) as stores:
        token = Tokens(stores.database).revoke(given.token_id, timestamp(SystemClock().now()))
    if given.json:
        print_json(asdict(token))
    else:
        say(f"the token {escape(token.name)!r} counts no more; a server that runs knows within a second")
    return 0


def _row(token: Token) -> list[str]:
    if token.revoked_at:
        counts = f"revoked {moment(token.revoked_at)}"
    elif token.expires_at:
        counts = f"until {moment(token.expires_at)}"
    else:
        counts = "yes"
    namespaces = escape(" ".join(token.namespaces))
    return [token.token_id, escape(token.name), token.role.value, namespaces, moment(token.created_at), counts]
