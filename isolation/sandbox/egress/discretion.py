"""What becomes of a decision that tells a secret: a name is as good a place for one as any other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from isolation.model.secret import Secret
    from isolation.model.traffic import Decision, Traffic


def hide(traffic: Traffic, secrets: Iterable[Secret]) -> Traffic:
    """
    Put marks in the place of whatever tells a secret, in any form and in any case: names are lower-cased on their way.

    A text that has one goes as a whole: it is short, and what stands around a secret may be a part of it.
    """
    known = [*secrets] if traffic.decisions else []
    if not known:
        return traffic
    from isolation.rules.forms import forms  # noqa: PLC0415 - only a run with secrets pays for it

    needles = {form.lower(): secret.name for secret in known for form in forms(secret.reveal())}
    return replace(traffic, decisions=tuple(_hide(decision, needles) for decision in traffic.decisions))


def _hide(decision: Decision, needles: dict[bytes, str]) -> Decision:
    host, address, why = (_shown(text, needles) for text in (decision.host, decision.address, decision.why))
    return replace(decision, host=host, address=address, why=why)


def _shown(text: str, needles: dict[bytes, str]) -> str:
    content = text.encode("utf-8", "surrogatepass").lower()
    name = next((name for needle, name in needles.items() if needle in content), None)
    return text if name is None else f"[secret {name}]"
