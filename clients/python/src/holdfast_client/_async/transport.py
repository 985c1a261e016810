"""Requests with retries, for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
import websockets.asyncio.client

from .._errors import NoAnswerError, ProblemError, UnexpectedAnswerError
from .._request import Request, Retry, read, retry_after_seconds

if TYPE_CHECKING:
    from .. import _schema as s

SETTLE_PAUSE_SECONDS = 1.0
# Of one message: a snapshot of the largest event is far smaller.
SOCKET_BYTES_MAX = 16 * 1024 * 1024


class AsyncTransport:
    """Sends requests in the name of one user."""

    def __init__(
        self,
        base_url: str,
        user: str | None,
        token: str | Callable[[], str | Awaitable[str]] | None,
        admin_key: str | None,
        timeout_seconds: float,
        retry: Retry,
        http: httpx.AsyncClient | None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._user, self._token, self._admin_key = user, token, admin_key
        self._timeout, self._retry = timeout_seconds, retry
        self._owns_http = http is None
        self._http = http or httpx.AsyncClient()

    def for_user(self, user: str) -> AsyncTransport:
        """For another user, over the same connections."""
        return AsyncTransport(
            self._base_url,
            user,
            self._token,
            self._admin_key,
            self._timeout,
            self._retry,
            self._http,
        )

    async def aclose(self) -> None:
        """Closes the connections, unless they were given."""
        if self._owns_http:
            await self._http.aclose()

    async def settled(self, request: Request, settle_seconds: float) -> s.BookingBody:
        """Sends a request again under the same key while the answer is 202."""
        deadline = time.monotonic() + settle_seconds
        while True:
            response = await self._response(request)
            body: s.BookingBody = read(response)
            pause = retry_after_seconds(response.headers.get("retry-after"))
            pause = SETTLE_PAUSE_SECONDS if pause is None else pause
            if response.status_code != 202 or time.monotonic() + pause > deadline:
                return body
            await asyncio.sleep(pause)

    async def send(self, request: Request) -> Any:
        """Sends a request, again if it failed and that is safe; returns the answer's JSON."""
        return read(await self._response(request))

    async def _response(self, request: Request) -> httpx.Response:
        attempt, has_renewed = 0, False
        while True:
            attempt += 1
            try:
                response = await self._attempt(request)
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
            await asyncio.sleep(pause)

    async def _attempt(self, request: Request) -> httpx.Response:
        headers = await self._headers()
        headers.update({name: value for name, value in request.headers.items() if value})
        try:
            return await self._http.request(
                request.method,
                self._base_url + request.path,
                params=request.parameters(),
                json=request.body,
                headers=headers,
                timeout=self._timeout,
            )
        except httpx.RequestError as error:
            raise NoAnswerError(f"No answer from {self._base_url}: {error!r}") from error

    async def _headers(self) -> dict[str, str]:
        headers = {"accept": "application/json"}
        if callable(self._token):
            token = self._token()
            headers["authorization"] = "Bearer " + (token if isinstance(token, str) else await token)
        elif self._token is not None:
            headers["authorization"] = f"Bearer {self._token}"
        if self._user is not None:
            headers["x-user-id"] = self._user
        if self._admin_key is not None:
            headers["x-admin-key"] = self._admin_key
        return headers

    async def open_socket(
        self, event: int, since: str | None
    ) -> websockets.asyncio.client.ClientConnection:
        """A new socket; `since` is where the last one ended."""
        query = "?" + urlencode({"since": since}) if since else ""
        url = self._base_url.replace("http", "ws", 1) + f"/ws/events/{event}{query}"
        headers = await self._headers()
        # Entered, not left: the follower closes the socket.
        return await websockets.asyncio.client.connect(
            url, additional_headers=headers, open_timeout=self._timeout, max_size=SOCKET_BYTES_MAX
        ).__aenter__()
