"""Every limit on what callers may ask for: sizes, numbers, rates, times.

They are in one place so that gRPC and HTTP have the same. A call that exceeds one is answered with
RESOURCE_EXHAUSTED (429, or 413 for sizes), and with when to try again if waiting helps.
"""

from __future__ import annotations

# The largest order is a few KiB; a larger message is a mistake or an attack.
MAX_REQUEST_BYTES = 1024 * 1024
# A token is smaller than 1 KiB; the rest is for cookies of other servers on this host.
MAX_HEADER_BYTES = 16 * 1024

# In characters: a request id has room for four UUIDs without dashes, a reason for a few
# sentences.
MAX_REQUEST_ID = 128
MAX_REASON = 500
# A longer token is not one of ours, so it is not even decoded.
MAX_TOKEN = 4096
MAX_EMAIL = 320
MAX_PASSWORD = 1024
# The longest name of a person that ERPNext keeps.
MAX_PERSON_NAME = 140
# Every other text of the old API.
MAX_OLD_TEXT = 1000

# Average calls per second of one caller (PROVISIONER_CALLS_PER_SECOND): more than any console,
# script or monitor needs. A caller in a hurry may use up a minute's worth at once.
CALLS_PER_SECOND = 5000.0
BURST_SECONDS = 60.0

# Failed sign-ins in five minutes. For one account: a person who mistypes stays below it, and
# somebody who guesses gets 2880 tries a day. For one address: everybody in an office, or behind a
# proxy, shares it.
SIGN_IN_SECONDS = 300.0
SIGN_INS_PER_ACCOUNT = 10
SIGN_INS_PER_ADDRESS = 60

# HTTP requests of one address under way at once, including streams of events; a browser keeps six
# connections, and a proxy in front has those of all its users.
HTTP_PER_ADDRESS = 512
# The longest times for reading a request's head and its body, and for the greeting (TLS, HTTP/2) on
# a new gRPC connection; a slower sender is slow on purpose, or has forgotten its connection.
HEAD_SECONDS = 15.0
BODY_SECONDS = 15.0

# A follower may stay for an hour; then it must come back, from its last cursor.
STREAM_SECONDS = 3600.0
# How often a stream's caller is checked again: one whose rights have ended is sent away.
STREAM_CHECK_SECONDS = 5.0
# One connection of a console or a benchmark may follow hundreds of tenants; thousands of streams
# are ones that somebody forgot to cancel.
STREAMS_PER_PEER = 1000
# A caller may use several connections, but not any number of streams.
STREAMS_PER_CALLER = 2000

# Lengths of a list's page, by default and at most: for tenants over gRPC and `/v1`; for sweeps and
# findings, which are short; for the old API, whose clients ask once for everything.
DEFAULT_PAGE = 50
MAX_PAGE = 500
MAX_HISTORY_PAGE = 1000
DEFAULT_OLD_PAGE = 100
MAX_OLD_PAGE = 1000
# Most log entries in one answer of `/v1` that is not a stream; the cursor says where to go on.
MAX_LOG_AT_ONCE = 1000
# Most tenants about whose engines one request of the old API may ask.
MAX_IDS = 100
# Most findings or cases in one answer about a sweep or a report; ListFindings has the rest.
MAX_FINDINGS = 1000

# For a look at a whole tenant at its engine: some thirty reads, each 15 ms if the engine is well.
LOOK_SECONDS = 60.0
# A call without a deadline of its own ends after this time: enough for a look and the wait for it.
CALL_SECONDS = 75.0
