"""The summary of a sale of `make demo`."""

import textwrap
from typing import Any, Dict, List, Tuple

COLUMNS_MAX = 79
NAME_COLUMNS = 12

# A buyer's ends and a request's refusals, by the names that bench/flash-sale gives them.
ENDS = {
    "bought": "bought",
    "returned": "bought and returned",
    "abandoned": "let the hold lapse",
    "cancelled": "cancelled",
    "went_without": "went without",
    "left_line": "left the waiting room",
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
FAILURES = {
    "503 service_unavailable": "not available",
    "503 outcome_unknown": "with an unknown outcome",
    "408 no_error_code": "not read in time",
    "- timed_out": "without an answer in time",
}


def text(outcome: Dict[str, Any], seats: Any, currency: str, verdict: str) -> str:
    """The whole summary; fits 80 columns. `seats` is the event's availability, if it could be read."""
    lines = [f"\nThe crowd has gone home after {outcome['seconds']:.0f} s.\n"]
    lines.append(item("Buyers", f"{outcome['buyers']}: {counted(outcome['fates'], ENDS)}"))
    if seats and "booked_seats" in seats:
        lines.append(item("Seats", sold(seats, currency)))
    lines += [item(name, words) for name, words in requests(outcome["operations"])]
    problems = problems_of(outcome["checked"])
    checked = f"{outcome['checked']['calls']} answers, "
    checked += "no contradiction" if not problems else f"{len(problems)} contradictions:"
    lines.append(item("Checked", checked))
    lines += [f"    {problem}" for problem in problems]
    lines.append(item("Verify", verdict) if "\n" not in verdict else f"\n{verdict}\n")
    return "\n".join(lines) + "\n"


def problems_of(checked: Dict[str, Any]) -> List[str]:
    """Contradictions, and differences between bookings and payments."""
    differences = (checked.get("reconcile") or {}).get("differences", [])
    return checked["problems"] + [
        f"payment of booking {one['booking']}: {one['problem']}" for one in differences
    ]


def requests(operations: Dict[str, Any]) -> List[Tuple[str, str]]:
    """What became of the requests."""
    outcomes: Dict[str, int] = {}
    for operation in operations.values():
        for name, count in operation["outcomes"].items():
            outcomes[name] = outcomes.get(name, 0) + count
    refusals = {name: count for name, count in outcomes.items() if is_refusal(name)}
    failures = {
        name: count
        for name, count in outcomes.items()
        if not is_refusal(name) and not name.startswith("2")
    }
    found = [("Refusals", f"{sum(refusals.values())}: {counted(refusals, REFUSALS)}")]
    if failures:
        named = counted(failures, FAILURES)
        found.append(("Failures", f"{sum(failures.values())}: {named}; this machine is busy"))
    if "hold" in operations:
        calls, latency = operations["hold"]["calls"], operations["hold"]["latency_ms"]
        quick = f"half within {latency['p50']:.0f} ms, 99 % within {latency['p99']:.0f} ms"
        found.append(("Holds", f"{calls} requests, {quick}"))
    return found


def is_refusal(outcome: str) -> bool:
    """Whether the server has decided against a request, rather than failed at it."""
    return outcome.startswith("4") and not outcome.startswith("408")


def counted(counts: Dict[str, int], words: Dict[str, str]) -> str:
    """Counts with their words, most first."""
    ordered = sorted(counts.items(), key=lambda one: -one[1])
    return ", ".join(f"{count} {words.get(name, name)}" for name, count in ordered) or "none"


def sold(seats: Dict[str, Any], currency: str) -> str:
    """How many seats are sold, and what they cost. The currency is one with two digits."""
    takings = sum(one["price"] * one["booked_seats"] for one in seats["sections"]) / 100
    return f"{seats['booked_seats']} of {seats['total_seats']} sold for {takings:,.2f} {currency}"


def item(name: str, words: str) -> str:
    """A name and its words, wrapped beside it."""
    indent = " " * (NAME_COLUMNS + 2)
    return textwrap.fill(
        f"  {name:<{NAME_COLUMNS}}{words}", COLUMNS_MAX, subsequent_indent=indent
    )
