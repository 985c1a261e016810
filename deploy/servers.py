"""Redis and MongoDB on this machine: which are installed, how to run them, whether they are ready.

Redis is `redis-server` (7.0 or newer) or `valkey-server` on PATH, else Valkey from PyPI. MongoDB
is `mongod` on PATH, else SecantusDB from PyPI. They listen on loopback only.
"""

import contextlib
import functools
import random
import re
import shutil
import socket
import struct
import subprocess
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

import packages
from packages import Missing, system_line
from process import Children, Died, TimedOut

HOST = "127.0.0.1"
# Below the range that outgoing connections take their ports from, so that none of them can
# take a port between our choosing it and the server's binding it.
PORT_FIRST, PORT_LAST = 20000, 29999
PORT_TRIES_MAX = 200
REDIS_OLDEST = (7, 0)
READY_SECONDS_MAX = 60
PING_SECONDS_MAX = 1.0
PING_BYTES_MAX = 64 * 1024
VERSION_SECONDS_MAX = 10
START_TRIES_MAX = 3

# Raises the soft file limit, sends all output to the log ($0), and becomes the server: the pid
# stays the same, so that its parent can stop, freeze and kill it.
WRAPPER = 'ulimit -n "$(ulimit -Hn)" 2>/dev/null; exec "$@" >>"$0" 2>&1'


class Spec(NamedTuple):
    """How to run a server in the foreground."""

    argv: List[str]
    env: Dict[str, str]  # additions to the starter's own
    flavor: str
    version: str
    port: int
    url: str
    log: str
    post_start: List[List[str]]  # commands to send once it answers, if it is new


# -- Installed servers -------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def program_version(program: str) -> Optional[Tuple[str, str]]:
    """A server's (kind, version) as it prints them: Fedora's redis-server is a Valkey."""
    try:
        done = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=VERSION_SECONDS_MAX,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(
        r"(Redis|Valkey|db)\D+v\D*(\d+(?:\.\d+)+)", done.stdout.decode(errors="replace")
    )
    return (match.group(1).lower(), match.group(2)) if match else None


def on_path(kind: str) -> Optional[Tuple[str, str]]:
    """(program, version) of a fitting Redis or Valkey on PATH."""
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        found = program_version(path) if path else None
        if path and found and found[0] == kind and version_tuple(found[1]) >= REDIS_OLDEST:
            return path, found[1]
    return None


def version_tuple(version: str) -> Tuple[int, ...]:
    """A version to compare."""
    return tuple(int(part) for part in version.split("."))


def flavors() -> Dict[str, Optional[str]]:
    """The versions of Redis and Valkey to be had here; a Valkey that pip can bring counts."""
    redis, valkey = on_path("redis"), on_path("valkey")
    return {
        "redis": redis[1] if redis else None,
        "valkey": valkey[1]
        if valkey
        else (packages.VALKEY_VERSION if obtainable(packages.VALKEY) else None),
    }


def obtainable(package: packages.Package) -> bool:
    """Whether a package is installed, or pip is there to install it."""
    try:
        return bool(packages.find(package) or packages.installer(package))
    except Missing:
        return False


def redis_program(flavor: str) -> Tuple[str, str, str]:
    """(flavor, program, version) of the Redis to run; `auto` takes what is there."""
    for kind in ("redis", "valkey") if flavor == "auto" else (flavor,):
        found = on_path(kind)
        if found:
            return kind, found[0], found[1]
    if flavor == "redis":
        raise Missing(
            "no redis-server of version 7.0 or newer is on PATH",
            system_line("redis-server", "install Redis, or use Valkey: --flavor valkey"),
        )
    return "valkey", str(packages.ensure(packages.VALKEY).program), packages.VALKEY_VERSION


# SecantusDB's server in Rust: several times faster than the one from PyPI. Benchmarks use it where it
# is on PATH (docs/PERFORMANCE.md says how to install it).
FAST_MONGODB = "secantusd-rs"


def mongodb_program(flavor: str = "auto") -> Tuple[str, List[str], str, Dict[str, str]]:
    """(flavor, command, version, environment) of the MongoDB to run; `auto` prefers mongod, `fast`
    the fast stand-in."""
    if flavor in ("fast", FAST_MONGODB):
        fast = shutil.which(FAST_MONGODB)
        if fast:
            return FAST_MONGODB, [fast], "", {}
        if flavor == FAST_MONGODB:
            raise Missing(
                f"{FAST_MONGODB} is not on PATH any more, and only it reads the data it wrote",
                "put it back on PATH, or use a state folder of its own (another port)",
            )
        packages.say(f"{FAST_MONGODB} is not on PATH: a slower MongoDB serves.")
        flavor = "auto"
    mongod = shutil.which("mongod") if flavor != "secantusdb" else None
    found = program_version(mongod) if mongod else None
    if mongod and found:
        return "mongod", [mongod], found[1], {}
    if flavor == "mongod":
        raise Missing(
            "mongod is not on PATH any more, and only it reads the data it wrote",
            "put it back on PATH, or use a state folder of its own (another port)",
        )
    installed = packages.ensure(packages.SECANTUS)
    command = [installed.python, "-s", str(installed.program)]
    # It imports numpy, whose thread pool it never uses.
    env = {"PYTHONPATH": str(installed.folder), "OPENBLAS_NUM_THREADS": "1"}
    return "secantusdb", command, packages.SECANTUS_VERSION, env


# -- How to run them -------------------------------------------------------------------------


def redis_spec(
    port: int,
    folder: Path,
    flavor: str = "auto",
    cluster: bool = False,
    appendonly: str = "yes",
    unixsocket: Optional[str] = None,
    log: Optional[Path] = None,
) -> Spec:
    """A Redis that keeps its data in `folder` and refuses writes rather than evict."""
    kind, program, version = redis_program(flavor)
    folder.mkdir(parents=True, exist_ok=True)
    port, log = port or free_port(), log or folder / "redis.log"
    options = {
        "port": str(port),
        "bind": HOST,
        "protected-mode": "yes",
        "dir": str(folder),
        "daemonize": "no",
        "logfile": str(log),
        "loglevel": "notice",
        "maxmemory-policy": "noeviction",
        "save": "",
        "appendonly": appendonly,
        "appendfsync": "everysec",
    }
    if unixsocket:
        options.update({"unixsocket": unixsocket, "unixsocketperm": "700"})
    if cluster:
        # The bus port would be port + 10000, which need not be free, nor a port at all.
        options.update(
            {
                "cluster-enabled": "yes",
                "cluster-config-file": "nodes.conf",
                "cluster-announce-ip": HOST,
                "cluster-port": str(free_port()),
            }
        )
    argv = [program] + [word for name, value in options.items() for word in ("--" + name, value)]
    return Spec(
        argv=wrapped(argv, log),
        env={},
        flavor=kind,
        version=version,
        port=port,
        url=f"redis://{HOST}:{port}",
        log=str(log),
        post_start=[["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]] if cluster else [],
    )


def mongodb_spec(
    port: int, folder: Path, sync: bool = False, flavor: str = "auto", log: Optional[Path] = None
) -> Spec:
    """A MongoDB that keeps its data in `folder`. A real one is a plain standalone server."""
    flavor, command, version, env = mongodb_program(flavor)
    folder.mkdir(parents=True, exist_ok=True)
    port, log = port or free_port(), log or folder / "mongodb.log"
    if flavor == "mongod":
        options = [
            "--port",
            str(port),
            "--bind_ip",
            HOST,
            "--dbpath",
            str(folder),
            "--nounixsocket",
        ]
    else:
        # An empty settings file of its own: otherwise it would look for one in other places.
        settings = folder / "secantusd.toml"
        settings.touch()
        options = ["--config", str(settings), "--host", HOST, "--port", str(port)]
        options += ["--storage-path", str(folder)] + (["--sync-on-commit"] if sync else [])
    return Spec(
        argv=wrapped(command + options, log),
        env=env,
        flavor=flavor,
        version=version,
        port=port,
        url=f"mongodb://{HOST}:{port}",
        log=str(log),
        post_start=[],
    )


def wrapped(argv: List[str], log: Path) -> List[str]:
    """The command with its file limit raised and its output in its log."""
    return ["/bin/sh", "-c", WRAPPER, str(log)] + argv


def port_obstacle(port: int, host: str = HOST) -> Optional[OSError]:
    """What keeps a server from listening there now, if anything."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as obstacle:
            return obstacle
    return None


def port_is_free(port: int, host: str = HOST) -> bool:
    """Whether a server could listen there now."""
    return port_obstacle(port, host) is None


def free_port(preferred: int = 0) -> int:
    """A port that is free now: the preferred one if possible."""
    if preferred and port_is_free(preferred):
        return preferred
    for _ in range(PORT_TRIES_MAX):
        port = random.randint(PORT_FIRST, PORT_LAST)
        if port_is_free(port):
            return port
    raise TimedOut(f"no free port found between {PORT_FIRST} and {PORT_LAST}")


# -- Starting servers ------------------------------------------------------------------------


def exchange(port: int, request: bytes) -> bytes:
    """Sends a request and returns what comes back first; empty if nothing does."""
    with contextlib.suppress(OSError):
        with socket.create_connection((HOST, port), PING_SECONDS_MAX) as connection:
            connection.settimeout(PING_SECONDS_MAX)
            connection.sendall(request)
            return connection.recv(PING_BYTES_MAX)
    return b""


def redis_answers(port: int) -> bool:
    """Redis answers PING, and is past loading its data."""
    return exchange(port, b"PING\r\n").startswith(b"+PONG")


def mongodb_answers(port: int) -> bool:
    """MongoDB answers `ping` in its wire protocol: one OP_MSG with one BSON document."""
    fields = (
        b"\x10ping\x00"
        + struct.pack("<i", 1)
        + b"\x02$db\x00"
        + struct.pack("<i", 6)
        + b"admin\x00"
    )
    document = struct.pack("<i", len(fields) + 5) + fields + b"\x00"
    body = struct.pack("<iB", 0, 0) + document
    header = struct.pack("<iiii", 16 + len(body), 1, 0, 2013)
    return b"\x01ok\x00" + struct.pack("<d", 1.0) in exchange(port, header + body)


def start(
    children: Children,
    name: str,
    make_spec: Callable[[int], Spec],
    answers: Callable[[int], bool],
    port: int,
    preferred: int = 0,
) -> Spec:
    """Starts a server and waits until it answers. With port 0 a lost race for a port is retried."""
    tries = 1 if port else START_TRIES_MAX
    for attempt in range(1, tries + 1):
        spec = make_spec(port or free_port(preferred if attempt == 1 else 0))
        child = children.start(name, spec.argv, spec.env)
        child.log = Path(spec.log)
        try:
            children.wait_until(
                functools.partial(answers, spec.port), name + " did not answer", READY_SECONDS_MAX
            )
            return spec
        except Died as died:
            if died.child is not child or port_is_free(spec.port) or attempt == tries:
                raise
            children.forget(child)
    raise AssertionError("unreachable: the last try returns or raises")


def start_redis(
    children: Children, folder: Path, port: int = 0, flavor: str = "auto", preferred: int = 0
) -> Spec:
    """A Redis with its data in `folder`/redis and its log in `folder`/logs."""
    log, writer = log_in(folder, "redis"), folder / "redis.flavor"
    if flavor == "auto" and last_writer(writer) == "valkey":
        flavor = "valkey"  # Redis 7 cannot read what Valkey wrote; the other way round it can

    def make_spec(free: int) -> Spec:
        return redis_spec(free, folder / "redis", flavor=flavor, log=log)

    spec = start(children, "redis", make_spec, redis_answers, port, preferred)
    writer.write_text(spec.flavor)
    return spec


def start_mongodb(
    children: Children, folder: Path, port: int = 0, preferred: int = 0, flavor: str = "auto"
) -> Spec:
    """A MongoDB with its data in `folder`/mongodb and its log in `folder`/logs."""
    log, writer = log_in(folder, "mongodb"), folder / "mongodb.flavor"
    flavor = last_writer(writer) if writer.exists() else flavor  # none reads another's data

    def make_spec(free: int) -> Spec:
        # What it acknowledged as journalled has to survive kill -9, in a demonstration too.
        return mongodb_spec(free, folder / "mongodb", sync=True, flavor=flavor, log=log)

    spec = start(children, "mongodb", make_spec, mongodb_answers, port, preferred)
    writer.write_text(spec.flavor)
    return spec


def last_writer(note: Path) -> str:
    """The flavor that wrote a data folder; `auto` if it is new."""
    return note.read_text().strip() if note.exists() else "auto"


def log_in(folder: Path, name: str) -> Path:
    """The path of a new log. The last run's is kept beside it."""
    log = folder / "logs" / (name + ".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_suffix(".old.log"))
    return log
