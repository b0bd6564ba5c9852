"""What a server can be told. Bounds of one connection's protocol are in `Limits`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from parley_wire.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Settings of a server. Times are in seconds."""

    limits: Limits = field(default_factory=Limits)
    """Bounds of each connection."""
    receive_message_bytes: int = 4 * 1024 * 1024
    """Largest request message, decompressed. A larger one ends its call with RESOURCE_EXHAUSTED."""
    receive_raw_message_bytes: int | None = None
    """The same for `RawMethod`s, whose handlers may refuse a message by itself and go on. None: the same."""
    partial_messages_bytes: int = 256 * 1024 * 1024
    """Bytes of unfinished request messages of all calls. The call that passes it ends with
    RESOURCE_EXHAUSTED."""
    held_bytes: int = 512 * 1024 * 1024
    """Bytes that wait on all connections, for peers that do not take them or for handlers that do not read.
    Beyond it the connections that hold the most are closed."""
    concurrent_calls: int | None = None
    """Calls at a time, half-sent ones included. One more ends with RESOURCE_EXHAUSTED. None: no bound beyond
    those of the connections."""
    connections: int = 100_000
    """Open connections. One more is closed at once."""
    connections_per_address: int = 100_000
    """The same from one address. Lower it where clients connect directly and not through a proxy."""
    unfinished_handshakes: int = 1000
    """TLS handshakes at a time. A connection beyond it is closed at once."""
    handshake_seconds: float = 10.0
    """How long TLS, and then the client's preface and SETTINGS, may take. Then the connection is closed."""
    header_seconds: float = 10.0
    """How long a header block may take once it began. Then the connection is given up."""
    request_seconds: float = 60.0
    """How long the request of a method with one request may take. Then the call ends with
    DEADLINE_EXCEEDED."""
    send_stall_seconds: float = 300.0
    """A stream whose waiting data does not move for so long is reset, a connection that takes nothing is
    closed."""
    keepalive_seconds: float = 60.0
    """A connection from which nothing came for so long is pinged."""
    keepalive_timeout_seconds: float = 20.0
    """How long the answer to that may take. Then the connection is closed."""
    connection_age_seconds: float = 0.0
    """A connection of this age, give or take a tenth, is told to go away, so that load spreads again.
    0: never."""
    connection_age_grace_seconds: float = 60.0
    """How long its calls may take then. Afterwards it is closed."""
    cancellation_seconds: float = 5.0
    """How long handlers may take to end once `stop` has cancelled them. The methods of those that still run
    then are named in the log, and the tasks left to the loop."""
    sweep_seconds: float = 1.0
    """How often all the above is looked after, but for TLS and header blocks, which have timers."""
    mistaken_client_lines_per_minute: int = 6
    """Lines in the log about clients that speak TLS to a port without, or plain text to one with TLS. Those
    beyond it are counted, and told with the next line."""
    given_up_lines_per_minute: int = 60
    """The same for lines about connections that were given up."""
    reuse_port: bool = False
    """Several processes may listen on one port; the kernel spreads connections over them."""
    backlog: int = 4096
    """Connections that wait to be accepted; the kernel may allow fewer."""
    write_buffer_bytes: int = 64 * 1024
    """Bytes that one socket may hold back before its streams are told to wait."""

    def __post_init__(self) -> None:
        """Raises ValueError for a value that cannot be used."""
        for setting in fields(self):
            value = getattr(self, setting.name)
            if isinstance(value, int | float) and value < 0:
                raise ValueError(f"{setting.name} must not be negative")
        if self.sweep_seconds == 0:
            raise ValueError("sweep_seconds must be greater than 0")
