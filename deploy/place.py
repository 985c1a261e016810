"""Redis, MongoDB, two API processes and two workers of this machine, which can be stopped one by one."""

import hashlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import packages
import run
import servers
from api import http
from packages import ROOT, Missing, say
from process import (
    Child,
    Children,
    Died,
    Instance,
    Stopped,
    TimedOut,
    end_report,
    stop_leftovers,
    stop_on_signals,
)

ADMIN_KEY = "place"
READY_SECONDS_MAX = 60
STOP_SECONDS_MAX = 30
ROWS, SEATS = 60, 100
APIS = ("api-1", "api-2")
NAMES = APIS + ("worker-1", "worker-2")


class Wrong(Exception):
    """What was found."""


class Place:
    """The processes, their addresses and what they are started with."""

    def __init__(
        self, children: Children, state: Path, programs: Dict[str, str], **settings: str
    ) -> None:
        """Starts Redis and MongoDB; `settings` are further variables of the programs."""
        self.children, self.state, self.programs = children, state, programs
        redis, mongodb = run.start_services(children, state)
        self.env = {
            "HOLDFAST_REDIS_URL": redis,
            "HOLDFAST_MONGODB_URL": mongodb,
            "HOLDFAST_TOKEN_SECRETS": run.token_secrets(state),
            "HOLDFAST_ADMIN_KEYS_SHA256": "ops:" + hashlib.sha256(ADMIN_KEY.encode()).hexdigest(),
            "HOLDFAST_TRUSTED_PROXIES": "127.0.0.1",
            "HOLDFAST_IDENTITY_PROXIES": "127.0.0.1",
            "HOLDFAST_SHUTDOWN_NOTICE_MS": "1000",
            # The machine may be busy, and this is not about time-outs.
            "HOLDFAST_REDIS_TIMEOUT_MS": "900",
            "HOLDFAST_LIMITS": "observe",
            "HOLDFAST_BOT_MODE": "observe",
            **settings,
        }
        self.ports = {name: servers.free_port() for name in NAMES}
        self.metrics_ports = {name: servers.free_port() for name in APIS}
        self.processes: Dict[str, Child] = {}

    def start(self, name: str) -> None:
        """Starts a process and waits until it is ready."""
        kind, address = name.split("-")[0], f"127.0.0.1:{self.ports[name]}"
        if kind == "worker":
            own = {"HOLDFAST_WORKER_LISTEN": address, "HOLDFAST_WORKER_CONSUMER": name}
        else:
            metrics = f"127.0.0.1:{self.metrics_ports[name]}"
            own = {"HOLDFAST_LISTEN": address, "HOLDFAST_METRICS_LISTEN": metrics}
        log = self.state / "logs" / (name + ".log")
        log.parent.mkdir(exist_ok=True)
        argv = [self.programs["holdfast-" + kind]]
        child = self.children.start(name, argv, dict(self.env, **own), log, ROOT)
        self.processes[name] = child
        url = f"http://{address}/health/ready"
        self.children.wait_until(
            lambda: http("GET", url)[0] == 200, name + " not ready", READY_SECONDS_MAX
        )

    def restart(self, name: str) -> float:
        """SIGTERM, its orderly end, and a new one that is ready; returns the seconds in between."""
        child = self.processes[name]
        began = time.monotonic()
        self.children.forget(child)
        os.kill(child.popen.pid, signal.SIGTERM)
        try:
            status = child.popen.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            child.popen.kill()
            raise Wrong(f"{name} did not end within {STOP_SECONDS_MAX} s") from None
        if status != 0:
            raise Wrong(f"{name} ended with {status}:\n{end_report(child)}")
        self.start(name)
        return time.monotonic() - began

    def start_nginx(self) -> int:
        """nginx with the shipped configuration, on a port of its own."""
        program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if not program:
            raise Missing("there is no nginx", packages.system_line("nginx", "install nginx"))
        port, folder = servers.free_port(), self.state / "nginx"
        folder.mkdir(exist_ok=True)
        gateways = folder / "identity-gateways.conf"
        gateways.write_text("127.0.0.1 1;\n")
        text = (ROOT / "deploy/nginx/nginx.conf").read_text()
        for old, new in (
            ("127.0.0.1:8000", f"127.0.0.1:{self.ports['api-1']}"),
            ("127.0.0.1:8010", f"127.0.0.1:{self.ports['api-2']}"),
            ("listen 8080", f"listen 127.0.0.1:{port}"),
            ("/etc/nginx/identity-gateways.conf", str(gateways)),
            ("/dev/stdout", str(folder / "access.log")),
            ("/dev/stderr", str(folder / "error.log")),
        ):
            if text.count(old) != 1:
                raise Wrong(f"deploy/nginx/nginx.conf has {old} {text.count(old)} times")
            text = text.replace(old, new)
        moved = folder / "nginx.conf"
        moved.write_text(text.replace("/tmp/nginx", str(folder) + "/nginx"))
        argv = [program, "-c", str(moved), "-e", str(folder / "error.log"), "-g", "daemon off;"]
        self.children.start("nginx", argv, {}, folder / "output.log")
        url = f"http://127.0.0.1:{port}/nginx-health"
        self.children.wait_until(
            lambda: http("GET", url)[0] == 200, "nginx not ready", READY_SECONDS_MAX
        )
        return port

    def holdfastctl(self, *words: str) -> Tuple[int, str]:
        """Runs the operator's tool; returns its status and output."""
        command = [self.programs["holdfastctl"], *words]
        env = dict(os.environ, **self.env)
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout.decode()


def create_event(port: int) -> Tuple[int, List[int]]:
    """A new event and its seats."""
    os.environ["DEMO_ADMIN_KEY"] = ADMIN_KEY
    rows = [{"row": f"R{number}", "seats": SEATS} for number in range(ROWS)]
    event = {
        "name": "A sale",
        "starts_at": "2030-01-01T20:00:00Z",
        "hold_ttl_seconds": 600,
        "sections": [{"name": "Hall", "price": 1000, "rows": rows}],
    }
    status, body = http("POST", f"http://127.0.0.1:{port}/api/v1/events", event)
    if status != 201:
        raise Wrong(f"the event could not be made: {status} {body}")
    return int(body["id"]), list(range(1, ROWS * SEATS + 1))


def built(folder: Path) -> Dict[str, str]:
    """The programs of a folder."""
    names = ("holdfast-api", "holdfast-worker", "holdfastctl")
    return {name: str(folder.resolve() / name) for name in names}


def in_fresh(state: Path, work: Callable[[Children], int]) -> int:
    """Does work in a new folder, and stops all that it has started; returns the exit status."""

    def supervised() -> int:
        instance = Instance(state)
        for old in state.iterdir():
            if old.is_dir():
                stop_leftovers(old) if old.name == "pids" else shutil.rmtree(old)
        children = Children(state / "pids")
        children.pid_dir.mkdir(exist_ok=True)
        stop_on_signals(children)
        try:
            return work(children)
        except (Wrong, TimedOut) as wrong:
            say(f"WRONG: {wrong}")
            return 1
        except Died as died:
            say(f"WRONG: {end_report(died.child)}")
            return 1
        except Stopped:
            say("\nStopping ...")
            return 1
        finally:
            children.stop_all()
            instance.file.close()

    return run.exit_status(supervised)
