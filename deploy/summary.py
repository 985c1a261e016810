"""The summary of a sale of `make demo`."""

import textwrap
from typing import Any, Dict, List

COLUMNS_MAX = 79
NAME_COLUMNS = 12

# A buyer's ends and a request's refusals, by the names that bench/flash-sale gives them.
ENDS = {
    "bought": "bought",
    "returned": "bought and returned",
    "abandoned": "let the hold lapse",
    "cancelled": "cancelled",
    "went_without": "went without",
    "too_late": "paid too late",
    "declined": "had no card that was accepted",
    "voided": "were refunded",
    "refused": "were refused",
    "pending": "wait for a decision",
    "failed": "gave up after failures",
}
REFUSALS = {
    "409 seats_unavailable": "seats taken",
    "403 waiting_room_required": "sent to the waiting room",
    "402 payment_declined": "cards declined",
    "429 rate_limit_exceeded": "beyond a limit",
    "410 booking_expired": "holds over",
}


def text(outcome: Dict[str, Any], event: Dict[str, Any], verdict: str) -> str:
    """The whole summary; fits 80 columns."""
    lines = [f"\nThe crowd has gone home after {outcome['seconds']:.0f} s.\n"]
    lines += [item(name, words) for name, words in facts(outcome, event)]
    problems = outcome["checked"]["problems"]
    checked = f"{outcome['checked']['calls']} answers, "
    checked += "no contradiction" if not problems else f"{len(problems)} contradictions:"
    lines.append(item("Checked", checked))
    lines += [f"    {problem}" for problem in problems]
    lines.append(item("Verify", verdict) if "\n" not in verdict else f"\n{verdict}\n")
    return "\n".join(lines) + "\n"


def facts(outcome: Dict[str, Any], event: Dict[str, Any]) -> List[List[str]]:
    """What became of buyers, seats and requests."""
    buyers = counted(outcome["fates"], ENDS)
    refusals: Dict[str, int] = {}
    for operation in outcome["operations"].values():
        for name, count in operation["outcomes"].items():
            if not name.startswith("2"):
                refusals[name] = refusals.get(name, 0) + count
    held = outcome["operations"]["hold"]
    latency = held["latency_ms"]
    sold, total = event.get("booked_seats", "-"), event["total_seats"]
    return [
        ["Buyers", f"{outcome['buyers']}: {buyers}"],
        ["Seats", f"{sold} of {total} sold for {takings(event)}"],
        ["Refusals", f"{sum(refusals.values())}: {counted(refusals, REFUSALS)}"],
        [
            "Holds",
            f"{held['calls']} requests, half within {latency['p50']:.0f} ms, "
            f"99 % within {latency['p99']:.0f} ms",
        ],
    ]


def counted(counts: Dict[str, int], words: Dict[str, str]) -> str:
    """Counts with their words, most first."""
    ordered = sorted(counts.items(), key=lambda one: -one[1])
    return ", ".join(f"{count} {words.get(name, name)}" for name, count in ordered) or "none"


def takings(event: Dict[str, Any]) -> str:
    """What the sold seats cost. The event is in a currency with two digits."""
    parts = [one["price"] * one.get("booked_seats", 0) for one in event["sections"]]
    return f"{sum(parts) / 100:,.2f} {event['currency']}"


def item(name: str, words: str) -> str:
    """A name and its words, wrapped beside it."""
    indent = " " * (NAME_COLUMNS + 2)
    return textwrap.fill(
        f"  {name:<{NAME_COLUMNS}}{words}", COLUMNS_MAX, subsequent_indent=indent
    )
