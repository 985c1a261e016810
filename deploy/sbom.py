#!/usr/bin/env python3
"""Prints a CycloneDX 1.5 list of the crates that are in Holdfast's programs: `make sbom`.

It is what `cargo metadata` says of the package `holdfast`, without crates of tests and of the build, with the
hashes of Cargo.lock. The same sources give the same bytes.
"""

import argparse
import json
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any, Dict, List, Set

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "holdfast"
TARGET = "x86_64-unknown-linux-gnu"
BLOCK = re.compile(
    r'\[\[package\]\]\nname = "([^"]+)"\nversion = "([^"]+)"\n(?:source = .*\n)?(?:checksum = "([0-9a-f]+)")?'
)


def metadata(target: str) -> Dict[str, Any]:
    """What cargo knows of the workspace, for one platform."""
    command = [
        "cargo",
        "metadata",
        "--locked",
        "--format-version",
        "1",
        "--filter-platform",
        target,
    ]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    found: Dict[str, Any] = json.loads(done.stdout)
    return found


def linked(nodes: Dict[str, Any], root: str) -> Set[str]:
    """The packages that are linked in: dependencies of neither tests nor build scripts."""
    seen, todo = {root}, [root]
    while todo:
        for dependency in nodes[todo.pop()]["deps"]:
            is_normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if is_normal and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                todo.append(dependency["pkg"])
    return seen


def purl(package: Dict[str, Any]) -> str:
    """Its name everywhere."""
    return "pkg:cargo/{name}@{version}".format(**package)


def component(package: Dict[str, Any], checksums: Dict[str, str]) -> Dict[str, Any]:
    """One crate."""
    found: Dict[str, Any] = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
    }
    checksum = checksums.get(purl(package))
    if checksum:
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["license"]:
        # Cargo once wrote `MIT/Apache-2.0`.
        found["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    return found


def document(target: str) -> Dict[str, Any]:
    """The whole list."""
    known = metadata(target)
    packages = {package["id"]: package for package in known["packages"]}
    nodes = {node["id"]: node for node in known["resolve"]["nodes"]}
    root = next(id for id, package in packages.items() if package["name"] == PACKAGE)
    ids = linked(nodes, root)
    lock = (ROOT / "Cargo.lock").read_text()
    checksums = {
        purl({"name": name, "version": version}): checksum
        for name, version, checksum in BLOCK.findall(lock)
    }
    components: List[Dict[str, Any]] = [
        component(packages[id], checksums) for id in ids if id != root
    ]
    edges = [
        {
            "ref": purl(packages[id]),
            "dependsOn": sorted(
                {purl(packages[d["pkg"]]) for d in nodes[id]["deps"] if d["pkg"] in ids}
            ),
        }
        for id in ids
    ]
    program = dict(component(packages[root], checksums), type="application")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, purl(packages[root]) + target + lock).urn,
        "version": 1,
        "metadata": {"component": program},
        "components": sorted(components, key=lambda one: str(one["bom-ref"])),
        "dependencies": sorted(edges, key=lambda one: str(one["ref"])),
    }


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default=TARGET, help=f"the platform ({TARGET})")
    print(json.dumps(document(parser.parse_args().target), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
