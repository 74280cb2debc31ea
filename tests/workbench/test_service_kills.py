"""The service is killed while it answers: what it acknowledged stays, the rest is taken up."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from pneumoscope.records import Record
from pneumoscope.records.verification import verify_record

pytestmark = pytest.mark.slow

COMMAND = Path(sys.executable).with_name("pneumoscope")
KILLS = 5


def _start(folder: Path, bundle: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [COMMAND, "serve", "--port", "0", "--record", folder, "--bundle", bundle,
         "--precision", "fp32", "--decoders", "1"],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    found = re.search(r"http://[\d.:]+", process.stderr.readline())
    assert found, process.stderr.read()
    return process, found[0]


def _kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stderr is not None
    process.stderr.close()


def test_nothing_acknowledged_is_lost_and_what_waits_is_taken_up(tmp_path, bundle, paint):
    chance = random.Random(7)
    promised: dict[str, str] = {}
    answered: dict[str, dict] = {}
    folder = tmp_path / "record"
    for _ in range(KILLS):
        process, address = _start(folder, bundle)
        try:
            with httpx.Client(base_url=f"{address}/api/v1", timeout=30) as api:
                files = [("files", (f"{n}.png", paint())) for n in range(20)]
                job = api.post("/jobs", files=files).json()
                promised |= {s["prediction"]: s["id"] for s in job["studies"]}
                for _ in range(chance.randint(0, 4)):
                    record = api.post("/predictions", files={"file": ("x.png", paint())}).json()
                    answered[record["id"]] = record
            time.sleep(chance.random() * 0.3)
        finally:
            _kill(process)
    process, address = _start(folder, bundle)
    try:
        with httpx.Client(base_url=f"{address}/api/v1", timeout=30) as api:
            for prediction, record in answered.items():
                assert api.get(f"/predictions/{prediction}").json() == record
            for prediction, study in promised.items():
                for _ in range(600):
                    shown = api.get(f"/predictions/{prediction}").json()
                    if shown["state"] == "done":
                        break
                    time.sleep(0.05)
                assert (shown["state"], shown["study"]) == ("done", study)
                assert shown["status"] == "ok"
    finally:
        _kill(process)
    with Record(folder) as record:
        assert verify_record(record, images=True).problems == ()
