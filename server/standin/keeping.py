"""Keeps a site's documents in a file, so that they survive a restart of the stand-in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from server.standin.site import Site


class OtherSiteError(Exception):
    """The file holds the documents of another site."""


def load(site: Site, path: Path) -> bool:
    """Fill a new site from its file.

    Args:
        site: A site without documents.
        path: The file, which need not exist.

    Returns:
        Whether there was one.

    Raises:
        OtherSiteError: it holds the documents of another site.
    """
    if not path.exists():
        return False
    kept = json.loads(path.read_text("utf-8"))
    if kept["site"] != site.name:
        raise OtherSiteError(
            f"{path} holds the site {kept['site']!r}, not {site.name!r}. "
            "Name that site, or another file."
        )
    site.row_number = kept["row_number"]
    for documents in kept["documents"].values():
        for document in documents:
            site.add(document)
    return True


def save(site: Site, path: Path) -> None:
    """Write the whole site; a crash in the middle leaves the file as it was.

    Args:
        site: The site.
        path: The file; the new one is written beside it first.
    """
    documents = {doctype: site.every(doctype) for doctype in site.documents}
    kept = {"site": site.name, "row_number": site.row_number, "documents": documents}
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(json.dumps(kept), "utf-8")
    fresh.replace(path)
