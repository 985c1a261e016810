"""The small numbers with which `make packs` runs each script of bench/packs, and what each must have done."""

import json
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

# A problem, and the numbers in a line.
Found = Tuple[str, str]


class Check(NamedTuple):
    """How a script is run, and what its summary must say."""

    env: Dict[str, str]
    judge: Callable[[Dict[str, Any]], Found]
    is_run_with_tokens: bool = False

    def look(self, summary: Path) -> Found:
        """Reads the summary that the script has written."""
        try:
            return self.judge(json.loads(summary.read_text()))
        except (OSError, ValueError, KeyError) as error:
            return f"its summary cannot be read: {error!r}", ""


def k6(*positive: str) -> Callable[[Dict[str, Any]], Found]:
    """No threshold is missed, and these metrics are above zero."""

    def judge(summary: Dict[str, Any]) -> Found:
        metrics = summary["metrics"]
        missing = [name for name in positive if not metrics.get(name)]
        problems = list(summary["failed"]) + [f"{name} is 0" for name in missing]
        if "seats_booked" in metrics and metrics["seats_booked"] != metrics["seats_sold"]:
            problems.append(f"sold {metrics['seats_sold']}, booked {metrics['seats_booked']}")
        shown = [f"{metrics.get(name, 0)} {words(name)}" for name in ("http_reqs", *positive)]
        return "; ".join(problems), ", ".join(shown)

    return judge


def words(metric: str) -> str:
    """A metric's name for people."""
    names = {"http_reqs": "requests", "buyers{outcome:bought}": "bought"}
    return names.get(metric, metric.replace("_", " "))


def locust(summary: Dict[str, Any]) -> Found:
    """Buyers, bots and followers have all done something, and nothing has failed."""
    counts = summary["counts"]

    def total(*prefixes: str) -> int:
        return sum(number for name, number in counts.items() if name.startswith(prefixes))

    wanted = {
        "granted": total("hold: granted"),
        "refused": total("hold: refused", "bot: refused"),
        "sold": total("confirm: sold"),
        "bot requests": total("bot: "),
        "updates": total("stream: seat_update"),
    }
    problems: List[str] = list(summary["failed"])
    problems += [f"{name} is 0" for name, number in wanted.items() if not number]
    shown = {"requests": sum(counts.values()), **wanted}
    return "; ".join(problems), ", ".join(f"{number} {name}" for name, number in shown.items())


def wrk(*statuses: str) -> Callable[[Dict[str, Any]], Found]:
    """These statuses were answered, and no others except those of limits and of a busy server."""

    def judge(summary: Dict[str, Any]) -> Found:
        found = summary["statuses"]
        is_expected = set(statuses) <= set(found) <= {*statuses, "429", "503"}
        problem = "" if is_expected else f"answered {found}"
        shown = ", ".join(f"{number} × {status}" for status, number in sorted(found.items()))
        return problem, f"{summary['requests']} requests, {shown}"

    return judge


CHECKS: Dict[str, Check] = {
    "k6/spike.js": Check(
        {"DURATION": "4s", "RATE": "20", "SEATS": "90"},
        k6("holds_granted", "holds_refused", "buyers{outcome:bought}", "seats_booked"),
        is_run_with_tokens=True,
    ),
    "k6/soak.js": Check(
        {"DURATION": "5s", "RATE": "8", "SEATS": "600", "HOLD_SECONDS": "2"},
        k6("holds_granted", "seats_returned"),
    ),
    "k6/waiting-room.js": Check(
        {
            "DURATION": "3s",
            "RATE": "6",
            "CONCURRENT": "6",
            "SKIP": "0.5",
            "SESSION_SECONDS": "20",
            "PATIENCE": "30s",
        },
        k6("room_admitted", "room_turned_away", "holds_granted"),
    ),
    "k6/sockets.js": Check(
        {"DURATION": "4s", "USERS": "5", "RATE": "6"},
        k6("updates", "sockets_resumed", "maps_compared"),
        is_run_with_tokens=True,
    ),
    "locust/locust.conf": Check(
        {
            "LOCUST_USERS": "12",
            "LOCUST_SPAWN_RATE": "12",
            "LOCUST_RUN_TIME": "4s",
            "FOLLOW_SECONDS": "2",
            "SEATS": "120",
        },
        locust,
        is_run_with_tokens=True,
    ),
    "wrk/refused.lua": Check({"DURATION": "2s"}, wrk("201", "409"), is_run_with_tokens=True),
    "wrk/grants.lua": Check({"DURATION": "2s", "SEATS": "100000"}, wrk("201")),
    # A map of 50,000 seats is 5 MB: too much for a busy machine.
    "wrk/seatmap.lua": Check({"DURATION": "2s", "SEATS": "2000"}, wrk("200", "304")),
}
