"""
Where a process gets its settings from; nobody else reads the environment or the settings file.

But for the values of secrets, which ``vault`` reads, and which are in no setting.

For each setting the first that says something decides::

    command line ──▶ environment (ISOLATION_STATE, ...) ──▶ one settings file (TOML) ──▶ defaults

The file is ``ISOLATION_SETTINGS``, else ``settings.toml`` in the platform's configuration folder, if it is there::

    state  = "/srv/isolation"                  # the state folder
    database = "postgresql://ann@db/runs"      # runs and context; else a file in the state folder
    namespace = "default"                      # whose runs and context: namespaces never meet
    environment = "staging"                    # for recipes that are otherwise in some; none: as they are in none
    engine = "unix:///var/run/docker.sock"     # else DOCKER_HOST, else that socket
    policy = "default"                         # a name or a file
    image  = "isolation-runner:latest"         # the runner image
    paths  = ["~/shared/modules"]              # further folders to find recipes' local modules in
    secrets = "~/isolation-secrets.toml"       # a file with NAME = "value" that only its owner can open
    uploads = "4GiB"                           # so much may a namespace bring to a server within a day
    pool = "5m"                                # the command line's pool ends when idle for so long; "off": none
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isolation.errors import SettingsError, did_you_mean
from isolation.units import parse_bytes, parse_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_NAMESPACE = "default"

_NAMES = (
    "state",
    "database",
    "namespace",
    "environment",
    "engine",
    "policy",
    "image",
    "paths",
    "secrets",
    "pool",
    "uploads",
)
_DEFAULTS = {
    "policy": "default",
    "image": "isolation-runner:latest",
    "namespace": DEFAULT_NAMESPACE,
    "pool": "5m",
    "uploads": "4GiB",
}
_NO_POOL = "off"
CELLS = "ISOLATION_CELLS"
_NAMESPACE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """
    What a controller is opened with. ``engine`` None leaves the choice to the engine's own rules.

    ``database`` is a URL; None: a file in the state folder. ``pool_s`` is the time after which the command line's
    pool ends if nobody calls for it; None: there is none. ``cells`` is where a command in such a pool may borrow cells
    that stand ready; nobody sets that but the pool. ``uploads_bytes`` is what a namespace may bring to a server in a
    day.
    """

    state: Path
    database: str | None = None
    namespace: str = DEFAULT_NAMESPACE
    environment: str = ""
    engine: str | None = None
    policy: str = _DEFAULTS["policy"]
    image: str = _DEFAULTS["image"]
    paths: tuple[Path, ...] = ()
    secrets: Path | None = None
    pool_s: float | None = 300.0
    cells: Path | None = None
    uploads_bytes: int = 4 * 2**30


def load_settings(
    *,
    state: Path | str | None = None,
    database: str | None = None,
    namespace: str | None = None,
    environment: str | None = None,
    engine: str | None = None,
    policy: str | None = None,
    image: str | None = None,
    paths: Sequence[Path | str] = (),
    secrets: Path | str | None = None,
) -> Settings:
    """Put the settings together; the arguments are the command line's and go first. SettingsError names the culprit."""
    stated = {
        "state": state,
        "database": database,
        "namespace": namespace,
        "environment": environment,
        "engine": engine,
        "policy": policy,
        "image": image,
        "paths": paths or None,
        "secrets": secrets,
    }
    found: dict[str, Any] = _DEFAULTS | _from_file() | _from_environment()
    found |= {name: value for name, value in stated.items() if value is not None}
    return Settings(
        state=Path(found.get("state") or _default_state()).expanduser().absolute(),
        database=found.get("database"),
        namespace=_namespace(found["namespace"]),
        environment=found.get("environment", ""),
        engine=found.get("engine"),
        policy=found["policy"],
        image=found["image"],
        paths=tuple(Path(path).expanduser().absolute() for path in found.get("paths", ())),
        secrets=Path(found["secrets"]).expanduser().absolute() if found.get("secrets") else None,
        pool_s=_pool_s(found["pool"]),
        uploads_bytes=_uploads_bytes(found["uploads"]),
        cells=Path(os.environ[CELLS]) if os.environ.get(CELLS) else None,
    )


def _pool_s(text: str) -> float | None:
    if text == _NO_POOL:
        return None
    try:
        return parse_seconds(text)
    except ValueError as error:
        raise SettingsError(
            f"the pool cannot be {text!r}", hint='Write a time such as 5m, or "off" for none.'
        ) from error


def _uploads_bytes(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise SettingsError(f"uploads cannot be {text!r}", hint="Write a size such as 4GiB.") from error


def _namespace(name: str) -> str:
    if not _NAMESPACE.fullmatch(name):
        raise SettingsError(
            f"the namespace {name!r} cannot be one",
            hint="Write 1 to 64 small letters, digits, dots, dashes or underscores, the first a letter or a digit.",
        )
    return name


def _from_environment() -> dict[str, Any]:
    found: dict[str, Any] = {name: os.environ.get(f"ISOLATION_{name.upper()}") for name in _NAMES}
    if found["paths"]:
        found["paths"] = [path for path in found["paths"].split(os.pathsep) if path]
    return {name: value for name, value in found.items() if value}


def _from_file() -> dict[str, Any]:
    named = os.environ.get("ISOLATION_SETTINGS")
    path = Path(named).expanduser() if named else _default_file()
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        if not named:
            return {}
        hint = "ISOLATION_SETTINGS names it; unset that, or write the file."
        raise SettingsError(f"{path}: there is no such settings file", hint=hint) from error
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        hint = "Check that it is a file that this user may read."
        raise SettingsError(f"{path}: the settings file cannot be read: {why}", hint=hint) from error
    return _checked(path, _parsed(path, text))


def _parsed(path: Path, text: str) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - most people have no settings file

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at line (\d+), column \d+\)$", str(error))
        problem, where = (str(error)[: place.start()], f"{path}:{place[1]}") if place else (str(error), str(path))
        sentence = f"{where}: the settings file is not TOML: {problem[:1].lower()}{problem[1:]}"
        raise SettingsError(sentence, hint='Write each setting as in policy = "strict".') from error


def _checked(path: Path, found: dict[str, Any]) -> dict[str, Any]:
    for name, value in found.items():
        if name not in _NAMES:
            hint = did_you_mean(name, _NAMES) or f"Known: {', '.join(_NAMES)}."
            raise SettingsError(f"{path}: the setting {name!r} is unknown", hint=hint)
        wanted = "a list of texts" if name == "paths" else "a text"
        texts = value if name == "paths" and isinstance(value, list) else [None if name == "paths" else value]
        if not all(isinstance(text, str) and text for text in texts):
            example = {"paths": '["modules"]', "pool": '"off"', "uploads": '"4GiB"'}.get(name, '"..."')
            shown = (
                "" if name in {"secrets", "database"} else f", not {value!r}"
            )  # somebody's secrets, in the wrong file
            raise SettingsError(
                f"{path}: the setting {name!r} must be {wanted}{shown}",
                hint=f"Write it as in {name} = {example}.",
            )
    return found


def _default_state() -> Path:
    from platformdirs import user_data_path  # noqa: PLC0415 - only those who rely on it pay for it

    return user_data_path("isolation")


def _default_file() -> Path:
    from platformdirs import user_config_path  # noqa: PLC0415 - only those who rely on it pay for it

    return user_config_path("isolation") / "settings.toml"
