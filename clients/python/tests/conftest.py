"""The server under test (HOLDFAST_URL), and a proxy in front of it that misbehaves on demand."""

from __future__ import annotations

import http.client
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest

from holdfast_client import Holdfast
from holdfast_client._schema import EventBody

URL = os.environ.get("HOLDFAST_URL", "http://127.0.0.1:8000")
_numbers = itertools.count()
T = TypeVar("T")


def someone() -> str:
    """A user that nobody else has."""
    return f"user-{os.getpid()}-{time.time_ns()}-{next(_numbers)}"


def client(url: str = URL, **options: Any) -> Holdfast:
    """A client of a new user."""
    return Holdfast(url, user=someone(), **options)


def admin() -> Holdfast:
    """A client that may create events: the server under test needs no key, or has this one."""
    return Holdfast(URL, admin_key=os.environ.get("HOLDFAST_ADMIN_KEY"))


def new_event() -> EventBody:
    """A new event with two rows of ten seats."""
    rows = [{"row": "A", "seats": 10}, {"row": "B", "seats": 10}]
    sections: Any = [{"name": "Stalls", "price": 2500, "rows": rows}]
    with admin() as holdfast:
        return holdfast.create_event({"name": "Client test", "currency": "EUR", "sections": sections})


def until(ask: Callable[[], T], is_wanted: Callable[[T], bool], seconds: float = 10.0) -> T:
    """Asks again until the answer is as wanted: what is counted or seen elsewhere takes a moment."""
    deadline = time.monotonic() + seconds
    while not is_wanted(answer := ask()):
        assert time.monotonic() < deadline, f"after {seconds} seconds still {answer!r}"
        time.sleep(0.05)
    return answer


class Proxy:
    """A proxy to the server under test."""

    def __init__(self) -> None:
        # Returns "lose reply", or an answer (status, headers, body) to give instead, or None.
        self.interfere: Callable[[BaseHTTPRequestHandler], Any] = lambda _: None
        self.requests: list[dict[str, str]] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                proxy.handle(self)

            do_POST = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Passes a request on, or not."""
        self.requests.append({name.lower(): value for name, value in request.headers.items()})
        body = request.rfile.read(int(request.headers.get("content-length", 0)))
        verdict = self.interfere(request)
        if isinstance(verdict, tuple):
            self._answer(request, *verdict)
            return
        target = urlsplit(URL)
        upstream = http.client.HTTPConnection(target.hostname or "", target.port)
        upstream.request(request.command, request.path, body, dict(request.headers.items()))
        answer = upstream.getresponse()
        content = answer.read()
        if verdict == "lose reply":
            request.close_connection = True
            request.connection.close()
            return
        headers = {n: v for n, v in answer.getheaders() if n.lower() != "transfer-encoding"}
        self._answer(request, answer.status, headers, content)

    @staticmethod
    def _answer(
        request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes
    ) -> None:
        request.send_response(status)
        headers["content-length"] = str(len(body))
        for name, value in {n.lower(): v for n, v in headers.items()}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    def close(self) -> None:
        """Stops it."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy for one test."""
    one = Proxy()
    yield one
    one.close()
