"""Every limit of what callers may ask for: sizes, numbers, rates, times.

One place, so that gRPC and HTTP have the same. A limit that is met is answered with
RESOURCE_EXHAUSTED (429, or 413 for sizes) and with when to come again where waiting helps.
"""

from __future__ import annotations

# The largest order is a few KiB; a larger message is a mistake or an attack.
MAX_REQUEST_BYTES = 1024 * 1024
MAX_HEADER_BYTES = 16 * 1024

# Failed sign-ins in five minutes. Of one account: a person who mistypes stays below, a
# guesser gets 2880 tries a day. Of one address: the people of one office, or of one proxy,
# share it.
SIGN_IN_SECONDS = 300.0
SIGN_INS_PER_ACCOUNT = 10
SIGN_INS_PER_ADDRESS = 60

# Calls of one address under way at once over HTTP; a browser keeps six connections.
MAX_CONCURRENT_HTTP = 512
# Reading a request's body may take so long; then its sender is slow on purpose.
BODY_SECONDS = 15.0

# A follower may stay for an hour; then it comes again, from its last cursor.
STREAM_SECONDS = 3600.0
# One connection of a console or a benchmark may follow hundreds of tenants; thousands
# are streams somebody forgot.
STREAMS_PER_PEER = 1000
STREAMS_PER_CALLER = 2000

DEFAULT_PAGE = 50
MAX_PAGE = 500

# A call without a deadline of its own ends after this time.
CALL_SECONDS = 60.0
