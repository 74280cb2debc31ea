"""A client that costs little: prepared requests over open connections, each with other bytes.

    python benchmarks/load.py HOST:PORT/PATH FILES REQUESTS CLIENTS SEED

FILES names a text file with the names of images. Prints JSON.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections import Counter
from pathlib import Path

_BOUNDARY = b"----pneumoscope-load"


def build_request(host: str, path: str, data: bytes, mark: bytes) -> bytes:
    """Return the bytes of a request whose image has a comment of its own behind its end."""
    body = b"".join(
        (
            b"--", _BOUNDARY, b"\r\n",
            b'Content-Disposition: form-data; name="file"; filename="chest.jpeg"\r\n',
            b"Content-Type: image/jpeg\r\n\r\n", data, mark, b"\r\n--", _BOUNDARY, b"--\r\n",
        )
    )  # fmt: skip
    head = (
        f"POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY.decode()}\r\n\r\n"
    )
    return head.encode() + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[str, bool]:
    """Return the status of an answer, and whether it says when to come back."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = head.split(b" ", 2)[1].decode()
    lower = head.lower()
    length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
    await reader.readexactly(length)
    return status, b"retry-after:" in lower


async def run(address: str, files: list[bytes], requests: int, clients: int, seed: int) -> None:
    """Send all requests and print what came of them."""
    host, _, path = address.partition("/")
    name, _, port = host.partition(":")
    numbers = iter(range(requests))
    statuses: Counter[str] = Counter()
    milliseconds: list[float] = []
    retry_after = 0

    async def send() -> None:
        nonlocal retry_after
        reader = writer = None
        for number in numbers:
            mark = f"{seed}-{number}".encode()
            request = build_request(host, path, files[number % len(files)], mark)
            started = time.perf_counter()
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection(name, int(port))
                writer.write(request)
                await writer.drain()
                assert reader is not None
                status, says_when = await read_answer(reader)
            except (OSError, asyncio.IncompleteReadError):
                status, says_when, writer = "broken", False, None
            statuses[status] += 1
            retry_after += says_when
            if status in {"200", "201"}:
                milliseconds.append((time.perf_counter() - started) * 1000)
            elif status in {"429", "503"}:
                await asyncio.sleep(0.2)
        if writer is not None:
            writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(send() for _ in range(clients)))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - started,
                "statuses": statuses,
                "milliseconds": milliseconds,
                "processor_seconds": usage.ru_utime + usage.ru_stime,
                "retry_after": retry_after,
            }
        )
    )


if __name__ == "__main__":
    _, where, listed, count, clients, seed = sys.argv
    images = [Path(name).read_bytes() for name in Path(listed).read_text().splitlines()]
    asyncio.run(run(where, images, int(count), int(clients), int(seed)))
