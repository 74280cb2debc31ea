"""Meters: what the service counts about itself, without a word about anybody."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Meters:
    """The meters of one service, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "pneumoscope_requests",
            "Requests by method, route and status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "pneumoscope_request_seconds",
            "Seconds from a request's first byte to the start of its answer, by route.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.answers = Counter(
            "pneumoscope_answers",
            "Answers by decision; ERROR for what could not be read.",
            ["decision"],
            registry=self.registry,
        )
        self.on_their_way = Gauge(
            "pneumoscope_images_on_their_way",
            "Images in the works for callers who wait or from the queue.",
            registry=self.registry,
        )
        self.waiting = Gauge(
            "pneumoscope_images_waiting", "Images in the queue.", registry=self.registry
        )
