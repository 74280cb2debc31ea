"""How a service is asked to run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may take."""

    file_bytes: int = 64 * 2**20
    """Of one image."""
    request_bytes: int = 2 * 2**30
    """Of one request with many."""
    files: int = 5_000
    """Images in one request, those in archives counted."""
    request_seconds: float = 300.0
    """To send a request."""
    on_their_way: int = 128
    """Images being answered for callers who wait; one more is refused at once, rather than kept
    waiting for seconds."""
    waiting: int = 100_000
    """Images in the queue."""
    requests_per_minute: int = 30_000
    """Of one caller."""


@dataclass(frozen=True)
class Settings:
    """What `pneumoscope serve` was told; every part has a default that works."""

    record: Path | None = None
    """Folder of the record; the user's own by default."""
    database: str | None = None
    """Address of the database; SQLite in the record's folder by default."""
    log_head: Path | None = None
    """Where the log's last hash is kept outside the database; in the record's folder by default."""
    bundle: Path | None = None
    """The model; the one in the box by default."""
    engine: str = "openvino"
    precision: str = "auto"
    operating_point: str | None = None
    report: Path | None = None
    """The report of the run that made the model, for the model page."""
    host: str = "127.0.0.1"
    port: int = 8000
    certificate: Path | None = None
    """PEM files for TLS."""
    private_key: Path | None = None
    behind_proxy: bool = False
    """A proxy on this machine or network ends TLS and says who asks."""
    allowed_hosts: tuple[str, ...] = ()
    """Names by which browsers may reach the service, beside its own address."""
    decoders: int = 2
    """Processes that read images."""
    limits: Limits = field(default_factory=Limits)

    @property
    def uses_tls(self) -> bool:
        """Whether browsers reach the service by HTTPS."""
        return self.certificate is not None or self.behind_proxy
