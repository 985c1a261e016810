"""One request: how it is described, when it is sent again, and how its answer is read. No I/O."""

from __future__ import annotations

import email.utils
import json
import random
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ._errors import (
    NoAnswerError,
    ProblemError,
    UnexpectedAnswerError,
    is_problem,
    problem_error,
)

if TYPE_CHECKING:
    import httpx

# More than any longest pause has, and no power that a float cannot hold.
DOUBLINGS_MAX = 16

Query = Mapping[str, "str | int | bool | None"]

# Codes that mean: nothing happened, or the same request continues what was begun.
_WORTH_RETRYING = {
    "in_flight",
    "body_timeout",
    "rate_limit_exceeded",
    "too_many_connections",
    "service_unavailable",
    "event_not_loaded",
    "booking_log_full",
}


@dataclass(frozen=True)
class Retry:
    """How a failed request is repeated."""

    # Attempts in all; 1 never repeats.
    attempts: int = 4
    # The first pause; doubled each time, with jitter.
    first_pause_seconds: float = 0.2
    # The longest pause, also of a `Retry-After`: a longer one is raised at once.
    longest_pause_seconds: float = 10.0

    def pause_before(self, request: Request, error: Exception, attempt: int) -> float | None:
        """How long to wait before the next attempt; None: there must not be one."""
        if attempt >= self.attempts:
            return None
        backoff = backoff_seconds(attempt, self.first_pause_seconds, self.longest_pause_seconds)
        if isinstance(error, ProblemError):
            unknown = error.code in ("outcome_unknown", "internal_error")
            if error.code not in _WORTH_RETRYING and not (unknown and request.is_repeatable):
                return None
            server = error.retry_after_seconds or 0.0
            return server + backoff if server <= self.longest_pause_seconds else None
        if isinstance(error, UnexpectedAnswerError):
            # Of a proxy: 502 and 504 may have reached the server.
            return backoff if request.is_repeatable and error.status >= 500 else None
        return backoff if request.is_repeatable and isinstance(error, NoAnswerError) else None


@dataclass(frozen=True)
class Request:
    """A request."""

    method: str
    path: str
    query: Query = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    # Whether it may be sent again when it is not known whether it happened.
    is_repeatable: bool = True

    def parameters(self) -> dict[str, str]:
        """The query as texts."""
        text = {True: "true", False: "false"}
        return {
            name: text[value] if isinstance(value, bool) else str(value)
            for name, value in self.query.items()
            if value is not None
        }


def get(path: str, query: Query | None = None, token: str | None = None) -> Request:
    """A request that only reads."""
    return Request("GET", path, query or {}, headers={"x-waiting-room-token": token})


def change(
    method: str,
    path: str,
    body: Any = None,
    *,
    query: Query | None = None,
    key: str | None = None,
    token: str | None = None,
) -> Request:
    """A change that may be sent again, under a key where its route takes one."""
    headers = {"idempotency-key": key, "x-waiting-room-token": token}
    return Request(method, path, query or {}, body, headers)


def new_key() -> str:
    """A random idempotency key."""
    return uuid.uuid4().hex


def jittered(seconds: float) -> float:
    """A random time in the upper half, so that many clients do not come back in the same moment."""
    return seconds / 2 + random.random() * seconds / 2


def backoff_seconds(attempt: int, first: float, longest: float) -> float:
    """The pause before attempt `attempt` (from 1), doubling up to the longest."""
    return jittered(min(longest, first * 2.0 ** min(attempt - 1, DOUBLINGS_MAX)))


def read(response: httpx.Response) -> Any:
    """The body of a success; raises the problem of a refusal."""
    try:
        body = json.loads(response.content) if response.content else None
    except ValueError as error:
        status = response.status_code
        raise UnexpectedAnswerError(status, f"An answer ({status}) that is not JSON") from error
    if response.is_success:
        return body
    if not is_problem(body):
        status = response.status_code
        raise UnexpectedAnswerError(status, f"An answer ({status}) that is no problem document")
    raise problem_error(body, retry_after_seconds(response.headers.get("retry-after")))


def retry_after_seconds(text: str | None) -> float | None:
    """`Retry-After`: seconds, or a date that a proxy has set."""
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
