"""A Prometheus with the shipped configuration beside a Holdfast of this machine."""

import json
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Dict, List

import servers
from packages import ROOT, Missing
from process import Child, Children

SHIPPED = ROOT / "deploy" / "prometheus"
# The targets that the shipped configuration names.
API_TARGET, WORKER_TARGET = '"127.0.0.1:8002"', '"127.0.0.1:8001"'
READY_SECONDS_MAX = 60
ANSWER_SECONDS_MAX = 20


class Prometheus:
    """A running Prometheus."""

    def __init__(self, children: Children, folder: Path, apis: List[str], workers: List[str]) -> None:
        """Starts one that scrapes these; addresses are URLs."""
        program = find()
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "prometheus.yml"
        config.write_text(configuration(apis, workers))
        (folder / "alerts.yml").write_text((SHIPPED / "alerts.yml").read_text())
        port = servers.free_port()
        self.url = f"http://{servers.HOST}:{port}"
        argv = [program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
        argv += [f"--web.listen-address={servers.HOST}:{port}", "--log.level=warn"]
        self.child: Child = children.start("prometheus", argv, {}, folder / "prometheus.log", ROOT)
        children.wait_until(self.is_ready, "prometheus is not ready", READY_SECONDS_MAX)

    def is_ready(self) -> bool:
        """Whether it answers queries."""
        try:
            with urllib.request.urlopen(self.url + "/-/ready", timeout=ANSWER_SECONDS_MAX) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def get(self, path: str, parameters: Dict[str, str]) -> Any:
        """The data of an answer of its API; raises ValueError with its own words if it refuses."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=ANSWER_SECONDS_MAX) as reply:
                return json.loads(reply.read())["data"]
        except urllib.error.HTTPError as refused:
            raise ValueError(json.loads(refused.read()).get("error", str(refused))) from None

    def range(self, query: str, since: float, step_seconds: int) -> List[Any]:
        """The series of a query from a time until now."""
        until = time.time()
        parameters = {"query": query, "start": str(since), "end": str(until)}
        found: List[Any] = self.get("query_range", dict(parameters, step=str(step_seconds)))["result"]
        return found

    def firing(self) -> List[str]:
        """The names of the alerts that fire."""
        alerts = self.get("alerts", {})["alerts"]
        return sorted(one["labels"]["alertname"] for one in alerts if one["state"] == "firing")


def find() -> str:
    """The program on PATH."""
    found = shutil.which("prometheus")
    if not found:
        raise Missing("prometheus is not here", "apt-get install prometheus")
    return found


def configuration(apis: List[str], workers: List[str]) -> str:
    """The shipped configuration with these targets."""
    text = (SHIPPED / "prometheus.yml").read_text()
    for shipped, urls in ((API_TARGET, apis), (WORKER_TARGET, workers)):
        if shipped not in text:
            raise ValueError(f"deploy/prometheus/prometheus.yml does not name {shipped}")
        addresses = (urllib.parse.urlsplit(url).netloc for url in urls)
        text = text.replace(shipped, ", ".join(f'"{address}"' for address in addresses))
    return text
