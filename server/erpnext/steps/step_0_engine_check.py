"""step_0: do not start on an engine that can't finish a tenant.

It only reads, and never relies on a stored result: it is part of every run, and the engine is
looked at again before the Company is made. If something is wrong, the error names everything that
is wrong and how to fix it: the table of `provisioner engines check` as one line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.check import check_site, engine_line
from server.erpnext.codes import Code
from server.erpnext.masters import charts_in, charts_request
from server.erpnext.refused import roles_in
from server.erpnext.requests import get
from server.erpnext.roles import missing_roles
from server.erpnext.seeing import document_of
from server.erpnext.site import STEP_KEY, look_at_site
from server.errors import EngineError
from server.model.states import ErrorClass
from server.model.step_context import AnswerKind, Found

if TYPE_CHECKING:
    from server.model.step_context import StepContext

# Errors about how the engine is set up, not about whether it answers just now.
_OF_THE_SET_UP = frozenset({ErrorClass.PERMANENT, ErrorClass.ENGINE_MISCONFIGURED})
_ALSO = frozenset({Code.ENGINE_CREDENTIALS_REFUSED, Code.ENGINE_WRONG_HOST})


class EngineCheck:
    """The engine answers, accepts our token, gives us the roles, and knows the country."""

    key = STEP_KEY

    async def probe(self, context: StepContext) -> Found:
        """Look; whatever is wrong is raised, so a result is always done.

        Returns:
            As outputs, the site's facts for `site_of`, and the charts that the country may choose
            from, one a line.

        Raises:
            EngineError: as `look_at_site`, or ROLE_MISSING. If it is about how the engine is set
                up, its message has everything else that is wrong, too.
        """
        try:
            outputs, notes = await look_at_site(context)
            roles = await _roles(context, outputs["api_user"])
            charts = charts_in(await context.read(charts_request(outputs["country"])))
        except EngineError as error:
            raise await _with_the_whole_check(context, error) from error
        told = (
            f"Engine check: it answers, takes our token (user {outputs['api_user']}), has ERPNext "
            f"{outputs['erpnext_version']}, {roles}, time zone {outputs['time_zone']}, charts for "
            f"{outputs['country']}: {', '.join(charts) or 'Standard'}."
        )
        return Found(
            done=True,
            outputs={**outputs, "charts": "\n".join(charts)},
            notes=(*notes, told),
        )

    async def apply(self, context: StepContext, found: Found) -> None:
        """Do nothing: this step makes nothing."""


async def _roles(context: StepContext, api_user: str) -> str:
    """Say which roles the API user has.

    Raises:
        EngineError: of the class ENGINE_MISCONFIGURED, if one is missing, because every tenant
            needs it.
    """
    try:
        answer = await context.read(get("User", api_user))
    except EngineError as error:
        if error.error_class is not ErrorClass.PERMANENT:
            raise
        return "roles that it does not show"
    roles = roles_in(document_of(answer)) if answer.kind is AnswerKind.OK else None
    if roles is None:
        return "roles that it does not show"
    lacking = missing_roles(roles)
    if lacking:
        raise EngineError(
            ErrorClass.ENGINE_MISCONFIGURED,
            Code.ROLE_MISSING,
            f"The API user {api_user} lacks the role {', '.join(lacking)}.",
            ask_prober=True,
        )
    return "every role that is needed"


async def _with_the_whole_check(context: StepContext, error: EngineError) -> EngineError:
    """Return the error with everything else that is wrong, or right, in its message."""
    if error.error_class not in _OF_THE_SET_UP and error.code not in _ALSO:
        return error
    checked = await check_site(context.read, context.spec.country_code)
    return EngineError(
        error.error_class,
        error.code,
        engine_line(error.message, checked),
        status=error.status,
        exc_type=error.exc_type,
        engine_message=error.engine_message,
        retry_after_seconds=error.retry_after_seconds,
        ask_prober=error.ask_prober,
        evidence=error.evidence,
        differences=error.differences,
    )
