#!/usr/bin/env python3
"""The one starter of Redis and MongoDB for `make run`, tests, benchmarks and CI.

Redis is `redis-server` (7.0 or newer) or `valkey-server` on PATH, else Valkey from PyPI. MongoDB
is `mongod` on PATH, else SecantusDB from PyPI. Neither root, a venv nor Docker is needed, and
both listen on loopback only. Results are JSON on stdout, progress goes to stderr.

    services.py check                     what this machine lacks, with the lines that mend it
    services.py install --flavor all      download now what would be downloaded at first use
    services.py flavors                   {"redis": "7.0.15", "valkey": "9.1.2"}, null where absent
    services.py spec redis --port 0 --dir /tmp/r      a command to run in the foreground
    services.py run --dir /tmp/both --until-stdin-closes
"""

import argparse
import contextlib
import json
import os
import select
import sys
import time
from pathlib import Path
from typing import Any, Dict, Optional

import prerequisites
import servers
from packages import Missing, put_out, say
from process import (
    Children,
    Died,
    Instance,
    Stopped,
    TimedOut,
    end_report,
    stop_leftovers,
    stop_on_signals,
)

WATCH_SECONDS = 0.2


def emit(result: Any) -> None:
    """One line of JSON on stdout."""
    put_out(json.dumps(result))


def check_command(_args: argparse.Namespace) -> int:
    """`check`: everything `make run` and `make test` need."""
    problems = prerequisites.build_problems() + prerequisites.service_problems(
        redis=True, mongodb=True
    )
    prerequisites.report(problems)
    emit({"ok": not problems, "problems": [{"missing": p.what, "mend": p.mend} for p in problems]})
    return 1 if problems else 0


def install_command(args: argparse.Namespace) -> int:
    """`install`: downloads what is not there."""
    kind, _, version = servers.redis_program("auto" if args.flavor == "all" else args.flavor)
    installed: Dict[str, Optional[str]] = {kind: version}
    if args.flavor == "all" and kind != "valkey":
        try:
            installed["valkey"] = servers.redis_program("valkey")[2]
        except Missing as missing:  # the other flavor will do
            say(f"Going on without Valkey: {missing.what}")
    flavor, _, version, _ = servers.mongodb_program()
    emit(dict(installed, **{flavor: version}))
    return 0


def flavors_command(_args: argparse.Namespace) -> int:
    """`flavors`."""
    emit(servers.flavors())
    return 0


def spec_command(args: argparse.Namespace) -> int:
    """`spec redis` and `spec mongodb`."""
    folder = Path(args.dir).resolve()
    if args.service == "redis":
        spec = servers.redis_spec(
            args.port, folder, args.flavor, args.cluster, args.appendonly, args.unixsocket
        )
    else:
        spec = servers.mongodb_spec(args.port, folder, args.sync)
    emit(spec._asdict())
    return 0


def run_command(args: argparse.Namespace) -> int:
    """`run`: both services, until a signal or the end of stdin."""
    folder = Path(args.dir).resolve()
    instance = Instance(folder)
    children = Children(folder / "pids")
    stop_leftovers(children.pid_dir)
    stop_on_signals(children)
    try:
        redis = servers.start_redis(children, folder, args.redis_port, args.flavor)
        mongodb = servers.start_mongodb(
            children, folder, args.mongodb_port, flavor=args.mongodb
        )
        running = {
            "redis_url": redis.url,
            "mongodb_url": mongodb.url,
            "pids": {child.name: child.popen.pid for child in children.children},
        }
        (folder / "services.json").write_text(json.dumps(running) + "\n")
        if args.exec:
            urls = {"REDIS_URL": redis.url, "MONGODB_URL": mongodb.url}
            return children.wait_for_end(children.start("command", args.exec, urls))
        emit(running)
        watch(children, args.until_stdin_closes)
        return 0
    except Stopped:
        return 0
    except Died as died:
        say(end_report(died.child))
        return 1
    finally:
        children.stop_all()
        with contextlib.suppress(FileNotFoundError):
            (folder / "services.json").unlink()
        instance.file.close()


def watch(children: Children, until_stdin_closes: bool) -> None:
    """Returns when stdin closes, raises when a child dies or a signal comes."""
    while True:
        children.watch()
        if not until_stdin_closes:
            time.sleep(WATCH_SECONDS)
        elif select.select([0], [], [], WATCH_SECONDS)[0] and not os.read(0, 4096):
            return


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    commands.required = True
    flavor: Dict[str, Any] = {
        "default": "auto",
        "help": "default: what is on PATH, Redis first, else Valkey from PyPI",
    }
    port: Dict[str, Any] = {
        "type": int,
        "default": 0,
        "metavar": "N",
        "help": "default 0: a free one",
    }

    check = commands.add_parser(
        "check", help="say what this machine lacks; exit status 1 if anything"
    )
    check.set_defaults(run=check_command)

    install = commands.add_parser("install", help="download now what is not on PATH")
    install.add_argument("--flavor", choices=["auto", "redis", "valkey", "all"], **flavor)
    install.set_defaults(run=install_command)

    kinds = commands.add_parser("flavors", help="which Redis flavors can be had here")
    kinds.set_defaults(run=flavors_command)

    spec = commands.add_parser("spec", help="print how to run one server in the foreground")
    spec.set_defaults(run=spec_command)
    services = spec.add_subparsers(dest="service", metavar="SERVICE")
    services.required = True
    redis = services.add_parser(
        "redis", help="argv, env, flavor, version, port, url, log, post_start"
    )
    redis.add_argument("--flavor", choices=["auto", "redis", "valkey"], **flavor)
    redis.add_argument(
        "--cluster",
        action="store_true",
        help="a one-master cluster; send `post_start` once it answers, unless it has its slots",
    )
    redis.add_argument(
        "--appendonly", choices=["yes", "no"], default="yes", help="default yes, fsync every second"
    )
    redis.add_argument("--unixsocket", metavar="PATH", help="listen there too")
    mongodb = services.add_parser("mongodb", help="argv, env, flavor, version, port, url, log")
    mongodb.add_argument(
        "--sync", action="store_true", help="what it acknowledged as journalled survives kill -9"
    )
    for service in (redis, mongodb):
        service.add_argument("--port", **port)
        service.add_argument("--dir", required=True, help="where its data go; made if need be")

    run = commands.add_parser(
        "run", help="run both in the foreground; prints their addresses once they answer"
    )
    run.add_argument("--dir", required=True, help="where data, logs and services.json go")
    run.add_argument("--flavor", choices=["auto", "redis", "valkey"], **flavor)
    run.add_argument("--redis-port", **port)
    run.add_argument("--mongodb-port", **port)
    run.add_argument(
        "--mongodb",
        choices=["auto", "fast"],
        default="auto",
        help="fast: secantusd-rs, if it is on PATH (for benchmarks)",
    )
    run.add_argument(
        "--until-stdin-closes", action="store_true", help="stop when stdin reaches its end"
    )
    run.add_argument(
        "--exec",
        nargs=argparse.REMAINDER,
        metavar="COMMAND",
        help="run this with REDIS_URL and MONGODB_URL set, stop both, exit with its status",
    )
    run.set_defaults(run=run_command)
    return top


def main() -> int:
    """Runs a command."""
    args = parser().parse_args()
    try:
        status: int = args.run(args)
        return status
    except Missing as missing:
        prerequisites.report([missing])
    except TimedOut as late:
        say(str(late))
    return 1


if __name__ == "__main__":
    sys.exit(main())
