"""
Third-party requirements: locked with hashes, installed once, as files that a container reads.

The only module that runs uv. Wheels only, since building anything else would run its code on the host. Neither a
recipe's requirements nor its lock reach uv before each line has the one form that we know: to an installer, a line
can also be an option, an address or a path.

Layout: ``<folder>/<digest of lock and target>/`` holds one installed lock, read-only.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from isolation.errors import PackageError, StorageError
from isolation.model.package import canonical, digest_of
from isolation.packaging.files import read_regular
from isolation.packaging.tree import make_read_only, publish
from isolation.state.aside import new_folder
from isolation.state.folders import make_private

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isolation.packaging.load import LoadedRecipe

LOCK_NAME = "recipe.lock"
_LARGEST_LOCK_BYTES = 8 * 2**20
_MOST_REQUIREMENTS = 200
_RECORD = "# requirements: "
_PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._,-]+\])?==[A-Za-z0-9.!+_-]+( ?; ?[\w .'\"<>=!~()-]+)?")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
_INSTALL_S = 600
_PLACES = {"index-url": "--default-index", "extra-index-url": "--index", "find-links": "--find-links"}
"""Pip's settings, and uv's options for them."""

_WITHOUT_WHEELS = ("no usable wheels", "no wheels", "building source distributions is disabled")
_WITHOUT_NETWORK = ("failed to fetch", "dns error", "error sending request", "connect", "offline")
_WHEEL_SUFFIXES = (".so", ".pyd")


class Layers:
    """Locks requirements and installs locks, for the image's Python on this machine's processor."""

    def __init__(self, folder: Path, python_version: str = "3.11") -> None:
        self._folder = folder
        self._target = ["--python-version", python_version, "--python-platform", _platform()]
        self._python_version = python_version

    def lock(self, requirements: Sequence[str], lock_text: str | None = None, path: Path | str = LOCK_NAME) -> str:
        """
        Find exact wheels for requirements, or take ``lock_text`` if it was made from just these.

        What was once resolved here stays so: the same recipe has the same digest tomorrow, and needs no index. The
        text begins with a line that records the requirements. Raises PackageError for a requirement that nothing
        fulfils, and for a lock that was made from others.
        """
        wanted = _checked(requirements)
        if lock_text is not None:
            check_lock(lock_text, path)
            if recorded_requirements(lock_text) != wanted:
                raise PackageError(
                    "this lock was made from other requirements than the recipe has now",
                    hint=_make_again(path),
                    path=path,
                )
            return lock_text
        kept = self._folder / "locks" / f"{digest_of(canonical([wanted, *self._target]))}.txt"
        if not kept.is_file():
            text = self.resolve(wanted)
            building = kept.with_suffix(f".{secrets.token_hex(8)}")
            try:
                make_private(kept.parent)
                building.write_text(text, encoding="utf-8")
                building.replace(kept)
            except OSError as error:
                raise StorageError(
                    f"the lock cannot be kept: {error.strerror or error}",
                    hint="Free some space, or check the permissions of the state folder.",
                ) from error
        return kept.read_text(encoding="utf-8")

    def resolve(self, requirements: Sequence[str]) -> str:
        """Resolve requirements to what the index has today. Raises PackageError for what nothing fulfils."""
        wanted = _checked(requirements)
        resolved = self._uv(
            ["pip", "compile", "-", "--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url",
             "--no-emit-find-links", "--only-binary", ":all:", "--quiet", *self._target],
            given="\n".join(wanted) + "\n",
            names=wanted,
        )  # fmt: skip
        text = f"{_RECORD}{canonical(wanted).decode()}\n{resolved}"
        check_lock(text)
        return text

    def build(self, lock: str) -> Path:
        """Install a lock and return its folder; quick if it is there. Safe for several builders at once."""
        check_lock(lock)
        layer = self._folder / digest_of(canonical([lock, *self._target]))
        if layer.is_dir():
            return layer
        try:
            with new_folder(self._folder, f".{layer.name[:16]}-") as building:
                self._install(lock, building)
                make_read_only(building)
                os.sync()  # after a power cut, a layer is whole or is not there
                publish(building, layer)
        except OSError as error:
            raise StorageError(
                f"the requirements cannot be installed: {error.strerror or error}",
                hint="Free some space, or check the permissions of the state folder.",
            ) from error
        return layer

    def modules(self, layer: Path) -> frozenset[str]:
        """Find the top-level names that can be imported from an installed lock."""
        names: set[str] = set()
        for entry in layer.iterdir():
            if entry.is_dir():
                names.add(entry.name)
            elif entry.suffix == ".py" or entry.name.endswith(_WHEEL_SUFFIXES):
                names.add(entry.name.partition(".")[0])
        return frozenset(name for name in names if name.isidentifier() and name not in {"bin", "__pycache__"})

    def _install(self, lock: str, into: Path) -> None:
        import subprocess  # noqa: PLC0415 - most recipes have no requirements

        self._uv(
            ["pip", "install", "--target", str(into), "--require-hashes", "--no-deps", "--only-binary", ":all:",
             "--link-mode", "copy", "--python", sys.executable, "--quiet", "--requirements", "-", *self._target],
            given=lock,
            names=recorded_requirements(lock) or [],
        )  # fmt: skip
        for leftover in (".lock", "bin"):
            path = into / leftover
            if path.is_file():
                path.unlink()
        if f"{sys.version_info.major}.{sys.version_info.minor}" == self._python_version:
            # In a process of its own: some sources exhaust a compiler. What does not compile stays source.
            subprocess.run(
                [sys.executable, "-I", "-m", "compileall", "-q", "-s", str(into), "-p", "/layer",
                 "--invalidation-mode", "unchecked-hash", str(into)],
                check=False, timeout=_INSTALL_S, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip

    def _uv(self, command: list[str], *, given: str, names: Sequence[str]) -> str:
        import subprocess  # noqa: PLC0415 - most recipes have no requirements
        import tempfile  # noqa: PLC0415

        from uv import find_uv_bin  # noqa: PLC0415

        with tempfile.TemporaryDirectory(prefix="isolation-uv-") as empty:
            # The folder is empty, so that no file of the working folder configures uv.
            try:
                done = subprocess.run(
                    [find_uv_bin(), *command, "--no-progress", "--color", "never", *_index_options()],
                    cwd=empty, input=given, capture_output=True, encoding="utf-8", timeout=_INSTALL_S, check=False,
                )  # fmt: skip
            except subprocess.TimeoutExpired as error:
                raise PackageError(
                    f"the package index did not answer within {_INSTALL_S} s", hint="Check the network, and try again."
                ) from error
        if done.returncode != 0:
            raise _explain(done.stderr, names)
        return done.stdout


def recorded_lock(folder: Path) -> str | None:
    """Read the lock beside a recipe; None if there is none."""
    path = folder / LOCK_NAME
    if not os.path.lexists(path):
        return None
    try:
        return read_regular(path, _LARGEST_LOCK_BYTES, PackageError).decode()
    except UnicodeDecodeError as error:
        raise PackageError("the lock is not UTF-8 text", hint=_make_again(path), path=path) from error


def recorded_requirements(lock: str) -> list[str] | None:
    """Read which requirements a lock was made from; None if it does not say."""
    first = lock.partition("\n")[0]
    if not first.startswith(_RECORD):
        return None
    try:
        names = json.loads(first.removeprefix(_RECORD))
    except (ValueError, RecursionError):
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def write_lock(loaded: LoadedRecipe, layers: Layers) -> Path:
    """Resolve a recipe's requirements anew and write them beside it, for every later run to use."""
    if not loaded.recipe.requirements:
        raise PackageError(
            f"{loaded.recipe.name!r} has no requirements to lock",
            hint="List them under `requirements` in its head.",
            path=loaded.path,
        )
    path = loaded.folder / LOCK_NAME
    text = layers.resolve(loaded.recipe.requirements)
    temporary = path.with_name(f".{LOCK_NAME}-{secrets.token_hex(4)}")
    try:
        temporary.write_text(text, "utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise PackageError(
            f"the lock cannot be written: {error.strerror}", hint="Check the permissions of its folder.", path=path
        ) from error
    return path


def _checked(requirements: Sequence[str]) -> list[str]:
    """Take names with versions, extras and markers; refuse addresses, paths and options."""
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - as uv

    if len(requirements) > _MOST_REQUIREMENTS:
        raise PackageError(
            f"the recipe has more than {_MOST_REQUIREMENTS} requirements",
            hint="List those that its modules import; what these need comes along.",
        )
    for text in requirements:
        try:
            parsed = Requirement(text)
        except InvalidRequirement as error:
            raise PackageError(
                f"{text[:80]!r} is not a requirement", hint="Write a name and versions, such as requests>=2.31,<3."
            ) from error
        if parsed.url is not None or not text.isprintable():
            raise PackageError(
                f"{text[:80]!r} names an address",
                hint="Requirements come from the package index: write a name and versions.",
            )
    return list(requirements)


def check_lock(lock: str, path: Path | str = LOCK_NAME) -> None:
    """Refuse whatever is not a pin with its hashes, before uv takes a line for an option or an address."""
    for number, line in enumerate(lock.splitlines(), 1):
        text = line.strip().removesuffix("\\").strip()
        if text and not text.startswith("#") and not _PIN.fullmatch(text) and not _HASH.fullmatch(text):
            raise PackageError(
                f"this is neither a pinned name nor a hash: {text[:60]!r}",
                hint=_make_again(path),
                path=path,
                line=number,
            )


def _make_again(path: Path | str) -> str:
    return f"Make it again: `isolation package {Path(path).parent} --lock -o {path}`."


def _platform() -> str:
    return f"{os.uname().machine}-manylinux_2_28"


def _index_options() -> list[str]:
    """Pass on where pip looks for packages on this machine, if nobody told uv."""
    if any(name.startswith(("UV_INDEX", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX", "UV_FIND_LINKS")) for name in os.environ):
        return []
    configured = _pip_configuration()
    options: list[str] = []
    for key, option in _PLACES.items():
        for place in configured.get(key, "").split():
            options += [option, place]
    return options


def _pip_configuration() -> dict[str, str]:
    """Read pip's settings where pip does (pip's documentation, "Configuration"): later ones win."""
    from configparser import Error, RawConfigParser  # noqa: PLC0415 - as uv

    home = Path.home()
    xdg = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [Path("/etc/pip.conf"), home / ".pip/pip.conf", xdg / "pip/pip.conf", Path(sys.prefix) / "pip.conf"]
    if named := os.environ.get("PIP_CONFIG_FILE"):
        files = [*files, Path(named)] if named != os.devnull else []
    found: dict[str, str] = {}
    parser = RawConfigParser()
    try:
        parser.read(files, "utf-8")
    except (Error, UnicodeDecodeError) as error:
        raise PackageError("pip's configuration cannot be read", hint="See `pip config debug`.") from error
    if parser.has_section("global"):
        found.update(parser.items("global"))
    for key in _PLACES:
        if value := os.environ.get(f"PIP_{key.upper().replace('-', '_')}"):
            found[key] = value
    return found


def _explain(stderr: str, names: Sequence[str]) -> PackageError:
    """Shorten uv's report to its reason, and say what can be done."""
    lines = [re.sub(r"^\W+", "", line) for line in stderr.splitlines()]
    reason = " ".join(line for line in lines if line and not line.startswith(("hint:", "warning:")))
    reason = re.sub(r"\s+", " ", re.sub(r"//[^/@\s]+@", "//", reason))  # an index's password is nobody's business
    for noise in (r"^error: ", r"^No solution found when resolving dependencies:? (cause: )?", r", we can conclude .*"):
        reason = re.sub(noise, "", reason)
    reason = reason[:500].rstrip(".")
    lowered = stderr.lower()
    if any(sign in lowered for sign in _WITHOUT_WHEELS):
        hint = "Choose versions that have wheels: building one would run its code on this machine."
    elif any(sign in lowered for sign in _WITHOUT_NETWORK):
        hint = "Check the network, and where pip looks for packages; a recipe.lock and a warm cache do without."
    else:
        hint = "Check the names and versions under requirements."
    return PackageError(f"the requirements ({', '.join(names)}) cannot be resolved: {reason}", hint=hint)
