"""The monitoring page: volume, rates, drift, agreement with readers, and time taken."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from pneumoscope.evaluation import wilson_interval
from pneumoscope.evaluation.stability import ALARM, MINIMUM, WATCH
from pneumoscope.workbench import drift, monitoring
from pneumoscope.workbench.calibration_part import read_calibration_part
from pneumoscope.workbench.dependencies import get_service
from pneumoscope.workbench.monitoring import Agreement, Volume
from pneumoscope.workbench.pages.charts import draw_agreement, draw_shares, draw_volume
from pneumoscope.workbench.pages.layout import render

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/monitoring")
def show_monitoring(request: Request) -> HTMLResponse:
    """Return the monitoring page."""
    service = get_service(request)
    predictor = service.predictor
    bundle = predictor.bundle.sha256
    now = datetime.now(UTC)
    since = now - timedelta(days=monitoring.DAYS)
    days = monitoring.list_days(now)
    with service.record.read() as session:
        volumes = monitoring.count_by_day(session, bundle, days)
        watched = drift.measure_drift(session, predictor.bundle, now)
        agreements = monitoring.count_agreements(session, bundle, since)
        latency = monitoring.measure_latency(session, bundle)
        others = monitoring.count_others(session, bundle, since)
    expected = monitoring.expect_rates(
        read_calibration_part(predictor.bundle),
        predictor.rule_out,
        predictor.rule_in,
        predictor.threshold,
    )
    return render(
        request,
        "monitoring.html",
        periods=[
            (title, sum((volumes[day] for day in days[-span:]), Volume()))
            for title, span in (("Today", 1), ("7 days", 7), ("30 days", monitoring.DAYS))
        ],
        others=others,
        days=[(day, volumes[day]) for day in days],
        volume_chart=draw_volume([(day, volumes[day]) for day in days]),
        expected=expected,
        watched=[(w, draw_shares(w.stability)) for w in watched],
        watch_limit=WATCH,
        alarm_limit=ALARM,
        minimum=MINIMUM,
        span=drift.DAYS,
        most=drift.MOST,
        agreements=agreements,
        agreement_chart=draw_agreement(agreements, days),
        agreement=_sum_up(agreements),
        latency=latency,
    )


def _sum_up(agreements: list[Agreement]) -> dict[str, Any]:
    agreed, read = sum(a.agreed for a in agreements), sum(a.read for a in agreements)
    return {
        "agreed": agreed,
        "read": read,
        "share": agreed / read if read else None,
        "interval": wilson_interval(agreed, read),
    }
