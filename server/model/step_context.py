"""What a step is, and what it may do: the protocol between steps and the executor.

A step reads and writes only through its context. It has no client, knows no store and does not
decide whether to try again: it raises `server.errors.EngineError`, and the executor decides.
`probe` looks at what exists (reads only) and `apply` makes what is missing; then the executor
probes again. That second look decides whether the step is done, not the answer to the POST.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from server.model.difference import Difference
    from server.model.ownership import CompanyRecord, Document
    from server.model.spec import TenantSpec
    from server.model.states import GateState
    from server.model.undo import Removal

DEFAULT_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call to the engine, as data.

    Attributes:
        method: HTTP method.
        path: Path with every segment percent-encoded.
        params: Query parameters; values that are not text are sent as JSON.
        body: JSON body, or None.
        timeout_seconds: How long to wait for the answer.
        doctype: The doctype it is about, for logs, faults and the slot.
        name: The document's name, or "".
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    doctype: str = ""
    name: str = ""


class AnswerKind(Enum):
    """What an answer means for a step."""

    OK = auto()
    MISSING = auto()
    EXISTS = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer a step can work with; any other is raised as an EngineError.

    Attributes:
        kind: OK (the call did what it says), MISSING (the document does not exist) or EXISTS (a
            write found that the document exists already).
        data: `data` or `message` of the body; None unless OK.
        status: HTTP status.
        exc_type: ERPNext's error type, or "".
        message: ERPNext's words, plain text, or "".
    """

    kind: AnswerKind
    data: Any = None
    status: int = 200
    exc_type: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What a write is about to make, stored before the request is sent.

    Attributes:
        doctype: ERPNext's doctype.
        name: The name it will have, computed by us.
        shared: Whether it belongs to the site; then it is never ours to delete.
        slot: Whether the write must hold the site's one slot: concurrent writes of tree
            documents and payment rows undo each other (recordings 12-concurrent-*), and a
            document whose name an older engine ignores must be looked for before it is made.
        update: Whether it changes a document rather than making one.
        repeatable: Whether the engine refuses a second POST of this name. If it may ignore the
            name, an earlier request that may still be out is waited for, and its document
            looked for again (promise 4).
        removes: Whether it deletes the document (then `update` is true, too): the record says
            so once the engine has done it, or says that there is no such document.
    """

    doctype: str
    name: str
    shared: bool = False
    slot: bool = False
    update: bool = False
    repeatable: bool = True
    removes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a probe saw.

    Attributes:
        done: Whether everything the step wants exists and is right.
        missing: What does not exist or is not right yet, and would be made.
        documents: The existing documents that belong to this step.
        outputs: Facts for later steps and for people (names, time zone, …).
        skip: Why the step is left out, or "".
        notes: Lines for the tenant's log.
        gone: Doctype and name of documents in the record that no longer exist.
    """

    done: bool
    missing: tuple[Difference, ...] = ()
    documents: tuple[Document, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)
    skip: str = ""
    notes: tuple[str, ...] = ()
    gone: tuple[tuple[str, str], ...] = ()


class StepContext(Protocol):
    """What the executor gives a step.

    Besides `EngineError` its methods raise what ends the attempt (a person's order to cancel,
    another worker that has the run, a database that is away): that is the executor's, and a step
    lets it pass.
    """

    @property
    def spec(self) -> TenantSpec:
        """What the tenant should have."""

    @property
    def abbreviation(self) -> str | None:
        """The bound abbreviation, or None before step_2 chose one."""

    @property
    def company_record(self) -> CompanyRecord:
        """What the record says about the tenant's Company."""

    @property
    def completed_once(self) -> bool:
        """Whether the tenant was ever COMPLETED: a live shop."""

    def outputs(self, step_key: str) -> Mapping[str, str]:
        """Return the outputs of an earlier step of this run; empty if it has none."""

    @property
    def removal(self) -> Removal:
        """What is to be removed, and how, if the tenant is being removed."""

    def now(self) -> datetime:
        """Return the time, in UTC."""

    async def read(self, request: Request) -> Answer:
        """Send a request that changes nothing.

        Returns:
            An answer that is OK or MISSING.

        Raises:
            server.errors.EngineError: for every other answer, and for none.
        """

    async def write(self, intent: Intent, request: Request) -> Answer:
        """Store the intent, take the slot if it needs one, send the request, settle the intent.

        Args:
            intent: The document that is made or changed; it is durable before anything is sent.
            request: The request, about that document.

        Returns:
            An answer that is OK or EXISTS.

        Raises:
            server.errors.EngineError: for every other answer, and for none.
        """

    async def bind_abbreviation(self, abbreviation: str) -> bool:
        """Store the Company's abbreviation before it is used.

        Returns:
            False if another tenant of the site is bound to it; then nothing is stored.

        Raises:
            server.errors.EngineError: the company's name is bound to another tenant.
        """

    async def note(self, message: str) -> None:
        """Write a line into the tenant's log."""


class Step(Protocol):
    """One step of a blueprint for one kind of engine."""

    @property
    def key(self) -> str:
        """The step's key in the blueprint."""

    async def probe(self, context: StepContext) -> Found:
        """Look at what is there; reads only.

        Raises:
            server.errors.EngineError: that could not be seen, or a person must decide.
        """

    async def apply(self, context: StepContext, found: Found) -> None:
        """Make what `found` says is missing.

        Args:
            context: What the step reads and writes through.
            found: What the probe of the same attempt saw; it is not done.

        Raises:
            server.errors.EngineError: the engine refused something, or did not answer.
        """


@runtime_checkable
class Foreseeing(Protocol):
    """A step that names of later steps depend on: it can foretell them."""

    async def foresee(self, context: StepContext, found: Found) -> Found:
        """Say what a probe would see once everything missing was made; reads only.

        Args:
            context: A context that refuses writes.
            found: What the step's probe saw; it is not done.

        Returns:
            `found`, with the outputs that later steps need and with notes.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHealth:
    """What the prober found out about a site.

    Attributes:
        state: Whether it takes work.
        code: Stable code if it does not; "" if it does.
        message: What is wrong and what to do, in plain words; "" if nothing is.
        retry_after_seconds: After how long the site wants to be asked again; None if it did not
            say.
    """

    state: GateState
    code: str = ""
    message: str = ""
    retry_after_seconds: float | None = None


class Engine(Protocol):
    """The adapter of one configured engine."""

    @property
    def site(self) -> str:
        """Its url and host; two engines may not have the same."""

    @property
    def blueprint_name(self) -> str:
        """Name of the blueprint its steps belong to."""

    @property
    def timeout_seconds(self) -> float:
        """How long it waits for the answer to a request that has no limit of its own."""

    def step(self, key: str) -> Step:
        """Return the step with that key.

        Raises:
            KeyError: the blueprint has no such step.
        """

    async def send(self, request: Request) -> Answer:
        """Send one request and classify the answer.

        Raises:
            server.errors.EngineError: for every answer a step can't work with.
        """

    async def check(self) -> EngineHealth:
        """Ask the site whether it takes work: up, host right, token valid."""

    async def identity(self) -> str | None:
        """Return the site's identity: another value means another site under the same address.

        Returns:
            The identity; None if the site has none (yet).

        Raises:
            server.errors.EngineError: it could not be read.
        """

    async def missing_companies(self, names: Collection[str]) -> frozenset[str]:
        """Return which of these Companies do not exist on the site.

        Raises:
            server.errors.EngineError: that could not be read.
        """

    async def close(self) -> None:
        """Close connections."""
