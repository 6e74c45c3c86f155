"""PostgreSQL by URL: as durable, and as alone when it writes, as SQLite in a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from isolation.errors import DatabaseLostError, InputError, IsolationError, SettingsError, StorageError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, ExceptionContext

_BUSY_TIMEOUT_S = 30.0
_CONNECT_TIMEOUT_S = 10
_WRITERS = 0x69736F6C
"""The advisory lock that each writer holds until its commit: one number, the same for every release."""

_OPTIONS = (
    "-c synchronous_commit=on",
    f"-c lock_timeout={int(_BUSY_TIMEOUT_S * 1000)}",
    r"-c default_transaction_isolation=read\ committed",  # whatever the server's default: else a writer sees no further
)

_SHUTTING_DOWN = "57"
# https://www.postgresql.org/docs/current/errcodes-appendix.html, by code or by class (its first two signs)
_FAULTS = {
    "53100": ("has no space left on its disk", "Free some there."),
    "53300": ("lets in no more connections", "Raise its max_connections, or run fewer workers."),
    "55P03": ("is busy: another process has held it for too long", "Try again; see who holds it in pg_stat_activity."),
    "25006": ("is read-only", "Name its primary server."),
    "42501": ("refuses this user", "Grant it all rights on the schema."),
    "28": ("refuses this user", "Check user and password in the URL, and pg_hba.conf."),
    "57014": ("stopped us, since something took too long", "Raise its statement_timeout for this user."),
    "3D": ("is not there", "Create it: `createdb NAME`."),
    _SHUTTING_DOWN: ("is shutting down", "Try again when it is up."),
    "58": ("reports errors of its disk", "See the server's log."),
    "XX": ("is damaged", "See the server's log."),
}


def connect(url: str) -> Engine:
    """
    Open a database by its URL; SettingsError for one that cannot be, StorageError where nothing answers.

    Readers see one moment (repeatable read). A writer takes the lock of all writers first, and reads after that what is
    committed: nobody's writes can come between its reads and its own.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # which say all of it, and before the last @ there may be a password
        raise SettingsError(f"the database {url.rpartition('@')[2]!r} is no URL", hint=_EXAMPLE) from None
    if parsed.get_backend_name() != "postgresql":
        raise SettingsError(f"the database {shown(parsed)} is no PostgreSQL", hint=_EXAMPLE)
    try:
        engine = create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,  # a server that was restarted meanwhile costs a new connection, and no error
            max_overflow=-1,  # as many connections as threads want
            connect_args={
                "connect_timeout": _CONNECT_TIMEOUT_S,
                "application_name": "isolation",
                "options": " ".join([*_texts(parsed.query.get("options", ())), *_OPTIONS]),
            },
        )
    except ImportError as error:
        hint = "Install it: `pip install 'recipe-isolation[postgresql]'`."
        raise SettingsError("PostgreSQL needs the package psycopg, which is not installed", hint=hint) from error

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("writes"):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS})")
        else:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")

    @event.listens_for(engine, "handle_error")
    def translate(context: ExceptionContext) -> BaseException | None:
        return None if context.is_pre_ping else _fault_of(context.original_exception, parsed)

    return engine


def shown(url: URL | str) -> str:
    """
    Write a URL for people, without its password.

    >>> shown("postgresql://ann:secret@db/runs"), shown("postgresql://db/runs?user=ann&password=secret")
    ('postgresql://ann:***@db/runs', 'postgresql://db/runs?user=ann')
    """
    return make_url(url).difference_update_query(["password"]).render_as_string(hide_password=True)


def _texts(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _fault_of(error: BaseException, url: URL) -> IsolationError | None:
    if not type(error).__module__.startswith("psycopg"):
        return None
    code = getattr(error, "sqlstate", None) or ""
    said = str(error).strip().partition("\n")[0]
    if not code and type(error).__name__ == "DataError":  # psycopg's own word, before it asks: it is about the values
        return InputError(f"this cannot be kept: {said}", hint="Send texts of whole characters, none of them NUL.")
    unknown = (f"refuses us: {said} ({code})", "See the server's log.")
    lost = not code and type(error).__name__ in {"OperationalError", "InterfaceError", "ConnectionTimeout"}
    if lost:
        unknown = (f"does not answer: {said}", "Start it, or choose another with --database.")
    what, hint = _FAULTS.get(code) or _FAULTS.get(code[:2]) or unknown
    kind = DatabaseLostError if lost or (code[:2] == _SHUTTING_DOWN and code not in _FAULTS) else StorageError
    return kind(f"the database {shown(url)} {what}", hint=hint)


_EXAMPLE = "Write it as in postgresql://user:password@host/name."
