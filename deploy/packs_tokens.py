"""Bearer tokens for `make packs`: HS256, by the standard library."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from pathlib import Path
from typing import Dict, Tuple

AUDIENCE = "tickets"
USERS = 200
VALID_SECONDS = 3600


def write_tokens(state: Path) -> Tuple[Path, Path]:
    """Writes a key and a token for each of some users; returns the tokens' file and the key's."""
    key, key_file, tokens = secrets.token_hex(32), state / "jwt-key", state / "tokens.txt"
    key_file.write_text(key)
    expires = int(time.time()) + VALID_SECONDS
    claims = [{"sub": f"buyer-{n}", "exp": expires, "aud": AUDIENCE} for n in range(USERS)]
    tokens.write_text("".join(token(one, key) + "\n" for one in claims))
    return tokens, key_file


def token(claims: Dict[str, object], key: str) -> str:
    """A signed token."""
    parts = [
        encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)
    ]
    signed = ".".join(parts)
    mac = hmac.new(key.encode(), signed.encode(), hashlib.sha256).digest()
    return signed + "." + encoded(mac)


def encoded(data: bytes) -> str:
    """Base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
