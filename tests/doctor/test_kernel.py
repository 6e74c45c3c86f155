"""Settings of the kernel, each found, wanted, and with what sets it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isolation.sandbox.doctor.kernel import SETTINGS

if TYPE_CHECKING:
    from isolation.sandbox.doctor.kernel import Setting
    from tests.doctor.conftest import Examined, LaidOut


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_setting_is_looked_at(examined: Examined, laid_out: LaidOut, setting: Setting) -> None:
    """What is wanted is in order, what is not gets the command that sets it, what a kernel lacks is not asked for."""
    laid_out.setting(setting.name, str(setting.wanted))
    assert examined()[setting.name].status == "ok"

    laid_out.setting(setting.name, str(setting.wanted + (1 if setting.how == "exactly" else -1)))
    check = examined()[setting.name]
    assert (check.status, check.command) == ("advice", f"sysctl -w {setting.name}={setting.wanted}")
    assert check.meaning == setting.meaning

    (laid_out.folder / "proc/sys" / setting.name.replace(".", "/")).unlink()
    assert setting.name not in examined()


def test_more_than_wanted_is_in_order_where_more_is_stricter(examined: Examined, laid_out: LaidOut) -> None:
    """2 closes bpf for good, until the next boot; 1 is asked for."""
    laid_out.setting("kernel.unprivileged_bpf_disabled", "2")
    assert examined()["kernel.unprivileged_bpf_disabled"].status == "ok"


@pytest.mark.parametrize(("pattern", "status"), [("core", "ok"), ("|/usr/share/apport/apport -p%p", "advice")])
def test_a_program_that_gets_what_crashes_is_told(
    examined: Examined, laid_out: LaidOut, pattern: str, status: str
) -> None:
    """The kernel starts it as root, outside of every container, core(5)."""
    laid_out.setting("kernel.core_pattern", pattern)

    check = examined()["kernel.core_pattern"]

    assert (check.status, check.found) == (status, pattern.split(maxsplit=1)[0])
    assert check.command == ("" if status == "ok" else "sysctl -w kernel.core_pattern=core")


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"user.max_user_namespaces": "63000"}, "advice"),
        ({"user.max_user_namespaces": "63000", "kernel.unprivileged_userns_clone": "0"}, "ok"),
        ({"user.max_user_namespaces": "0"}, "ok"),
    ],
)
def test_user_namespaces_that_everybody_can_make_are_told(
    examined: Examined, laid_out: LaidOut, settings: dict[str, str], status: str
) -> None:
    """Whatever needs them is somebody else's, so the command stands beside a word of warning."""
    for name, value in settings.items():
        laid_out.setting(name, value)

    check = examined()["user namespaces"]

    assert check.status == status
    assert ("if nothing else here needs them" in check.mend) == (status == "advice")
