"""The doctypes the stand-in knows.

Columns and their default values are those of recorded documents (long lists of them are in
`data/defaults.json`); labels are those of recorded messages. A doctype that ERPNext has and this
list lacks is answered as an unknown one (11-wrong-address).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.standin.doctypes import companies, ledger, selling, site_wide, tills

if TYPE_CHECKING:
    from server.standin.schema import DocType

DOCTYPES: dict[str, DocType] = {
    doctype.name: doctype
    for doctype in (
        # In the order in which a delete looks for documents that point to the one to go.
        *ledger.doctypes(),
        *tills.doctypes(),
        *selling.doctypes(),
        *companies.doctypes(),
        *site_wide.doctypes(),
    )
}
