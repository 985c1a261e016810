"""A WebSocket and an event stream that follow an event, and reconnect as browsers do."""

import base64
import contextlib
import http.client
import json
import os
import socket
import struct
import threading
import time
from typing import Any, Dict, List, Optional

CONNECT_SECONDS = 5.0
READ_SECONDS = 45.0
PAUSE_SECONDS = 0.2
HEAD_BYTES_MAX = 16 * 1024


class Follower:
    """A thread that keeps a picture of the seats from what it is sent."""

    def __init__(self, port: int, event: int) -> None:
        self.port, self.event = port, event
        self.ending = threading.Event()
        self.seats: bytearray = bytearray()
        self.version, self.resume = 0, ""
        self.updates, self.connections = 0, 0
        self.problems: List[str] = []
        self.away_seconds_max = 0.0
        self.gone_at: Optional[float] = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        """Follows, and connects again where the connection has ended."""
        while not self.ending.is_set():
            self.gone_at = self.gone_at or time.monotonic()
            try:
                self.connect()
            except (OSError, EOFError, http.client.HTTPException):
                pass  # connects again; how long it was away is checked
            except Exception as error:
                self.problems.append(f"{type(error).__name__} {error}")
            self.ending.wait(PAUSE_SECONDS)

    def opened(self) -> None:
        """Notes that it is connected again."""
        self.connections += 1
        if self.gone_at is not None and self.connections > 1:
            self.away_seconds_max = max(self.away_seconds_max, time.monotonic() - self.gone_at)
        self.gone_at = None

    def connect(self) -> None:
        """Follows on one connection, until it ends."""
        raise NotImplementedError

    def take(self, message: Dict[str, Any]) -> None:
        """Applies a message, as docs/API.md says."""
        kind = message["type"]
        if kind == "snapshot":
            # A character of the format, and two bits a seat are for others: the map itself is compared.
            self.version = message["version"]
        elif kind == "seat_update":
            if message["since"] > self.version:
                self.problems.append(
                    f"an update since {message['since']}, seen up to {self.version}"
                )
            self.version = max(self.version, message["version"])
            self.updates += 1
        self.resume = message.get("resume", self.resume)
        if kind == "gap":
            self.resume, self.version = "", 0

    def stop(self) -> None:
        """Ends it."""
        self.ending.set()


def line_of(file: Any) -> bytes:
    """One line; the end of the connection is an error."""
    line: bytes = file.readline(HEAD_BYTES_MAX)
    if not line:
        raise EOFError
    return line


class Stream(Follower):
    """Server-sent events."""

    def connect(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=READ_SECONDS)
        resume = {"Last-Event-ID": self.resume} if self.resume else {}
        headers = {"Accept": "text/event-stream", "User-Agent": "follower", **resume}
        with contextlib.closing(connection):
            connection.request("GET", f"/api/v1/events/{self.event}/stream", headers=headers)
            reply = connection.getresponse()
            if reply.status != 200:
                raise EOFError
            self.opened()
            while not self.ending.is_set():
                line = line_of(reply)
                if line.startswith(b"data: "):
                    self.take(json.loads(line[6:]))


class WebSocket(Follower):
    """A WebSocket."""

    def connect(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), CONNECT_SECONDS) as link:
            link.settimeout(READ_SECONDS)
            self.follow(link, link.makefile("rb"))

    def follow(self, link: socket.socket, file: Any) -> None:
        """The handshake, and frames from then on."""
        key = base64.b64encode(os.urandom(16)).decode()
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
        upgrade.update({"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key})
        since = f"?since={self.resume}" if self.resume else ""
        self.request(link, f"/ws/events/{self.event}{since}", upgrade)
        if self.head(file) != 101:
            raise EOFError
        self.opened()
        while not self.ending.is_set():
            kind, payload = frame_of(file)
            if kind == 0x1:
                self.take(json.loads(payload))
            elif kind == 0x9:
                link.sendall(pong(payload))
            elif kind == 0x8:
                raise EOFError

    def request(self, link: socket.socket, path: str, headers: Dict[str, str]) -> None:
        """Sends a request's head."""
        lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", "User-Agent: follower"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        link.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())

    def head(self, file: Any) -> int:
        """Reads an answer's head; returns its status."""
        status = int(line_of(file).split(b" ")[1])
        while line_of(file).strip():
            pass
        return status


def exactly(file: Any, count: int) -> bytes:
    """So many bytes."""
    data: bytes = file.read(count)
    if len(data) < count:
        raise EOFError
    return data


def frame_of(file: Any) -> Any:
    """A server's frame: its kind and payload."""
    first, second = exactly(file, 2)
    size = second & 0x7F
    if size == 126:
        (size,) = struct.unpack(">H", exactly(file, 2))
    elif size == 127:
        (size,) = struct.unpack(">Q", exactly(file, 8))
    return first & 0x0F, exactly(file, size)


def pong(payload: bytes) -> bytes:
    """A client's answer to a ping, masked."""
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes([0x8A, 0x80 | len(payload)]) + mask + masked
