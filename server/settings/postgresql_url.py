"""What a PostgreSQL url may contain: what the driver would stumble over is refused here first."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

_MAX_PORT = 65535
# What the query may contain: what the driver takes as text, and a word of our own.
QUERY = frozenset(
    {
        *("host", "port", "user", "password", "passfile", "database", "target_session_attrs"),
        *("ssl", "krbsrvname", "gsslib", "prepared_statement_cache_size", "pooler"),
    }
)
CHOICES = {
    "ssl": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": (
        *("any", "primary", "standby", "prefer-standby", "read-write", "read-only"),
    ),
    "gsslib": ("gssapi", "sspi"),
    "pooler": ("transaction",),
}
# Words of libpq and other programs, found in urls that were made for those.
_OF_OTHERS = {
    "sslmode": "write ssl= with the same word",
    "sslrootcert": "set PGSSLROOTCERT in the environment",
    "sslcert": "set PGSSLCERT in the environment",
    "sslkey": "set PGSSLKEY in the environment",
    "sslcrl": "set PGSSLCRL in the environment",
    "options": "ALTER ROLE ... SET it, such as search_path",
    "application_name": "ALTER ROLE ... SET it",
    # The driver takes a number here, and a url can only carry text.
    "statement_cache_size": "behind a pooler write pooler=transaction",
}


def check_postgresql(url: str) -> None:
    """Refuse a url that the driver can't use.

    Args:
        url: The url, with any of the names for PostgreSQL before `://`.

    Raises:
        ValueError: says what is wrong without quoting the url, which holds a password.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(
            "has an impossible host or port; percent-encode special characters of the password, "
            "such as %40 for @"
        ) from None
    query = parse_qs(parts.query, keep_blank_values=True)
    for name, given in query.items():
        if not name.isidentifier():
            # Perhaps part of a password with an unescaped "?", so it is not quoted.
            raise ValueError("has an impossible name in its query; percent-encode odd characters")
        if name not in QUERY:
            remedy = _OF_OTHERS.get(name, "leave it out")
            raise ValueError(f"has {name}= in its query, which this driver does not know: {remedy}")
        if len(given) > 1 and name not in {"host", "port"}:
            raise ValueError(f"has {name}= more than once in its query")
        if name in CHOICES and given[0] not in CHOICES[name]:
            raise ValueError(f"has a {name}= that is not {name}={' or '.join(CHOICES[name])}")
    if not all(map(_is_number, query.get("prepared_statement_cache_size", []))):
        raise ValueError("has a prepared_statement_cache_size= that is no number")
    _check_hosts(query.get("host", []), query.get("port", []))


def _check_hosts(hosts: list[str], ports: list[str]) -> None:
    """Refuse hosts and ports in the query that are invalid, or do not match each other."""
    several = len(hosts) > 1
    named = hosts if several else "".join(hosts).split(",")
    given = [each.rpartition(":")[2] for each in hosts if ":" in each] if several else []
    given += ",".join(filter(None, ports)).split(",") if any(ports) else []
    if not all(_is_number(each) and int(each) <= _MAX_PORT for each in given):
        raise ValueError(f"has a port in its query that is not a number from 0 to {_MAX_PORT}")
    if len(named) > 1 and (len(given) != len(named) or (several and any(ports))):
        raise ValueError("has several hosts without a port each: ?host=one:5432&host=two:5432")


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit()
