#!/usr/bin/env python3
"""Makes the secrets of a deployment, once: passwords, the key of tokens, an admin key.

    python3 deploy/new_secrets.py                   secrets/compose.env and secrets/keys/jwt, for Docker
    python3 deploy/new_secrets.py --kubernetes      a Secret for the chart (deploy/helm/holdfast), on
                                                    standard output: … | kubectl apply -f -

The admin key is shown once, on standard error; only its SHA-256 is kept. Files that are there are kept, and
nothing is written: to change one secret see docs/DEPLOYMENT.md, "Changing keys".
"""

import argparse
import hashlib
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Dict

ROOT = Path(__file__).resolve().parent.parent
SECRET_BYTES = 32
PASSWORD_BYTES = 24
PASSWORDS = (
    "MONGODB_ROOT_PASSWORD",
    "MONGODB_PASSWORD",
    "REDIS_API_PASSWORD",
    "REDIS_WORKER_PASSWORD",
    "REDIS_CTL_PASSWORD",
    "GRAFANA_PASSWORD",
)


def new_admin_key() -> str:
    """Shows a new admin key and returns its SHA-256."""
    key = secrets.token_hex(SECRET_BYTES)
    print(f"Admin key, shown once (X-Admin-Key): {key}", file=sys.stderr)
    return hashlib.sha256(key.encode()).hexdigest()


def token_secret() -> str:
    """A secret that signs the waiting room's tokens, with its id."""
    return "k1:" + secrets.token_hex(SECRET_BYTES)


def compose_env() -> str:
    """The variables that docker-compose.yml needs."""
    # Letters and digits: they are parts of URLs.
    values: Dict[str, str] = {name: secrets.token_hex(PASSWORD_BYTES) for name in PASSWORDS}
    values["ADMIN_KEY_SHA256"] = new_admin_key()
    values["TOKEN_SECRETS"] = token_secret()
    return "".join(f"{name}={value}\n" for name, value in values.items())


def write_private(path: Path, text: str, mode: int) -> None:
    """Writes a file that must not be there yet."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)


def write_compose(folder: Path) -> int:
    """Writes the files for docker-compose.yml."""
    env, key = folder / "compose.env", folder / "keys" / "jwt"
    there = [str(path) for path in (env, key) if path.exists()]
    if there:
        print(f"{' and '.join(there)}: there already, nothing is changed.", file=sys.stderr)
        return 1
    folder.mkdir(mode=0o700, exist_ok=True)
    key.parent.mkdir(mode=0o755, exist_ok=True)
    # Read by the containers' user; `folder` keeps it from this machine's others.
    write_private(key, secrets.token_hex(SECRET_BYTES) + "\n", 0o644)
    write_private(env, compose_env(), 0o600)
    print(f"Written: {env}, {key}", file=sys.stderr)
    return 0


def kubernetes_secret(name: str) -> Dict[str, object]:
    """The chart's Secret; the addresses of Redis and MongoDB are to be filled in."""
    data = {
        "HOLDFAST_ADMIN_KEYS_SHA256": "ops:" + new_admin_key(),
        "HOLDFAST_TOKEN_SECRETS": token_secret(),
        "redis-url-api": "rediss://holdfast-api:PASSWORD@redis.example:6379",
        "redis-url-worker": "rediss://holdfast-worker:PASSWORD@redis.example:6379",
        "redis-url-ctl": "rediss://holdfast-ctl:PASSWORD@redis.example:6379",
        "mongodb-url": "mongodb://holdfast:PASSWORD@mongodb.example:27017/?replicaSet=rs0&tls=true",
        "jwt-key": secrets.token_hex(SECRET_BYTES),
    }
    metadata = {"name": name}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "secrets", help="where to write")
    parser.add_argument("--kubernetes", action="store_true", help="print a Secret instead")
    parser.add_argument("--name", default="holdfast", help="the Secret's name (holdfast)")
    args = parser.parse_args()
    if not args.kubernetes:
        return write_compose(args.folder)
    print(json.dumps(kubernetes_secret(args.name), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
