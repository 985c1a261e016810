#!/usr/bin/env python3
"""Checks the dashboards against a real Prometheus, and draws them: what `make dashboards` does.

Within `deploy/run.py --exec` it starts a Prometheus with the shipped configuration, sells an event with a
waiting room to a crowd, and runs every query of deploy/grafana/dashboards. One that Prometheus refuses, or
that has no data though the sale made some, is an error. With --pictures each dashboard is drawn from
Prometheus' own data (Grafana is not needed), one picture a dashboard.
"""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

import demo
from api import http
from banner import Addresses, Running
from crowd import Crowd
from packages import MATPLOTLIB, ROOT, Missing, ensure, say
from process import Children, stop_on_signals
from prometheus_here import Prometheus
from run import exit_status

DASHBOARDS = ROOT / "deploy" / "grafana" / "dashboards"
BUYERS = 500
STEP_SECONDS = 5
# Two scrapes after the crowd has gone: what it did is in the data.
SETTLE_SECONDS = 15
# Panels of which a query may have no data on a healthy machine, by title.
MAY_BE_EMPTY = {"Archive: lag and length", "Limits", "Redis: memory"}
COLUMNS = 24
BYTES_A_MEGABYTE = 1_000_000
INCHES_A_COLUMN, INCHES_A_ROW = 0.62, 0.33


class Panel(NamedTuple):
    """A panel with the series of each of its queries."""

    spec: Dict[str, Any]
    series: List[Any]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--state", required=True, help="a folder for Prometheus' data and logs")
    parser.add_argument("--pictures", metavar="DIR", help="draw the dashboards there")
    parser.add_argument("--buyers", type=int, default=BUYERS, help=f"default {BUYERS}")
    args = parser.parse_args()
    return exit_status(lambda: check(args))


def check(args: argparse.Namespace) -> int:
    """Sells, queries, draws; returns the exit status."""
    state = Path(args.state).resolve()
    children = Children(state / "pids")
    children.pid_dir.mkdir(parents=True, exist_ok=True)
    (state / "logs").mkdir(exist_ok=True)
    stop_on_signals(children)
    try:
        since = time.time()
        there = running(state)
        metrics, worker = there.addresses.metrics.split(","), there.addresses.worker
        prometheus = Prometheus(children, state / "prometheus", metrics, [worker])
        event = sell(children, there, args.buyers)
        faults: List[str] = []
        for path in sorted(DASHBOARDS.glob("*.json")):
            board = json.loads(path.read_text())
            panels = [query(prometheus, board, spec, event, since, faults) for spec in board["panels"]]
            if args.pictures:
                draw(board, panels, Path(args.pictures) / f"dashboard-{path.stem}.webp")
        for fault in faults:
            say(fault)
        say(f"{len(faults)} faults")
        return 1 if faults else 0
    finally:
        children.stop_all()


def running(state: Path) -> Running:
    """The Holdfast that runs this, by its environment."""
    env = {name: value for name, value in os.environ.items() if name.startswith("HOLDFAST_")}
    addresses = Addresses(os.environ["API_URLS"], os.environ["METRICS_URLS"], os.environ["WORKER_URL"])
    names = ["holdfast-flash-sale", "holdfastctl"]
    programs = {name: program(name) for name in names}
    redis, mongodb = env["HOLDFAST_REDIS_URL"], env["HOLDFAST_MONGODB_URL"]
    return Running(os.environ["API_URL"], addresses, redis, mongodb, state, programs, env, "")


def program(name: str) -> str:
    """The path of a program that was built."""
    found = shutil.which(name)
    if not found:
        raise Missing(f"{name} is not on PATH", "make dashboards")
    return found


def sell(children: Children, there: Running, buyers: int) -> int:
    """Sells an event to a crowd while Prometheus scrapes; returns the event."""
    event = demo.open_event(there.api)
    crowd = Crowd(children, there, event, buyers)
    while crowd.child.alive():
        children.watch(except_for=crowd.child)
        # Readers of the map: the cache has hits.
        http("GET", f"{there.api}/api/v1/events/{event}/seats", user="dashboards")
        time.sleep(1)
    children.forget(crowd.child)
    say(f"The crowd {crowd.child.ending()}.")
    time.sleep(SETTLE_SECONDS)
    return event


def query(
    prometheus: Prometheus,
    board: Dict[str, Any],
    spec: Dict[str, Any],
    event: int,
    since: float,
    faults: List[str],
) -> Panel:
    """Runs a panel's queries; what is wrong with them is added to the faults."""
    series: List[Any] = []
    for target in spec["targets"]:
        where = f"{board['title']}, {spec['title']}: {target['expr']}"
        try:
            found = prometheus.range(target["expr"].replace("$event", str(event)), since, STEP_SECONDS)
        except ValueError as refused:
            faults.append(f"{where}: {refused}")
            continue
        if not found and spec["title"] not in MAY_BE_EMPTY:
            faults.append(f"{where}: no data")
        series += [(legend(target["legendFormat"], one["metric"]), one["values"]) for one in found]
    return Panel(spec, series)


def legend(pattern: str, labels: Dict[str, str]) -> str:
    """A legend's text with the labels of a series."""
    for name, value in labels.items():
        pattern = pattern.replace("{{" + name + "}}", value)
    return pattern


# -- Pictures --------------------------------------------------------------------------------


def draw(board: Dict[str, Any], panels: List[Panel], path: Path) -> None:
    """Draws a dashboard as Grafana lays it out."""
    sys.path.insert(0, str(ensure(MATPLOTLIB).folder))
    import matplotlib  # noqa: PLC0415

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    places = [panel.spec["gridPos"] for panel in panels]
    rows = max(place["y"] + place["h"] for place in places)
    figure = pyplot.figure(figsize=(COLUMNS * INCHES_A_COLUMN, rows * INCHES_A_ROW + 0.5))
    figure.suptitle(board["title"], x=0.01, ha="left", fontsize=13, weight="bold")
    height = figure.get_figheight()
    for panel, place in zip(panels, places):
        top = 1 - (0.5 + place["y"] * INCHES_A_ROW) / height
        share = place["h"] * INCHES_A_ROW / height
        left, width = place["x"] / COLUMNS, place["w"] / COLUMNS
        is_graph = panel.spec["type"] == "timeseries"
        # The titles of graphs and their times need some room.
        foot, tall = (0.11, 0.76) if is_graph else (0.06, 0.84)
        corner = (left + 0.035 * is_graph + 0.006, top - share * (1 - foot))
        size = (width - 0.045 * is_graph - 0.012, share * tall)
        axes = figure.add_axes((*corner, *size))
        (graph if is_graph else stat)(axes, panel)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80, pil_kwargs={"quality": 82})
    pyplot.close(figure)
    say(f"Drew {path}")


def graph(axes: Any, panel: Panel) -> None:
    """Draws lines over time, or areas where the panel stacks them."""
    is_bytes = panel.spec["fieldConfig"]["defaults"]["unit"] == "bytes"
    scale = BYTES_A_MEGABYTE if is_bytes else 1
    axes.set_title(panel.spec["title"] + ", MB" * is_bytes, fontsize=9, loc="left")
    custom = panel.spec["fieldConfig"]["defaults"]["custom"]
    lines = [
        (name, [float(at) for at, _ in values], [float(value) / scale for _, value in values])
        for name, values in panel.series
    ]
    start = min((times[0] for _, times, _ in lines), default=0.0)
    if custom["stacking"]["mode"] == "normal" and lines:
        times = sorted({at for _, at_times, _ in lines for at in at_times})
        stacked = [[dict(zip(t, v)).get(at, 0.0) for at in times] for _, t, v in lines]
        axes.stackplot([at - start for at in times], stacked, labels=[one[0] for one in lines])
    else:
        for name, times, values in lines:
            axes.plot([at - start for at in times], values, label=name, linewidth=1)
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    axes.text(1, -0.02, "s", fontsize=7, ha="right", va="top", transform=axes.transAxes)
    if lines:
        axes.legend(fontsize=6, ncol=4, loc="upper left", framealpha=0.6)


COLORS = {"green": "#2f8f4e", "orange": "#d98a1f", "red": "#c0392b", "blue": "#2c6fbb"}


def stat(axes: Any, panel: Panel) -> None:
    """Draws the newest value, in the colour of its threshold."""
    defaults = panel.spec["fieldConfig"]["defaults"]
    value = float(panel.series[0][1][-1][1]) if panel.series else None
    steps = defaults["thresholds"]["steps"]
    reached = [step for step in steps if step["value"] is None or (value or 0) >= step["value"]]
    axes.set_facecolor(COLORS[reached[-1]["color"]] if value is not None else "#888888")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    texts = (defaults.get("mappings") or [{"options": {}}])[0]["options"]
    shown = texts.get("%g" % (value or 0), {}).get("text") or written(value, defaults["unit"])
    middle = {"ha": "center", "va": "center", "color": "white", "transform": axes.transAxes}
    axes.text(0.5, 0.42, shown, fontsize=17, weight="bold", **middle)
    axes.text(0.5, 0.85, panel.spec["title"], fontsize=8, **middle)


def written(value: Any, unit: str) -> str:
    """A number in its unit, short."""
    if value is None:
        return "no data"
    if unit == "percentunit":
        return f"{value * 100:.1f} %"
    if unit == "s":
        return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.1f} s"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
