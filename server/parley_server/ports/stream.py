"""The seam to the transport: all that chat code knows of a gRPC stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parley_runtime.refusal import Refusal


class DeviceStream(Protocol):
    """The server's end of one open stream. All methods are plain calls on the event loop and never block."""

    @property
    def peer(self) -> str:
        """The caller's address, as the transport prints it."""
        ...

    @property
    def metadata(self) -> Mapping[str, str]:
        """The call's text metadata, keys in lower case; the last value of a repeated key.

        While `StreamHandler.opened` runs: a transport may forget it afterwards.
        """
        ...

    def send_encoded(self, message: bytes) -> bool:
        """Send one encoded message. The bytes are always taken, in order.

        False means: send no more until `StreamHandler.writable`. After `close` the call does nothing and
        returns False.
        """
        ...

    def close(self, refusal: Refusal | None) -> None:
        """End the stream after all taken bytes: with OK, or with the refusal's status. Only the first call
        counts.
        """
        ...


class StreamHandler(Protocol):
    """The server's side of one stream. The transport calls it, in this order, on the event loop.

    Laws: `opened` first; `received` in the order of the wire; `half_closed` at most once and `received` never
    after it; `closed` exactly once, last, whoever ended the stream. No method raises.
    """

    def opened(self, stream: DeviceStream) -> None:
        """The stream is there. Bytes may be sent from now on."""
        ...

    def received(self, message: bytes) -> None:
        """One encoded message came."""
        ...

    def writable(self) -> None:
        """After `send_encoded` returned False: bytes may be sent again."""
        ...

    def half_closed(self) -> None:
        """The client will send no more; it still reads."""
        ...

    def closed(self) -> None:
        """The stream is gone. Nothing sent from now on reaches anybody."""
        ...
