"""Server-sent events, read for a bounded time."""

import http.client
import json
import time
from typing import Any, Dict, Iterator
from urllib.parse import urlsplit


class Stream:
    """The messages of one connection, for so many seconds."""

    def __init__(self, url: str, headers: Dict[str, str], seconds: float) -> None:
        parts = urlsplit(url)
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self.connection = kind(parts.netloc, timeout=seconds)
        self.path, self.until = parts.path, time.monotonic() + seconds
        self.headers = {"Accept": "text/event-stream", **headers}

    def __iter__(self) -> Iterator[Dict[str, Any]]:
        """Raises `OSError` if it does not open; ends quietly with its time."""
        try:
            self.connection.request("GET", self.path, headers=self.headers)
            response = self.connection.getresponse()
            if response.status != 200:
                raise OSError(f"{response.status} {response.read(300).decode(errors='replace')}")
            yield from self.messages(response)
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            self.connection.close()

    def messages(self, response: http.client.HTTPResponse) -> Iterator[Dict[str, Any]]:
        """The `data` of each event."""
        sock = self.connection.sock
        while time.monotonic() < self.until:
            if sock is not None:
                sock.settimeout(max(0.05, self.until - time.monotonic()))
            try:
                line = response.readline()
            except TimeoutError:
                return
            if not line:
                return
            if line.startswith(b"data: "):
                yield json.loads(line[6:])
