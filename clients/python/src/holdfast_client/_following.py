"""What a subscription knows: its seats, and where to resume. No I/O."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

from ._errors import ProblemError, is_problem, problem_error
from ._request import DOUBLINGS_MAX
from ._seats import SeatStates

if TYPE_CHECKING:
    from websockets.exceptions import InvalidStatus

    from ._schema import PushMessage

# Up to this long before the first attempt to reconnect, then twice as long, and so on: all sockets of a
# server break in the same moment, and must not come back in one.
_FIRST_PAUSE_SECONDS_MAX = 5.0
_LONGEST_PAUSE_SECONDS = 30.0
_PAUSE_SHARE_MIN = 0.2


class Progress:
    """The state of a subscription across its sockets."""

    def __init__(self) -> None:
        self.seats: SeatStates | None = None
        self.resume: str | None = None
        self.failures = 0

    def take(self, message: PushMessage) -> bool:
        """Updates seats and the place to resume from. False: changes are missing."""
        self.failures = 0
        if message["type"] == "snapshot":
            self.seats = SeatStates.from_snapshot(message)
            self.resume = message["resume"]
        elif message["type"] == "seat_update":
            if self.seats is None or not self.seats.apply(message):
                self.start_over()
                return False
            self.resume = message.get("resume", self.resume)
        elif message["type"] == "gap":
            self.start_over()
        return True

    def start_over(self) -> None:
        """Discards the seats: a snapshot is needed."""
        self.seats = None
        self.resume = None

    def pause_seconds(self) -> float:
        """How long to wait before the next socket."""
        self.failures += 1
        doublings = min(self.failures - 1, DOUBLINGS_MAX)
        most = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS_MAX * 2.0**doublings)
        return most * (_PAUSE_SHARE_MIN + (1 - _PAUSE_SHARE_MIN) * random.random())


def refusal(error: InvalidStatus) -> ProblemError | None:
    """The problem for which a socket will never be opened; None if a later attempt may succeed."""
    status = error.response.status_code
    if not 400 <= status < 500 or status == 429:
        return None
    try:
        body = json.loads(error.response.body or b"")
    except ValueError:
        return None
    return problem_error(body, None) if is_problem(body) else None
