"""Bugs that break one promise each, as small patches; the tests must catch every one.

`before` stands in `file` exactly once, and is replaced by `after`. `caught_by` are the tests
that are run on the patched copy; at least one of them must fail.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """One bug, as a patch."""

    name: str
    promise: int
    file: str
    before: str
    after: str
    caught_by: tuple[str, ...]


STORE = "tests/server/store/test_operations.py"
COMMANDS = "tests/server/test_commands.py"
EXECUTOR = "tests/server/executor"

BUGS = (
    Bug(
        name="the token is not checked",
        promise=4,
        file="server/store/apply.py",
        before="                or_(change.c.token.is_(None), tenant.fencing_token == change.c.token),\n",
        after="",
        caught_by=(STORE,),
    ),
    Bug(
        name="the revision is not checked",
        promise=7,
        file="server/store/apply.py",
        before="                or_(change.c.revision.is_(None), tenant.revision == change.c.revision),\n",
        after="",
        caught_by=(STORE,),
    ),
    Bug(
        name="a claim does not raise the token",
        promise=4,
        file="server/store/apply.py",
        before="fencing_token=tenant.fencing_token + change.c.raise_token,",
        after="fencing_token=tenant.fencing_token,",
        caught_by=(STORE,),
    ),
    Bug(
        name="cursors come from a count of the whole process",
        promise=9,
        file="server/store/rows.py",
        before="    first = log_seq - len(op.log) + 1\n",
        after=(
            "    log_rows.last = getattr(log_rows, 'last', 0) + len(op.log)\n"
            "    first = log_rows.last - len(op.log) + 1\n"
        ),
        caught_by=(STORE,),
    ),
    Bug(
        name="the step rows of a new tenant are written later",
        promise=1,
        file="server/commands/starting.py",
        before="            steps=opened.steps,\n            binding=",
        after="            binding=",
        caught_by=(COMMANDS,),
    ),
    Bug(
        name="the state is written by hand",
        promise=2,
        file="server/store/rows.py",
        before='        "state": standing.state,\n',
        after='        "state": "PARTIAL" if standing.errors else standing.state,\n',
        caught_by=(f"{EXECUTOR}/test_failing.py", f"{EXECUTOR}/test_driving.py"),
    ),
    Bug(
        name="a stopped tenant may be silent",
        promise=3,
        file="server/model/derive.py",
        before="    if errors or moves or state not in _OWES_A_REASON:\n",
        after="    if True:\n",
        caught_by=("tests/server/model",),
    ),
    Bug(
        name="nothing is looked at before it is made",
        promise=5,
        file="server/executor/drive.py",
        before="        found = await step.probe(context)\n        if not self._site_checked:\n",
        after="        found = Found(done=False)\n        if not self._site_checked:\n",
        caught_by=(f"{EXECUTOR}/test_unknown_outcomes.py", f"{EXECUTOR}/test_takeover.py"),
    ),
    Bug(
        name="the answer to the request decides, not the second look",
        promise=5,
        file="server/executor/drive.py",
        before="        found = await step.probe(context)\n        if found.done or found.skip:\n"
        "            return found\n        raise mishaps.not_done(kind, found)\n",
        after="        return replace(await step.probe(context), done=True)\n",
        caught_by=(EXECUTOR, "tests/server/erpnext/test_runs.py"),
    ),
    Bug(
        name="the slot goes with its holder",
        promise=4,
        file="server/executor/context.py",
        before="                if error.error_class is not ErrorClass.UNKNOWN_OUTCOME:\n"
        "                    await self._free_slot()\n",
        after="                await self._free_slot()\n",
        caught_by=(f"{EXECUTOR}/test_slot.py", f"{EXECUTOR}/test_unknown_outcomes.py"),
    ),
    Bug(
        name="a lease that is over still sends",
        promise=4,
        file="server/executor/lease.py",
        before="        return boot_seconds() <= self._renewed_at + self.seconds * (1.0 - _SPARE)\n",
        after="        return True\n",
        caught_by=(f"{EXECUTOR}/test_takeover.py",),
    ),
    Bug(
        name="everything found is ours to delete",
        promise=5,
        file="server/model/ownership.py",
        before="    return ResourceState.CREATED if ours else ResourceState.ADOPTED\n",
        after="    return ResourceState.CREATED\n",
        caught_by=("tests/server/model/test_ownership.py",),
    ),
    Bug(
        name="any Company of the name is taken over",
        promise=8,
        file="server/model/ownership.py",
        before="    if record.passed_company_step and record.only_tenant_of_name and agrees:\n",
        after="    if agrees:\n",
        caught_by=("tests/server/model/test_ownership.py",),
    ),
    Bug(
        name="an outage costs tries",
        promise=6,
        file="server/executor/drive.py",
        before="        if error.ask_prober:\n            health = ",
        after="        if False:\n            health = ",
        caught_by=(f"{EXECUTOR}/test_outages.py",),
    ),
    Bug(
        name="the healer moves held tenants",
        promise=8,
        file="reconciler/judge.py",
        before="    if seen.held:\n",
        after="    if False:\n",
        caught_by=("tests/reconciler/test_judge.py",),
    ),
    Bug(
        name="the healer moves cancelled tenants",
        promise=8,
        file="reconciler/judge.py",
        before="    if not _HANDS_OFF.isdisjoint({seen.stored, state}):\n",
        after="    if False:\n",
        caught_by=("tests/reconciler/test_judge.py",),
    ),
    Bug(
        name="a live shop's till is opened again",
        promise=8,
        file="server/erpnext/steps/step_9_pos_session.py",
        before="        if context.completed_once:\n",
        after="        if False:\n",
        caught_by=("tests/server/erpnext/test_till.py", f"{EXECUTOR}/test_live_shops.py"),
    ),
    Bug(
        name="a request id is known but its order is not compared",
        promise=10,
        file="server/commands/desk.py",
        before="        if known.body_hash != key.body_hash:\n",
        after="        if False:\n",
        caught_by=(COMMANDS,),
    ),
    Bug(
        name="a follower gets its last line again",
        promise=9,
        file="server/store/reads.py",
        before="LOG_ENTRIES.c.cursor > after)",
        after="LOG_ENTRIES.c.cursor >= after)",
        caught_by=("tests/server/store/test_reads.py", "tests/server/rpc/test_stream_logs.py"),
    ),
    Bug(
        name="a power cut may take what was acknowledged",
        promise=12,
        file="server/store/sqlite.py",
        before='        connection.execute("PRAGMA synchronous = FULL")\n',
        after='        connection.execute("PRAGMA synchronous = NORMAL")\n',
        caught_by=("tests/server/store",),
    ),
    Bug(
        name="an engine's secret is in its repr",
        promise=11,
        file="server/erpnext/client.py",
        before="@dataclass(frozen=True, slots=True, kw_only=True, repr=False)\nclass Credentials",
        after="@dataclass(frozen=True, slots=True, kw_only=True)\nclass Credentials",
        caught_by=("tests/server/erpnext/test_client.py",),
    ),
)
