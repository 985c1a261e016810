"""Buyers, bots and followers of one Holdfast event.

    locust --config bench/packs/locust/locust.conf
    locust --config bench/packs/locust/locust.conf Buyer        only buyers

Each answer is counted under what it means: `hold: granted`, `hold: refused (seats_unavailable)`,
`bot: limited (429)`. Refusals are answers and not failures. 429 and 503 are sent again after their
`Retry-After`; after three repetitions they are given up. The exit status is 1 if an answer is one that
no server should give, if more than 1 % of the requests of buyers were given up, if no hold was granted,
or if the 99th percentile of refusals is above P99_MS.

BASE_URL, EVENT_ID or ADMIN_KEY, SEATS, TOKENS_FILE, THINK and others: bench/packs/README.md.
"""

import json
import os
import random
import sys
import time
from dataclasses import asdict
from datetime import datetime
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

import gevent
from locust import FastHttpUser, User, constant, events, task
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner
from shop import BASE_URL, SALE, Person, choose, find_or_make, new_person, think
from stream import Stream

P99_MS = float(os.environ.get("P99_MS") or 250)
PAY = float(os.environ.get("PAY") or 0.7)
CANCEL = float(os.environ.get("CANCEL") or 0.15)
PAYMENT_METHOD = os.environ.get("PAYMENT_METHOD") or "card_ok"
FOLLOW_SECONDS = float(os.environ.get("FOLLOW_SECONDS") or 10)
SUMMARY_JSON = os.environ.get("SUMMARY_JSON", "")
# Names that programs give themselves are refused by the bot rules, except where users are trusted.
USER_AGENT = os.environ.get("USER_AGENT") or "Mozilla/5.0 (load test)"
# What is sent again, by its names in counts.
REPEATED = ("limited (429)", "unavailable (503)")
SEATS_A_BUYER_MAX = 4
ATTEMPTS_MAX = 3
REPETITIONS_MAX = 3
RETRY_AFTER_SECONDS_MAX = 10.0
LOOKS_MAX = 10
# Most requests of buyers that may be given up. Bots are there to be limited.
GIVEN_UP_SHARE_MAX = 0.01


class Answer(NamedTuple):
    """What was answered in the end: status 0 is no answer."""

    status: int
    body: Any
    content: bytes


class Client(FastHttpUser):
    """Sends requests, and counts each under what its answer means."""

    abstract = True
    host = BASE_URL
    wait_time = constant(0)
    default_headers = {"User-Agent": USER_AGENT}

    def call(
        self,
        person: Person,
        operation: str,
        method: str,
        path: str,
        meanings: Dict[int, str],
        body: Optional[Dict[str, Any]] = None,
        key: str = "",
        accept: str = "application/json",
    ) -> Answer:
        """Sends a request, and again after 429 and 503. Statuses without a meaning are failures."""
        headers = {"Accept": accept, **person.headers}
        if key:
            headers["Idempotency-Key"] = key
        answer, pause = Answer(0, None, b""), 0.0
        for turn in range(REPETITIONS_MAX + 1):
            gevent.sleep(pause)
            with self.client.request(
                method, path, name=operation, headers=headers, json=body, catch_response=True
            ) as response:
                answer = read(response)
                says = (response.headers or {}).get("retry-after")
                meaning = meanings.get(answer.status)
                if meaning is not None:
                    error = answer.body.get("error") if isinstance(answer.body, dict) else None
                    reason = f" ({error})" if answer.status >= 400 and error else ""
                    count(response, f"{operation}: {meaning}{reason}")
                    return answer
                if answer.status not in (429, 503) or says is None:
                    fail(response, operation, answer)
                    return answer
                label = REPEATED[0] if answer.status == 429 else REPEATED[1]
                given_up = "given up, " if turn == REPETITIONS_MAX else ""
                count(response, f"{operation}: {given_up}{label}")
                pause = min(float(says), RETRY_AFTER_SECONDS_MAX)
        return answer


def read(response: Any) -> Answer:
    """The status and the body of an answer."""
    content = response.content or b""
    try:
        body = json.loads(content) if content[:1] in (b"{", b"[") else None
    except ValueError:
        body = None
    return Answer(response.status_code or 0, body, content)


def count(response: Any, name: str) -> None:
    """Counts an answer as a success under this name."""
    response.request_meta["name"] = name
    response.success()


def fail(response: Any, operation: str, answer: Answer) -> None:
    """Counts an answer as a failure."""
    # Without the trace id, so that equal failures are counted together.
    if isinstance(answer.body, dict) and "error" in answer.body:
        what = f"{answer.body['error']}: {answer.body.get('detail')}"
    else:
        what = answer.content[:200].decode(errors="replace") or str(getattr(response, "error", ""))
    response.failure(f"{answer.status} {what}")


def report(environment: Environment, name: str, problem: str) -> None:
    """Counts an answer with the right status and the wrong content as a failure."""
    environment.events.request.fire(
        request_type="CHECK",
        name=name,
        response_time=0,
        response_length=0,
        exception=AssertionError(problem),
        context={},
    )


class Buyer(Client):
    """Looks at the map, holds seats, thinks, and pays, releases or goes away; then the next one comes."""

    weight = 10

    @task
    def visit(self) -> None:
        """One buyer."""
        person = new_person("buyer")
        booking = self.find_seats(person)
        if booking is None:
            return
        think()
        turn = random.random()
        if turn < PAY:
            self.pay(person, booking)
        elif turn < PAY + CANCEL:
            self.release(person, booking)

    def find_seats(self, person: Person) -> Optional[Dict[str, Any]]:
        """Looks and tries until seats are held."""
        wanted = random.randint(1, SEATS_A_BUYER_MAX)
        for attempt in range(ATTEMPTS_MAX):
            seats = choose(self.seat_map(person), wanted)
            think()
            if not seats:
                return None
            answer = self.hold(person, seats, f"{person.name}-{attempt}")
            if answer.status == 201:
                return dict(answer.body)
            if answer.status != 409 or answer.body["error"] != "seats_unavailable":
                return None
        return None

    def seat_map(self, person: Person) -> bytes:
        """The seats, one byte each; nothing if there was no answer."""
        path = f"/api/v1/events/{SALE.event}/seats"
        octets = "application/octet-stream"
        answer = self.call(person, "seat map", "GET", path, {200: "whole"}, accept=octets)
        if answer.status != 200:
            return b""
        if len(answer.content) != SALE.total + 1 or answer.content[:1] != b"1":
            report(
                self.environment, "seat map", f"{len(answer.content)} bytes for {SALE.total} seats"
            )
            return b""
        return answer.content

    def hold(self, person: Person, seats: List[int], key: str) -> Answer:
        """Requests seats."""
        body = {"event_id": SALE.event, "seat_ids": seats}
        meanings = {201: "granted", 409: "refused"}
        answer = self.call(person, "hold", "POST", "/api/v1/bookings", meanings, body, key)
        if answer.status == 201:
            held = sorted(seat["seat_id"] for seat in answer.body["seats"])
            if answer.body["status"] != "HOLD" or held != sorted(seats):
                report(self.environment, "hold", f"wanted {seats}, got {answer.body}")
        return answer

    def pay(self, person: Person, booking: Dict[str, Any]) -> None:
        """Pays, and waits until it is decided."""
        path = f"/api/v1/bookings/{booking['id']}"
        body = {"payment_method": PAYMENT_METHOD, "amount": booking["total_amount"]}
        meanings = {200: "sold", 202: "pending", 402: "declined", 409: "refused", 410: "too late"}
        key = f"{booking['id']}-confirm"
        answer = self.call(person, "confirm", "POST", path + "/confirm", meanings, body, key)
        for _ in range(LOOKS_MAX):
            if answer.status == 202 or (answer.body or {}).get("status") == "CONFIRMING":
                gevent.sleep(0.5)
                answer = self.call(person, "look", "GET", path, {200: "seen"})
        if answer.status == 200 and answer.body["status"] not in ("CONFIRMED", "CONFIRMING"):
            report(self.environment, "confirm", f"paid, and the booking is {answer.body['status']}")

    def release(self, person: Person, booking: Dict[str, Any]) -> None:
        """Gives the seats back."""
        path = f"/api/v1/bookings/{booking['id']}/cancel"
        meanings = {200: "released", 202: "released", 409: "refused", 410: "too late"}
        self.call(person, "cancel", "POST", path, meanings, key=f"{booking['id']}-cancel")


class Bot(Client):
    """Requests the best seats again and again under one name, without looking and without pausing."""

    weight = 1
    # Nobody gains by trying more often than this.
    wait_time = constant(float(os.environ.get("BOT_PAUSE") or 0.1))

    def on_start(self) -> None:
        """One name for as long as it runs."""
        self.person = new_person("bot")

    @task
    def grab(self) -> None:
        """Tries to get the first seats, and keeps what it gets."""
        first = random.randint(1, max(1, min(20, SALE.total - 1)))
        seats = list(range(first, min(first + 1, SALE.total) + 1))
        body = {"event_id": SALE.event, "seat_ids": seats}
        meanings = {201: "granted", 403: "turned away", 409: "refused"}
        self.call(self.person, "bot", "POST", "/api/v1/bookings", meanings, body)


class Follower(User):
    """Follows the event by server-sent events, and resumes where it was."""

    weight = 1
    wait_time = constant(0)
    host = BASE_URL

    def on_start(self) -> None:
        """Nothing is seen yet."""
        self.person = new_person("follower")
        self.resume, self.version = "", 0

    @task
    def follow(self) -> None:
        """Reads one stream for a while."""
        headers = {**self.person.headers, "User-Agent": USER_AGENT}
        if self.resume:
            headers["Last-Event-ID"] = self.resume
        url = f"{self.environment.host or BASE_URL}/api/v1/events/{SALE.event}/stream"
        began = time.perf_counter()
        try:
            for message in Stream(url, headers, FOLLOW_SECONDS):
                self.take(message)
        except (OSError, ValueError) as error:
            self.note("stream: open", (time.perf_counter() - began) * 1000, error)
            gevent.sleep(1)

    def take(self, message: Dict[str, Any]) -> None:
        """Counts a message, and checks that it continues what was seen."""
        problem = None
        if message["type"] == "seat_update" and message["since"] > self.version:
            problem = AssertionError(f"an update since {message['since']}, seen {self.version}")
        if message["type"] == "gap":
            self.resume, self.version = "", 0
        elif message["type"] in ("snapshot", "seat_update"):
            self.version = max(self.version, message["version"])
        if message["type"] != "connected":
            self.resume = message.get("resume", self.resume)
        self.note("stream: " + message["type"], age_ms(message), problem)

    def note(self, name: str, milliseconds: float, exception: Optional[Exception]) -> None:
        """Counts a message, or a stream that did not open."""
        self.environment.events.request.fire(
            request_type="SSE",
            name=name,
            response_time=milliseconds,
            response_length=0,
            exception=exception,
            context={},
        )


def age_ms(message: Dict[str, Any]) -> float:
    """How long ago the server sent an update, where both clocks agree."""
    if "timestamp" not in message:
        return 0.0
    sent = datetime.fromisoformat(message["timestamp"]).timestamp()
    return max(0.0, (time.time() - sent) * 1000)


# -- Before and after ------------------------------------------------------------------------


@events.init.add_listener
def prepare(environment: Environment, **_: Any) -> None:
    """Finds or makes the event. Ends with a message where there is no server."""
    runner = environment.runner
    if isinstance(runner, WorkerRunner):
        runner.register_message("sale", take_sale)
    elif not isinstance(runner, MasterRunner):
        find_or_make(environment.host or BASE_URL)


@events.test_start.add_listener
def share(environment: Environment, **_: Any) -> None:
    """Tells the workers of the event before they start users."""
    runner = environment.runner
    if not isinstance(runner, MasterRunner):
        return
    try:
        if not SALE.event:
            find_or_make(environment.host or BASE_URL)
    except SystemExit as reason:
        print(reason, file=sys.stderr)
        runner.quit()
    else:
        runner.send_message("sale", asdict(SALE))


def take_sale(msg: Any, **_: Any) -> None:
    """What the master tells. Users of different workers must differ."""
    SALE.set(msg.data["event"], msg.data["total"], f"{msg.data['run']}-{os.getpid()}")


@events.quitting.add_listener
def judge(environment: Environment, **_: Any) -> None:
    """Sets the exit status, and writes SUMMARY_JSON."""
    if isinstance(environment.runner, WorkerRunner):
        return
    counts = {name: entry.num_requests for (name, _), entry in environment.stats.entries.items()}
    problems = list(problems_of(environment, counts))
    for problem in problems:
        print("WRONG:", problem)
        environment.process_exit_code = 1
    if not problems:
        print("Every answer is one that is expected, and refusals were fast enough.")
    if SUMMARY_JSON:
        with open(SUMMARY_JSON, "w") as file:
            json.dump({"counts": counts, "failed": problems}, file)


def is_given_up(name: str) -> bool:
    """Whether requests of buyers are counted under this name that were limited to the end."""
    return ": given up, " in name and not name.startswith("bot: ")


def problems_of(environment: Environment, counts: Dict[str, int]) -> Iterator[str]:
    """What must not be."""
    for error in environment.stats.errors.values():
        yield f"{error.name}: {error.occurrences} × {error.error}"
    if not counts.get("hold: granted") and not counts.get("bot: granted"):
        yield "no hold was granted"
    # Each request once: without those that were sent again, and without bots and streams.
    requests = {
        name: number
        for name, number in counts.items()
        if not name.startswith(("bot: ", "stream: ")) and not name.endswith(REPEATED)
    }
    requests.update({name: number for name, number in counts.items() if is_given_up(name)})
    given_up = sum(number for name, number in requests.items() if is_given_up(name))
    if given_up > GIVEN_UP_SHARE_MAX * sum(requests.values()):
        yield f"{given_up} of {sum(requests.values())} requests were given up after repetitions"
    for (name, _), entry in environment.stats.entries.items():
        p99 = entry.get_response_time_percentile(0.99) or 0
        if name.startswith("hold: refused") and p99 > P99_MS:
            yield f"{name}: 99 % took up to {p99:g} ms, not {P99_MS:g}"
