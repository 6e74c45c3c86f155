"""Puts the examination together: subject by subject, in each the worst first."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, get_args

from isolation.errors import EngineError
from isolation.sandbox.doctor.check import Check, Host, Status, Subject
from isolation.sandbox.doctor.engine import check_engine, no_engine
from isolation.sandbox.doctor.kernel import check_settings
from isolation.sandbox.doctor.limits import check_driver, check_groups, check_swap
from isolation.sandbox.doctor.project import check_image, check_python, check_state, check_uv
from isolation.sandbox.doctor.runtimes import check_runtimes
from isolation.sandbox.doctor.walls import check_seccomp, check_security_module, check_user_namespaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from isolation.sandbox.doctor.check import Patient

_SUBJECTS: tuple[Subject, ...] = get_args(Subject)
_WORST_FIRST: tuple[Status, ...] = ("missing", "warning", "advice", "ok")


def examine(*, engine_address: str | None, image: str, state: Path) -> tuple[Check, ...]:
    """Examine this host, the engine at the address, and the state folder; never raises for what it finds."""
    from isolation.sandbox.docker_engine import DockerEngine  # noqa: PLC0415 - slow to import

    host = Host(is_root=os.geteuid() == 0)
    return examine_with(lambda: DockerEngine(engine_address), host, image=image, state=state)


def examine_with(connect: Callable[[], Patient], host: Host, *, image: str, state: Path) -> tuple[Check, ...]:
    """Examine a host and an engine that are given."""
    found = [*_host(host, state), *_engine(connect, host, image)]
    return tuple(sorted(found, key=lambda check: (_SUBJECTS.index(check.subject), _WORST_FIRST.index(check.status))))


def _host(host: Host, state: Path) -> Iterator[Check]:
    yield check_python(host)
    yield check_uv(host)
    yield check_state(state)
    yield check_swap(host)
    yield check_user_namespaces(host)
    yield from check_settings(host)


def _engine(connect: Callable[[], Patient], host: Host, image: str) -> Iterator[Check]:
    try:
        engine = connect()
        facts = engine.facts()
        components = engine.components()
    except EngineError as error:
        yield no_engine(error)
        return
    yield check_image(engine, image, host.project)
    yield from check_engine(engine.address, facts, components, host)
    yield from check_runtimes(facts, components, host)
    yield check_driver(facts)
    yield check_groups(facts, host)
    yield check_seccomp(facts)
    yield check_security_module(facts, host)
