"""
Everything that can go wrong on our side, as one tree.

A recipe's failure is a result (see ``model.outcome``); these are the rest::

    IsolationError                 exit code
    ├── InputError                 2    what a person gave us cannot be used
    │   ├── FileError                   a file of theirs (has ``path`` and ``line``)
    │   │   ├── RecipeError                 the recipe
    │   │   ├── PackageError                what the recipe needs cannot be found
    │   │   ├── PolicyError                 the policy
    │   │   │   └── NoSuchPolicyError               there is none of that name
    │   │   └── SecretError                 a secret: missing, not allowed, or of no use
    │   ├── ContextError                a context key or value
    │   ├── AccessError                 who asks a server is not known, or may not
    │   ├── SettingsError               the settings file or an environment variable
    │   ├── IdempotencyError            a key that was given to another run
    │   ├── TooLateError           1    a run that has ended cannot be cancelled any more
    │   └── RunNotFoundError            no such run in this state folder
    ├── EngineError                3    the engine cannot do what we ask
    │   ├── EngineUnreachableError      nothing answers, or we may not ask
    │   ├── ImageError                  the runner image is missing or of another version
    │   └── UnenforceableError          a limit that this host cannot hold
    ├── ServerError                3    a server that we ask does not answer as one of ours
    │   ├── ServerUnreachableError      nothing answers there; nothing was done
    │   └── AnswerLostError             its answer was lost: what was asked may be done, or not
    ├── StorageError               4    the state folder: full, read-only, damaged
    │   ├── DatabaseLostError           its answer was lost: what was asked may be done, or not
    │   └── RunEndedError               the run was ended already, by another hand
    ├── ContractError              5    our own runner broke the contract: a defect of ours
    ├── QueueFullError             6    too much waits already: to be tried again later
    ├── UploadsFullError           6    too much was brought to a server already: as above
    ├── WaitTimeoutError           124  what was waited for did not come in time
    └── InterruptedRunError        130  a person pressed Ctrl-C; the container is gone
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """
    Write the hint for a word that nobody knows: the nearest that somebody does, or nothing.

    >>> did_you_mean("modul", ["name", "module"])
    "Did you mean 'module'?"
    """
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake pays for it

    near = get_close_matches(word, list(known), n=1)
    return f"Did you mean {near[0]!r}?" if near else ""


class IsolationError(Exception):
    """A failure of ours: one sentence (what), a hint (what to do), an exit code."""

    exit_code: ClassVar[int] = 70

    def __init__(self, sentence: str, *, hint: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint

    def __str__(self) -> str:
        return self.sentence


class InputError(IsolationError):
    """What a person gave us cannot be used."""

    exit_code = 2


class FileError(InputError):
    """A file that a person gave us cannot be used; ``path`` and ``line`` (from 1) say where, as far as known."""

    def __init__(self, sentence: str, *, hint: str = "", path: Path | str = "", line: int | None = None) -> None:
        place = f"{path}:{line}: " if path and line else f"{path}: " if path else ""
        super().__init__(f"{place}{sentence}", hint=hint)
        self.path = str(path)
        self.line = line


class RecipeError(FileError):
    """The recipe cannot be used."""


class PackageError(FileError):
    """Something that the recipe needs cannot be found or packed."""


class PolicyError(FileError):
    """The policy cannot be used."""


class NoSuchPolicyError(PolicyError):
    """There is no policy of that name."""


class SecretError(FileError):
    """A secret is missing, is not allowed, or cannot be used; never says anything of its value."""


class ContextError(InputError):
    """A context key or value cannot be used."""


class NoSuchKeyError(ContextError):
    """A context key that is not there: an answer rather than a mistake, so its exit code is 1, as grep's is."""

    exit_code = 1

    def __init__(self, key: str, hint: str) -> None:
        super().__init__(f"the context has no key {key!r}", hint=hint)
        self.key = key


class NoSuchDumpError(ContextError):
    """A dump of the context that is not there."""

    exit_code = 1

    def __init__(self, filename: str) -> None:
        super().__init__(f"there is no dump {filename[:120]!a}", hint="GET /v1/context/dumps lists all.")


class ContextChangedError(ContextError):
    """A context key is not as whoever writes expects it: an answer rather than a mistake."""

    exit_code = 1


class AccessError(InputError):
    """Whoever asks a server is not known to it, or may not have what was asked for."""


class SettingsError(InputError):
    """A setting, from the settings file or the environment, cannot be used."""


class RunNotFoundError(InputError):
    """No such run in this state folder."""


class IdempotencyError(InputError):
    """The key of a submission was given to another run before."""


class TooLateError(InputError):
    """A run that has ended cannot be cancelled any more: an answer rather than a mistake."""

    exit_code = 1


class EngineError(IsolationError):
    """The engine cannot do what we ask."""

    exit_code = 3


class EngineUnreachableError(EngineError):
    """Nothing answers at the engine's address, or we may not ask it."""


class ImageError(EngineError):
    """The runner image is missing, or was built from another version of the project."""


class UnenforceableError(EngineError):
    """The policy asks for a limit or a control that this host cannot hold."""


class ServerError(IsolationError):
    """A server that we ask cannot answer, or is none of ours."""

    exit_code = 3


class ServerUnreachableError(ServerError):
    """Nothing answers at the server's address: what was asked is not done."""


class AnswerLostError(ServerError):
    """The server was asked to change something, and its answer was lost: it may be done, or not."""


class StorageError(IsolationError):
    """The state folder cannot be read or written."""

    exit_code = 4


class DatabaseLostError(StorageError):
    """The database does not answer, or not any more: what it was asked last may be done, or not."""


class RunEndedError(StorageError):
    """The run was ended already, by another hand; what was about to be recorded is not, and nothing is merged."""


class ContractError(IsolationError):
    """Our own runner broke the contract between host and container."""

    exit_code = 5


class QueueFullError(IsolationError):
    """Too many runs wait already: the same can be tried again later."""

    exit_code = 6


class UploadsFullError(IsolationError):
    """Too much was brought already: the same can be tried again later."""

    exit_code = 6


class WaitTimeoutError(IsolationError):
    """A run did not end in the time that somebody would wait for it."""

    exit_code = 124


class InterruptedRunError(IsolationError):
    """A person interrupted the run; its container is gone."""

    exit_code = 130
