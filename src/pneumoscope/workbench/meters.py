"""Meters: what the service counts about itself, without a word about anybody."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from pneumoscope.evaluation import Drift
from pneumoscope.workbench.drift import Watched

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

    def follow_drift(self, look: Callable[[], Iterable[Watched]]) -> None:
        """Tell of drift too, as it stands when somebody collects."""
        self.registry.register(_DriftMeter(look))


class _DriftMeter(Collector):
    def __init__(self, look: Callable[[], Iterable[Watched]]) -> None:
        self._look = look

    def collect(self) -> Iterable[Metric]:
        index = GaugeMetricFamily(
            "pneumoscope_drift_index",
            "Population stability index of the latest answers beside the calibration part.",
            labels=["measure"],
        )
        alarm = GaugeMetricFamily(
            "pneumoscope_drift_alarm",
            "1 where the index is beyond its limit and beyond chance, 0 elsewhere.",
            labels=["measure"],
        )
        for watched in self._look():
            if watched.stability.drift is not Drift.TOO_FEW:
                index.add_metric([watched.name], watched.stability.index)
            alarm.add_metric([watched.name], float(watched.is_alarming))
        return [index, alarm]
