#!/usr/bin/env python3
"""Looks for known vulnerabilities in the crates that Cargo.lock names.

The advisories lie beside this file (`advisories.jsonl`): a copy of RustSec's database, reduced to
what decides whether a version is affected. So the check needs no network, and is as new as the copy.

    python3 deploy/advisories.py check                 exit status 1 if a crate is vulnerable
    python3 deploy/advisories.py update CHECKOUT       takes a newer copy (Python 3.11 or newer)

CHECKOUT is a clone of https://github.com/RustSec/advisory-db. Its data are CC0-1.0; entries with
`license` are from the GitHub Advisory Database, under that licence, with their `url`.
"""

import argparse
import datetime
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

ROOT = Path(__file__).resolve().parent.parent
COPY = Path(__file__).resolve().parent / "advisories.jsonl"
# What is older says so at each check.
AGE_DAYS_MAX = 90

# Advisories that do not concern Holdfast, each with its reason.
ACCEPTED: Dict[str, str] = {}

# major, minor, patch; a release (1) comes after its pre-releases (0, identifiers).
Version = Tuple[int, int, int, Tuple[Any, ...]]
RELEASE: Tuple[Any, ...] = (1,)


def version(text: str) -> Version:
    """A version as semver orders it. Build metadata do not count."""
    core, _, pre = text.partition("+")[0].partition("-")
    numbers = [int(part) for part in core.split(".")]
    if not 1 <= len(numbers) <= 3:
        raise ValueError(f"{text!r} is no version")
    major, minor, patch = (numbers + [0, 0])[:3]
    if not pre:
        return (major, minor, patch, RELEASE)
    parts = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in pre.split(".")]
    return (major, minor, patch, (0, *parts))


def meets(found: Version, requirement: str) -> bool:
    """Whether a version meets all comparators of a requirement, as `>= 1.2, < 2`."""
    return all(meets_one(found, part.strip()) for part in requirement.split(","))


def meets_one(found: Version, comparator: str) -> bool:
    """Whether a version meets one comparator."""
    match = re.fullmatch(r"(>=|<=|>|<|=|\^|~)?\s*([0-9][0-9A-Za-z.+-]*)", comparator)
    if not match:
        raise ValueError(f"{comparator!r} is no comparator")
    sign, text = match.group(1) or "^", match.group(2)
    bound = version(text)
    parts = text.partition("+")[0].partition("-")[0].count(".") + 1
    if sign in ("<", ">="):
        return (found < bound) == (sign == "<")
    if sign == "^":
        # The first part that is not zero, or the last that is given, stays.
        stays = next((n for n in range(parts) if bound[n] != 0), parts - 1) + 1
    elif sign == "~":
        stays = min(parts, 2)
    else:
        # What is not given may be anything.
        stays = parts
    is_within = found[:stays] == bound[:stays] and (parts < 3 or sign in "^~" or found == bound)
    if sign == ">":
        return found > bound and not is_within
    if sign == "<=":
        return found < bound or is_within
    return is_within and found >= bound


def is_affected(advisory: Dict[str, Any], found: Version) -> bool:
    """Whether a version is neither mended nor older than the fault."""
    safe = advisory["patched"] + advisory["unaffected"]
    return not any(meets(found, requirement) for requirement in safe)


def locked(lock: str) -> Iterator[Tuple[str, str]]:
    """Names and versions of the crates that come from a registry."""
    for block in lock.split("[[package]]")[1:]:
        fields = dict(re.findall(r'^(name|version|source) = "([^"]*)"', block, re.MULTILINE))
        if fields.get("source", "").startswith("registry+"):
            yield fields["name"], fields["version"]


def read_copy() -> Tuple[Dict[str, str], List[Dict[str, Any]]]:
    """Where the copy is from, and its advisories."""
    head, *lines = COPY.read_text(encoding="utf-8").splitlines()
    return json.loads(head), [json.loads(line) for line in lines]


def check(lock: Path) -> int:
    """Prints what is known of the crates; 1 if any of it is a vulnerability."""
    origin, advisories = read_copy()
    crates = list(locked(lock.read_text(encoding="utf-8")))
    if not crates:
        print(f"{lock} names no crates of a registry", file=sys.stderr)
        return 1
    vulnerable = 0
    for name, text in crates:
        for advisory in advisories:
            if advisory["package"] != name or not is_affected(advisory, version(text)):
                continue
            kind = advisory.get("informational", "vulnerable")
            accepted = ACCEPTED.get(advisory["id"])
            reason = f" (accepted: {accepted})" if accepted else ""
            print(f"{kind}: {name} {text}: {advisory['id']} {advisory['title']}{reason}")
            vulnerable += kind == "vulnerable" and accepted is None
    age = (datetime.date.today() - datetime.date.fromisoformat(origin["date"])).days
    print(
        f"{len(crates)} crates against {len(advisories)} advisories of {origin['date']}: "
        f"{vulnerable} vulnerable"
    )
    if age > AGE_DAYS_MAX:
        print(
            f"The copy is {age} days old: what was found since is not seen. Take a newer one where "
            "GitHub is reached: python3 deploy/advisories.py update CHECKOUT"
        )
    return 1 if vulnerable else 0


def update(checkout: str) -> int:
    """Writes the copy anew from a clone, with or without a work tree."""
    import tomllib  # pylint: disable=import-outside-toplevel

    def git(*args: str) -> str:
        done = subprocess.run(["git", "-C", checkout, *args], stdout=subprocess.PIPE, check=True)
        return done.stdout.decode()

    commit, date = git("log", "-1", "--format=%H %cs").split()
    lines = [json.dumps({"source": "RustSec/advisory-db", "commit": commit, "date": date})]
    names = [name for name in git("ls-tree", "-r", "--name-only", "HEAD", "crates").splitlines()]
    for name in sorted(name for name in names if name.endswith(".md")):
        front, _, rest = git("show", f"HEAD:{name}").partition("```toml\n")[2].partition("\n```")
        parsed = tomllib.loads(front)
        entry, versions = parsed["advisory"], parsed.get("versions", {})
        if "withdrawn" in entry:
            continue
        title = re.search(r"^# (.+)$", rest, re.MULTILINE)
        line = {
            "id": entry["id"],
            "package": entry["package"],
            "patched": versions.get("patched", []),
            "unaffected": versions.get("unaffected", []),
            "title": title.group(1).strip() if title else "",
        }
        line.update({key: entry[key] for key in ("informational",) if key in entry})
        if "license" in entry:
            line.update(license=entry["license"], url=entry.get("url", ""))
        for requirement in line["patched"] + line["unaffected"]:
            meets(version("1.0.0"), requirement)
        lines.append(json.dumps(line, ensure_ascii=False))
    COPY.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines) - 1} advisories of {date}")
    return 0


def main() -> int:
    """Runs a command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.required = True
    checks = commands.add_parser("check", help="exit status 1 if a crate is vulnerable")
    checks.add_argument("--lock", type=Path, default=ROOT / "Cargo.lock", help="default: ours")
    updates = commands.add_parser("update", help="take a newer copy from a clone")
    updates.add_argument("checkout", metavar="CHECKOUT")
    args = parser.parse_args()
    return check(args.lock) if args.command == "check" else update(args.checkout)


if __name__ == "__main__":
    sys.exit(main())
