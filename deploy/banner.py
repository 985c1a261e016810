"""What `make run` prints once all runs: where to look and how to stop it."""

import re
import sys
from pathlib import Path
from typing import Dict, NamedTuple

from process import shown

SITES_COLUMNS_MAX = 66


class Addresses(NamedTuple):
    """Where a running Holdfast answers; several are comma separated."""

    apis: str
    # What Prometheus scrapes of the APIs.
    metrics: str = ""
    # The same of the worker.
    worker: str = ""


class Running(NamedTuple):
    """A running Holdfast."""

    api: str
    addresses: Addresses
    redis: str
    mongodb: str
    state: Path
    # The path of each program that was built.
    programs: Dict[str, str]
    # The settings of its processes.
    env: Dict[str, str]
    # The command that shows a sale here.
    demo: str


def banner(running: Running, given: Dict[str, str]) -> str:
    """The block; fits 80 columns. `given` are the environment's own addresses of services."""
    strong, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    return f"""
{strong}Holdfast is running.{plain}

  Buyer's page  {running.api}/events/1
  Console       {running.api}/console
  API docs      {running.api}/docs/
  Metrics       {running.addresses.metrics.split(",")[0]}/metrics

{pages_of_others(running.env.get("HOLDFAST_CORS_ORIGINS", ""))}

{strong}Operate it{plain}, in another terminal:

  {export("HOLDFAST_REDIS_URL", running.redis, given)}
  {export("HOLDFAST_MONGODB_URL", running.mongodb, given)}
  {shown(Path(running.programs["holdfastctl"]))} status

{strong}Watch a sale{plain} with a crowd of buyers, in another terminal:

  {running.demo}

Data and logs are in {shown(running.state)}.
{strong}Ctrl-C stops everything{plain}; the data stay.
"""


def pages_of_others(sites: str) -> str:
    """Which sites' pages may call the API; more than fit are counted."""
    if not sites:
        return "No other site's pages may call the API (HOLDFAST_CORS_ORIGINS)."
    named = ", ".join(sites.split(","))
    if len(named) > SITES_COLUMNS_MAX:
        named = f"{len(sites.split(','))} sites"
    return f"Pages of {named} may\ncall the API too; HOLDFAST_CORS_ORIGINS changes that."


def export(name: str, url: str, given: Dict[str, str]) -> str:
    """The line that tells holdfastctl of a service. An address from outside may have a secret."""
    if given.get(name):
        return f"# {name} as you have set it: {without_password(url)}"
    return f"export {name}={url}"


def without_password(url: str) -> str:
    """An address to show: without user, password and parameters, any of which may be a secret."""
    scheme, _, rest = url.partition("://")
    if "@" in re.sub(r"^[^/?#]*@", "", rest) or "#" in rest:
        return f"{scheme}://***"
    return f"{scheme}://" + re.sub(r"\?.*", "?***", re.sub(r"^[^/?#]*@", "***@", rest))
