"""Writes docs/cli.md from the command line itself: every command with its help, and its JSON.

`make generate` runs it; a test compares the page with what it would write.
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.main

from clients.cli import program

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).resolve().parents[1] / "docs" / "cli.md"
_COLUMNS = "96"

_HEAD = """\
# The command line

Made by `make generate` from the program itself; do not edit. A test compares.

TENANT, a UUID, is the first argument wherever a command is about one.
The commands about tenants call the service at `PROVISIONER_GRPC_ADDRESS`; `serve`, `reconcile`, `standin`,
`db` and `import-legacy` are programs of their own. Options that mean the same have the same name everywhere:

| option | means |
| --- | --- |
| `--json` | stdout holds JSON only, errors too |
| `--watch`, `-w` | stay until the tenant is at rest |
| `--yes`, `-y` | do not ask; without it nothing that takes something away is done where nobody can be asked |
| `--dry-run` | only show |
| `--reason` | why, kept in the tenant's log and on the run |
| `--request-id` | names the order: given again with the same id it is the same order, for at least 7 days |
| `--expected-revision` | carry the order out only if nobody changed the tenant since |

Completion of commands and options in bash, zsh, fish and PowerShell; then open a new shell:

```text
provisioner --install-completion
```

## Which command for which job

| job | command |
| --- | --- |
| see one tenant | `provisioner status ID` |
| say why it stands still | `provisioner diagnose ID` |
| find stuck tenants | `provisioner list --stuck 1h` |
| watch a run, with an exit code by outcome | `provisioner watch ID` |
| repair a lost record, one tenant or all | `provisioner fix ID`, `provisioner fix --all-stuck` |
| drive on what is not done | `provisioner continue ID` |
| look again at one step and those that need it, or at all | `provisioner retry ID --step step_8_pos_profile`, `provisioner retry ID` |
| start one, start many | `provisioner start NAME`, `provisioner start -f tenants.yaml` |
| see before the start what would be made | `provisioner plan NAME`, `provisioner start NAME --plan` |
| leave demo data or the till out | `provisioner skip ID --step step_6_items --reason why` |
| compare a tenant with ERPNext | `provisioner verify ID` |
| accept what was made by hand | `provisioner adopt ID` |
| say that a site is right though it changed | `provisioner accept-site ENGINE` |
| stop a run | `provisioner cancel ID` |
| delete a tenant and what was made for it | `provisioner deprovision ID` |
| lift a hold, unlock a dead worker's run | `provisioner release ID` |
| read who ordered what, when | `provisioner logs ID` |
| see what the healer found and did | `provisioner findings`, `provisioner report` |
| bring tenants of the old system over | `provisioner import-legacy --from postgresql+asyncpg://reader@old/app --dry-run` |
| database up, down for a copy, checked | `provisioner db upgrade`, `provisioner db backup FILE`, `provisioner db check` |
"""

_FILE = """\
## A file of tenants

`start -f FILE` takes YAML: one tenant, a list of them, several documents, or `tenants` with `defaults` they share.
Fields are those of `TenantSpec` in `proto/provisioner/v1/tenant.proto`, and `tenant_id`.

```yaml
defaults:
  country_code: KE
  payment_methods: [Cash, M-Pesa]
tenants:
  - company_name: Mama Njeri Traders
    till_user: till.mnt@example.com
  - company_name: Kampala Duka
    country_code: UG
    include_demo_data: true
    opening_amount: 1500.50
```

A tenant without `tenant_id` gets one made from `engine_id` and `company_name`, so that the same file given again
names the same tenants and changes nothing; a changed one is refused with `SPEC_DIFFERS`. Mistakes are told
all at once, with line and field, before anything is ordered. One tenant that is refused does not keep the
others back. Exit code: of the first refusal, else of the tenant that is worst off.
"""

_JSON = """\
## JSON

With `--json` one document is on one line of stdout, and nothing else. Field names are the contract's, enum
values its words without prefix, times RFC 3339; every field is there, unset messages and times are `null`.
New fields may come; those that are here stay. An error is
`{"error": {"code", "reason", "message", "fields": [{"field", "description"}], "next_command"}}` (`next_command`
only where there is one; with `start -f` each field has its `line`); `code` is gRPC's, `reason` is in `docs/errors.md`.

| command | document |
| --- | --- |
"""

_DOCUMENTS = {
    "start": '`TenantStatus`; with `-f` `{"tenants": [{"line", "tenant_id", "company_name", '
    '"outcome", "status", "error"}]}`, outcome `started`, `unchanged`, `refused`, `not_reached`',
    "status": "`TenantStatus`",
    "continue": "`TenantStatus`",
    "retry": "`TenantStatus`",
    "skip": "`TenantStatus`",
    "cancel": '`{"ordered": true, …CancelResponse}`; with `--watch` `TenantStatus`',
    "deprovision": '`{"ordered", …DeprovisionResponse}`; with `--watch` `TenantStatus`',
    "adopt": '`{"ordered", …AdoptCompanyResponse}`; with `--watch` `TenantStatus`',
    "release": '`{"ordered", …ReleaseResponse}`',
    "logs": "one `LogEntry` a line",
    "watch": "one `TenantStatus` a line, at each change",
    "list": '`{"tenants": [TenantSummary], "next_page_token"}`',
    "plan": "`PlanResponse`",
    "verify": "`VerifyResponse`",
    "diagnose": '`Diagnosis`: `{"causes": [{"code", "severity", "message", "evidence", "remedy"}]}`',
    "sweep": "`SweepResponse`",
    "sweeps": "`ListSweepsResponse`",
    "findings": "`ListFindingsResponse`",
    "report": "`HealingReport`",
}


def page() -> str:
    """Return the page as it should be."""
    parts = [_HEAD, _codes(), _FILE, _JSON + "".join(_document_rows()), "## Every command\n"]
    parts += [_section(path) for path in _paths(typer.main.get_command(program.app), ())]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def main() -> None:
    """Write the page."""
    text = page()
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        PAGE.write_text(text, encoding="utf-8")


def _codes() -> str:
    return """\
## Exit codes

0 done (for an order without `--watch`: durable), 1 the tenant failed or is stuck, 2 wrong use or an order that
does not fit how things stand, 3 not reachable, 4 not allowed, 5 not found, 130 and 141 Ctrl-C and a closed pipe.
"""


def _document_rows() -> Iterator[str]:
    for name, document in sorted(_DOCUMENTS.items()):
        yield f"| `{name}` | {document} |\n"


def _paths(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:  # Any: click's
    commands = getattr(command, "commands", None)
    if commands is None:
        yield path
        return
    for name in sorted(commands):
        if not getattr(commands[name], "hidden", False):
            yield from _paths(commands[name], (*path, name))


def _section(path: tuple[str, ...]) -> str:
    text = _help(path)
    lines = [line.rstrip() for line in text.strip().splitlines()]
    return f"### {' '.join(path)}\n\n```text\n" + "\n".join(lines) + "\n```\n"


def _help(path: tuple[str, ...]) -> str:
    out = io.StringIO()
    # The width of a terminal, and what it can show, must not change the page.
    with _environment(COLUMNS=_COLUMNS, TERM="dumb", NO_COLOR="1"), contextlib.redirect_stdout(out):
        program.run([*path, "--help"])
    return out.getvalue()


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    # Defaults taken from the environment of whoever runs this must not show either.
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in values or name.startswith("PROVISIONER_")
    }
    for name in kept:
        del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name, None)
        os.environ.update(kept)


if __name__ == "__main__":
    main()
