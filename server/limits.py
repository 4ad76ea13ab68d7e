"""Every limit of what callers may ask for: sizes, numbers, rates, times.

One place, so that gRPC and HTTP have the same. A limit that is met is answered with
RESOURCE_EXHAUSTED (429, or 413 for sizes) and with when to come again where waiting helps.
"""

from __future__ import annotations

# The largest order is a few KiB; a larger message is a mistake or an attack.
MAX_REQUEST_BYTES = 1024 * 1024
# A token is below 1 KiB; the rest is cookies of other servers on this host.
MAX_HEADER_BYTES = 16 * 1024

# Characters: a request id holds four UUIDs, a reason is a sentence or two.
MAX_REQUEST_ID = 128
MAX_REASON = 500
# A longer token is none of ours: it is not even decoded.
MAX_TOKEN = 4096
MAX_EMAIL = 320
MAX_PASSWORD = 1024
# A person's name, as ERPNext keeps it.
MAX_PERSON_NAME = 140
# Every other text of the old API.
MAX_OLD_TEXT = 1000

# Calls of one caller a second, in the mean (PROVISIONER_CALLS_PER_SECOND): more than any
# console, script or monitor needs. In a hurry he may use up a minute's at once.
CALLS_PER_SECOND = 5000.0
BURST_SECONDS = 60.0

# Failed sign-ins in five minutes. Of one account: a person who mistypes stays below, a
# guesser gets 2880 tries a day. Of one address: the people of one office, or of one proxy,
# share it.
SIGN_IN_SECONDS = 300.0
SIGN_INS_PER_ACCOUNT = 10
SIGN_INS_PER_ADDRESS = 60

# Requests of one address under way at once over HTTP, streams of events among them; a
# browser keeps six connections, a proxy in front has those of all its users.
HTTP_PER_ADDRESS = 512
# Reading a request's body may take so long; then its sender is slow on purpose.
BODY_SECONDS = 15.0

# A follower may stay for an hour; then it comes again, from its last cursor.
STREAM_SECONDS = 3600.0
# So often a quiet stream is looked at: whoever was let go meanwhile is sent away.
STREAM_CHECK_SECONDS = 5.0
# One connection of a console or a benchmark may follow hundreds of tenants; thousands
# are streams somebody forgot.
STREAMS_PER_PEER = 1000
# A caller may have several connections; not as many as he likes.
STREAMS_PER_CALLER = 2000

# Lists: what is given where nothing is asked for, and at most. Tenants over gRPC and `/v1`;
# sweeps and findings, which are short; the old API, whose clients ask once for everything.
DEFAULT_PAGE = 50
MAX_PAGE = 500
MAX_HISTORY_PAGE = 1000
DEFAULT_OLD_PAGE = 100
MAX_OLD_PAGE = 1000
# Who asks `/v1` once for a log gets so many entries; the cursor says where to go on.
MAX_LOG_AT_ONCE = 1000
# Tenants whose engines one old request may ask for.
MAX_IDS = 100
# What one answer tells of a sweep or a report; ListFindings has the rest.
MAX_FINDINGS = 1000

# One look at a whole tenant at its engine: some thirty reads, of 15 ms each where it is well.
LOOK_SECONDS = 60.0
# A call without a deadline of its own ends after this time: a look, and waiting for its turn.
CALL_SECONDS = 75.0
