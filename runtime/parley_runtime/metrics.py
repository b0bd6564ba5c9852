"""What a node counts, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable


class LoopCounts(Collector):
    """Counts of the hot path. Plain numbers, raised on the event loop only: a Counter with its lock costs ten
    times as much, several times per message.
    """

    def __init__(self) -> None:
        self.events_delivered = 0
        self.frames_sent = 0
        self.stream_requests: dict[tuple[str, str], int] = {}
        self.call_faults: dict[tuple[str, str], int] = {}

    def collect(self) -> Iterable[CounterMetricFamily]:
        """As Prometheus wants them."""
        yield CounterMetricFamily(
            "parley_events_delivered", "Events handed to sessions.", value=self.events_delivered
        )
        yield CounterMetricFamily("parley_frames_sent", "Frames written to streams.", value=self.frames_sent)
        requests = CounterMetricFamily(
            "parley_stream_requests", "Requests answered on streams.", labels=("request", "code")
        )
        for labels, count in self.stream_requests.items():
            requests.add_metric(labels, count)
        yield requests
        faults = CounterMetricFamily(
            "parley_call_faults", "Calls that the transport ended by itself.", labels=("cause", "code")
        )
        for labels, count in self.call_faults.items():
            faults.add_metric(labels, count)
        yield faults

    def count_stream_request(self, request: str, code: str) -> None:
        """A request on a stream was answered."""
        requests = self.stream_requests
        requests[request, code] = requests.get((request, code), 0) + 1

    def count_call_fault(self, cause: str, code: str) -> None:
        """A call ended for a reason below its handler."""
        faults = self.call_faults
        faults[cause, code] = faults.get((cause, code), 0) + 1


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
        self.counts = LoopCounts()
        self.registry.register(self.counts)
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
