"""Waiting in line by polling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._errors import NoAnswerError, ProblemError, UnexpectedAnswerError

if TYPE_CHECKING:
    from ._schema import QueueStatusBody

LONGEST_PAUSE_SECONDS = 30.0
# A poll comes up to this much later than asked for, so that many clients spread out.
LATE_SHARE = 0.1

# Codes after which the place is as it was: ask again.
_PASSING = {
    "service_unavailable",
    "outcome_unknown",
    "event_not_loaded",
    "rate_limit_exceeded",
    "too_many_connections",
    "internal_error",
}


@dataclass(frozen=True)
class Admission:
    """An admission: send `token` with the hold. None where nobody has to wait."""

    token: str | None
    status: QueueStatusBody

    @staticmethod
    def without_room(message: str) -> Admission:
        """The admission to an event that has no waiting room now."""
        status: QueueStatusBody = {
            "admitted": True,
            "status": "open",
            "position": 0,
            "estimated_wait_seconds": 0,
            "refresh_after_seconds": 0,
            "message": message,
        }
        return Admission(None, status)


def is_passing(error: NoAnswerError | ProblemError | UnexpectedAnswerError) -> bool:
    """Whether to ask again after this error."""
    if isinstance(error, ProblemError):
        return error.code in _PASSING
    # Of a proxy whose server is away.
    return isinstance(error, NoAnswerError) or error.status >= 500
