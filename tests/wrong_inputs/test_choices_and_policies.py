"""What is wrong in a policy, or in what is chosen for one run."""

from __future__ import annotations

import pytest

from tests.wrong_inputs.conftest import OUTCOMES, STEPS, Desk, Wrong, policy, recipe, refuse_before_the_engine

CHECK = ("policy", "check", "{folder}/p.yaml")


def entry(written: str, *, told: str, hint: str, key: str = "allow") -> Wrong:
    """Write a wrong entry of an allow-list, on its fourth line."""
    return Wrong(
        files=policy(f"network:\n  {key}:\n    - {written}\n"),
        command=CHECK,
        told=f"{{folder}}/p.yaml:4: item 1 of '{key}' in 'network': {told}",
        hint=hint,
    )


POLICIES = {
    "an unknown policy": Wrong(
        command=("run", "{folder}", "--policy", "strickt"),
        told="there is no policy 'strickt'",
        hint="Did you mean 'strict'?",
    ),
    "an unknown policy that is like none": Wrong(
        command=("run", "{folder}", "--policy", "mine"),
        told="there is no policy 'mine'",
        hint="Known: default, generous, network, strict; or name a file.",
    ),
    "no such policy file": Wrong(
        command=("run", "{folder}", "--policy", "{here}/mine.yaml"),
        told="{here}/mine.yaml: there is no such file",
        hint="Check its name, and that of its folder.",
    ),
    "an unknown key of a policy": Wrong(
        files=policy("limits:\n  cpu: 1\n"),
        command=("run", "{folder}", "--policy", "{folder}/p.yaml"),
        told="{folder}/p.yaml:3: unknown key 'cpu' in 'limits'",
        hint="Did you mean 'cpus'?",
    ),
    "a unit that nobody knows": Wrong(
        files=policy("limits:\n  memory: 512 megs\n"),
        command=CHECK,
        told="{folder}/p.yaml:3: 'memory' in 'limits': '512 megs' has the unknown unit 'megs'",
        hint="Known: b, kb, mb, gb, tb, k, m, g, t, kib, mib, gib, tib.",
    ),
    "no quantity": Wrong(
        files=policy("limits:\n  wall: soon\n"),
        command=CHECK,
        told="{folder}/p.yaml:3: 'wall' in 'limits': 'soon' is no quantity",
        hint="Write one such as 30s.",
    ),
    "a limit below the least": Wrong(
        files=policy("limits: {pids: 1}\n"),
        command=CHECK,
        told="{folder}/p.yaml:2: 'pids' in 'limits' must be greater than or equal to 8, not 1",
        hint="Raise it.",
    ),
    "an unknown runtime": Wrong(
        files=policy("runtime: docker\n"),
        command=CHECK,
        told="{folder}/p.yaml:2: 'runtime' must be 'runc', 'crun' or 'runsc', not 'docker'",
        hint="Write 'runc', 'crun' or 'runsc'.",
    ),
    "a network that is none": Wrong(
        files=policy("network: host\n"),
        command=CHECK,
        told="{folder}/p.yaml:2: 'network': 'host' is no network",
        hint="Write none, or such as {allow: ['example.org:443']}.",
    ),
    "a network that allows nothing": Wrong(
        files=policy("network: {allow: []}\n"),
        command=CHECK,
        told="{folder}/p.yaml:2: 'allow' in 'network' must not be empty",
        hint="Write at least one item.",
    ),
    "an unknown key of the network": Wrong(
        files=policy("network:\n  deny: [example.org:443]\n"),
        command=CHECK,
        told="{folder}/p.yaml:3: unknown key 'deny' in 'network'",
        hint="Known: allow, tcp.",
    ),
    "a network of nothing": Wrong(
        files=policy("network: {}\n"),
        command=CHECK,
        told="{folder}/p.yaml:2: 'network': {} is no network",
        hint="Write none, or such as {allow: ['example.org:443']}.",
    ),
    "a star for tcp": entry(
        "'*.example.org:5432'",
        key="tcp",
        told="'*.example.org:5432' has a star",
        hint="Write each name that is meant.",
    ),
    "an address for tcp": entry(
        "10.1.2.3:5432",
        key="tcp",
        told="'10.1.2.3:5432' is an address",
        hint="Write a name here, and the address under allow.",
    ),
    "too many for tcp": Wrong(
        files=policy(f"network:\n  tcp: {[f'db{number}.example.org:5432' for number in range(17)]}\n"),
        command=CHECK,
        told="{folder}/p.yaml:3: 'tcp' in 'network' must have at most 16 items, not 17",
        hint="Shorten it.",
    ),
    "a name without a port": entry("example.org", told="'example.org' has no port", hint="Write 'example.org:443'."),
    "a URL": entry("https://example.org/x", told="'https://example.org/x' is a URL", hint="Write 'example.org:443'."),
    "a URL with a port": entry(
        "http://example.org:8080", told="'http://example.org:8080' is a URL", hint="Write 'example.org:8080'."
    ),
    "a range of addresses": entry(
        "10.0.0.0/8:443",
        told="'10.0.0.0/8:443' is a range of addresses",
        hint="Write one entry for each name or address, without a slash.",
    ),
    "a port that is none": entry(
        "example.org:https",
        told="'example.org:https' has no single port",
        hint="Write one from 1 to 65535 after the colon.",
    ),
    "a star in the middle": entry(
        "'api.*.org:443'",
        told="'api.*.org:443': a star stands only for the first label",
        hint="Write such as '*.example.org:443'.",
    ),
    "a star alone": entry(
        "'*:443'",
        told="'*:443': a star stands only for the first label",
        hint="Write such as '*.example.org:443'.",
    ),
    "an address of IPv6 without brackets": entry(
        "2001:db8::7",
        told="'2001:db8::7' is no name with a port",
        hint="Write an address of IPv6 such as '[2001:db8::7]:443'.",
    ),
    "a name that is not ASCII": entry(
        "bücher.example:443", told="'bücher.example:443' is not ASCII", hint="Write 'xn--bcher-kva.example:443'."
    ),
    "an address in an odd spelling": entry(
        "127.1:80", told="'127.1:80': '127.1' is no address in its usual form", hint="Write such as 'example.org:443'."
    ),
    "a space after the colon": entry(
        "example.org: 443",
        told="a mapping is no entry",
        hint="Write 'example.org:443', without a space after the colon.",
    ),
    "a secret in small letters": Wrong(
        files=policy("secrets: [mail.*]\n"),
        command=CHECK,
        told="{folder}/p.yaml:2: item 1 of 'secrets' has characters that are not allowed here, or too many: 'mail.*'",
        hint="Write a name such as API_TOKEN, or a glob such as MAIL_*.",
    ),
    "a policy that is a folder": Wrong(
        command=("policy", "check", "{folder}/"),
        told="{folder}: this is not a regular file",
        hint="Name a plain file: no folder, pipe, socket or device.",
    ),
    "a retry of an unknown outcome": Wrong(
        files=policy("retry:\n  oom: {attempts: 2}\n"),
        command=CHECK,
        told="{folder}/p.yaml:3: 'oom' in 'retry': 'oom' is no outcome",
        hint=OUTCOMES,
    ),
}

CHOICES = {
    "only a step that is none": Wrong(
        command=("run", "{folder}", "--only", "laod"),
        told="--only names 'laod', which is no step of 'etl'",
        hint="Did you mean 'load'?",
    ),
    "skip a step that is none": Wrong(
        command=("run", "{folder}", "--skip", "extract"),
        told="--skip names 'extract', which is no step of 'etl'",
        hint="The steps are: load.",
    ),
    "nothing left to run": Wrong(
        command=("run", "{folder}", "--skip", "load"),
        told="no step of 'etl' is left to run",
        hint="Choose others: each one is disabled, skipped, or depends on one that is.",
    ),
    "a key without a value": Wrong(
        command=("run", "{folder}", "--set", "region"),
        told="'region' is not KEY=VALUE",
        hint="Write it as in `--set region=eu`.",
    ),
    "a value for a key that may not be read": Wrong(
        files=recipe("context: {reads: [sales.*]}\n" + STEPS),
        command=("run", "{folder}", "--set", "region=eu"),
        told="the recipe 'etl' may not read 'region', so setting it for this run would change nothing",
        hint="It reads: sales.*.",
    ),
    "a value that is no number": Wrong(
        command=("run", "{folder}", "--set", "rates=[1, NaN]"),
        told="NaN is no value that the context can keep",
        hint='Write null, or "NaN" for the text.',
    ),
    "a number without an end": Wrong(
        command=("run", "{folder}", "--set", "rate=1e999"),
        told="the value of the context key 'rate' cannot be kept: inf at $ is not a finite number",
        hint="A value is JSON: null, true, false, numbers, text, lists, and objects with text keys.",
    ),
    "a key with a line break": Wrong(
        command=("run", "{folder}", "--set", "a\nb=1"),
        told="the context key 'a\\nb' has a character that cannot be printed",
        hint="Use letters, digits, dots, dashes and the like; no tab, no line break.",
    ),
    "a key with a space before it": Wrong(
        command=("run", "{folder}", "--set", " sales=1"),
        told="the context key ' sales' begins or ends with a space",
        hint="Write 'sales'.",
    ),
    "artifacts into a file": Wrong(
        command=("run", "{folder}", "--artifacts", "{recipe}"),
        told="artifacts cannot go to {recipe}: a file of that name is there already",
        hint="Name a folder that this user may write with --artifacts.",
    ),
}


@pytest.mark.parametrize("wrong", POLICIES.values(), ids=POLICIES)
def test_a_wrong_policy_is_told_before_the_engine_is_asked(desk: Desk, wrong: Wrong) -> None:
    """Nothing can have been started, and nothing at all is left in the state folder."""
    refuse_before_the_engine(desk, wrong)


@pytest.mark.parametrize("wrong", CHOICES.values(), ids=CHOICES)
def test_a_wrong_choice_is_told_before_the_engine_is_asked(desk: Desk, wrong: Wrong) -> None:
    """Nothing can have been started, and nothing at all is left in the state folder."""
    refuse_before_the_engine(desk, wrong)
