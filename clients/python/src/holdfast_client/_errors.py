"""What can go wrong. Everything that is raised is a HoldfastError."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TypeGuard

    from ._schema import ErrorCode, Problem, ProblemSeat


class HoldfastError(Exception):
    """The base of all errors of this library."""


class NoAnswerError(HoldfastError):
    """No answer came: the server was not reached, or not in time. The operation may have happened."""


class UnexpectedAnswerError(HoldfastError):
    """An answer that is no Holdfast answer, such as a proxy's error page."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ProblemError(HoldfastError):
    """The server refused: a problem document. Compare `code`, show `str(error)`, report `trace_id`."""

    def __init__(self, problem: Problem, retry_after_seconds: float | None = None) -> None:
        super().__init__(problem["detail"])
        self.problem = problem
        self.code: ErrorCode = problem["error"]
        self.status = problem["status"]
        self.trace_id = problem["trace_id"]
        # After which time the same request may succeed, where the server says so.
        self.retry_after_seconds = retry_after_seconds


class SeatsUnavailableError(ProblemError):
    """Some of the seats are taken. Nothing is held."""

    @property
    def seats(self) -> list[ProblemSeat]:
        """The state of each seat that was named."""
        return [seat for seat in self.problem.get("seats", []) if not isinstance(seat, int)]

    @property
    def alternatives(self) -> list[list[int]]:
        """Groups of as many free seats, nearest first; empty unless `alternatives` were requested."""
        return self.problem.get("alternatives", [])


class OrphanSeatsError(ProblemError):
    """A single seat would be left alone: choose other seats."""

    @property
    def seat_ids(self) -> list[int]:
        """The seats that would be left alone."""
        return [seat for seat in self.problem.get("seats", []) if isinstance(seat, int)]


class WaitingRoomRequiredError(ProblemError):
    """The event has a waiting room: join it, and send its token once it has admitted you."""


class AdmissionInvalidError(ProblemError):
    """The place in line or the session is over, or never was: join again."""

    @property
    def reason(self) -> str | None:
        """Why, such as `lapsed` or `session_ended`."""
        return self.problem.get("reason")


class PaymentDeclinedError(ProblemError):
    """The payment was declined. The seats are still held: another card may work."""


class BookingExpiredError(ProblemError):
    """The hold has expired. Nothing was charged."""


class RateLimitedError(ProblemError):
    """Too many requests: wait `retry_after_seconds`."""

    @property
    def rule(self) -> str | None:
        """The rule that refuses."""
        return self.problem.get("rule")


class SaleOverError(HoldfastError):
    """Waiting is over without an admission: everything is sold, or the sale has ended."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


_CLASSES: dict[str, type[ProblemError]] = {
    "seats_unavailable": SeatsUnavailableError,
    "orphan_seats": OrphanSeatsError,
    "waiting_room_required": WaitingRoomRequiredError,
    "waiting_room_token_invalid": AdmissionInvalidError,
    "payment_declined": PaymentDeclinedError,
    "booking_expired": BookingExpiredError,
    "rate_limit_exceeded": RateLimitedError,
    "too_many_connections": RateLimitedError,
}


def problem_error(problem: Problem, retry_after_seconds: float | None) -> ProblemError:
    """The error of a problem document."""
    return _CLASSES.get(problem["error"], ProblemError)(problem, retry_after_seconds)


def is_problem(body: Any) -> TypeGuard[Problem]:
    """Whether a body is a problem document."""
    return isinstance(body, dict) and {"error", "detail", "status", "trace_id"} <= body.keys()
