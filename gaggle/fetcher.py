"""What a worker without a load test says and does until it has the manager's. No sockets, as in worker.py."""

from __future__ import annotations

from dataclasses import dataclass, field

from gaggle import parcel
from gaggle.errors import ProtocolError
from gaggle.parcel import Parcel
from gaggle.protocol import FROM_MANAGER, Fetch, Message, Piece, Refused, advance
from gaggle.worker import End


@dataclass(frozen=True, slots=True)
class Unpack:
    """The load test is here, whole: write it, and join with it."""

    parcel: Parcel


@dataclass(slots=True)
class Fetcher:
    """Asks for one piece after the other, over as many sessions as it takes."""

    state: str = "fetching"
    outbox: list[Message] = field(default_factory=list)
    todo: list[Unpack | End] = field(default_factory=list)
    _digest: str = ""
    _pieces: list[bytes] = field(default_factory=list)

    def connected(self) -> None:
        """Ask for what is missing."""
        self.outbox.append(Fetch(len(self._pieces)))

    def disconnected(self) -> None:
        """What has come stays: the next session goes on from there."""

    def hear(self, message: Message, now_ns: int) -> None:
        """Take what the manager said. Raises ProtocolError for what may not come now, or cannot be a load test."""
        self.state = advance(FROM_MANAGER, self.state, message)
        if isinstance(message, Refused):
            self.todo.append(End(f"the manager refused this worker: {message.reason}"))
        elif isinstance(message, Piece):
            self._take(message)

    def _take(self, piece: Piece) -> None:
        if self._pieces and piece.digest != self._digest:  # the manager was started again, with another load test
            self._pieces = []
            self.connected()
            return
        if piece.part != len(self._pieces) or piece.part >= piece.parts:
            raise ProtocolError(f"piece {piece.part} of a load test where {len(self._pieces)} is due")
        self._digest = piece.digest
        self._pieces.append(piece.data)
        if sum(map(len, self._pieces)) > parcel.MOST_BYTES + 2**20 or not piece.data:
            raise ProtocolError("a load test that is too large, or has empty pieces")
        if len(self._pieces) < piece.parts:
            self.connected()
        else:
            self._finish(b"".join(self._pieces))

    def _finish(self, data: bytes) -> None:
        if parcel.digest_of(data) != self._digest:
            raise ProtocolError("the load test is not what the manager announced")
        try:
            self.todo.append(Unpack(parcel.unpack(data)))
        except ValueError as error:
            raise ProtocolError(f"the manager's load test is refused: {error}") from None
        self.state = "ended"
