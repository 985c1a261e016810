#!/usr/bin/env python3
"""Checks what deploys Holdfast with the tools that would use it: `make deploy-check`.

docker compose reads docker-compose.yml with every profile, hadolint the Dockerfile, nginx its configuration,
systemd its units, Redis the users that the compose file makes, Helm and Kubernetes' schemas the chart. A tool
that neither is here nor can be had from PyPI is named, and its check skipped; `--strict` fails then. What needs
no tool is in tests/deploy.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Callable, Dict, List

import packages
import servers
from packages import ROOT, Missing, say
from process import Children

TOOL_SECONDS_MAX = 60
# Where the files of deploy/nginx refer to each other.
NGINX_FOLDER = "/etc/nginx/"
COMPOSE_VALUES = {
    "MONGODB_ROOT_PASSWORD": "r00t",
    "MONGODB_PASSWORD": "m0ng0",
    "REDIS_API_PASSWORD": "ap1",
    "REDIS_WORKER_PASSWORD": "w0rker",
    "REDIS_CTL_PASSWORD": "ct1",
    "GRAFANA_PASSWORD": "gr4fana",
    "ADMIN_KEY_SHA256": "ab" * 32,
    "TOKEN_SECRETS": "k1:" + "cd" * 32,
}
# Of 100, by `systemd-analyze security`.
EXPOSURE_MAX = 20
COMPOSE_PROFILES = ([], ["monitoring"], ["tools"], ["monitoring", "tools"])


class Wrong(Exception):
    """What a check has found."""


def run(command: List[str], **options: object) -> str:
    """Runs a tool; returns its output."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TOOL_SECONDS_MAX,
        **options,  # type: ignore[call-overload]
    )
    text = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        raise Wrong(f"{Path(command[0]).name} ended with {done.returncode}:\n{text}")
    return text


def installed(tool: str) -> str:
    """The path of a tool of this machine."""
    path = shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/sbin")
    if not path:
        raise Missing(f"there is no {tool}", packages.system_line(tool, f"install {tool}"))
    return path


def from_pypi(tool: str) -> str:
    """The path of a tool of this machine, or from PyPI."""
    return shutil.which(tool) or str(packages.ensure(packages.TOOLS[tool]).program)


def compose() -> None:
    """docker-compose.yml is valid with every profile, and complains about no variable."""
    program = from_pypi("docker-compose")
    with tempfile.TemporaryDirectory() as folder:
        values = Path(folder) / "compose.env"
        values.write_text("".join(f"{name}={value}\n" for name, value in COMPOSE_VALUES.items()))
        for profiles in COMPOSE_PROFILES:
            words = [word for name in profiles for word in ("--profile", name)]
            command = [program, "--env-file", str(values)] + words + ["config", "--quiet"]
            warnings = run(command)
            if warnings.strip():
                raise Wrong(f"docker compose warns:\n{warnings}")
        for name in COMPOSE_VALUES:
            without = [
                line for line in values.read_text().splitlines() if not line.startswith(name + "=")
            ]
            other = Path(folder) / "without.env"
            other.write_text("\n".join(without) + "\n")
            command = [program, "--env-file", str(other), "--profile", "*", "config", "--quiet"]
            if subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0:
                raise Wrong(f"docker compose starts without {name}")


def dockerfile() -> None:
    """The Dockerfile follows hadolint's rules."""
    run([from_pypi("hadolint"), "deploy/Dockerfile"])


def nginx() -> None:
    """nginx reads its configuration."""
    program = installed("nginx")
    with tempfile.TemporaryDirectory() as folder:
        source = (ROOT / "deploy/nginx/nginx.conf").read_text()
        moved = Path(folder) / "nginx.conf"
        source = source.replace(NGINX_FOLDER, str(ROOT / "deploy/nginx") + "/")
        moved.write_text(source.replace("/tmp/nginx", folder + "/nginx"))
        run([program, "-t", "-q", "-c", str(moved), "-e", "stderr"])


def redis() -> None:
    """The Redis of docker-compose.yml starts, and knows the users with their passwords and no other."""
    with tempfile.TemporaryDirectory() as folder:
        children = Children(Path(folder) / "pids")
        children.pid_dir.mkdir()
        _, program, _ = servers.redis_program("auto")
        (Path(folder) / "redis-server").symlink_to(program)
        port = servers.free_port()
        env = dict(
            COMPOSE_VALUES,
            REDIS_MAXMEMORY="64mb",
            ACL_FOLDER=str(ROOT / "deploy/redis/acl"),
            ACL_FILE=folder + "/users.acl",
            PATH=f"{folder}:/usr/bin:/bin",
        )
        argv = ["sh", str(ROOT / "deploy/redis/start.sh"), "--port", str(port), "--dir", folder]
        children.start("redis", argv, env, Path(folder) / "redis.log")
        try:
            users = {"health": "none", "holdfast-api": "ap1", "holdfast-worker": "w0rker"}
            ping = pinger(port)
            children.wait_until(
                lambda: ping("health", "none").endswith(b"+PONG\r\n"), "no PONG", 10
            )
            for user, password in dict(users, **{"holdfast-ctl": "ct1"}).items():
                if not ping(user, password).endswith(b"+PONG\r\n"):
                    raise Wrong(f"Redis refuses {user}: {ping(user, password)!r}")
            for user, password in (("default", ""), ("holdfast-api", "w0rker")):
                if b"+PONG" in ping(user, password):
                    raise Wrong(f"Redis lets {user} in with another password")
        finally:
            children.stop_all()


def pinger(port: int) -> Callable[[str, str], bytes]:
    """A function that logs in and pings."""
    return lambda user, password: servers.exchange(
        port, f'AUTH {user} "{password}"\r\nPING\r\n'.encode()
    )


def units() -> None:
    """systemd reads the units, an instance of each, and its user and folders."""
    program = installed("systemd-analyze")
    with tempfile.TemporaryDirectory() as folder:
        # The programs need not be installed where this is checked.
        for unit in sorted((ROOT / "deploy/systemd").glob("*@.service")):
            instance = Path(folder) / unit.name.replace("@", "@1")
            instance.write_text(unit.read_text().replace("/usr/local/bin/", folder + "/"))
            program_stub = Path(folder) / unit.name.replace("@.service", "")
            program_stub.write_text("#!/bin/sh\n")
            program_stub.chmod(0o755)
        paths = [str(path) for path in sorted(Path(folder).glob("*.service"))]
        said = run([program, "verify", "--man=no", "--recursive-errors=no"] + paths)
        if said.strip():
            raise Wrong(f"systemd-analyze says:\n{said}")
        for path in paths:
            run([program, "security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", path])
    root = Path("deploy/systemd")
    with tempfile.TemporaryDirectory() as empty:
        run(
            [
                installed("systemd-sysusers"),
                "--dry-run",
                f"--root={empty}",
                str(ROOT / root / "sysusers.conf"),
            ]
        )


def chart() -> None:
    """Helm renders the chart, and Kubernetes takes what it renders."""
    installed_helm = packages.ensure(packages.HELM)
    said = run(
        [installed_helm.python, str(ROOT / "deploy/checks_of_chart.py"), str(installed_helm.folder)]
    )
    # Helm says so of files/alerts.yml, which is a link to deploy/prometheus.
    lines = [line for line in said.splitlines() if "found symbolic link" not in line]
    say("\n".join("         " + line for line in lines))


CHECKS: Dict[str, Callable[[], None]] = {
    "compose": compose,
    "dockerfile": dockerfile,
    "nginx": nginx,
    "redis": redis,
    "units": units,
    "chart": chart,
}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checks", nargs="*", choices=[[], *CHECKS], help="these alone")
    parser.add_argument("--strict", action="store_true", help="a missing tool is a failure")
    args = parser.parse_args()
    wrong, skipped = 0, 0
    for name in args.checks or CHECKS:
        try:
            CHECKS[name]()
            say(f"ok       {name}: {CHECKS[name].__doc__}")
        except Missing as missing:
            skipped += 1
            say(f"SKIPPED  {name}: {missing.what} ({missing.mend})")
        except Wrong as found:
            wrong += 1
            say(f"FAILED   {name}: {found}")
    return 1 if wrong or (skipped and args.strict) else 0


if __name__ == "__main__":
    sys.exit(main())
