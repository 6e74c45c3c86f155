"""Policies: which there are for a namespace, what they say, and whether a text can be one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from isolation.errors import NoSuchPolicyError
from isolation.packaging.policy import policy_of
from isolation.rules.scope import matches
from isolation.service.bodies import said
from isolation.service.here import MayReadRuns, MaySubmitRuns
from isolation.service.problems import answers
from isolation.service.reading import BodyRoute
from isolation.service.refusals import NotThereError
from isolation.service.run_bodies import CheckedPolicyBody, CheckPolicyBody, PoliciesBody, PolicyBody
from isolation.service.submitting import policy_named

router = APIRouter(prefix="/v1", route_class=BodyRoute, tags=["policies"])

Name = Annotated[str, Path(max_length=100, description="Its name, as it is listed.")]


@router.get("/policies", response_model=PoliciesBody, responses=answers(422))
def list_policies(here: MayReadRuns) -> Response:
    """Return the server's policies that runs of this namespace may have: the project's own, and the operator's."""
    known = here.service.policies
    policies = [(name, known.get(name)) for name in known.names()]
    ours = [
        {"name": name, "description": policy.description}
        for name, policy in policies
        if matches(here.namespace, policy.namespaces)
    ]
    return said({"policies": ours, "default": policy_named(here, None).name})


@router.get("/policies/{name}", response_model=PolicyBody, responses=answers(404, 422))
def get_policy(here: MayReadRuns, name: Name) -> Response:
    """Return a policy: every value that holds, and its file, where each line is explained."""
    known = here.service.policies
    try:
        policy = known.get(name)
    except NoSuchPolicyError as error:
        raise NotThereError(f"there is no policy {name!r}", hint=_LIST) from error
    if not matches(here.namespace, policy.namespaces):
        raise NotThereError(f"there is no policy {name!r}", hint=_LIST)
    return said({"name": name, "policy": policy.model_dump(mode="json", by_alias=True), "text": known.text(name)})


@router.post("/check/policy", response_model=CheckedPolicyBody, responses=answers(413, 422))
def check_policy(_here: MaySubmitRuns, body: CheckPolicyBody) -> Response:
    """Check that a text can be a policy; 422 tells the line and what is wrong there. It is not kept."""
    policy = policy_of(body.policy)
    return said({"name": policy.name, "policy": policy.model_dump(mode="json", by_alias=True)})


_LIST = "GET /v1/policies lists all."
