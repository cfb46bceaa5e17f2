"""The description of the interface: whatever is sent, no answer is a fault of the server, and each is described."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.acceptance.scripts import FILES
from tests.platforms import TestPlatform
from tests.rest_client import RestClient

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 12
"""Requests for each operation and kind of data; half of them with a token."""
OPERATIONS = 31


@pytest.fixture(scope="module")
def operations(platform: TestPlatform) -> list[APIOperation]:
    """All operations of the platform's description; the one that removes a job comes last."""
    description = httpx.get(f"{platform.url}/openapi.json").json()
    schema = schemathesis.openapi.from_dict(description)
    found = [result.ok() for result in schema.get_all_operations()]
    return sorted(found, key=lambda one: one.path.endswith("/remove"))


@pytest.fixture(scope="module")
def job(rest: RestClient) -> str:
    """A job that has ended, for these tests to do with it what they like."""
    uuid = rest.submit(FILES, params={"a.txt": "A"})
    rest.end(uuid)
    return uuid


def _paths(operation: APIOperation, job: str) -> Iterator[dict[str, Any] | None]:
    """Yield parameters for the path of an operation: those of a job that there is, and any."""
    yield None
    if "{uuid}" in operation.path:
        yield {"uuid": job, **({"path": "a.txt"} if "{path}" in operation.path else {})}


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: str(mode.value))
def test_answers(
    platform: TestPlatform, rest: RestClient, operations: list[APIOperation], job: str, mode: GenerationMode
) -> None:
    """Given good requests, and bad ones, when sent with a token and without, then all answers are as described."""
    if mode == GenerationMode.NEGATIVE:
        # The job of the other kind was removed at its end.
        job = rest.submit(FILES, params={"a.txt": "A"})
        rest.end(job)
    tokens = st.sampled_from([{"x-api-key": platform.token}, {}])
    for operation in operations:
        for path in _paths(operation, job):

            @settings(
                max_examples=EXAMPLES,
                derandomize=True,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=[*HealthCheck],
            )
            @given(case=operation.as_strategy(generation_mode=mode, path_parameters=path), headers=tokens)
            def check(case: schemathesis.Case, headers: dict[str, str]) -> None:
                case.headers.pop("x-api-key", None)
                answer = case.call(base_url=platform.url, headers=headers, timeout=20)
                case.validate_response(answer, checks=CHECKS)

            # An operation without parameters has no bad requests.
            with contextlib.suppress(*([Unsatisfiable] if mode == GenerationMode.NEGATIVE else [])):
                check()
    assert rest.get("/health")["ready"] is True


def test_description(operations: list[APIOperation]) -> None:
    """Given the description, when read, then each operation has the errors that it may answer with, and no 422."""
    assert len(operations) == OPERATIONS
    for operation in operations:
        statuses = operation.definition.raw["responses"].keys()
        wanted = {"400", "421", "500", "503"}
        if operation.path.startswith(("/jobs", "/backend", "/queues", "/nodes", "/config", "/dev")):
            wanted |= {"401"}
        if "{uuid}" in operation.path or "{node}" in operation.path:
            wanted |= {"404"}
        if operation.label == "POST /jobs":
            wanted |= {"413", "429"}
        assert wanted <= statuses, operation.label
        assert "422" not in statuses, operation.label
