#!/usr/bin/env python3
"""The load lab: every benchmark one after another, with one summary (`make lab`, `make lab QUICK=1`).

Each step is a command of the Makefile that works alone as well. Its output goes to
`.holdfast/lab/NAME.log`, its figures to `.holdfast/lab/lab.json`; `.holdfast/lab/summary.md` has the
headlines, each with its command, and `.holdfast/lab/index.html` leads to all of it. Steps never run side by
side: they share the machine's processors. A step that fails does not stop the others; the lab then
ends with status 1.
"""

import argparse
import contextlib
import html
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

FOLDER = Path(".holdfast/lab")
# No step of the benchmarks takes longer; one that does hangs.
STEP_SECONDS_MAX = 1_800
# How long the programs of a step may take to end.
END_SECONDS_MAX = 20
DRAW_SECONDS = 1.0
TAIL_LINES = 15
SCENARIOS = "last-ten-seats hot-seat stadium waiting-room bots abandoned-carts two-events".split()


class Step(NamedTuple):
    """A command of the Makefile."""

    name: str
    target: str
    # Variables of the Makefile, as `make` takes them.
    full: str
    # The same in the quick form; None: the quick form leaves it out.
    quick: Optional[str]
    has_figures: bool = True


def steps() -> List[Step]:
    """All steps in their order."""
    found = [
        Step("limits", "bench-limits", "", "LIMITS=--rounds 1 --round-seconds 1"),
        Step("refusals", "bench-refusals", "", "REFUSALS=--rounds 2 --round-seconds 1 --count-seconds 3"),
        Step("grants", "bench-grants", "", "GRANTS=--rounds 1 --round-seconds 2"),
        Step("overload", "bench-overload", "", "OVERLOAD=--rounds 1 --round-seconds 2"),
        Step("strategies", "bench-strategies", "STRATEGIES=--rounds 3 --round-ms 1500", "STRATEGIES=--quick --rounds 1 --round-ms 500"),
        Step("instructions", "instructions", "", None),
        Step("seats", "bench-seats", "", "SEATS=--rounds 1 --round-seconds 1"),
        Step("idle", "bench-idle", "", "IDLE=--seconds 5"),
        Step("worker", "bench-worker", "", "WORKER=--rounds 1 --bookings 200"),
        Step("confirm", "bench-confirm", "", "CONFIRM=--rounds 50"),
        Step("paid", "bench-paid", "", "PAID=--rates 300,400 --step-seconds 3"),
        Step("lag", "bench-paid", "PAID=--lag-seats 50000", None),
        Step("push", "bench-push", "", "PUSH=--clients 500 --changes 10 --interval-ms 200"),
        Step("queue", "bench-queue", "", "QUEUE=--joins 50000"),
        Step("decisions", "bench", "", None),
        Step("growth", "bench-growth", "", None),
        Step("gates", "bench-gates", "", None),
        Step("spans", "bench-spans", "", None),
    ]
    for scenario in SCENARIOS:
        sale = f"SCENARIO={scenario}"
        found.append(Step(f"sale-{scenario}", "sale", sale, f"{sale} SALE=--quick"))
    found.append(Step("packs", "packs", "PROFILE=release", "PROFILE=release", has_figures=False))
    return found


NO_FIGURE = "no figure: see its output"


class Headline(NamedTuple):
    """A figure for the summary."""

    step: str
    what: str
    text: Callable[[Any], str]


def limit(name: str, depth: str = "") -> Callable[[Any], str]:
    """The rate of the limit whose name begins like this."""

    def text(found: Any) -> str:
        named = [one for one in found["limits"] if one["name"].startswith(name) and depth in one["name"]]
        return f"{named[0]['per_second']:,.0f} a second"

    return text


def refusals(case: int) -> Callable[[Any], str]:
    """The comparison of refusals at this depth."""

    def text(found: Any) -> str:
        one = found["compared"][case]
        bare_us, ours_us = one["cpu_us"]
        return (
            f"{one['holdfast_per_second']:,.0f} a second, {one['ratio']:.2f} of the bare handler's "
            f"({ours_us:.1f} and {bare_us:.1f} us of processor time)"
        )

    return text


def strategies(figure: str) -> Callable[[Any], str]:
    """A figure of every strategy."""
    return lambda found: " · ".join(f"{one['name']} {one[figure]:,.0f}" for one in found["strategies"])


def p99_of_strategies(found: Any) -> str:
    """The 99th percentiles while all have the same load."""
    return " · ".join(f"{one['name']} {one['equal_load']['p99_ms']:.1f}" for one in found["strategies"])


def verdicts_of_strategies(found: Any) -> str:
    """The statements that the figures do not bear out."""
    return "; ".join(
        f"{one['statement']}: {', '.join(one['against'])}" for one in found["verdicts"] if not one["holds"]
    ) or "all statements hold"


def sale(found: Any) -> str:
    """The headline of a scenario."""
    hold = found["operations"]["hold"]
    sold = sum(event["sold_seats"] for event in found["events"])
    latency = hold["latency_ms"]
    archive = found["settled"].get("archive") or {}
    behind = archive.get("caught_up_seconds")
    return (
        f"{'clean' if found['clean'] else 'NOT CLEAN'}: {sum(one['calls'] for one in found['operations'].values()):,} calls in "
        f"{found['seconds']:.0f} s, {sold:,} seats sold; hold p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms; "
        f"archive complete after {'?' if behind is None else format(behind, '.1f')} s"
    )


HEADLINES = [
    Headline("limits", "loopback and load generator alone", limit("loopback", ", 1 at once")),
    Headline("limits", "the same, 16 requests at once on a connection", limit("loopback", ", 16 at once")),
    Headline("limits", "bare actix-web handler", limit("a bare", ", 1 at once")),
    Headline("limits", "the same, 16 at once", limit("a bare", ", 16 at once")),
    Headline("limits", "Redis: a script that does nothing", limit("Redis, a script that does")),
    Headline("limits", "Redis: what a grant cannot do without", limit("Redis, the script")),
    Headline("limits", "MongoDB: bulk inserts", limit("MongoDB")),
    Headline("refusals", "refused holds", refusals(0)),
    Headline("refusals", "the same, 16 at once on a connection", refusals(1)),
    Headline(
        "refusals",
        "Redis commands per refusal",
        lambda found: f"{found['cost']['redis_commands_total_a_refusal']:.4f}",
    ),
    Headline(
        "grants",
        "granted holds",
        lambda found: f"{found['per_second']:,.0f} a second, p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms; "
        f"script {found['script_ratio']:.2f} of the floor script, all {found['whole_ratio']:.2f}",
    ),
    Headline(
        "overload",
        "three times the load",
        lambda found: f"{found['goodput_ratio']:.2f} of the most it serves, p99 {found['served_p99_ms']:.0f} ms",
    ),
    Headline("strategies", "grants a second, by strategy", strategies("grants_per_second")),
    Headline("strategies", "refusals a second, by strategy", strategies("refusals_per_second")),
    Headline("strategies", "p99 at equal load, ms", p99_of_strategies),
    Headline("strategies", "seats sold twice", strategies("oversold")),
    Headline("strategies", "what does not hold", verdicts_of_strategies),
    Headline("lag", "archive complete after 50,000 seats were sold", lambda found: f"{found['lag_seconds']:.1f} s"),
    Headline(
        "idle",
        "Redis commands a second while idle",
        lambda found: f"{found['idle']['left_alone']['commands_a_second']:.0f}; "
        f"right after use {found['idle']['after_use']['commands_a_second']:.0f}",
    ),
    Headline(
        "seats",
        "seat maps against a bare handler",
        lambda found: " · ".join(f"{one['case']} {one['ratio']:.2f}" for one in found["compared"]),
    ),
    Headline("confirm", "confirmation against one majority write", lambda found: f"{found['ratio']:.1f} times as long"),
    Headline("paid", "bookings held, paid and archived a second", lambda found: f"{found['rate']:,}"),
    Headline(
        "push",
        "WebSockets",
        lambda found: f"{found['clients']:,}: {found['bytes_a_socket']:,.0f} bytes each; a change reaches 95 % within "
        f"{found['most_told_ms']['median']:.0f} ms (median), {found['most_told_ms']['worst']:.0f} ms (worst)",
    ),
    Headline("queue", "a person in a waiting room, bytes of Redis", lambda found: f"{found['bytes_a_join']:.0f}"),
    Headline(
        "worker",
        "worker against raw bulk writes",
        lambda found: "; ".join(f"{one['ratio']:.2f} on {one['mongodb']}" for one in found["compared"]),
    ),
] + [Headline(f"sale-{name}", f"scenario {name}", sale) for name in SCENARIOS]


class Outcome(NamedTuple):
    """What became of a step."""

    step: Step
    command: str
    status: int
    seconds: float
    figures: Any


def figures_in(output: str) -> Any:
    """The last line that is a JSON object: the figures of a step."""
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            try:
                return json.loads(line)
            except ValueError:
                continue
    return None


def figures_of(step: Step, output: str) -> Any:
    """The figures of a step: a sale writes them to a file."""
    if not step.has_figures:
        return None
    path = FOLDER / f"{step.name}.json"
    return json.loads(path.read_text()) if path.exists() else figures_in(output)


def variables_of(text: str) -> List[str]:
    """`A=b c D=e` as arguments of make: a value ends before the next name in capitals."""
    found: List[str] = []
    for word in text.split():
        name = word.partition("=")[0]
        if "=" in word and name.isupper():
            found.append(word)
        else:
            found[-1] += " " + word
    return found


def run(step: Step, variables: str, place: str) -> Outcome:
    """Runs a step, and shows how long it takes."""
    arguments = ["make", step.target] + variables_of(variables)
    shown = " ".join(f'{a.partition("=")[0]}="{a.partition("=")[2]}"' if " " in a else a for a in arguments)
    log, began = FOLDER / f"{step.name}.log", time.monotonic()
    with log.open("wb") as output:
        child = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            while child.poll() is None and time.monotonic() - began < STEP_SECONDS_MAX:
                if sys.stderr.isatty():
                    seconds = time.monotonic() - began
                    print(f"\r{place} {step.name}: {seconds:.0f} s ", end="", file=sys.stderr, flush=True)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(DRAW_SECONDS)
        finally:
            end(child)
    seconds, text = time.monotonic() - began, log.read_text(errors="replace")
    status = child.returncode
    try:
        figures = figures_of(step, text)
    except ValueError as error:
        text += f"\nits figures cannot be read: {error}"
        status, figures = status or 1, None
    verdict = "done" if status == 0 else f"FAILED, status {status}"
    print(f"\r{place} {step.name}: {verdict} ({seconds:.0f} s)   {shown}", flush=True)
    if status != 0:
        print("\n".join("    " + line for line in text.splitlines()[-TAIL_LINES:]), flush=True)
    return Outcome(step, shown, status, seconds, figures)


def end(child: "subprocess.Popen[bytes]") -> None:
    """Ends a step that still runs, and all that it has started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is None:
            os.killpg(child.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(END_SECONDS_MAX)


def headlines(outcomes: List[Outcome]) -> List[Tuple[str, str, str]]:
    """What, figure and command of every headline that was measured."""
    by_name = {outcome.step.name: outcome for outcome in outcomes}
    found = []
    for headline in HEADLINES:
        outcome = by_name.get(headline.step)
        if outcome is None:
            continue
        try:
            text = headline.text(outcome.figures)
        except (KeyError, IndexError, TypeError):
            text = NO_FIGURE
        found.append((headline.what, text, outcome.command))
    return found


def write(outcomes: List[Outcome], quick: bool) -> None:
    """The summary, the figures, and the page that leads to everything."""
    machine = f"{platform.platform()}, {os.cpu_count()} processors"
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    form = "quick form: a look, no measurement" if quick else "full form"
    rows = headlines(outcomes)
    lines = [f"{when} · {machine} · {form}", "", "| what | figure | command |", "|---|---|---|"]
    lines += [f"| {what} | {text} | `{command}` |" for what, text, command in rows]
    (FOLDER / "summary.md").write_text("\n".join(lines) + "\n")
    document: Dict[str, Any] = {"when": when, "machine": machine, "quick": quick, "steps": {}}
    for one in outcomes:
        document["steps"][one.step.name] = {
            "command": one.command,
            "status": one.status,
            "seconds": round(one.seconds, 1),
            "figures": one.figures,
        }
    (FOLDER / "lab.json").write_text(json.dumps(document, indent=1) + "\n")
    (FOLDER / "index.html").write_text(page(outcomes, rows, f"{when} · {machine} · {form}"))


def page(outcomes: List[Outcome], rows: List[Tuple[str, str, str]], where: str) -> str:
    """The page that leads to reports and logs."""
    cells = lambda *texts: "".join(f"<td>{html.escape(text)}</td>" for text in texts)
    body = "".join(f"<tr>{cells(what, text)}<td><code>{html.escape(command)}</code></td></tr>" for what, text, command in rows)
    links = ""
    for one in outcomes:
        report = f"{one.step.name}.html"
        more = f' · <a href="{report}">report</a>' if (FOLDER / report).exists() else ""
        verdict = "" if one.status == 0 else " · failed"
        links += f'<li>{one.step.name}: <a href="{one.step.name}.log">output</a>{more}{verdict}</li>'
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Holdfast load lab</title><style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }}
body {{ max-width: 70rem; margin: 2rem auto; padding: 0 1rem }}
div {{ overflow-x: auto }} table {{ border-collapse: collapse; width: 100% }}
td, th {{ text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid #8884 }}
</style></head><body><main><h1>Holdfast load lab</h1><p>{html.escape(where)}</p>
<h2>Headlines</h2><div tabindex="0" role="region" aria-label="Headlines"><table>
<thead><tr><th>what</th><th>figure</th><th>command</th></tr></thead><tbody>{body}</tbody></table></div>
<h2>Steps</h2><ul>{links}</ul></main></body></html>
"""


def main() -> int:
    """Runs the lab."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="small numbers: shows that it works, in about ten minutes")
    parser.add_argument("--only", metavar="NAME", action="append", help="only this step; may be repeated")
    options = parser.parse_args()
    chosen = [one for one in steps() if not options.only or one.name in options.only]
    unknown = set(options.only or []) - {one.name for one in chosen}
    if unknown:
        parser.error(f"no step is named {', '.join(sorted(unknown))}; there are {', '.join(one.name for one in steps())}")
    if options.quick:
        chosen = [one for one in chosen if one.quick is not None]
    FOLDER.mkdir(parents=True, exist_ok=True)
    # Ends the running step, too: its `finally`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for old in FOLDER.iterdir():
        if old.is_file() and any(old.stem == one.name for one in chosen):
            old.unlink()
    outcomes: List[Outcome] = []
    began = time.monotonic()
    for number, step in enumerate(chosen, 1):
        variables = step.quick if options.quick else step.full
        outcomes.append(run(step, variables or "", f"[{number}/{len(chosen)}]"))
        write(outcomes, options.quick)
    print(f"\n{(FOLDER / 'summary.md').read_text()}")
    failed = [one.step.name for one in outcomes if one.status]
    failed += [f"{what} has no figure" for what, text, _ in headlines(outcomes) if text == NO_FIGURE]
    print(f"{len(outcomes)} steps in {time.monotonic() - began:.0f} s; {FOLDER / 'index.html'} leads to reports and output.")
    if failed:
        print(f"FAILED: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
