# Made from `_async` by tools/unasync.py: change that, and run it.
"""Requests with retries."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
import websockets.sync.client

from .._errors import NoAnswerError, ProblemError, UnexpectedAnswerError
from .._request import Request, Retry, read, retry_after_seconds

if TYPE_CHECKING:
    from .. import _schema as s

SETTLE_PAUSE_SECONDS = 1.0
# Of one message: a snapshot of the largest event is far smaller.
SOCKET_BYTES_MAX = 16 * 1024 * 1024


class Transport:
    """Sends requests in the name of one user."""

    def __init__(
        self,
        base_url: str,
        user: str | None,
        token: str | Callable[[], str] | None,
        admin_key: str | None,
        timeout_seconds: float,
        retry: Retry,
        http: httpx.Client | None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._user, self._token, self._admin_key = user, token, admin_key
        self._timeout, self._retry = timeout_seconds, retry
        self._owns_http = http is None
        self._http = http or httpx.Client()

    def for_user(self, user: str) -> Transport:
        """For another user, over the same connections."""
        return Transport(
            self._base_url,
            user,
            self._token,
            self._admin_key,
            self._timeout,
            self._retry,
            self._http,
        )

    def close(self) -> None:
        """Closes the connections, unless they were given."""
        if self._owns_http:
            self._http.close()

    def settled(self, request: Request, settle_seconds: float) -> s.BookingBody:
        """Sends a request again under the same key while the answer is 202."""
        deadline = time.monotonic() + settle_seconds
        while True:
            response = self._response(request)
            body: s.BookingBody = read(response)
            pause = retry_after_seconds(response.headers.get("retry-after"))
            pause = SETTLE_PAUSE_SECONDS if pause is None else pause
            if response.status_code != 202 or time.monotonic() + pause > deadline:
                return body
            time.sleep(pause)

    def send(self, request: Request) -> Any:
        """Sends a request, again if it failed and that is safe; returns the answer's JSON."""
        return read(self._response(request))

    def _response(self, request: Request) -> httpx.Response:
        attempt, has_renewed = 0, False
        while True:
            attempt += 1
            try:
                response = self._attempt(request)
                read(response)
                return response
            except (NoAnswerError, ProblemError, UnexpectedAnswerError) as error:
                stale = isinstance(error, ProblemError) and error.code == "token_expired"
                if stale and callable(self._token) and not has_renewed:
                    has_renewed = True
                    continue
                pause = self._retry.pause_before(request, error, attempt)
                if pause is None:
                    raise
            time.sleep(pause)

    def _attempt(self, request: Request) -> httpx.Response:
        headers = self._headers()
        headers.update({name: value for name, value in request.headers.items() if value})
        try:
            return self._http.request(
                request.method,
                self._base_url + request.path,
                params=request.parameters(),
                json=request.body,
                headers=headers,
                timeout=self._timeout,
            )
        except httpx.RequestError as error:
            raise NoAnswerError(f"No answer from {self._base_url}: {error!r}") from error

    def _headers(self) -> dict[str, str]:
        headers = {"accept": "application/json"}
        if callable(self._token):
            token = self._token()
            headers["authorization"] = "Bearer " + (token)
        elif self._token is not None:
            headers["authorization"] = f"Bearer {self._token}"
        if self._user is not None:
            headers["x-user-id"] = self._user
        if self._admin_key is not None:
            headers["x-admin-key"] = self._admin_key
        return headers

    def open_socket(
        self, event: int, since: str | None
    ) -> websockets.sync.client.ClientConnection:
        """A new socket; `since` is where the last one ended."""
        query = "?" + urlencode({"since": since}) if since else ""
        url = self._base_url.replace("http", "ws", 1) + f"/ws/events/{event}{query}"
        headers = self._headers()
        # Entered, not left: the follower closes the socket.
        return websockets.sync.client.connect(
            url, additional_headers=headers, open_timeout=self._timeout, max_size=SOCKET_BYTES_MAX
        ).__enter__()
