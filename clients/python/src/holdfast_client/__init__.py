"""Client for Holdfast: hold seats, wait in line, pay, follow seat maps. Sync and asyncio."""

from ._async.client import AsyncHoldfast
from ._async.follow import AsyncFollower
from ._errors import (
    AdmissionInvalidError,
    BookingExpiredError,
    HoldfastError,
    NoAnswerError,
    OrphanSeatsError,
    PaymentDeclinedError,
    ProblemError,
    RateLimitedError,
    SaleOverError,
    SeatsUnavailableError,
    UnexpectedAnswerError,
    WaitingRoomRequiredError,
)
from ._request import Retry
from ._seats import SeatStates
from ._sync.client import Holdfast
from ._sync.follow import Follower
from ._waiting import Admission

__all__ = [
    "Admission",
    "AdmissionInvalidError",
    "AsyncFollower",
    "AsyncHoldfast",
    "BookingExpiredError",
    "Follower",
    "Holdfast",
    "HoldfastError",
    "NoAnswerError",
    "OrphanSeatsError",
    "PaymentDeclinedError",
    "ProblemError",
    "RateLimitedError",
    "Retry",
    "SaleOverError",
    "SeatStates",
    "SeatsUnavailableError",
    "UnexpectedAnswerError",
    "WaitingRoomRequiredError",
]
