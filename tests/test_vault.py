"""Where the values of secrets come from, and that a mistake never tells one."""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING

import pytest

from isolation.errors import SecretError
from isolation.vault import Vault

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "c4n4ry-of-the-tests"
HINT = 'Write each secret as in API_TOKEN = "..."; the file holds nothing else.'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secrets.toml"
    path.touch(mode=0o600)
    return path


def refused(vault: Vault, *names: str) -> SecretError:
    with pytest.raises(SecretError) as caught:
        vault.take(names)
    told = "".join(traceback.format_exception(caught.value)) + caught.value.hint
    assert CANARY[:6] not in told, "what went wrong is told without the value"
    return caught.value


def test_the_first_place_that_has_a_secret_decides(file: Path) -> None:
    """Given by the program, file, environment; each secret for itself."""
    file.write_text('A = "from the file"\nB = "from the file"\n', encoding="utf-8")
    environment = {f"ISOLATION_SECRET_{name}": "from outside" for name in "ABC"}
    vault = Vault(given={"A": "from within"}, file=file, environment=environment)

    taken = vault.take(["A", "B", "C"])

    assert {name: secret.reveal() for name, secret in taken.items()} == {
        "A": "from within",
        "B": "from the file",
        "C": "from outside",
    }
    assert repr(taken) == "{'A': Secret('A'), 'B': Secret('B'), 'C': Secret('C')}"


def test_nothing_is_read_for_a_run_without_secrets(tmp_path: Path) -> None:
    """A file that the settings name and nobody needs may be missing."""
    assert Vault(file=tmp_path / "none.toml").take([]) == {}


def test_a_secret_that_nobody_gave_is_told_with_both_ways_to_give_it(file: Path) -> None:
    """An empty variable gives nothing: scripts unset one so."""
    alone = refused(Vault(environment={"ISOLATION_SECRET_A": ""}), "A")
    beside = refused(Vault(file=file), "A", "B")

    assert alone.sentence == "nobody gave a value for the secret 'A'"
    assert alone.hint == (
        'Either name a file with it (--secrets FILE), as in A = "...", or set ISOLATION_SECRET_A in the environment.'
    )
    assert beside.sentence == "nobody gave a value for the secrets 'A', 'B'"
    assert beside.hint == f'Either add it to {file}, as in A = "...", or set ISOLATION_SECRET_A in the environment.'


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o602])
def test_a_file_that_others_can_open_is_refused(file: Path, mode: int) -> None:
    """Who can read it has them already; who can write it chooses them."""
    file.write_text(f'A = "{CANARY}"\n', encoding="utf-8")
    file.chmod(mode)
    error = refused(Vault(file=file), "A")

    assert error.sentence == f"{file}: others than its owner can open this file"
    assert error.hint == f"Close it: chmod 600 {file}"


def test_a_link_to_a_file_is_refused(file: Path, tmp_path: Path) -> None:
    """Who may change the link chooses what is read."""
    file.write_text(f'A = "{CANARY}"\n', encoding="utf-8")
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    error = refused(Vault(file=link), "A")

    assert (error.sentence, error.hint) == (f"{link}: this is a symbolic link", "Name the file that it leads to.")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A folder, a pipe that would hold us, nothing at all."""
    folder, pipe, missing = (tmp_path / name for name in ("folder", "pipe", "missing"))
    folder.mkdir(mode=0o700)
    os.mkfifo(pipe, 0o600)

    assert refused(Vault(file=folder), "A").sentence == f"{folder}: this is not a regular file"
    assert refused(Vault(file=pipe), "A").sentence == f"{pipe}: this is not a regular file"
    assert refused(Vault(file=missing), "A").sentence == f"{missing}: there is no such file"


@pytest.mark.parametrize(
    ("text", "sentence", "hint"),
    [
        (f"A = {CANARY}\n", ":1: the file is not TOML", HINT),
        (f'B = "x"\nA = "{CANARY}\n', ":2: the file is not TOML", HINT),
        (f'A = "{CANARY}\\q"\n', ":1: the file is not TOML", HINT),
        ("A = " + "[" * 100_000, ": the file is not TOML", HINT),
        (f'A = "x"\n{CANARY} = "A"\n', ": entry 2 does not begin with a name that a secret can have", HINT),
        (f'A = ["{CANARY}"]\n', ": the value of A is not text", "Put it in quotes."),
        (f'[A]\nvalue = "{CANARY}"\n', ": the value of A is not text", "Put it in quotes."),
        ("A = 123456\n", ": the value of A is not text", "Put it in quotes."),
        (b"A = '\xff'\n", ": the text is not UTF-8", HINT),
    ],
    ids=range(9),
)
def test_a_file_that_says_something_else_is_refused(file: Path, text: str | bytes, sentence: str, hint: str) -> None:
    """With the line, if the parser knows it, and without its words, which may hold a part of a value."""
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    error = refused(Vault(file=file), "A")

    assert (error.sentence, error.hint) == (f"{file}{sentence}", hint)


@pytest.mark.parametrize("value", ["", "c4n4r", "  c4n4r  ", "c4n\nc4n\nc4n", "      "])
def test_what_is_too_short_to_be_hidden_is_refused(value: str) -> None:
    """It stands in innocent places, which would all be damaged."""
    error = refused(Vault(given={"A": value}), "A")

    assert error.sentence == (
        "the secret 'A' has no line of 6 characters: to hide it wherever it shows would damage everything else"
    )
    assert error.hint == "Use a longer one; spaces around it do not count."


def test_a_secret_may_be_as_long_as_a_key() -> None:
    """And no longer: it is held in memory, and looked for in everything."""
    largest = "é" * (32 * 2**10)

    assert Vault(given={"A": largest}).take(["A"])["A"].reveal() == largest
    assert refused(Vault(given={"A": largest + "x"}), "A").sentence == "the secret 'A' is larger than 64 KiB"


def test_bytes_of_the_environment_that_are_no_text_are_refused() -> None:
    """Nothing could say them again as they are."""
    environment = {"ISOLATION_SECRET_A": os.fsdecode(b"\xff" + CANARY.encode())}

    assert refused(Vault(environment=environment), "A").sentence == "the secret 'A' is not UTF-8"
