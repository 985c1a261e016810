"""A line of progress: redrawn in place on a terminal, else written now and then."""

import shutil
import sys
import time

from packages import say

COLUMNS_MAX = 80
# Where lines cannot be redrawn, one in so many seconds is enough for a log.
QUIET_SECONDS = 15


class ProgressLine:
    """The line on stderr. Ends with the block that it is used in."""

    def __init__(self) -> None:
        self.is_live = sys.stderr.isatty()
        self.began = time.monotonic()
        self.next_at = self.began + QUIET_SECONDS

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_live:
            say("\r\033[K", end="")

    def seconds(self) -> float:
        """The time since its beginning."""
        return time.monotonic() - self.began

    def show(self, text: str) -> None:
        """Shows what is so now, cut to one line."""
        if self.is_live:
            columns = min(shutil.get_terminal_size().columns, COLUMNS_MAX)
            # The last column stays empty: some terminals wrap there.
            say(f"\r{text[: columns - 1]}\033[K", end="")
        elif time.monotonic() >= self.next_at:
            self.next_at = time.monotonic() + QUIET_SECONDS
            say(text[: COLUMNS_MAX - 1])


def bar(share: float, columns: int, held: float = 0.0) -> str:
    """A bar that is full at a share of 1; what is held is drawn behind."""
    full = round(columns * min(share, 1.0))
    more = round(columns * min(share + held, 1.0)) - full
    return "[" + "#" * full + "+" * more + "." * (columns - full - more) + "]"


def clock(seconds: float) -> str:
    """Minutes and seconds: 1:05."""
    return "{}:{:02d}".format(*divmod(int(seconds), 60))
