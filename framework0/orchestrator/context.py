"""The context as a scriptlet sees it: flat dotted keys, JSON values, every write with its writer."""

from __future__ import annotations

import _thread
import time

from isolation.contract import MAX_VALUE_BYTES, MOST_READS, check_artifact_name, dumps, is_context_key

TYPE_CHECKING = False  # not typing's: run.py says why
if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path

ARTIFACTS = "/scratch/artifacts"


class Context:
    """
    A dictionary of the shared context.

    What ``get`` returns is a copy: changing it changes nothing until it is ``set``. Only keys that the recipe may
    read are here. Writes reach the shared context when, and only when, the whole run succeeds.

    What a step finds out is a read, be it that a key is not there; what it wrote itself it does not read.
    """

    def __init__(
        self, values: MutableMapping | None = None, *, who: str = "unknown", secrets: dict | None = None
    ) -> None:
        self._values = values if values is not None else {}
        self._who = who
        self._history: list[dict] = []
        self._changed: dict[str, str] = {}
        self._read: set[str] = set()
        self._read_all = False
        self._secrets: dict[str, str] = secrets or {}
        self._lock = _thread.RLock()  # what threading.RLock is; that module's import is not free
        self.config: dict = {}
        self.features: dict[str, bool] = {}
        self.environment = ""

    def get(self, key: str, default: object = None) -> object:
        """Return the value of a key, or ``default`` where there is none."""
        self._saw(key)
        return _copy(self._values[key]) if key in self._values else default

    def set(self, key: str, value: object, who: str | None = None) -> None:
        """Set a key to a JSON value. Raises ValueError for a key or a value that JSON cannot say."""
        _check_key(key)
        size_bytes = len(dumps(value))
        if size_bytes > MAX_VALUE_BYTES:
            raise ValueError(
                f"the value of {key!r} has {size_bytes} bytes as JSON; {MAX_VALUE_BYTES} are allowed: "
                "keep large things as artifacts, and only their names in the context"
            )
        with self._lock:
            self._record(key, _copy(value), who, deleted=False)
            self._values[key] = _copy(value)

    def delete(self, key: str, who: str | None = None) -> bool:
        """Delete a key; tells whether it was there."""
        self._saw(key)
        with self._lock:
            if key not in self._values:
                return False
            self._record(key, None, who, deleted=True)
            del self._values[key]
            return True

    def keys(self) -> list[str]:
        """Return all keys, sorted."""
        self.saw_all()
        return sorted(self._values)

    def __contains__(self, key: object) -> bool:
        self._saw(key)
        return key in self._values

    def to_dict(self) -> dict:
        """Return a copy of everything."""
        self.saw_all()
        return {key: _copy(value) for key, value in self._values.items()}

    list_all = to_dict

    def get_history(self, key: str | None = None, who: str | None = None) -> list[dict]:
        """Return this step's own writes, oldest first: key, before, after, who, timestamp."""
        found = [
            dict(entry)
            for entry in self._history
            if (key is None or entry["key"] == key) and (who is None or entry["who"] == who)
        ]
        self._read.update(entry["key"] for entry in found)  # each tells what was there before
        return found

    def merge_from(self, other: Context, conflict_strategy: str = "last_wins", prefix: str = "") -> None:
        """
        Take over another context's values, each key with ``prefix`` before it.

        ``last_wins`` takes the other's value, ``first_wins`` keeps ours, ``error`` raises ValueError where both
        have the key with different values; then nothing is taken over.
        """
        wanted = {prefix + name: value for name, value in other.to_dict().items()}
        with self._lock:
            held = {key: self.get(key) for key in wanted if conflict_strategy != "last_wins" and key in self}
            for key, value in taken_over(wanted, held, conflict_strategy).items():
                self.set(key, value)

    def is_feature_enabled(self, name: str) -> bool:
        """Tell whether one of the recipe's features is on, in this environment; LookupError for one that it lacks."""
        if name not in self.features:
            raise LookupError(f"the recipe has no feature {name!r}: add it at the top, under `features`")
        return self.features[name]

    def secret(self, name: str) -> str:
        """
        Return the value of a secret that this step names under its own ``secrets``; LookupError for any other.

        Keep it out of the context, the outputs and the artifacts: it is looked for there, and not let through.
        """
        if name not in self._secrets:
            raise LookupError(f"this step did not ask for the secret {name!r}: add it to the step's own `secrets`")
        return self._secrets[name]

    def artifact(self, name: str) -> Path:
        """Return the path where a file must be written to be kept as an artifact. Raises ValueError for other names."""
        from pathlib import Path  # few steps need it, and each pays for what it imports

        check_artifact_name(name)
        path = Path(ARTIFACTS, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def held(self) -> _thread.RLock:
        """Return what keeps other threads from writing, for a ``with``: what is read and written in it is one."""
        return self._lock

    def changes(self) -> dict:
        """Return what was changed, for the answer of a step: ``set``, ``deleted``, and the ``writers`` of both."""
        return {
            "set": {key: self._values[key] for key in self._changed if key in self._values},
            "deleted": sorted(key for key in self._changed if key not in self._values),
            "writers": dict(self._changed),
        }

    def reads(self) -> list[str]:
        """Return the keys that were asked for, sorted: not what could never be one, and not more than can be named."""
        return sorted(self._read)[:MOST_READS]

    @property
    def read_all(self) -> bool:
        """Tell whether everything that is here counts as read."""
        return self._read_all or len(self._read) > MOST_READS

    def saw_all(self) -> None:
        """Count everything as read; also where a copy of this process may look, and could not tell what at."""
        self._read_all = True

    def _saw(self, key: object) -> None:
        if is_context_key(key) and key not in self._changed:
            self._read.add(key)

    def _record(self, key: str, after: object, who: str | None, *, deleted: bool) -> None:
        writer = who or self._who
        before = self._values.get(key)
        entry = {"key": key, "before": before, "after": after, "who": writer, "timestamp": time.time()}
        self._history.append(entry | {"deleted": True} if deleted else entry)
        self._changed[key] = writer


def taken_over(wanted: dict, held: dict, conflict_strategy: str) -> dict:
    """Return what ``merge_from`` sets, given what is held already. ValueError for a conflict that it is to mind."""
    if conflict_strategy not in {"last_wins", "first_wins", "error"}:
        raise ValueError(f"unknown conflict_strategy {conflict_strategy!r}: last_wins, first_wins or error")
    clashing = [key for key, value in wanted.items() if key in held and held[key] != value]
    if clashing and conflict_strategy == "error":
        raise ValueError(f"both contexts have {clashing[0]!r}, with different values")
    if conflict_strategy == "first_wins":
        return {key: value for key, value in wanted.items() if key not in clashing}
    return wanted


def _check_key(key: object) -> None:
    if not is_context_key(key):
        raise ValueError(f"{key!r} is not a context key: 1 to 256 printable bytes, no space at either end")


def _copy(value: object) -> object:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copy(item) for item in value]
    return value
