"""Bugs that break one promise each, as small patches; the tests must catch every one.

`before` stands in `file` exactly once, and is replaced by `after`. `caught_by` are the tests
that are run on the patched copy, and named so closely that this takes seconds; one must fail.
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
STARTING = "tests/server/commands/test_starting.py"
EXECUTOR = "tests/server/executor"

BUGS = (
    Bug(
        name="the token is not checked",
        promise=4,
        file="server/store/fencing.py",
        before="        or_(change.c.token.is_(None), tenant.fencing_token == change.c.token),\n",
        after="",
        caught_by=(f"{STORE}::test_a_stale_token_or_revision_is_refused_and_nothing_is_written",),
    ),
    Bug(
        name="the revision is not checked",
        promise=7,
        file="server/store/fencing.py",
        before="        or_(change.c.revision.is_(None), tenant.revision == change.c.revision),\n",
        after="",
        caught_by=(f"{STORE}::test_a_stale_token_or_revision_is_refused_and_nothing_is_written",),
    ),
    Bug(
        name="a claim does not raise the token",
        promise=4,
        file="server/store/fencing.py",
        before='"fencing_token": tenant.fencing_token + change.c.raise_token,',
        after='"fencing_token": tenant.fencing_token,',
        caught_by=(f"{STORE}::test_the_current_token_writes_every_table_and_raises_the_token",),
    ),
    Bug(
        name="cursors come from a count of the whole process",
        promise=9,
        file="server/store/rows.py",
        before="    first = log_seq - len(op.log) + 1\n",
        after=(
            "    log_cells.last = getattr(log_cells, 'last', 0) + len(op.log)\n"
            "    first = log_cells.last - len(op.log) + 1\n"
        ),
        caught_by=(f"{STORE}::test_the_current_token_writes_every_table_and_raises_the_token",),
    ),
    Bug(
        name="the step rows of a new tenant are written later",
        promise=1,
        file="server/commands/starting.py",
        before="            steps=opened.steps,\n            binding=",
        after="            binding=",
        caught_by=(f"{STARTING}::test_starting_opens_a_run_with_all_its_steps",),
    ),
    Bug(
        name="the state is written by hand",
        promise=2,
        file="server/store/rows.py",
        before="        str(standing.state),\n",
        after='        "PARTIAL" if standing.errors else str(standing.state),\n',
        caught_by=(
            f"{EXECUTOR}/test_failing.py::test_a_passing_error_waits_for_its_next_try_and_says_so",
        ),
    ),
    Bug(
        name="a stopped tenant may be silent",
        promise=3,
        file="server/model/derive.py",
        before="    if errors or moves or state not in _OWES_A_REASON:\n",
        after="    if True:\n",
        caught_by=(
            "tests/server/model/test_derive.py::test_an_error_of_a_step_that_was_done_in_the_end_is_not_an_error",
        ),
    ),
    Bug(
        name="nothing is looked at before it is made",
        promise=5,
        file="server/executor/drive.py",
        before="        found = await step.probe(context)\n        if not self._site_checked:\n",
        after="        found = Found(done=False)\n        if not self._site_checked:\n",
        caught_by=(
            f"{EXECUTOR}/test_unknown_outcomes.py::test_a_lost_answer_is_settled_by_a_look",
        ),
    ),
    Bug(
        name="the answer to the request decides, not the second look",
        promise=5,
        file="server/executor/drive.py",
        before="        found = await step.probe(context)\n        if found.done or found.skip:\n"
        "            return found\n        raise mishaps.not_done(kind, found)\n",
        after="        return replace(await step.probe(context), done=True)\n",
        caught_by=(
            f"{EXECUTOR}/test_unknown_outcomes.py::test_an_engine_that_says_done_is_not_believed_before_it_is_seen",
        ),
    ),
    Bug(
        name="the slot goes with its holder",
        promise=4,
        file="server/executor/context.py",
        before="                if error.error_class is not ErrorClass.UNKNOWN_OUTCOME:\n"
        "                    await self.slot.free(turn)\n",
        after="                await self.slot.free(turn)\n",
        caught_by=(
            f"{EXECUTOR}/test_unknown_outcomes.py::test_the_slot_outlives_who_has_no_answer",
        ),
    ),
    Bug(
        name="a slot is kept by the clock of whoever takes it",
        promise=4,
        file="server/store/slots.py",
        before='    return dialect == "postgresql"\n',
        after="    return False\n",
        caught_by=(
            "tests/server/store/test_slots.py::test_a_slot_is_kept_and_is_free_in_time_whatever_the_hosts_clocks_say",
        ),
    ),
    Bug(
        name="the slot goes to whoever comes by",
        promise=4,
        file="server/store/slots.py",
        before="        free = and_(free, not_(_somebody_first()))\n",
        after="        pass\n",
        caught_by=(
            f"{EXECUTOR}/test_two_processes.py::test_the_slot_goes_by_order_over_two_processes",
        ),
    ),
    Bug(
        name="a lease that is over still sends",
        promise=4,
        file="server/executor/lease.py",
        before="        return boot_seconds() <= self._renewed_at + self.seconds * (1.0 - _SPARE)\n",
        after="        return True\n",
        caught_by=(
            f"{EXECUTOR}/test_takeover.py::test_a_worker_whose_lease_is_over_claims_and_sends_nothing",
        ),
    ),
    Bug(
        name="everything found is ours to delete",
        promise=5,
        file="server/model/ownership.py",
        before="    return ResourceState.CREATED if ours else ResourceState.ADOPTED\n",
        after="    return ResourceState.CREATED\n",
        caught_by=(
            "tests/server/model/test_ownership.py::test_what_we_asked_for_and_our_user_then_made_is_ours",
        ),
    ),
    Bug(
        name="any Company of the name is taken over",
        promise=8,
        file="server/model/ownership.py",
        before="    if record.passed_company_step and record.only_tenant_of_name and agrees:\n",
        after="    if agrees:\n",
        caught_by=(
            "tests/server/model/test_ownership.py::test_a_company_that_is_there_is_taken_only_where_the_record_proves_it",
        ),
    ),
    Bug(
        name="an outage costs tries",
        promise=6,
        file="server/executor/drive.py",
        before="        if error.ask_prober:\n            health = ",
        after="        if False:\n            health = ",
        caught_by=(f"{EXECUTOR}/test_outages.py::test_a_site_that_is_down_costs_nothing",),
    ),
    Bug(
        name="the healer moves held tenants",
        promise=8,
        file="reconciler/judge.py",
        before="    if seen.held:\n",
        after="    if False:\n",
        caught_by=("tests/reconciler/test_judge.py::test_each_case_has_its_verdict",),
    ),
    Bug(
        name="the healer moves cancelled tenants",
        promise=8,
        file="reconciler/judge.py",
        before="    if not _HANDS_OFF.isdisjoint({seen.stored, state}):\n",
        after="    if False:\n",
        caught_by=("tests/reconciler/test_judge.py::test_each_case_has_its_verdict",),
    ),
    Bug(
        name="a live shop's till is opened again",
        promise=8,
        file="server/erpnext/steps/step_9_pos_session.py",
        before="        if context.completed_once:\n",
        after="        if False:\n",
        caught_by=(
            "tests/server/erpnext/test_till.py::test_tills_of_a_live_shop_are_left_to_people",
        ),
    ),
    Bug(
        name="a request id is known but its order is not compared",
        promise=10,
        file="server/commands/desk.py",
        before="        if known.body_hash != key.body_hash:\n",
        after="        if False:\n",
        caught_by=(f"{STARTING}::test_a_request_id_of_another_start_is_refused",),
    ),
    Bug(
        name="a follower gets its last line again",
        promise=9,
        file="server/store/log_entries.py",
        before="LOG_ENTRIES.c.cursor > after)",
        after="LOG_ENTRIES.c.cursor >= after)",
        caught_by=(
            "tests/server/rpc/test_stream_logs.py::test_without_follow_the_log_is_sent_as_it_is_and_the_stream_ends",
        ),
    ),
    Bug(
        name="a power cut may take what was acknowledged",
        promise=12,
        file="server/store/sqlite.py",
        before='        connection.execute("PRAGMA synchronous = FULL")\n',
        after='        connection.execute("PRAGMA synchronous = NORMAL")\n',
        caught_by=(
            "tests/server/store/test_schema.py::test_sqlite_writes_through_to_the_disk_and_keeps_others_away",
        ),
    ),
    Bug(
        name="an engine's secret is in its repr",
        promise=11,
        file="server/erpnext/client.py",
        before='        return "Credentials(…)"\n',
        after='        return f"Credentials({self.api_key}, {self.api_secret})"\n',
        caught_by=(
            "tests/server/erpnext/test_client.py::test_no_secret_is_shown_by_repr_error_traceback_or_log",
        ),
    ),
    Bug(
        name="a name is used again while a change of it may be out",
        promise=4,
        file="server/executor/context.py",
        before="        quarantine.check(self._driven, intent)\n",
        after="",
        caught_by=(
            f"{EXECUTOR}/test_quarantine.py::test_a_change_that_was_lost_is_sent_again_when_its_time_is_over",
        ),
    ),
    Bug(
        name="a cancelled run sends on",
        promise=7,
        file="server/executor/context.py",
        before="        cancelling.check(self._driven)\n        self.writes += 1\n",
        after="        self.writes += 1\n",
        caught_by=(
            f"{EXECUTOR}/test_cancelling.py::test_no_further_document_of_a_step_is_asked_for",
        ),
    ),
    Bug(
        name="another site under the address is written to",
        promise=8,
        file="server/executor/drive.py",
        before="            await self._gates.watch.check(self._driven.tenant.site)\n",
        after="",
        caught_by=(
            f"{EXECUTOR}/test_other_sites.py::test_nothing_is_written_to_another_site_under_the_same_address",
        ),
    ),
    Bug(
        name="a herd is driven on all at once",
        promise=8,
        file="reconciler/sweep.py",
        before='        waits = _waits_for_canary(current.plans, seen) if opens else ""\n',
        after='        waits = ""\n',
        caught_by=(
            "tests/reconciler/test_herds.py::test_one_goes_first_and_the_rest_follow_once_it_came_through",
        ),
    ),
    Bug(
        name="each reconciler has a limit of its own",
        promise=8,
        file="reconciler/sweep.py",
        before="        if not self._window:\n            return True\n",
        after="        if True:\n            return True\n",
        caught_by=(
            "tests/reconciler/test_herds.py::test_the_limit_of_orders_is_one_for_all_reconcilers",
        ),
    ),
)
