# Made from `_async` by tools/unasync.py: change that, and run it.
"""A subscription of an event."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

import websockets.sync.client
from websockets.exceptions import InvalidStatus, WebSocketException

from .._following import Progress, refusal
from .._seats import SeatStates
from .transport import Transport

if TYPE_CHECKING:
    from .. import _schema as s


class Follower:
    """A subscription of an event: an iterator of messages that reconnects and resumes by itself."""

    def __init__(self, transport: Transport, event: int, waiting_room_token: str | None) -> None:
        self._transport, self._event, self._token = transport, event, waiting_room_token
        self._progress = Progress()
        self._socket: websockets.sync.client.ClientConnection | None = None
        self._closed = threading.Event()

    @property
    def seats(self) -> SeatStates | None:
        """The seats as of the last message; None before the first snapshot and after a gap."""
        return self._progress.seats

    def __enter__(self) -> Follower:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the subscription, and an iteration that waits."""
        self._closed.set()
        self._drop()

    def __iter__(self) -> Iterator[s.PushMessage]:
        """Messages, after `seats` has them. A gap and its snapshot are handled, and shown."""
        while not self._closed.is_set():
            try:
                self._socket = socket = self._transport.open_socket(
                    self._event, self._progress.resume
                )
                if self._closed.is_set():
                    # Closed meanwhile, when there was no socket to close yet.
                    break
                if self._token is not None:
                    register = {"type": "register_waiting_room", "token": self._token}
                    socket.send(json.dumps(register))
                for text in socket:
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
            self._drop()
            self._pause(self._progress.pause_seconds())
        self._drop()

    def _pause(self, seconds: float) -> None:
        """Waits, but not beyond the end of the subscription."""
        self._closed.wait(seconds)

    def _drop(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()
