"""Which doctypes the site refused us, and whether a missing role is the reason.

One tenant's 403 alone proves nothing about the others. Together with the API user's roles it
does: if the role that opens the doctype is not among them, every tenant would be refused, so the
site is misconfigured and no tenant's tries are used up. The same goes if step_0 saw that a
needed role is missing. Once the user has the role, the gate opens by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.health import USER_REQUEST
from server.erpnext.requests import get
from server.erpnext.roles import NEEDED_ROLES, missing_roles, role_for
from server.errors import EngineError
from server.model.states import GateState
from server.model.step_context import AnswerKind, EngineHealth

if TYPE_CHECKING:
    from collections.abc import Collection

    from server.erpnext.health import Send
    from server.erpnext.requests import JsonObject

_UP = EngineHealth(state=GateState.UP)


class RefusedDoctypes:
    """The doctypes that were refused with a 403 since the roles were last found complete.

    It is kept in memory, for one site in one process.
    """

    def __init__(self) -> None:
        self._doctypes: set[str] = set()
        self._seen_lacking = False

    def look_at(self, document: object) -> None:
        """Note whether a needed role is missing in the API user's document, which a step read.

        Args:
            document: What the engine gave for the User; what has no list of roles tells nothing.
        """
        roles = roles_in(document if isinstance(document, dict) else None)
        self._seen_lacking = roles is not None and bool(missing_roles(roles))

    def add(self, doctype: str) -> None:
        """Note that a doctype was refused; "" (a call that is about none) is not noted."""
        if doctype:
            self._doctypes.add(doctype)

    async def judge(self, send: Send) -> EngineHealth:
        """Say whether doctypes were refused because a role is missing.

        Nothing is asked unless there is a reason to. What is found not to be for lack of a role is
        forgotten.

        Args:
            send: Sends one request and classifies the answer.

        Returns:
            UP, also if the roles can't be read; or MISCONFIGURED with the roles that the API user
            lacks.
        """
        if not self._doctypes and not self._seen_lacking:
            return _UP
        roles = await roles_of_user(send)
        self._seen_lacking = self._seen_lacking and roles is not None and bool(missing_roles(roles))
        lacking = sorted(
            each for each in self._doctypes if roles is not None and not _opens(each, roles)
        )
        if roles is None or not (lacking or self._seen_lacking):
            self._doctypes.clear()
            return _UP
        refused = f" and was refused {', '.join(lacking)}" if lacking else ""
        return EngineHealth(
            state=GateState.MISCONFIGURED,
            code=Code.ROLE_MISSING,
            message=(
                f"The API user lacks {', '.join(missing_roles(roles))}{refused}. Give it the roles "
                "in ERPNext; work goes on by itself then. See: provisioner engines check NAME."
            ),
        )


async def roles_of_user(send: Send) -> frozenset[str] | None:
    """Return the roles of the API user; None if they can't be read."""
    return roles_in(await user_document(send))


def roles_in(document: JsonObject | None) -> frozenset[str] | None:
    """Return the roles that a user's document names; None if it has no list of them."""
    rows = None if document is None else document.get("roles")
    if not isinstance(rows, list):
        return None
    return frozenset(str(row.get("role")) for row in rows if isinstance(row, dict))


async def user_document(send: Send) -> JsonObject | None:
    """Return the API user's own document; None if it can't be read."""
    try:
        return await read_user(send)
    except EngineError:
        return None


async def read_user(send: Send) -> JsonObject | None:
    """Return the API user's own document; None where there is none.

    Args:
        send: Sends one request and classifies the answer; two are sent.

    Raises:
        EngineError: it can't be read.
    """
    user = await send(USER_REQUEST)
    answer = await send(get("User", str(user.data)))
    if answer.kind is not AnswerKind.OK or not isinstance(answer.data, dict):
        return None
    return answer.data


def _opens(doctype: str, roles: Collection[str]) -> bool:
    wanted = role_for(doctype)
    group = next((each for each in NEEDED_ROLES if wanted in each), (wanted,))
    return bool(set(group) & set(roles))
