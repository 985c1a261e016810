"""The simulated crowd of `make demo`: a run of bench/flash-sale, followed from outside."""

import json
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

import servers
from api import http
from banner import Running
from packages import say
from process import Children, shown, tail
from progress import ProgressLine, bar, clock
from run import Failed

# A rush, and then so many a second: more than the waiting room lets in. Some go without paying, so
# that seats come back. The server is not behind a proxy: buyers are named directly.
OPTIONS = "--direct --spike 30% --spike-span 3s --rate 15 --pay 75% --cancel 8% --front 2 --retries 3"
OPTIONS += " --think exponential:2s --settle-seconds 60 --json"
# The API grants a user 20 looks at the seats a minute.
LOOK_SECONDS = 3.2
DRAW_SECONDS = 0.25
BAR_COLUMNS = 28


class Crowd:
    """A crowd that buys an event's seats."""

    def __init__(self, children: Children, there: Running, event: int, buyers: int) -> None:
        self.children = children
        self.event = f"{there.api}/api/v1/events/{event}"
        folder = there.state / "demo"
        self.log, self.result = servers.log_in(folder, "crowd"), folder / "crowd.json"
        argv = [there.programs["holdfast-flash-sale"], "run", "--url", there.api]
        argv += ["--event", str(event), "--buyers", str(buyers)] + OPTIONS.split()
        argv += ["--history", str(folder / "history.jsonl")]
        with self.result.open("wb") as stdout, self.log.open("wb") as stderr:
            self.child = children.start(
                "crowd", argv, there.env, stdout=stdout.fileno(), stderr=stderr.fileno()
            )

    def follow(self, line: ProgressLine) -> None:
        """Shows how the sale goes until the crowd has gone home."""
        text, next_look = "the crowd is coming", 0.0
        while self.child.alive():
            self.children.watch(except_for=self.child)
            if time.monotonic() >= next_look:
                text, next_look = self.look() or text, time.monotonic() + LOOK_SECONDS
            line.show(f"{clock(line.seconds())} {text}")
            time.sleep(DRAW_SECONDS)
        self.children.forget(self.child)

    def look(self) -> Optional[str]:
        """How the event stands now, if the API says."""
        status, seats = http("GET", self.event + "/availability", user="demo-watch")
        line = http("GET", self.event + "/waiting-room/stats", user="demo-watch")
        if status != 200 or line[0] != 200 or "booked_seats" not in seats:
            return None
        total, sold, held = (seats[name] for name in ("total_seats", "booked_seats", "held_seats"))
        drawn = bar(sold / total, BAR_COLUMNS, held / total)
        return f"{drawn} {sold} sold, {held} held, {line[1]['queue_size']} in line"

    def outcome(self) -> Dict[str, Any]:
        """The summary that the run has printed."""
        try:
            found: Dict[str, Any] = json.loads(self.result.read_text())
        except ValueError:
            say(f"The crowd {self.child.ending()}. Its log, {shown(self.log)}, ends:\n{tail(self.log)}")
            raise Failed() from None
        return found

    def is_clean(self) -> bool:
        """Whether no answer that it got contradicts another, or the archive."""
        return self.child.popen.returncode == 0


class Verdict(NamedTuple):
    """What `holdfastctl verify` says."""

    is_clean: bool
    words: str


def verify(children: Children, there: Running, event: int) -> Verdict:
    """Compares Redis, booking log and archive of one event."""
    output = there.state / "demo" / "verify.txt"
    argv = [there.programs["holdfastctl"], "verify", "--event", str(event)]
    child = children.start("verify", argv, there.env, output)
    is_clean = children.wait_for_end(child) == 0
    text = output.read_text().strip()
    output.unlink()
    return Verdict(is_clean, text.splitlines()[-1] if is_clean and text else text)
