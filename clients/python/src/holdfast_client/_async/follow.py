"""A subscription of an event, for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING

import websockets.asyncio.client
from websockets.exceptions import InvalidStatus, WebSocketException

from .._following import Progress, refusal
from .._seats import SeatStates
from .transport import AsyncTransport

if TYPE_CHECKING:
    from .. import _schema as s


class AsyncFollower:
    """A subscription of an event: an iterator of messages that reconnects and resumes by itself."""

    def __init__(self, transport: AsyncTransport, event: int, waiting_room_token: str | None) -> None:
        self._transport, self._event, self._token = transport, event, waiting_room_token
        self._progress = Progress()
        self._socket: websockets.asyncio.client.ClientConnection | None = None
        self._closed = asyncio.Event()

    @property
    def seats(self) -> SeatStates | None:
        """The seats as of the last message; None before the first snapshot and after a gap."""
        return self._progress.seats

    async def __aenter__(self) -> AsyncFollower:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the subscription, and an iteration that waits."""
        self._closed.set()
        await self._drop()

    async def __aiter__(self) -> AsyncIterator[s.PushMessage]:
        """Messages, after `seats` has them. A gap and its snapshot are handled, and shown."""
        while not self._closed.is_set():
            try:
                self._socket = socket = await self._transport.open_socket(
                    self._event, self._progress.resume
                )
                if self._closed.is_set():
                    # Closed meanwhile, when there was no socket to close yet.
                    break
                if self._token is not None:
                    register = {"type": "register_waiting_room", "token": self._token}
                    await socket.send(json.dumps(register))
                async for text in socket:
                    message: s.PushMessage = json.loads(text)
                    is_whole = self._progress.take(message)
                    yield message
                    if not is_whole:
                        break
            except InvalidStatus as error:
                problem = refusal(error)
                if problem is not None:
                    raise problem from error
            except (OSError, WebSocketException):
                # Broken: connected again below.
                pass
            await self._drop()
            await self._pause(self._progress.pause_seconds())
        await self._drop()

    async def _pause(self, seconds: float) -> None:
        """Waits, but not beyond the end of the subscription."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._closed.wait(), seconds)

    async def _drop(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()
