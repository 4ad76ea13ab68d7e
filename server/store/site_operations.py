"""What can be written about a site: who probes next, how much work it takes, its identity.

Each is one conditional update, so that of many processes exactly one succeeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from server.model.identifiers import RequestKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTake:
    """Take a shut site's next look; refused if it is not due, or the site is open again.

    Attributes:
        until: When the next process may look, in case this one dies before it reports.
        longest: How many seconds ahead a stored time may be; if it is further ahead, the clock was
            set back, and the look is due.
    """

    site: str
    at: datetime
    until: datetime
    longest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReturn:
    """Give back a look that had no answer yet: whoever comes next may look at once.

    Attributes:
        at: The time from which the look is due again; of a site that is open, nothing changes.
    """

    site: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveChange:
    """Change how many runs of a site may be driven at once, if nobody changed that meanwhile.

    Attributes:
        seen: How many the caller saw.
        wave: How many from now on; None for any number.
    """

    site: str
    seen: int
    wave: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePause:
    """Leave a site alone until the time that it asked for; a later time that is stored stays.

    Then one run may be driven at first, as after an outage.

    Attributes:
        longest: How many seconds ahead a stored time may be; if it is further ahead, the clock was
            set back, and the time is replaced.
    """

    site: str
    at: datetime
    until: datetime
    longest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySeen:
    """Store a site's identity at first sight; refused if another identity is stored."""

    site: str
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteAccepted:
    """A person says that the site is right as it is: forget its identity and what vanished.

    Attributes:
        request: Names the order, so that a repeated one is refused; None if it has no name.
    """

    site: str
    at: datetime
    request: RequestKey | None = None


SiteOperation = ProbeTake | ProbeReturn | WaveChange | SitePause | IdentitySeen | SiteAccepted
