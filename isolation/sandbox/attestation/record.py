"""
The engine's own record of a container against the create body that it was given.

An engine fills in what it was not told, and writes nothing for nothing (null, "", [], 0, false): those are equal. A
field that we did not name must be nothing, or be on the list of what engines fill in by themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

AS_ASKED = "as asked"
_FILLED_IN = frozenset({"ShmSize", "ConsoleSize", "Runtime", "CgroupnsMode", "ContainerIDFile"})
_NOT_KEPT = frozenset({"NetworkDisabled", "Healthcheck"})
"""What some engines take and do not write down again; the kernel's view shows the first, the second runs nothing."""


def differences(inspected: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    """Say where the record differs from what was asked, field by field; ``AS_ASKED`` if nowhere."""
    asked_host, host = body["HostConfig"], inspected.get("HostConfig") or {}
    config = inspected.get("Config") or {}
    said = [*_unlike(asked_host, host)]
    said += [
        f"{name}={_short(value)}, which nobody asked for"
        for name, value in host.items()
        if name not in asked_host and name not in _FILLED_IN and not _is_nothing(value)
    ]
    asked = {name: value for name, value in body.items() if name not in {"HostConfig", "Image", *_NOT_KEPT}}
    # The image's labels are added to ours, and its variables stand before ours.
    labels = {name: value for name, value in (config.get("Labels") or {}).items() if name in body["Labels"]}
    said += _unlike(
        asked | {"Env": sorted(body["Env"])}, {**config, "Labels": labels, "Env": sorted(config.get("Env") or ())}
    )
    if inspected.get("Image") != body["Image"]:
        said.append(f"Image={_short(inspected.get('Image'))}")
    return "; ".join(said) or AS_ASKED


def pid_of(inspected: Mapping[str, Any]) -> int | None:
    """Return the process id of the container's first process in the engine's own namespace; None if it has none."""
    pid = (inspected.get("State") or {}).get("Pid")
    return pid if isinstance(pid, int) and pid > 0 else None


def _unlike(asked: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    for name, value in asked.items():
        if not _is_same(value, found.get(name)):
            yield f"{name}={_short(found.get(name))}"


def _is_same(asked: object, found: object) -> bool:
    if _is_nothing(asked) and _is_nothing(found):
        return True
    if isinstance(asked, dict) and isinstance(found, dict):
        names = {*asked, *found}
        return all(_is_same(asked.get(name), found.get(name)) for name in names)
    if isinstance(asked, list) and isinstance(found, list):
        return len(asked) == len(found) and all(_is_same(one, two) for one, two in zip(asked, found, strict=True))
    return asked == found


def _is_nothing(value: object) -> bool:
    if isinstance(value, dict):
        return all(_is_nothing(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(_is_nothing(item) for item in value)
    return not value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - what fits on a line
