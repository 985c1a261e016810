"""The seats of an event as the server pushes them: a byte a seat."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._schema import PushMessageSeatUpdate, PushMessageSnapshot, SeatStatus

_STATUS_OF_BYTE: dict[str, SeatStatus] = {
    "a": "AVAILABLE",
    "h": "HOLD",
    "b": "BOOKED",
    "x": "BLOCKED",
}
_FORMAT = b"1"


class SeatStates:
    """The states of all seats of an event, at a version. Seats are numbered from 1."""

    def __init__(self, data: bytes, generation: int, version: int) -> None:
        """Reads the bytes of a snapshot, or of a seat map as `application/octet-stream`."""
        if data[:1] != _FORMAT:
            raise ValueError("not a seat map of format 1")
        letters = data[1:].decode("latin-1")
        self._states = [_STATUS_OF_BYTE[letter.lower()] for letter in letters]
        self._row_starts = {n for n, letter in enumerate(letters, 1) if letter.isupper()}
        self.generation = generation
        self.version = version

    @classmethod
    def from_snapshot(cls, message: PushMessageSnapshot) -> SeatStates:
        """The seats of a `snapshot`."""
        data = base64.b64decode(message["bytes"])
        return cls(data, message["generation"], message["version"])

    def __len__(self) -> int:
        return len(self._states)

    def __getitem__(self, seat: int) -> SeatStatus:
        if not 1 <= seat <= len(self._states):
            raise IndexError(seat)
        return self._states[seat - 1]

    def begins_row(self, seat: int) -> bool:
        """Whether a row, or a section without rows, begins with this seat."""
        return seat in self._row_starts

    def with_status(self, status: SeatStatus) -> list[int]:
        """The seats in a state, ascending."""
        return [seat for seat, state in enumerate(self._states, 1) if state == status]

    def apply(self, message: PushMessageSeatUpdate) -> bool:
        """Takes a change. False: changes before it are missing, a new snapshot is needed."""
        if message["generation"] != self.generation or message["since"] > self.version:
            return False
        for seat in message["seat_ids"]:
            self._states[seat - 1] = message["status"]
        self.version = max(self.version, message["version"])
        return True
