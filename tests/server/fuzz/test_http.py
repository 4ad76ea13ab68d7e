"""Requests made up from the description of the API: no 500, no traceback, no broken promise."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import schemathesis
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support import proof

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.server.rest.conftest import Rig

SEED = 20260301
LONG = 300
# What the description promises: the status codes it names, the content types and shapes.
CHECKED = [status_code_conformance, content_type_conformance, response_schema_conformance]
# Words that a server's own fault would show.
_FAULTS = ("Traceback", 'File "', "sqlalchemy", "site-packages")


@pytest.mark.parametrize("tag", ["tenants", "provisioning", "sign-in", "engines", "service", "v1"])
async def test_what_the_description_allows_is_answered_as_it_says(open_rig: Rig, tag: str) -> None:
    await asyncio.to_thread(_fuzz, open_rig.port, await _known(open_rig), tag, 4)


@pytest.mark.prove
@pytest.mark.parametrize("tag", ["tenants", "provisioning", "sign-in", "engines", "service", "v1"])
async def test_so_is_a_long_row_of_requests(open_rig: Rig, tag: str) -> None:
    await asyncio.to_thread(_fuzz, open_rig.port, await _known(open_rig), tag, LONG)
    proof.note(requests_an_operation=LONG, seed=SEED)


async def _known(rig: Rig) -> str:
    """Return a tenant that half of the requests are about: others end at its id."""
    tenant_id = await rig.begun()
    rig.ended(tenant_id, "PARTIAL", done=9)
    return tenant_id


def _fuzz(port: int, tenant_id: str, tag: str, examples: int) -> None:
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")
    # Any: schemathesis types it by its own result
    given: list[Any] = list(schema.include(tag=tag).get_all_operations())
    operations = [each.ok() for each in given]
    assert operations, "a tag that nothing has"
    for operation in operations:
        _each(operation, tenant_id, examples)()


def _each(operation: Any, tenant_id: str, examples: int) -> Callable[[], None]:
    @hypothesis.seed(SEED)
    @hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(case=operation.as_strategy(), ours=hypothesis.strategies.booleans())
    def one(case: Any, ours: bool) -> None:
        if ours and case.path_parameters and "tenant_id" in case.path_parameters:
            case.path_parameters["tenant_id"] = tenant_id
        answer = case.call(timeout=60)
        # 503 is an answer too: no engine is up in these tests' store.
        assert answer.status_code == 503 or answer.status_code < 500, answer.text
        assert not any(word in answer.text for word in _FAULTS), answer.text
        case.validate_response(answer, checks=CHECKED)

    return one
