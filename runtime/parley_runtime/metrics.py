"""What a node counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """A node's counters in a registry of their own, so that several nodes fit one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = Counter(
            "parley_calls", "Unary calls answered.", ("method", "code"), registry=self.registry
        )
        self.call_seconds = Histogram(
            "parley_call_seconds", "Time to answer a unary call.", ("method",), registry=self.registry
        )
        self._stream_requests = Counter(
            "parley_stream_requests",
            "Requests answered on streams.",
            ("request", "code"),
            registry=self.registry,
        )
        # Looking a label up costs more than counting it.
        self._by_request: dict[tuple[str, str], Counter] = {}
        self.streams_open = Gauge("parley_streams_open", "Open streams.", registry=self.registry)
        self.streams_ended = Counter(
            "parley_streams_ended", "Streams ended by the server.", ("reason",), registry=self.registry
        )
        self.streams_lagged = Counter(
            "parley_streams_lagged", "Times that a stream fell behind its reader.", registry=self.registry
        )
        self.streams_waiting_bytes = Gauge(
            "parley_streams_waiting_bytes",
            "Bytes that wait to be written to streams.",
            registry=self.registry,
        )
        self.events_delivered = Counter(
            "parley_events_delivered", "Events handed to sessions.", registry=self.registry
        )
        self.frames_sent = Counter("parley_frames_sent", "Frames written to streams.", registry=self.registry)

    def count_stream_request(self, request: str, code: str) -> None:
        """A request on a stream was answered."""
        counter = self._by_request.get((request, code))
        if counter is None:
            counter = self._by_request[request, code] = self._stream_requests.labels(request, code)
        counter.inc()
