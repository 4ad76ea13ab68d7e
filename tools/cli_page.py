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

Generated from the program by `make generate`; do not edit. A test compares the two.

TENANT, a UUID, is the first argument of every command that is about one tenant.
The commands about tenants call the service at `PROVISIONER_GRPC_ADDRESS`; `serve`, `reconcile`, `standin`,
`db` and `import-legacy` are programs of their own. An option has the same meaning wherever it appears:

| option | means |
| --- | --- |
| `--json` | print only JSON on stdout, for errors too |
| `--watch`, `-w` | stay until the tenant is at rest |
| `--yes`, `-y` | do not ask; without it, and with nobody to ask, nothing is removed |
| `--dry-run` | only show what would be done |
| `--reason` | why, kept in the tenant's log and on the run |
| `--request-id` | names the order: repeated with the same id, it is carried out only once; for at least 7 days |
| `--expected-revision` | carry the order out only if nobody has changed the tenant since |

To complete commands and options in bash, zsh, fish or PowerShell, run this and open a new shell:

```text
provisioner --install-completion
```

## Which command for which job

| job | command |
| --- | --- |
| see one tenant | `provisioner status ID` |
| find out why it is stuck | `provisioner diagnose ID` |
| find stuck tenants | `provisioner list --stuck 1h` |
| watch a run, with an exit code that tells the outcome | `provisioner watch ID` |
| repair a lost record, one tenant or all | `provisioner fix ID`, `provisioner fix --all-stuck` |
| do the steps that are not done | `provisioner continue ID` |
| check again one step and those that depend on it, or all steps | `provisioner retry ID --step step_8_pos_profile`, `provisioner retry ID` |
| start one, start many | `provisioner start NAME`, `provisioner start -f tenants.yaml` |
| see what would be made, before the start | `provisioner plan NAME`, `provisioner start NAME --plan` |
| skip the demo data or the till | `provisioner skip ID --step step_6_items --reason why` |
| compare a tenant with ERPNext | `provisioner verify ID` |
| accept what was made by hand | `provisioner adopt ID` |
| accept a site although it has changed | `provisioner accept-site ENGINE` |
| stop a run | `provisioner cancel ID` |
| delete a tenant and what was made for it | `provisioner deprovision ID` |
| lift a hold, unlock a dead worker's run | `provisioner release ID` |
| read who ordered what, when | `provisioner logs ID` |
| see what the reconciler found and did | `provisioner findings`, `provisioner report` |
| import the tenants of the old system | `provisioner import-legacy --from postgresql+asyncpg://reader@old/app --dry-run` |
| upgrade, back up or check the database | `provisioner db upgrade`, `provisioner db backup FILE`, `provisioner db check` |
| go from SQLite to PostgreSQL | `provisioner db move --to URL` |
"""

_FILE = """\
## A file of tenants

`start -f FILE` takes YAML: one tenant, a list of tenants, several documents, or `tenants` with the `defaults` they
share. The fields are those of `TenantSpec` in `proto/provisioner/v1/tenant.proto`, and `tenant_id`.

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

A tenant without `tenant_id` gets one derived from `engine_id` and `company_name`, so the same file given again names
the same tenants and changes nothing; a tenant whose fields have changed is refused with `SPEC_DIFFERS`. All mistakes
are reported at once, with line and field, before anything is ordered. A tenant that is refused does not hold up the
others. The exit code is that of the first refusal, or else that of the tenant that is worst off.
"""

_JSON = """\
## JSON

With `--json`, stdout holds one document on one line and nothing else. Field names are the contract's, enum values are
its words without the prefix, and times are RFC 3339. Every field is present; unset messages and times are `null`. New
fields may be added; existing ones stay. An error is
`{"error": {"code", "reason", "message", "fields": [{"field", "description"}], "next_command"}}` (`next_command`
only if there is one; with `start -f` each field has its `line`); `code` is gRPC's, `reason` is in `docs/errors.md`.

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
