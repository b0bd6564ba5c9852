"""What a handler may ask of its call, and set for its end: the part of `grpc.aio.ServicerContext` that sends
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from parley_wire.call import Call
from parley_wire.log import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from parley_wire.metadata import Metadata
    from parley_wire.request import Request
    from parley_wire.server_connection import ServerConnection
    from parley_wire.stream import Stream

_ENCODINGS = {
    grpc.Compression.NoCompression: "identity",
    grpc.Compression.Gzip: "gzip",
    grpc.Compression.Deflate: "deflate",
}


class CallContext(Call, grpc.aio.ServicerContext):  # type: ignore[type-arg]
    """The context of a call; `ServicerCall` adds what sends and receives."""

    __slots__ = (
        "_cancelled",
        "_code",
        "_compress_next",
        "_deadline_at",
        "_details",
        "_done",
        "_done_callbacks",
        "_encoding",
        "_trailing",
    )

    def __init__(self, connection: ServerConnection, stream: Stream, request: Request) -> None:
        super().__init__(connection, stream, request)
        timeout = request.timeout_seconds
        self._deadline_at = None if timeout is None else connection.server.loop.time() + timeout
        self._code: grpc.StatusCode = grpc.StatusCode.OK
        self._details = ""
        self._trailing: Metadata = ()
        self._encoding = connection.server.encoding_for(request)
        self._compress_next = True
        self._cancelled = False
        self._done = False
        self._done_callbacks: list[Callable[[Any], None]] | None = None

    @property
    def path(self) -> str:
        """The method's path."""
        return self._request.path

    def invocation_metadata(self) -> Metadata:  # type: ignore[override]
        return self._request.metadata

    def set_trailing_metadata(self, trailing_metadata: Iterable[tuple[str, str | bytes]]) -> None:
        self._trailing = tuple(trailing_metadata)

    def trailing_metadata(self) -> Metadata:  # type: ignore[override]
        return self._trailing

    def set_code(self, code: grpc.StatusCode) -> None:
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code

    def set_details(self, details: str) -> None:
        self._details = details

    def details(self) -> str:
        return self._details

    def set_compression(self, compression: grpc.Compression) -> None:
        if self._headers_sent:
            raise grpc.aio.UsageError("set the compression before anything is sent")
        wanted = _ENCODINGS[compression]
        self._encoding = wanted if wanted in self._request.accepts else "identity"

    def disable_next_message_compression(self) -> None:
        self._compress_next = False

    def peer(self) -> str:
        return self._connection.peer

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return self._connection.auth_context

    def peer_identity_key(self) -> str | None:
        identities = ("x509_subject_alternative_name", "x509_common_name")
        return next((key for key in identities if key in self._connection.auth_context), None)

    def peer_identities(self) -> Iterable[bytes] | None:
        key = self.peer_identity_key()
        return None if key is None else self._connection.auth_context[key]

    def time_remaining(self) -> float:
        if self._deadline_at is None:
            return None  # type: ignore[return-value]  # what grpc.aio documents
        return max(0.0, self._deadline_at - self._connection.server.loop.time())

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        if self._done:
            callback(self)
        elif self._done_callbacks is None:
            self._done_callbacks = [callback]
        else:
            self._done_callbacks.append(callback)

    def cancelled(self) -> bool:
        return self._cancelled

    def done(self) -> bool:
        return self._done

    # For the call

    def _check_open(self) -> None:
        if self._done:
            raise grpc.aio.UsageError("the call is over")

    def _tell_done(self) -> None:
        callbacks, self._done_callbacks = self._done_callbacks, None
        for callback in callbacks or ():
            try:
                callback(self)
            except Exception:
                log.exception("a done callback of %s failed", self._request.path)
