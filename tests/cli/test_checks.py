"""What a person sees of the doctor's findings."""

from __future__ import annotations

from isolation.cli.checks import checks_text
from isolation.cli.paint import Paint
from isolation.sandbox.doctor import Check
from isolation.sandbox.doctor.holes import Hole


def test_the_report_ends_with_what_to_do_and_a_verdict() -> None:
    """First all that was looked at, by subject; then known holes; then what can be mended."""
    checks = (
        Check(subject="engine", name="engine", status="missing", found="does not answer", mend="Start it."),
        Check(subject="limits", name="swap", status="ok", found="none", wanted="none"),
    )
    assert checks_text(checks, Paint()) == (
        "engine\n"
        "  missing  engine  does not answer\n"
        "\n"
        "limits\n"
        "  ok       swap  none\n"
        "\n"
        "what to do\n"
        "  engine: Start it.\n"
        "\n"
        "1 missing: recipes cannot run here"
    )


def test_holes_are_shown_with_what_an_attack_needs() -> None:
    """And with the versions that do not have them any more."""
    hole = Hole(ids=("CVE-1", "CVE-2"), fixed=("1.2", "1.3"), needs="a terminal", ours="a cell has none")
    check = Check(subject="runtimes", name="runc", status="warning", found="1.1", holes=(hole,), mend="Upgrade.")
    assert checks_text((check,), Paint()).splitlines()[3:7] == [
        "known holes, unless the distribution mended them",
        "  runc 1.1",
        "    CVE-1, CVE-2 (fixed in 1.2, 1.3)",
        "      needs a terminal; a cell has none",
    ]


def test_settings_that_need_no_words_are_one_command() -> None:
    """What has a word of warning keeps it beside its command."""

    def advice(name: str, command: str, mend: str = "") -> Check:
        return Check(subject="walls", name=name, status="advice", found="0", wanted="1", command=command, mend=mend)

    checks = (
        advice("a.b", "sysctl -w a.b=1"),
        advice("namespaces", "sysctl -w u.n=0", "If nothing needs them."),
        advice("c.d", "sysctl -w c.d=2"),
    )
    assert checks_text(checks, Paint()) == (
        "walls\n"
        "  advice   a.b         0, wanted 1\n"
        "  advice   namespaces  0, wanted 1\n"
        "  advice   c.d         0, wanted 1\n"
        "\n"
        "what to do\n"
        "  namespaces: If nothing needs them.\n"
        "    sysctl -w u.n=0\n"
        "  settings of the kernel, until the next boot (to keep them: a file in /etc/sysctl.d):\n"
        "    sysctl -w a.b=1 c.d=2\n"
        "\n"
        "recipes can run here; 3 pieces of advice"
    )


def test_what_the_engine_says_is_shown_as_text() -> None:
    """A terminal does nothing that a name or a version asks of it."""
    check = Check(subject="engine", name="engine warns", status="warning", found="\x1b[2Jboo", mend="\x1b]0;x\x07")
    assert "\x1b" not in checks_text((check,), Paint())
