"""Carries out `list`: asks for page after page, and shows a table that fits the terminal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from clients.cli.exit_codes import ExitCode
from clients.cli.json_view import as_object
from clients.cli.render import STATE_STYLES
from clients.cli.wire_text import plain, tenant_word
from provisioner.v1 import listing_pb2, provisioning_pb2, tenant_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clients.cli.output import Output
    from clients.cli.requests import ListTenants
    from clients.sdk import ProvisionerClient
    from provisioner.v1.listing_pb2 import TenantSummary

_LONGEST_PAGE = 500
_HEADINGS = ("STATE", "STEPS", "SINCE", "TENANT", "COMPANY", "WHY")
_GAP = 2
_COMPANY = 4
_SHORTEST_COMPANY = 12

# The columns in each line of a tenant; the widest layout comes first.
Layout = tuple[tuple[int, ...], ...]
_LAYOUTS: tuple[Layout, ...] = (
    ((0, 1, 2, 3, 4, 5),),
    ((0, 1, 2, 3, 4), (5,)),
    ((0, 1, 2, 4), (3,), (5,)),
)


async def show(client: ProvisionerClient, request: ListTenants, output: Output) -> ExitCode:
    """Show the tenants that match the filter; it ends with DONE, also if there are none."""
    tenants, token = await _ask(client, request)
    if output.as_json:
        output.json({"tenants": [as_object(one) for one in tenants], "next_page_token": token})
        return ExitCode.DONE
    if not tenants:
        output.note("No tenant fits.")
        return ExitCode.DONE
    width = output.console.width if output.interactive else None
    output.lines(table(tenants, now=datetime.now(UTC), width=width))
    if token:
        output.note(
            f"{len(tenants)} are shown, more follow. See more with --limit {len(tenants) * 4}."
        )
    return ExitCode.DONE


async def _ask(client: ProvisionerClient, request: ListTenants) -> tuple[list[TenantSummary], str]:
    asked = _message(request)
    found: list[TenantSummary] = []
    while True:
        asked.page_size = min(request.limit - len(found), _LONGEST_PAGE)
        page = await client.list_tenants(asked)
        found += page.tenants
        asked.page_token = page.next_page_token
        # A page may be empty although more follow.
        if not page.next_page_token or len(found) >= request.limit:
            return found, page.next_page_token


def _message(request: ListTenants) -> provisioning_pb2.ListTenantsRequest:
    message = provisioning_pb2.ListTenantsRequest(
        states=[tenant_pb2.TenantState.Value(f"TENANT_STATE_{word}") for word in request.states],
        engine_id=request.engine,
        text=request.text,
        held=request.held,
        order_by=listing_pb2.ListOrder.Value(f"LIST_ORDER_{request.order}"),
        page_token=request.page_token,
    )
    if request.stuck_seconds is not None:
        message.stuck_longer_than.FromMilliseconds(round(request.stuck_seconds * 1000))
    return message


def table(tenants: Sequence[TenantSummary], *, now: datetime, width: int | None) -> Iterator[Text]:
    """Return the lines of a table.

    Args:
        tenants: Its rows; at least one.
        now: The present time, with a zone, for the ages.
        width: Columns of the terminal, or None where nothing needs to be cut. What does not fit
            beside the rest is put below it, as ids are pasted and reasons must be read whole.
    """
    rows = [_HEADINGS, *(_row(tenant, now) for tenant in tenants)]
    widths = [max(cell_len(row[at]) for row in rows) for at in range(len(_HEADINGS))]
    layout = _LAYOUTS[0] if width is None else _layout(widths, width)
    if width is not None:
        widths[_COMPANY] -= max(0, min(_over(layout[0], widths, width), _spare(widths)))
    yield from (Text(line, style="dim") for line in _lines(rows[0], widths, layout, width))
    for row, tenant in zip(rows[1:], tenants, strict=True):
        first, *below = _lines(row, widths, layout, width)
        line = Text(first)
        line.stylize(STATE_STYLES.get(tenant.state, ""), 0, widths[0])
        yield line
        yield from map(Text, below)


def _row(tenant: TenantSummary, now: datetime) -> tuple[str, ...]:
    why = plain(tenant.error_code)
    if not why and tenant.HasField("waiting_for"):
        why = f"waits for {plain(tenant.waiting_for.code)}"
    if tenant.HasField("hold"):
        why = f"held by {plain(tenant.hold.by)}" + (f", {why}" if why else "")
    since = tenant.unsettled_since if tenant.HasField("unsettled_since") else tenant.state_since
    return (
        tenant_word(tenant.state),
        f"{tenant.steps_completed}/{tenant.total_steps}",
        age((now - since.ToDatetime(UTC)).total_seconds()),
        plain(tenant.tenant_id),
        plain(tenant.company_name),
        why,
    )


def age(seconds: float) -> str:
    """Return a time span in its largest unit, rounded down, such as "3h"; "0s" if negative."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"


def _layout(widths: Sequence[int], width: int) -> Layout:
    """Return the layout with the fewest lines in which only a long company's name must be cut."""
    spare = _spare(widths)
    return next((each for each in _LAYOUTS if _over(each[0], widths, width) <= spare), _LAYOUTS[-1])


def _over(columns: Sequence[int], widths: Sequence[int], width: int) -> int:
    """Return by how many characters the widest line of these columns is too long."""
    return sum(widths[at] for at in columns) + _GAP * (len(columns) - 1) - width


def _spare(widths: Sequence[int]) -> int:
    """Return by how many characters the companies' names may be cut."""
    return max(0, widths[_COMPANY] - _SHORTEST_COMPANY)


def _lines(
    row: Sequence[str], widths: Sequence[int], layout: Layout, width: int | None
) -> Iterator[str]:
    gap = " " * _GAP
    for number, columns in enumerate(layout):
        line = gap.join(_cell(row[at], widths[at]) for at in columns).rstrip()
        if number and not line:
            continue  # no reason to tell
        if number:
            line = gap + line
        yield line if width is None else _cell(line, width).rstrip()


def _cell(text: str, size: int) -> str:
    if cell_len(text) <= size:
        return set_cell_size(text, size)
    return set_cell_size(text, size - 1) + "…" if size > 1 else ""
