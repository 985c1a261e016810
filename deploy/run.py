#!/usr/bin/env python3
"""Runs all of Holdfast on this machine: what `make run` does.

It checks what is needed, starts its own Redis and MongoDB (unless HOLDFAST_REDIS_URL or
HOLDFAST_MONGODB_URL name others), builds, starts the API and the worker, makes two demo events,
and says what to try. Ctrl-C, SIGTERM or a closed terminal end all of it; data stay in
.holdfast/PORT and are there at the next run. HOLDFAST_LISTEN moves the port (default
127.0.0.1:8000), and instances on different ports run side by side. A file .env beside the
Makefile may hold such settings. `deploy/demo.py` (`make demo`) starts the same and shows a sale.
"""

import argparse
import contextlib
import errno
import json
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Callable, Dict, List, NoReturn, Sequence, Tuple

import prerequisites
import servers
from address import LISTEN_DEFAULT, Address, parse_address
from api import describe, http
from banner import Addresses, Running, banner
from build import build
from demo_events import create_demo_events
from packages import ROOT, Missing, put_out, say
from process import (
    Child,
    Children,
    Died,
    Instance,
    Stopped,
    TimedOut,
    end_report,
    shown,
    stop_leftovers,
    stop_on_signals,
)

# Pages that a developer serves from this machine may call the API, whose admin routes need no key here. So may
# pages of a container with a published port or of a forwarded one: HOLDFAST_CORS_ORIGINS= refuses all of them.
ORIGINS_DEFAULT = "http://localhost:*,http://127.0.0.1:*"
READY_SECONDS_MAX = 60
PORTS_TRIED_MAX = 50
WATCH_SECONDS = 0.2


class Failed(Exception):
    """Why it could not go on; said already in full."""


def read_dotenv(path: Path) -> None:
    """Takes NAME=value lines as settings; the environment outranks them."""
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            os.environ.setdefault(name.strip(), value.strip().strip("\"'"))


# -- Before anything else --------------------------------------------------------------------


def api_address() -> Address:
    """Where the API will listen; port 0 is a free one."""
    api = parse_address("HOLDFAST_LISTEN", os.environ.get("HOLDFAST_LISTEN") or LISTEN_DEFAULT)
    return api if api.port else Address(api.host, servers.free_port())


def worker_address(api: Address) -> Address:
    """Where the worker's metrics will be: the port after the API's, or the next one free."""
    chosen = os.environ.get("HOLDFAST_WORKER_LISTEN")
    if chosen:
        return parse_address("HOLDFAST_WORKER_LISTEN", chosen)
    return Address(api.host, next_free_port(api))


def metrics_address(taken: List[Address]) -> Address:
    """Where an API's metrics are: as chosen for the first one, else the next free port, on loopback."""
    chosen = os.environ.get("HOLDFAST_METRICS_LISTEN")
    if not chosen:
        return Address(servers.HOST, next_free_port(taken[0], taken))
    address = parse_address("HOLDFAST_METRICS_LISTEN", chosen)
    if address.port in [0] + [one.port for one in taken]:
        return Address(address.host, next_free_port(address if address.port else taken[0], taken))
    return address


def next_free_port(address: Address, taken: Sequence[Address] = ()) -> int:
    """The first free port above an address that is none of those taken."""
    used = {one.port for one in taken}
    for port in range(address.port + 1, min(address.port + PORTS_TRIED_MAX, 65535) + 1):
        if port not in used and servers.port_is_free(port, address.host):
            return port
    return servers.free_port()


def check_port(variable: str, address: Address) -> List[Missing]:
    """The problem with an address, if it has one."""
    obstacle = servers.port_obstacle(address.port, address.host)
    if not obstacle:
        return []
    other = LISTEN_DEFAULT
    if obstacle.errno in (errno.EADDRINUSE, errno.EACCES):
        other = str(Address(address.host, next_free_port(address)))
    what = f"cannot listen on {address}: {obstacle.strerror}"
    return [Missing(what, f"{variable}={other} make run")]


def tool_problems() -> List[Missing]:
    """What is missing to build and to start services."""
    return prerequisites.build_problems() + prerequisites.service_problems(
        redis=not os.environ.get("HOLDFAST_REDIS_URL"),
        mongodb=not os.environ.get("HOLDFAST_MONGODB_URL"),
    )


def refuse(problems: List[Missing]) -> NoReturn:
    """Names all that is missing and gives up."""
    say("Holdfast cannot start yet:\n")
    prerequisites.report(problems)
    raise Failed()


# -- Build and start -------------------------------------------------------------------------


def start_services(children: Children, state: Path, flavor: str = "auto") -> Tuple[str, str]:
    """Starts what is not given from outside; returns both addresses."""
    redis = os.environ.get("HOLDFAST_REDIS_URL")
    mongodb = os.environ.get("HOLDFAST_MONGODB_URL")
    ports = last_ports(state)
    if not redis:
        spec = servers.start_redis(children, state, preferred=ports.get("redis", 0))
        redis, ports["redis"] = spec.url, spec.port
        say("{:<8} {} {} on {}".format("Redis", spec.flavor, spec.version, spec.url))
    if not mongodb:
        spec = servers.start_mongodb(
            children, state, preferred=ports.get("mongodb", 0), flavor=flavor
        )
        mongodb, ports["mongodb"] = spec.url, spec.port
        say("{:<8} {} {} on {}".format("MongoDB", spec.flavor, spec.version, spec.url))
    (state / "ports.json").write_text(json.dumps(ports) + "\n")
    return redis, mongodb


def token_secrets(state: Path) -> str:
    """The secret of the waiting room's tokens: one for all API processes, and for the next run."""
    given = os.environ.get("HOLDFAST_TOKEN_SECRETS")
    if given:
        return given
    kept = state / "token-secret"
    if not kept.exists():
        # Whole or not at all, and for this user's eyes.
        new = state / "token-secret.new"
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write("run:" + secrets.token_hex(32) + "\n")
        new.rename(kept)
    return kept.read_text().strip()


def last_ports(state: Path) -> Dict[str, int]:
    """The last run's ports: kept, so that a developer's Redis client still finds its server."""
    with contextlib.suppress(OSError, ValueError):
        return {
            name: int(port) for name, port in json.loads((state / "ports.json").read_text()).items()
        }
    return {}


def start_program(
    children: Children,
    state: Path,
    programs: Dict[str, str],
    name: str,
    env: Dict[str, str],
    number: str = "",
) -> Child:
    """Starts an API or a worker."""
    program, log = "holdfast-" + name, servers.log_in(state, name + number)
    return children.start(program + number, [programs[program]], env, log, ROOT)


def wait_until_ready(children: Children, child: Child, address: Address) -> None:
    """Waits for /health/ready."""
    url = address.url() + "/health/ready"
    try:
        children.wait_until(lambda: http("GET", url)[0] == 200, "not ready", READY_SECONDS_MAX)
    except TimedOut:
        say(f"{child.name} was not ready within {READY_SECONDS_MAX} s.")
        say("{} says: {}".format(url, describe(http("GET", url))))
        say(end_report(child))
        raise Failed() from None


# -- All of it -------------------------------------------------------------------------------


def start_all(args: argparse.Namespace, children: Children, api: Address, state: Path) -> Running:
    """Starts everything."""
    redis, mongodb = start_services(children, state, args.mongodb)
    programs = build(children, state, args.profile)
    worker = worker_address(api)
    taken = [api, worker]
    metrics = [metrics_address(taken)]
    env = {
        "HOLDFAST_LISTEN": str(api),
        "HOLDFAST_METRICS_LISTEN": str(metrics[0]),
        "HOLDFAST_WORKER_LISTEN": str(worker),
        "HOLDFAST_REDIS_URL": redis,
        "HOLDFAST_MONGODB_URL": mongodb,
        "HOLDFAST_TOKEN_SECRETS": token_secrets(state),
    }
    # Commands of `--exec`, such as benchmarks, say themselves what they need.
    if api.is_loopback() and not getattr(args, "exec", None):
        env["HOLDFAST_CORS_ORIGINS"] = os.environ.get("HOLDFAST_CORS_ORIGINS", ORIGINS_DEFAULT)
    say(f"Start    worker and API on {api}")
    worker_child = start_program(children, state, programs, "worker", env)
    apis = [api]
    wait_until_ready(children, worker_child, worker)
    wait_until_ready(children, start_program(children, state, programs, "api", env), api)
    for _ in range(1, args.apis):
        taken += [apis[-1], metrics[-1]]
        apis.append(Address(api.host, next_free_port(apis[-1], taken)))
        metrics.append(metrics_address(taken + apis))
        own = {"HOLDFAST_LISTEN": str(apis[-1]), "HOLDFAST_METRICS_LISTEN": str(metrics[-1])}
        child = start_program(
            children, state, programs, "api", dict(env, **own), "-" + str(len(apis))
        )
        wait_until_ready(children, child, apis[-1])
    create_demo_events(api.url())
    addresses = Addresses(urls(apis), urls(metrics), worker.url())
    demo = demo_command(api, state)
    return Running(api.url(), addresses, redis, mongodb, state, programs, env, demo)


def urls(addresses: List[Address]) -> str:
    """Their addresses for clients on this machine, comma separated."""
    return ",".join(one.url() for one in addresses)


def demo_command(api: Address, state: Path) -> str:
    """The command that shows a sale here, typed in another terminal."""
    prefix = "" if str(api) == LISTEN_DEFAULT else f"HOLDFAST_LISTEN={api} "
    is_usual = state == ROOT / ".holdfast" / str(api.port)
    return prefix + "make demo" + ("" if is_usual else f" DEMO='--state {shown(state)}'")


def serve(args: argparse.Namespace, children: Children, running: Running) -> int:
    """Runs a command, or says where all is and watches over it; returns the exit status."""
    if args.exec:
        built = str(Path(running.programs["holdfast-api"]).parent)
        path = os.pathsep.join([built, os.environ.get("PATH", os.defpath)])
        env = dict(
            running.env,
            API_URL=running.api,
            API_URLS=running.addresses.apis,
            METRICS_URL=running.addresses.metrics.split(",")[0],
            METRICS_URLS=running.addresses.metrics,
            WORKER_URL=running.addresses.worker,
            PATH=path,
        )
        return children.wait_for_end(children.start("command", args.exec, env))
    put_out(banner(running, dict(os.environ)))
    while True:
        children.watch()
        time.sleep(WATCH_SECONDS)


Work = Callable[[argparse.Namespace, Children, Running], int]


def state_folder(args: argparse.Namespace, api: Address) -> Path:
    """Where an instance's data, logs and pids are."""
    return Path(args.state).resolve() if args.state else ROOT / ".holdfast" / str(api.port)


def supervise(args: argparse.Namespace, api: Address, work: Work) -> int:
    """Checks, starts all, does the work, and cleans up whatever happens."""
    state = state_folder(args, api)
    problems = tool_problems()
    instance = Instance(state)
    children = Children(state / "pids")
    children.pid_dir.mkdir(exist_ok=True)
    stop_on_signals(children)
    try:
        stop_leftovers(children.pid_dir)
        problems += check_port("HOLDFAST_LISTEN", api)
        if os.environ.get("HOLDFAST_WORKER_LISTEN"):
            problems += check_port("HOLDFAST_WORKER_LISTEN", worker_address(api))
        if os.environ.get("HOLDFAST_METRICS_LISTEN"):
            problems += check_port("HOLDFAST_METRICS_LISTEN", metrics_address([api]))
        if problems:
            refuse(problems)
        return work(args, children, start_all(args, children, api, state))
    except Stopped:
        say("\nStopping ...")
        return 0
    except Died as died:
        say(f"\n{end_report(died.child)}\n\nStopping the rest ...")
        return 1
    finally:
        if children.children:
            children.stop_all()
            say(f"Stopped. The data are in {shown(state)}.")
        instance.file.close()


def check_only(api: Address) -> int:
    """`--check`."""
    problems = tool_problems() + check_port("HOLDFAST_LISTEN", api)
    if problems:
        refuse(problems)
    say("Everything that `make run` needs is here.")
    return 0


def arguments(description: str) -> argparse.ArgumentParser:
    """The options of all that starts Holdfast here."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--profile", default="dev", help="cargo's build profile: dev (default), release, dist"
    )
    parser.add_argument(
        "--state", metavar="DIR", help="keep data, logs and pids there instead of in .holdfast/PORT"
    )
    parser.add_argument(
        "--apis", type=int, default=1, metavar="N", help="so many API processes (default 1)"
    )
    parser.add_argument(
        "--mongodb",
        choices=("auto", "fast"),
        default="auto",
        help="fast: secantusd-rs, if it is on PATH (for benchmarks)",
    )
    return parser


def exit_status(work: Callable[[], int]) -> int:
    """Does it; says why where it could not be done."""
    try:
        return work()
    except Missing as missing:
        say("Holdfast cannot start yet:\n")
        prerequisites.report([missing])
    except TimedOut as late:
        say(f"Gave up: {late}.")
    except Failed:
        pass
    except KeyboardInterrupt:
        return 130
    return 1


def main() -> int:
    """The command line."""
    parser = arguments(__doc__)
    parser.add_argument(
        "--check", action="store_true", help="only say what is missing; exit status 1 if anything"
    )
    parser.add_argument(
        "--exec",
        nargs=argparse.REMAINDER,
        metavar="COMMAND",
        help="once all runs, run this with API_URL, API_URLS (comma separated), METRICS_URL and "
        "METRICS_URLS (of the APIs), WORKER_URL, the HOLDFAST_ settings and the programs on PATH; "
        "stop everything, and exit with its status",
    )
    args = parser.parse_args()
    read_dotenv(ROOT / ".env")
    if args.check:
        return exit_status(lambda: check_only(api_address()))
    return exit_status(lambda: supervise(args, api_address(), serve))


if __name__ == "__main__":
    sys.exit(main())
