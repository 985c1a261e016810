"""The load of the rolling restart: buyers and readers behind nginx, who check every answer.

A buyer holds a seat, pays for most of them and releases others. Three of four send idempotency keys. An answer
that a client must not see (a reset, 500, 502, 504, a 503 without `Retry-After`) is a problem; a 503 with it
is counted and the request sent again, as clients do.
"""

import collections
import http.client
import json
import random
import threading
import time
import uuid
from typing import Any, Callable, Counter, Dict, List, NamedTuple, Optional

TIMEOUT_SECONDS = 30
TRIES_MAX = 10
PROBLEMS_MAX = 50
CONNECTION_BUYERS = 20
# Refusals that a buyer may meet whose seats are random.
EXPECTED = (200, 201, 202, 304, 404, 409, 410)


class Answer(NamedTuple):
    """An answer of the API."""

    status: int
    headers: Dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Its body."""
        return json.loads(self.body.decode())


class Books:
    """What all clients were told, under one lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.statuses: Counter[int] = collections.Counter()
        self.unavailable: Counter[str] = collections.Counter()
        self.problems: List[str] = []
        self.held: Dict[str, int] = {}
        self.last_state: Dict[str, str] = {}
        self.owners: Dict[str, str] = {}
        self.slowest_ms = 0.0

    def count(self, answer: Answer, ms: float) -> None:
        """Counts an answer."""
        with self.lock:
            self.statuses[answer.status] += 1
            self.slowest_ms = max(self.slowest_ms, ms)

    def count_unavailable(self, code: str) -> None:
        """Counts a 503 that is as it should be."""
        with self.lock:
            self.unavailable[code] += 1

    def problem(self, text: str) -> None:
        """Notes what no client may see."""
        with self.lock:
            if len(self.problems) < PROBLEMS_MAX:
                self.problems.append(f"{time.strftime('%H:%M:%S')} {text}")

    def booked(self, booking: str, user: str, state: str) -> None:
        """Notes the last state of a booking that was answered."""
        with self.lock:
            self.held[booking] = self.held.get(booking, 0) + 1
            self.owners[booking] = user
            self.last_state[booking] = state


class Client:
    """A connection to nginx that is kept, as a browser's or a shop's."""

    def __init__(self, port: int, books: Books, user: str) -> None:
        self.books, self.user = books, user
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)

    def send(
        self, method: str, path: str, body: Optional[Dict[str, Any]] = None, key: str = ""
    ) -> Optional[Answer]:
        """Sends a request until it gets an answer other than 503; None if it gets none."""
        for _ in range(TRIES_MAX):
            answer = self.exchange(method, path, body, key)
            if answer is None or answer.status != 503:
                return answer
            time.sleep(float(answer.headers.get("retry-after", "1")))
        self.books.problem(f"{method} {path}: 503 {TRIES_MAX} times")
        return None

    def exchange(
        self, method: str, path: str, body: Optional[Dict[str, Any]], key: str
    ) -> Optional[Answer]:
        """One request and its answer, checked."""
        headers = {"X-User-Id": self.user, "Accept": "application/json", "User-Agent": "rolling"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if key:
            headers["Idempotency-Key"] = key
        began = time.monotonic()
        try:
            self.connection.request(
                method, path, json.dumps(body) if body is not None else None, headers
            )
            reply = self.connection.getresponse()
            answer = Answer(
                reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
            )
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()
            self.books.problem(f"{method} {path}: {type(error).__name__} {error}")
            return None
        self.books.count(answer, (time.monotonic() - began) * 1000)
        self.check(method, path, answer)
        return answer

    def check(self, method: str, path: str, answer: Answer) -> None:
        """Notes what the answer must not be."""
        if answer.status == 503 and "retry-after" in answer.headers:
            try:
                code = answer.json()["error"]
            except (ValueError, KeyError):
                code = answer.body[:60].decode(errors="replace")
            self.books.count_unavailable(f"{method} {code}")
        elif answer.status not in EXPECTED:
            self.books.problem(f"{method} {path}: {answer.status} {answer.body[:200]!r}")


class Load:
    """Threads of buyers and readers."""

    def __init__(self, port: int, event: int, seats: List[int], buyers: int, readers: int) -> None:
        self.port, self.event, self.seats = port, event, seats
        self.books, self.ending = Books(), threading.Event()
        work = [self.buy] * buyers + [self.read] * readers
        self.threads = [
            threading.Thread(target=self.run, args=(each, number), daemon=True)
            for number, each in enumerate(work)
        ]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """Lets each finish what it does."""
        self.ending.set()
        for thread in self.threads:
            thread.join(TIMEOUT_SECONDS * 2)
            if thread.is_alive():
                self.books.problem("a client did not finish")

    def run(self, each: Callable[[int], None], number: int) -> None:
        """Does a client's work; a defect of its own is a problem, too."""
        try:
            each(number)
        except Exception as error:
            self.books.problem(f"a client failed: {type(error).__name__} {error}")

    def buy(self, number: int) -> None:
        """Holds, pays, releases, looks."""
        chance, client, count = random.Random(number), Client(self.port, self.books, ""), 0
        while not self.ending.is_set():
            # Each buyer is another user; most share a connection, as behind a shop's backend.
            count += 1
            if count % CONNECTION_BUYERS == 0:
                client.connection.close()
            client.user = f"buyer-{number}-{count}"
            self.buy_once(client, chance)
            self.ending.wait(chance.uniform(0.0, 0.05))

    def buy_once(self, client: Client, chance: random.Random) -> None:
        """One buyer's way."""
        key = str(uuid.UUID(int=chance.getrandbits(128))) if chance.random() < 0.75 else ""
        wanted = {"event_id": self.event, "seat_ids": [chance.choice(self.seats)]}
        answer = client.send("POST", "/api/v1/bookings", wanted, key)
        if answer is None or answer.status != 201:
            return
        booking = answer.json()["id"]
        self.books.booked(booking, client.user, "HOLD")
        way, path = chance.random(), f"/api/v1/bookings/{booking}"
        if way < 0.6:
            payment = {"payment_method": "card_ok"}
            answer = client.send("POST", path + "/confirm", payment, key and key + "-pay")
        elif way < 0.8:
            answer = client.send("DELETE", path)
        else:
            answer = client.send("GET", path)
        if answer is not None and answer.status in (200, 202):
            self.books.booked(booking, client.user, answer.json()["status"])

    def read(self, number: int) -> None:
        """Looks at the map and at the counts, as visitors do."""
        client = Client(self.port, self.books, f"reader-{number}")
        path = f"/api/v1/events/{self.event}"
        while not self.ending.is_set():
            for what in ("/seats", "/availability", ""):
                client.send("GET", path + what)
            self.ending.wait(0.02)
