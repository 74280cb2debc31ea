"""The service under load, beside the runtime's own batch rate and the usual peer.

    PNEUMOSCOPE_DATA=data python benchmarks/serving.py --precision bf16

The folder holds chest_xray/train/*/*.jpeg, 224 pixels a side; every request carries other bytes.
Client, service and peer run one after the other as processes of this machine; what the client takes
of the processor is told apart. Runs on Linux. Prints tables; the last line is the share of the
batch rate that the service reaches with 64 clients.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import Disturbance, describe_machine

PEERS = Path(__file__).parent / "peers"
LOAD = Path(__file__).parent / "load.py"
TOOLS = Path(sys.executable).parent
#: Of the issue of every request in a row, in milliseconds; and of the batch rate.
TARGET_P50, TARGET_SHARE = 25.0, 0.5
#: Growth of all processes of the service from the first tenth of a long run on, in MiB.
ALLOWED = 60


@dataclass(frozen=True)
class Load:
    """What one run of the client saw."""

    seconds: float
    statuses: Counter[str]
    milliseconds: list[float]
    """Of the requests that were answered, sorted."""
    client_cores: float
    """Of the processor that the client kept busy."""
    retry_after: int
    """Refusals that said when to come back."""

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.milliseconds) / self.seconds

    def percentile(self, share: float) -> float:
        """Return how long that share of the answers took at most, in milliseconds."""
        return self.milliseconds[
            min(int(share * len(self.milliseconds)), len(self.milliseconds) - 1)
        ]


def run_load(address: str, files: Path, requests: int, clients: int, seed: int) -> Load:
    """Send requests from a process of its own."""
    command = [
        sys.executable,
        str(LOAD),
        address,
        str(files),
        str(requests),
        str(clients),
        str(seed),
    ]
    seen = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return Load(
        seen["seconds"],
        Counter(seen["statuses"]),
        sorted(seen["milliseconds"]),
        seen["processor_seconds"] / seen["seconds"],
        seen["retry_after"],
    )


@contextmanager
def serve(precision: str, record: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Yield the address of a service of ours, and its process."""
    port = _find_port()
    command = [str(TOOLS / "pneumoscope"), "serve", "--port", str(port), "--precision", precision]
    with _run([*command, "--record", str(record)], f"http://127.0.0.1:{port}/api/v1/ready") as one:
        yield f"127.0.0.1:{port}/api/v1/predictions", one


@contextmanager
def serve_peer() -> Iterator[str]:
    """Yield the address of the usual peer."""
    port = _find_port()
    command = [sys.executable, str(PEERS / "eager_service.py"), str(port)]
    with _run(command, f"http://127.0.0.1:{port}/health"):
        yield f"127.0.0.1:{port}/predict"


@contextmanager
def _run(command: list[str], ready: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(ready, timeout=5).read()
                break
            except OSError:
                if process.poll() is not None:
                    raise RuntimeError(f"{command[0]} did not start") from None
                time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _find_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure_batch_rate(files: list[Path], precision: str) -> float:
    """Return the images a second of the runtime alone on the same files, decoding included."""
    code = (
        "import sys, time, pneumoscope\n"
        "names = sys.stdin.read().split('\\n')\n"
        "data = [open(name, 'rb').read() for name in names]\n"
        "from pneumoscope.runtime import count_cores\n"
        "predictor = pneumoscope.load(precision=sys.argv[1], streams=count_cores())\n"
        "list(predictor.predict_many(data[:32]))\n"
        "started = time.perf_counter()\n"
        "for _ in range(2): list(predictor.predict_many(data))\n"
        "print(2 * len(data) / (time.perf_counter() - started))\n"
    )
    names = "\n".join(map(str, files))
    done = subprocess.run(
        [sys.executable, "-c", code, precision], input=names, text=True, check=True,
        capture_output=True,
    )  # fmt: skip
    return float(done.stdout)


def measure_memory(process: subprocess.Popen[bytes]) -> float:
    """Return what a service's processes hold in RAM together, in MiB; shared pages count once."""
    total = 0
    for pid in _list_tree(process.pid):
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += int(
            next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1]
        )
    return total / 1024


def _list_tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        found = [int(child) for child in children.read_text().split()]
    except OSError:
        return []
    return [pid, *itertools.chain.from_iterable(map(_list_tree, found))]


def count_studies(address: str) -> int:
    """Return how many studies a service holds."""
    place = address.partition("/")[0]
    with urllib.request.urlopen(f"http://{place}/api/v1/studies?limit=1") as answer:
        return int(json.load(answer)["total"])


def show(name: str, load: Load) -> None:
    """Print one run as a row."""
    refused = sum(count for status, count in load.statuses.items() if status in {"429", "503"})
    print(
        f"| {name} | {load.rate:.1f} | {load.percentile(0.5):.0f} | {load.percentile(0.95):.0f} | "
        f"{load.percentile(0.99):.0f} | {refused} | {load.client_cores:.2f} |",
        flush=True,
    )


def main() -> None:
    """Measure, print, and fail where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", default="bf16", help="fp32, bf16, int8 or auto")
    parser.add_argument("--requests", type=int, default=2000, help="of each run with many clients")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--memory", type=int, metavar="N", help="send N requests, watch memory only"
    )
    parser.add_argument(
        "--single", type=int, metavar="N", help="one client only, 200 requests N times"
    )
    options = parser.parse_args()
    data = Path(os.environ.get("PNEUMOSCOPE_DATA", "data"))
    files = sorted(data.glob("chest_xray/train/*/*.jpeg")) or sorted(data.glob("train/*/*.jpeg"))
    if not files:
        sys.exit(f"{data} holds no chest_xray/train/*/*.jpeg: set PNEUMOSCOPE_DATA.")
    files = files[:: max(1, len(files) // 400)]
    with tempfile.TemporaryDirectory() as name:
        listed = Path(name) / "files.txt"
        listed.write_text("\n".join(map(str, files)))
        if options.memory:
            watch_memory(options.precision, listed, options.memory, Path(name))
            return
        if options.single:
            time_single(options.precision, listed, options.single, Path(name))
            return
        compare(options, files, listed, Path(name))


def compare(options: Any, files: list[Path], listed: Path, folder: Path) -> None:
    """Measure rates and latencies, ours and the peer's in turn."""
    print(json.dumps(describe_machine()), flush=True)
    rates, shares, lost = [], [], 0
    print("| | answers/s | p50 ms | p95 ms | p99 ms | refused | cores of the client |")
    print("|---|---|---|---|---|---|---|")
    others = Disturbance()
    for turn in range(options.rounds):
        rates.append(measure_batch_rate(files, options.precision))
        with serve(options.precision, folder / f"record-{turn}") as (address, _):
            run_load(address, listed, 50, 4, seed=1000 + turn)  # warm
            single = run_load(address, listed, 200, 1, seed=10 * turn)
            many = run_load(address, listed, options.requests, 64, seed=10 * turn + 1)
            over = run_load(address, listed, options.requests, 600, seed=10 * turn + 2)
            sent = 50 + sum(load.statuses["201"] for load in (single, many, over))
            lost += sent - count_studies(address)
        with serve_peer() as address:
            run_load(address, listed, 20, 1, seed=1)
            peer_single = run_load(address, listed, 100, 1, seed=2)
            peer = run_load(address, listed, max(100, options.requests // 4), 64, seed=3)
        show(f"ours, {options.precision}, 1 client", single)
        show(f"ours, {options.precision}, 64 clients", many)
        show(f"ours, {options.precision}, 600 clients", over)
        show("PyTorch eager, 1 client", peer_single)
        show("PyTorch eager, 64 clients", peer)
        shares.append(many.rate / rates[-1])
    print(f"\nThe runtime alone: {', '.join(f'{rate:.1f}' for rate in rates)} images/s.")
    print(f"Lost: {lost}. Other programs kept {others.measure_cores():.2f} cores busy.")
    print(f"{statistics.median(shares):.0%} of the batch rate with 64 clients")
    sys.exit(lost != 0)


def time_single(precision: str, listed: Path, rounds: int, folder: Path) -> None:
    """Print how long one request after the other takes."""
    others = Disturbance()
    with serve(precision, folder / "record") as (address, _):
        run_load(address, listed, 50, 4, seed=0)  # warm
        for turn in range(rounds):
            load = run_load(address, listed, 200, 1, seed=turn + 1)
            shares = (0.1, 0.5, 0.9, 0.99)
            shown = "  ".join(f"p{100 * s:.0f} {load.percentile(s):.1f} ms" for s in shares)
            print(f"{precision}, one client: {shown}", flush=True)
    print(f"Other programs kept {others.measure_cores():.2f} cores busy.")


def watch_memory(precision: str, listed: Path, requests: int, folder: Path) -> None:
    """Print the memory of the service as requests pass."""
    step = max(requests // 10, 1)
    with serve(precision, folder / "record") as (address, process):
        print(f"{'requests':>9}  {'MiB':>6}  answers/s")
        early = 0.0
        for turn in range(10):
            load = run_load(address, listed, step, 32, seed=turn)
            now = measure_memory(process)
            early = early or now
            print(f"{(turn + 1) * step:>9,}  {now:>6.0f}  {load.rate:.0f}", flush=True)
        print(f"{now - early:+.0f} MiB from the first tenth to the end; {ALLOWED} are allowed")
        sys.exit(now - early > ALLOWED)


if __name__ == "__main__":
    main()
