"""Keeps the herds of a sweep: writes what `herd` decides, where other reconcilers may be faster."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.found import NEEDS_PERSON, Found, healed_message, herd_finding_id, message
from reconciler.herd import HERD_FROM, Decision, Member, Plan, decide, failure_of, is_through
from reconciler.herd_found import described, herd_finding, shared_finding
from reconciler.judge import Verdict, judge
from reconciler.observation import NEVER
from reconciler.remedies import RemedyOutcome, opens_run
from server.model.actor import RECONCILER_NAME
from server.model.causes import Cause, Severity
from server.store.herd_row import Herd

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from reconciler.observation import Observation
    from reconciler.observe import Observer
    from server.model.fingerprint import Failure
    from server.store.healing import HealingStore

# How many of the tenants that a person moved are examined in one sweep, the latest first.
_CANDIDATES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The tenants that one sweep found stuck at the same error."""

    failure: Failure
    tenants: tuple[Observation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plans:
    """What each herd does in this sweep, by fingerprint, and the findings that say so."""

    decisions: Mapping[str, Decision]
    findings: tuple[Found, ...] = ()


class Herds:
    """The herds of one store, as one sweeper sees them."""

    def __init__(
        self,
        store: HealingStore,
        observer: Observer,
        *,
        now: Callable[[], datetime],
        notify: bool = False,
    ) -> None:
        """Take the parts that herds are kept with.

        Args:
            store: What all reconcilers remember together.
            observer: Observes a canary that is not among the stuck tenants.
            now: The clock.
            notify: Whether to write messages for the webhook.
        """
        self._notify = notify
        self._store = store
        self._observer = observer
        self._now = now

    async def informed(self, stuck: Sequence[Observation]) -> list[Observation]:
        """Return the stuck tenants, each with the time at which another got past its error.

        Args:
            stuck: The tenants that this sweep found to stand still.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        failures = {seen.tenant_id: failure for seen in stuck if (failure := failure_of(seen))}
        prints = {failure.fingerprint for failure in failures.values()}
        stored = await self._store.herds(prints) if prints else {}
        released = {name: herd.released_at for name, herd in stored.items()}
        return [
            replace(seen, mended_at=released.get(failures[seen.tenant_id].fingerprint))
            if seen.tenant_id in failures
            else seen
            for seen in stuck
        ]

    async def plan(self, stuck: Sequence[Observation], *, dry_run: bool) -> Plans:
        """Decide which of the stuck tenants may be driven on, and record which goes first.

        Args:
            stuck: All that this sweep found, or a herd looks smaller than it is.
            dry_run: Whether only to decide: nothing is written.

        Raises:
            StoreUnavailable: the database can't be read or written.
        """
        groups = gather(stuck)
        if not groups:
            return Plans(decisions={})
        # Tenants that were found at this error before and are under way count, too: a hundred
        # that stop one after the other are a herd, even if few of them are stuck at any moment.
        known = await self._store.open_by_fingerprint(groups)
        stored = await self._store.herds(groups)
        over = await self._store.over(stored.values())
        sizes = {
            fingerprint: len(
                {seen.tenant_id for seen in group.tenants}
                | known.get(fingerprint, set())
                | _sent(stored.get(fingerprint), over)
            )
            for fingerprint, group in groups.items()
        }
        gathered = {name: group for name, group in groups.items() if sizes[name] >= HERD_FROM}
        if not gathered:
            return Plans(decisions={})
        decisions: dict[str, Decision] = {}
        findings: list[Found] = []
        for fingerprint, group in gathered.items():
            members = [member for seen in group.tenants if (member := _member(seen))]
            herd = stored.get(fingerprint)
            is_over = fingerprint in over
            sent = herd is not None and herd.canary_tenant_id is not None and not is_over
            if not sent and not any(member.ready for member in members):
                continue  # none of them is to be driven on, so none has to wait
            canary = await self._canary(herd, group.tenants)
            decision = decide(
                herd, canary, members, self._now(), size=sizes[fingerprint], over=is_over
            )
            if not dry_run:
                decision, found = await self._carry_out(herd, decision, group, sizes[fingerprint])
                findings += found
            decisions[fingerprint] = decision
        return Plans(decisions=decisions, findings=tuple(findings))

    async def join(self, new: Sequence[Found], plans: Plans) -> list[Found]:
        """Join new findings that many tenants share to one finding that stands for all of them.

        Args:
            new: The findings that no sweep has recorded yet.
            plans: What `plan` decided in this sweep.

        Returns:
            The findings, each with its herd if it has one, and the new findings for herds.

        Raises:
            StoreUnavailable: the database can't be read or written.
        """
        shared = _by_fingerprint(new)
        if not shared:
            return list(new)
        known = await self._store.open_by_fingerprint(shared)
        stored = await self._store.herds(shared)
        joined: list[Found] = [found for found in new if not found.fingerprint or found.is_herd]
        for fingerprint, members in shared.items():
            herd, decision = stored.get(fingerprint), plans.decisions.get(fingerprint)
            driven = decision is not None and decision.plan is not Plan.EACH_BY_ITSELF
            # Tenants that stopped for a person after the cause was fixed are a new herd.
            again = herd is not None and herd.released_at is not None and _calls(members)
            if herd is not None and driven and not again:
                joined += [replace(found, herd_id=herd.finding_id) for found in members]
                continue
            tenants = {found.tenant_id for found in members} | known.get(fingerprint, set())
            is_open = herd is not None and herd.released_at is None
            ordered = all(found.carried.outcome is RemedyOutcome.ORDERED for found in members)
            if ordered or (len(tenants) < HERD_FROM and not is_open):
                joined += members
                continue
            herd, opened = await self._ensure(herd, members, len(tenants))
            joined += [] if opened is None else [opened]
            joined += [replace(found, herd_id=herd.finding_id) for found in members]
        return joined

    async def release(self) -> None:
        """Release herds whose cause a person fixed: one of them came through on a person's order.

        That one is their canary. With an error that another try does not fix there is no other
        canary, because nobody is driven on before.

        Raises:
            StoreUnavailable: the database can't be read or written.
        """
        for herd, left in await self._store.open_herds():
            if herd.released_at is not None or not left:
                continue
            candidates = await self._store.came_through(
                herd, but_by=RECONCILER_NAME, limit=_CANDIDATES
            )
            for tenant_id in candidates:
                seen = await self._observer.one(tenant_id)
                if seen is None or not is_through(herd, seen):
                    continue
                over = replace(
                    herd,
                    canary_tenant_id=seen.tenant_id,
                    canary_revision=seen.revision,
                    released_at=self._now(),
                )
                await self._store.release_herd(over, seen=herd, never=NEVER)
                break

    async def close(self, stuck: Iterable[Observation]) -> None:
        """End the findings of herds whose tenants are all settled.

        Args:
            stuck: The tenants that this sweep found to stand still: a herd of theirs goes on.

        Raises:
            StoreUnavailable: the database can't be read or written.
        """
        standing = set(gather(stuck))
        for herd, left in await self._store.open_herds():
            if left or herd.fingerprint in standing:
                continue
            now = self._now()
            over = replace(herd, released_at=herd.released_at or now)
            if herd.released_at is None and not await self._store.put_herd(over, seen=herd):
                continue
            told = healed_message(
                herd.finding_id,
                now,
                since=herd.opened_at,
                cause=Cause.HERD.value,
                tenants=herd.tenants,
                fingerprint=herd.fingerprint,
            )
            await self._store.end(
                [herd.finding_id],
                ended_as="HEALED" if herd.canary_tenant_id else "CLEARED",
                at=now,
                messages=[told] if self._notify else [],
            )

    async def _canary(
        self, herd: Herd | None, tenants: Sequence[Observation]
    ) -> Observation | None:
        if herd is None or herd.canary_tenant_id is None:
            return None
        here = next((each for each in tenants if each.tenant_id == herd.canary_tenant_id), None)
        return here or await self._observer.one(herd.canary_tenant_id)

    async def _carry_out(
        self, herd: Herd | None, decision: Decision, group: Gathered, size: int
    ) -> tuple[Decision, list[Found]]:
        """Write what was decided; if another reconciler was faster, wait until the next sweep."""
        after = _after(herd, decision, group, size, self._now())
        if after is None or after == herd:
            return decision, []
        if not await self._store.put_herd(after, seen=herd):
            return Decision(plan=Plan.WAIT, why="another reconciler was faster"), []
        new_episode = herd is None or herd.finding_id != after.finding_id
        if new_episode:
            await self._store.join_earlier(after, before=herd)
            return decision, [herd_finding(after, group.failure, group.tenants, decision)]
        if decision.alert:
            await self._alert(after, decision, group, size)
        return decision, []

    async def _alert(self, herd: Herd, decision: Decision, group: Gathered, size: int) -> None:
        """Tell a person once that the canary met the error again."""
        canary = herd.canary_tenant_id or group.tenants[0].tenant_id
        text = (
            f"{size} tenants stand still at one error, and the one that was driven "
            f"on first ({canary}) met it again: {described(group.failure)} Fix the cause. One is "
            "tried after each pause; the others follow once it comes through."
        )
        await self._store.mark_finding(
            herd.finding_id,
            tenants=size,
            severity=Severity.PERSON.value,
            message=text,
            messages=[]
            if not self._notify
            else [
                message(
                    NEEDS_PERSON,
                    herd.finding_id,
                    self._now(),
                    tenant_id=canary,
                    cause=Cause.HERD.value,
                    message=text,
                    tenants=size,
                    fingerprint=herd.fingerprint,
                    next_try_at=decision.not_before.isoformat() if decision.not_before else None,
                    command=f"provisioner diagnose {canary}",
                )
            ],
        )

    async def _ensure(
        self, herd: Herd | None, members: Sequence[Found], count: int
    ) -> tuple[Herd, Found | None]:
        """Return the herd that stands for these findings, and its own finding if that is new."""
        first = members[0]
        if herd is not None and herd.released_at is None:
            if herd.tenants != count:
                await self._store.put_herd(replace(herd, tenants=count), seen=herd)
                await self._store.mark_finding(herd.finding_id, tenants=count)
            # The reconciler that opened the herd may have died before writing its finding.
            written = await self._store.has_finding(herd.finding_id)
            return herd, None if written else shared_finding(herd, members)
        now = self._now()
        opened = Herd(
            fingerprint=first.fingerprint,
            finding_id=herd_finding_id(first.fingerprint, now),
            tenants=count,
            opened_at=now,
        )
        if not await self._store.put_herd(opened, seen=herd):
            again = (await self._store.herds([first.fingerprint]))[first.fingerprint]
            return again, None
        await self._store.join_earlier(opened, before=herd)
        return opened, shared_finding(opened, members)


def gather(stuck: Iterable[Observation]) -> dict[str, Gathered]:
    """Return the stuck tenants by fingerprint, with what their failures have in common.

    Tenants that are held are left out: they wait for a person, and not for a canary.
    """
    groups: dict[str, tuple[Failure, list[Observation]]] = {}
    for seen in stuck:
        failure = failure_of(seen)
        if failure is not None and not seen.held:
            groups.setdefault(failure.fingerprint, (failure, []))[1].append(seen)
    return {
        fingerprint: Gathered(failure=failure, tenants=tuple(tenants))
        for fingerprint, (failure, tenants) in groups.items()
    }


def _sent(herd: Herd | None, over: Collection[str]) -> set[str]:
    """Return the canary of a herd that goes on.

    Who sent it records its finding only at the end of his sweep, or never, if he dies: until then
    only the herd says that the tenants which still stand are more than they seem.
    """
    if herd is None or herd.canary_tenant_id is None or herd.released_at is not None:
        return set()
    return set() if herd.fingerprint in over else {herd.canary_tenant_id}


def _member(seen: Observation) -> Member | None:
    try:
        judgement = judge(seen)
    except Exception:  # noqa: BLE001 - it becomes a finding of its own when its turn comes
        return None
    if judgement.verdict not in {
        Verdict.DRIVE_ON,
        Verdict.REBUILD_RECORD,
    } and (judgement.not_before is None):
        return None
    return Member(
        tenant_id=seen.tenant_id,
        revision=seen.revision,
        heal_count=seen.heal_count,
        stopped_at=seen.stopped_at,
        ready=opens_run(seen, judgement),
    )


def _after(
    herd: Herd | None, decision: Decision, group: Gathered, size: int, now: datetime
) -> Herd | None:
    """Return the herd as it is after a decision; None if there is none."""
    if decision.plan is Plan.SEND_CANARY and decision.canary is not None:
        if herd is None or herd.released_at is not None:
            herd = Herd(
                fingerprint=group.failure.fingerprint,
                finding_id=herd_finding_id(group.failure.fingerprint, now),
                tenants=size,
                opened_at=now,
            )
        same = (herd.canary_tenant_id, herd.canary_revision) == (
            decision.canary.tenant_id,
            decision.canary.revision,
        )
        herd = replace(
            herd,
            canary_tenant_id=decision.canary.tenant_id,
            canary_revision=decision.canary.revision,
            ordered_at=herd.ordered_at if same else now,
            tries=herd.tries if same else herd.tries + 1,
        )
    if herd is None:
        return None
    if decision.plan is Plan.RELEASED and herd.released_at is None:
        herd = replace(herd, released_at=now)
    if decision.alert and herd.alerted_at is None:
        herd = replace(herd, alerted_at=now)
    return herd


def _calls(members: Sequence[Found]) -> bool:
    return any(found.carried.outcome is RemedyOutcome.OPERATOR_CALLED for found in members)


def _by_fingerprint(new: Sequence[Found]) -> dict[str, list[Found]]:
    shared: dict[str, list[Found]] = {}
    for found in new:
        if found.fingerprint and not found.is_herd:
            shared.setdefault(found.fingerprint, []).append(found)
    return shared
