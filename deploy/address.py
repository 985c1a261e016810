"""Where a server listens."""

from typing import NamedTuple

from packages import Missing

LISTEN_DEFAULT = "127.0.0.1:8000"


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return "{}:{}".format("[%s]" % self.host if ":" in self.host else self.host, self.port)

    def is_loopback(self) -> bool:
        """Whether nobody but this machine can reach it."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    def url(self) -> str:
        """Its address for a client on this machine."""
        anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
        return f"http://{Address(anywhere.get(self.host, self.host), self.port)}"


def parse_address(variable: str, text: str) -> Address:
    """Reads host:port."""
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isdigit() and int(port) <= 65535):
        raise Missing(
            f"{variable}={text!r} is not an address",
            f"give host and port: {variable}={LISTEN_DEFAULT}",
        )
    return Address(host.strip("[]"), int(port))
