"""The calls of ERPNext's v1 REST API under /api/resource, on one site.

Facts: the shapes in the README of the recordings, 11-wrong-address, 11-method-not-allowed,
05-selling-settings-list. Every write goes through `Traffic`; the work itself is immediate.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from server.standin import deletion, documents, errors, filters, latency, ledger, permissions
from server.standin.catalogue import DOCTYPES
from server.standin.site import API_USER, shown
from server.standin.traffic import Ticket

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.standin.schema import DocType, Document
    from server.standin.site import Site
    from server.standin.traffic import Traffic


@dataclass(slots=True, kw_only=True)
class Call:
    """One parsed request: what is asked of which doctype (or method path) and document.

    Attributes:
        method: The HTTP method.
        target: A doctype, or the dotted path of a method.
        name: The document's name; None if the doctype itself is called.
        user: Who calls; `permissions.GUEST` for nobody.
        roles: That user's roles; None for all of them.
        query: What the address holds behind the "?", decoded.
        body: The body as an object; empty for a read.
        delay: Extra seconds that faults make this request take, inside its transaction.
        spent: Whether that time was spent, so that a refusal does not spend it again.
        cut_in_the_middle: Whether a fault cuts the connection in the middle of the answer.
    """

    method: str
    target: str
    name: str | None = None
    user: str = ""
    roles: frozenset[str] | None = None
    query: dict[str, str] = field(default_factory=dict)
    body: Document = field(default_factory=dict)
    # Extra seconds that faults make this request take, inside its transaction.
    delay: float = 0.0
    # Whether that time was spent, so that a refusal does not spend it again.
    spent: bool = False
    # Whether a fault cuts the connection in the middle of the answer.
    cut_in_the_middle: bool = False

    @property
    def arguments(self) -> dict[str, Any]:  # Any: JSON
        """What was sent in the address or the body; the body has precedence."""
        return {**self.query, **self.body}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A successful answer.

    Attributes:
        status: The HTTP status.
        body: The JSON object, with `data` or `message` in it.
    """

    status: int = 200
    body: Document


class Api:
    """Answers calls; refusals are raised as `EngineError` or `PageError`.

    Attributes:
        site: The site that is called.
    """

    def __init__(
        self, site: Site, traffic: Traffic, *, pace: float, saved: Callable[[], None]
    ) -> None:
        """Take the parts.

        Args:
            site: The site that is called.
            traffic: Its writes under way.
            pace: What each recorded time is multiplied by; 0.0 for no waiting.
            saved: Called after each change.
        """
        self.site = site
        self._traffic = traffic
        self._pace = pace
        self._saved = saved
        # When the background worker finishes each deletion record; one not listed here is due.
        self._due: dict[str, float] = {}

    async def resource(self, call: Call) -> Reply:
        """Answer a call of /api/resource.

        Raises:
            EngineError: the application refuses it.
            PageError: the web server does (11-method-not-allowed).
        """
        permissions.check(
            call.user, call.roles, call.target, call.method, document=call.name is not None
        )
        self._let_the_worker_go_on()
        if call.name is None:
            return await self._list(call)
        handlers = {
            "GET": self._read,
            "HEAD": self._read,
            "PUT": self._update,
            "DELETE": self._delete,
            "POST": self._run_method,
        }
        if call.method not in handlers:
            raise errors.gone()
        return await handlers[call.method](call)

    async def spend(self, call: Call) -> None:
        """Take the time a call that changes nothing takes."""
        call.spent = True
        seconds = latency.read_seconds(call.method, call.target) * self._pace
        await self._traffic.pause(seconds + call.delay)

    async def write(
        self, call: Call, ticket: Ticket | None, commit: Callable[[], Document]
    ) -> Document:
        """Take the time a change takes, then make it.

        Args:
            call: The call, with the time that faults add.
            ticket: What it has to wait for, or collides with; None if it can't meet another write.
            commit: Makes the change, or raises and changes nothing; returns what was stored.

        Returns:
            What `commit` returned.

        Raises:
            EngineError: `commit` refused it, or another write was faster.
        """
        call.spent = True
        companies = len(self.site.documents["Company"])
        seconds = latency.write_seconds(call.method, call.target, companies) * self._pace
        if ticket is None:
            await self._traffic.pause(seconds + call.delay)
            document = commit()
        else:
            document = await self._traffic.write(ticket, seconds + call.delay, commit)
        self._saved()
        return document

    def listed(self, doctype: str, arguments: dict[str, Any]) -> list[Document]:  # Any: JSON
        """Answer a list query.

        Args:
            doctype: The doctype of the rows.
            arguments: The query's parameters, as text or decoded.

        Raises:
            EngineError: the doctype is not known or has no list, or the query is not permitted.
        """
        kind = DOCTYPES.get(doctype)
        if kind is None:
            raise errors.missing("DocType", doctype)
        if kind.single:
            text = f"pymysql.err.ProgrammingError: ('DocType', '{doctype}')"
            raise errors.crashed("ProgrammingError", text)
        if not kind.row:
            return filters.select(kind, filters.parse(kind, arguments), self.site.every(doctype))
        parent = DOCTYPES.get(str(arguments.get("parent")))
        # Rows are seen only through their parent (08-mode-of-payment-account-query).
        if parent is None or all(t.doctype != doctype for t in parent.tables.values()):
            raise errors.plain(403, "PermissionError")
        return filters.select(kind, filters.parse(kind, arguments), self.site.rows(doctype))

    async def insert(self, call: Call, doctype: str, body: Document) -> Reply:
        """Make a document, and return it as the reply's `data`.

        Args:
            call: The call, with the time that faults add.
            doctype: The doctype of the document.
            body: What was sent of it.

        Raises:
            EngineError: it is refused; nothing is stored.
        """
        kind = known(doctype)
        made = documents.draft(self.site, kind, body)
        ticket = Ticket(
            doctype=doctype,
            # No other request can ask for a name that comes from a series.
            name=self.site.stamp() if made.numbered else made.document["name"],
            abbr=made.document["abbr"] if doctype == "Company" else "",
        )
        stored = await self.write(call, ticket, lambda: documents.insert(self.site, made))
        answer: Document = {"data": shown(stored)}
        if made.note is not None:
            answer["_server_messages"] = errors.listed([made.note])
        return Reply(body=answer)

    async def _list(self, call: Call) -> Reply:
        if call.method in {"GET", "HEAD"}:
            await self.spend(call)
            return Reply(body={"data": self.listed(call.target, call.query)})
        if call.method != "POST":
            raise errors.page(
                405,
                "Method Not Allowed",
                "The method is not allowed for the requested URL.",
                allow="GET, POST, HEAD",
            )
        kind = known(call.target)
        if kind.row:
            row = await self.write(
                call, None, lambda: documents.add_row_alone(self.site, kind, call.body)
            )
            return Reply(body={"data": shown(row)})
        if not kind.single:
            return await self.insert(call, call.target, call.body)
        if call.target == "Stock Settings":
            text = "AttributeError: 'NoneType' object has no attribute 'get'"
            raise errors.crashed("AttributeError", text, source=errors.ERPNEXT)
        call.name = call.target
        return await self._update(call)

    async def _read(self, call: Call) -> Reply:
        kind = known(call.target)
        await self.spend(call)
        document = shown(self.site.require(kind.name, call.name or ""))
        if not permissions.sees_fields(call.roles, kind.name):
            return Reply(body={"data": _bare(document)})
        if kind.name == "User" and document["name"] == API_USER and call.roles is not None:
            # Faults may set the caller's roles; the user's document must agree.
            document["roles"] = [{"role": role} for role in sorted(call.roles)]
        return Reply(body={"data": document})

    async def _update(self, call: Call) -> Reply:
        kind = known(call.target)
        sees = permissions.sees_fields(call.roles, kind.name)
        body = call.body if sees else {}
        stored = await self.write(
            call,
            None,
            lambda: documents.update(self.site, kind, call.name or "", body),
        )
        return Reply(body={"data": shown(stored) if sees else _bare(shown(stored))})

    async def _delete(self, call: Call) -> Reply:
        kind = known(call.target)

        def commit() -> Document:
            deletion.delete(self.site, kind, call.name or "")
            return {}

        await self.write(call, None, commit)
        return Reply(status=202, body={"data": "ok"})

    async def _run_method(self, call: Call) -> Reply:
        kind = known(call.target)
        name = self.site.require(kind.name, call.name or "")["name"]
        method = call.arguments.get("run_method")
        if method is None:
            raise errors.crashed("KeyError", "KeyError: 'run_method'")
        if kind.name == ledger.RECORD and method == "start_deletion_tasks":
            return await self._start_deletion(call, name)
        if method not in {"submit", "cancel"}:
            raise errors.not_whitelisted(str(method))
        work = documents.submit if method == "submit" else documents.cancel
        stored = await self.write(call, None, lambda: work(self.site, kind.name, name))
        return Reply(body={"data": shown(stored)})

    async def _start_deletion(self, call: Call, name: str) -> Reply:
        record = self.site.require(ledger.RECORD, name)

        def commit() -> Document:
            ledger.start_record(self.site, record)
            return record

        seconds = latency.DELETION_SECONDS * self._pace
        self._due[name] = time.monotonic() + seconds + call.delay
        await self.write(call, None, commit)
        return Reply(body={})

    def _let_the_worker_go_on(self) -> None:
        for record in self.site.every(ledger.RECORD):
            if record["status"] != ledger.RUNNING:
                continue
            if self._due.get(record["name"], 0.0) <= time.monotonic():
                ledger.finish_record(self.site, record)
                self._saved()


def _bare(document: Document) -> Document:
    kept = ("name", "creation", "modified", "docstatus")
    return {field: document[field] for field in kept if field in document}


def known(doctype: str) -> DocType:
    """Return a doctype, or refuse one that ERPNext has no code for (11-wrong-address).

    Raises:
        EngineError: it is not in the catalogue.
    """
    kind = DOCTYPES.get(doctype)
    if kind is None:
        module = doctype.lower().replace(" ", "_").replace("-", "_")
        text = f"Error: No module named 'frappe.core.doctype.{module}'"
        raise errors.crashed("ImportError", text)
    return kind
