"""Settings: the first place that says something decides, and a mistake is named with its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from isolation.errors import SettingsError
from isolation.settings import Settings, load_settings

NAMES = ("STATE", "ENGINE", "POLICY", "IMAGE", "PATHS", "SECRETS", "SETTINGS", "POOL")


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in NAMES:
        monkeypatch.delenv(f"ISOLATION_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    path = tmp_path / "config" / "isolation" / "settings.toml"
    path.parent.mkdir(parents=True)
    return path


def refused(file: Path, text: str) -> tuple[str, str]:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return caught.value.sentence, caught.value.hint


def test_without_any_setting_the_defaults_hold(tmp_path: Path) -> None:
    """The state lies where the platform keeps data."""
    assert load_settings() == Settings(state=tmp_path / "data" / "isolation")


def test_the_first_place_that_says_something_decides(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Command line, environment, file, default; each setting for itself."""
    file.write_text('state = "/f"\nengine = "unix:///f"\npolicy = "f"\npaths = ["/f"]\n', encoding="utf-8")
    monkeypatch.setenv("ISOLATION_STATE", "/e")
    monkeypatch.setenv("ISOLATION_ENGINE", "unix:///e")
    assert load_settings(state="/c") == Settings(
        state=Path("/c"), engine="unix:///e", policy="f", image="isolation-runner:latest", paths=(Path("/f"),)
    )


def test_an_empty_variable_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts unset a variable by making it empty."""
    monkeypatch.setenv("ISOLATION_POLICY", "")
    assert load_settings().policy == "default"


def test_the_file_of_secrets_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is read when a run needs it, wherever the process is by then."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ISOLATION_SECRETS", "from-the-environment.toml")
    assert load_settings().secrets == tmp_path / "from-the-environment.toml"
    assert load_settings(secrets="here.toml").secrets == tmp_path / "here.toml"


def test_several_paths_come_from_one_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As PATH does it."""
    monkeypatch.setenv("ISOLATION_PATHS", "/a::/b")
    assert load_settings().paths == (Path("/a"), Path("/b"))


def test_a_relative_state_folder_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The engine mounts from it, and knows nothing of our working folder."""
    monkeypatch.chdir(tmp_path)
    assert load_settings(state="here").state == tmp_path / "here"


def test_an_unknown_setting_is_refused_with_a_suggestion(file: Path) -> None:
    """A typo must not silently mean the default."""
    assert refused(file, 'polici = "strict"\n') == (
        f"{file}: the setting 'polici' is unknown",
        "Did you mean 'policy'?",
    )


def test_a_setting_of_another_type_is_refused(file: Path) -> None:
    """The file and the key are named."""
    assert refused(file, "policy = 3\n") == (
        f"{file}: the setting 'policy' must be a text, not 3",
        'Write it as in policy = "...".',
    )
    assert refused(file, 'paths = "/a"\n') == (
        f"{file}: the setting 'paths' must be a list of texts, not '/a'",
        'Write it as in paths = ["modules"].',
    )


def test_a_broken_file_is_refused_with_its_line(file: Path) -> None:
    """What is wrong, and where, in the parser's words."""
    assert refused(file, "policy = strict\n") == (
        f"{file}:1: the settings file is not TOML: invalid value",
        'Write each setting as in policy = "strict".',
    )


def test_the_pool_has_a_time_or_is_off(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One setting for both: a pool that is off has no time."""
    assert load_settings().pool_s == 300
    monkeypatch.setenv("ISOLATION_POOL", "90s")
    assert load_settings().pool_s == 90
    monkeypatch.setenv("ISOLATION_POOL", "off")
    assert load_settings().pool_s is None
    monkeypatch.delenv("ISOLATION_POOL")
    hint = 'Write a time such as 5m, or "off" for none.'
    assert refused(file, 'pool = "soon"\n') == ("the pool cannot be 'soon'", hint)
    assert refused(file, "pool = false\n") == (
        f"{file}: the setting 'pool' must be a text, not False",
        'Write it as in pool = "off".',
    )


def test_a_size_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be one is said at once."""
    assert load_settings().uploads_bytes == 4 * 2**30
    monkeypatch.setenv("ISOLATION_UPLOADS", "10MB")
    assert load_settings().uploads_bytes == 10**7
    monkeypatch.setenv("ISOLATION_UPLOADS", "much")
    with pytest.raises(SettingsError, match="uploads cannot be 'much'"):
        load_settings()


def test_a_settings_file_that_is_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual one may be missing; one that somebody names may not."""
    monkeypatch.setenv("ISOLATION_SETTINGS", str(tmp_path / "none.toml"))
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.sentence == f"{tmp_path / 'none.toml'}: there is no such settings file"
