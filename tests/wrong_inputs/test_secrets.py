"""What is wrong with the secrets that a recipe asks for: told before anything runs, and never with a value."""

from __future__ import annotations

import pytest

from tests.wrong_inputs.conftest import MODULE, Desk, Wrong, refuse_before_the_engine

FILES = {
    "recipe.yaml": "secrets: [API_TOKEN]\nsteps: [{name: load, module: load, function: run, secrets: [API_TOKEN]}]\n",
    "load.py": MODULE,
    "p.yaml": "name: mine\nsecrets: [API_*]\n",
}
RUN = ("run", "{folder}", "--policy", "{folder}/p.yaml")

SECRETS = {
    "a secret that the policy does not allow": Wrong(
        files=FILES,
        command=("run", "{folder}"),
        told="the policy 'default' does not let the recipe 'etl' have the secret 'API_TOKEN'",
        hint="It allows none: name more under `secrets` in a policy of your own.",
    ),
    "a secret that nobody gave": Wrong(
        files=FILES,
        command=RUN,
        told="nobody gave a value for the secret 'API_TOKEN'",
        hint='Either name a file with it (--secrets FILE), as in API_TOKEN = "...", '
        "or set ISOLATION_SECRET_API_TOKEN in the environment.",
    ),
    "a secret that is not in the file": Wrong(
        files=FILES,
        command=RUN,
        environment={"ISOLATION_SECRETS": "{here}/secrets.toml"},
        told="nobody gave a value for the secret 'API_TOKEN'",
        hint='Either add it to {here}/secrets.toml, as in API_TOKEN = "...", or set ISOLATION_SECRET_API_TOKEN in the '
        "environment.",
    ),
    "a secret that is too short": Wrong(
        files=FILES,
        command=RUN,
        environment={"ISOLATION_SECRET_API_TOKEN": "12345"},
        told="the secret 'API_TOKEN' has no line of 6 characters: to hide it wherever it shows would damage everything "
        "else",
        hint="Use a longer one; spaces around it do not count.",
    ),
    "secrets that everybody can read": Wrong(
        files={**FILES, "open.toml": 'API_TOKEN = "c4n4ry-of-the-tests"\n'},
        command=(*RUN, "--secrets", "{folder}/open.toml"),
        told="{folder}/open.toml: others than its owner can open this file",
        hint="Close it: chmod 600 {folder}/open.toml",
    ),
    "no such file of secrets": Wrong(
        files=FILES,
        command=(*RUN, "--secrets", "{here}/none.toml"),
        told="{here}/none.toml: there is no such file",
        hint="Check its name, and that of its folder.",
    ),
    "secrets in the settings themselves": Wrong(
        files={**FILES, "../settings.toml": 'secrets = {API_TOKEN = "c4n4ry-of-the-tests"}\n'},
        command=RUN,
        told="{here}/settings.toml: the setting 'secrets' must be a text",
        hint='Write it as in secrets = "...".',
    ),
}


@pytest.mark.parametrize("wrong", SECRETS.values(), ids=SECRETS)
def test_a_secret_that_cannot_be_had_is_told_before_the_engine_is_asked(desk: Desk, wrong: Wrong) -> None:
    """Nothing can have been started, and nothing at all is left in the state folder."""
    empty = desk.path / "secrets.toml"
    empty.touch(mode=0o600)

    refuse_before_the_engine(desk, wrong)
