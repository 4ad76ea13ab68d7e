"""What can be written about a site: who probes next, how much work it takes, who it is.

Each is one conditional update, so that of many processes exactly one is told yes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from server.store.operations import RequestKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTake:
    """Be the one who asks a shut site now; refused where it is not due or open again.

    Attributes:
        until: When the next one may ask, should this process die before it tells.
        longest: A stored time further ahead than this is due: the clock was set back.
    """

    site: str
    at: datetime
    until: datetime
    longest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReturn:
    """Stop asking before there was an answer: whoever comes next may ask at once."""

    site: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveChange:
    """Let more runs of a site be driven at once, if nobody changed that meanwhile.

    Attributes:
        seen: How many it judged.
        wave: How many from now on; None for as many as there are.
    """

    site: str
    seen: int
    wave: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePause:
    """Ask nothing of a site until a time it named itself; a later one that is stored stays."""

    site: str
    at: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySeen:
    """Store who a site is at first sight; refused where another identity is stored."""

    site: str
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteAccepted:
    """A person says that the site is right as it is: forget who it was and what vanished.

    Attributes:
        request: Names the order, so that a repeated one is refused; None if it can't be.
    """

    site: str
    at: datetime
    request: RequestKey | None = None


SiteOperation = ProbeTake | ProbeReturn | WaveChange | SitePause | IdentitySeen | SiteAccepted
