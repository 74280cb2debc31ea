"""Running: the service behind a web server, until it is told to stop."""

from __future__ import annotations

import ipaddress
import signal
import socket
import ssl
from collections.abc import Callable

import uvicorn

from pneumoscope.errors import ServiceError
from pneumoscope.records import has_accounts, open_record
from pneumoscope.workbench.app import create_app
from pneumoscope.workbench.security import check_binding
from pneumoscope.workbench.service import Service
from pneumoscope.workbench.settings import Settings

#: Seconds that open requests have at the end; events and slow uploads are cut off then.
_GRACE = 10
#: Connections beyond these are refused with 503 before anything is read.
_CONNECTIONS = 1_000


def run_service(settings: Settings, *, on_start: Callable[[str], None]) -> None:
    """Answer requests until an interrupt or a termination signal.

    Parameters
    ----------
    on_start
        Is called with the address once requests are taken.

    Raises
    ------
    PneumoscopeError
        The address is taken, or not safe to be opened as asked; the bundle or record cannot be
        used.
    """
    _check_certificate(settings)
    listener = _listen(settings)
    with listener:
        with (
            open_record(settings.record, settings.database, head=settings.log_head) as record,
            record.read() as session,
        ):
            check_binding(settings, has_accounts(session))
        # Uvicorn raises a signal again once it has stopped: it must not end us before the rest has.
        before = signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            _serve(settings, listener, on_start)
        finally:
            signal.signal(signal.SIGTERM, before)


def _serve(settings: Settings, listener: socket.socket, on_start: Callable[[str], None]) -> None:
    with Service(settings) as service:
        config = uvicorn.Config(
            create_app(service),
            log_config=None,
            access_log=False,  # paths and addresses tell of people
            server_header=False,
            timeout_graceful_shutdown=_GRACE,
            limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=30,
            ssl_certfile=settings.certificate,
            ssl_keyfile=settings.private_key,
            proxy_headers=False,  # whom to believe about addresses, `security` knows better
            lifespan="off",
        )
        server = _Server(
            config, lambda: on_start(_describe(settings, listener)), service.events.close
        )
        server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """A server that says when it is ready, and when it begins to stop."""

    def __init__(
        self, config: uvicorn.Config, on_start: Callable[[], None], on_stop: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_start = on_start
        self._on_stop = on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take requests."""
        await super().startup(sockets)
        if not self.should_exit:
            self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let those go who wait for events, and then finish what was begun."""
        self._on_stop()
        await super().shutdown(sockets)


def _check_certificate(settings: Settings) -> None:
    if settings.certificate is None or settings.private_key is None:
        return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # A password of our own, which is wrong: OpenSSL would ask for one at the terminal.
        context.load_cert_chain(settings.certificate, settings.private_key, password="-")
    except (OSError, ValueError) as error:
        raise ServiceError(
            f"{settings.certificate} and {settings.private_key} are no certificate with its key: "
            "both are PEM files, and the key must not be locked by a password."
        ) from error


def _listen(settings: Settings) -> socket.socket:
    """Return a socket that listens, before a model is loaded for nothing."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise ServiceError(
            f"{settings.host}:{settings.port} cannot be opened: {error.strerror or error}; name "
            "another with --host and --port."
        ) from error
    return listener


def _describe(settings: Settings, listener: socket.socket) -> str:
    if _is_every_address(settings.host):
        name = settings.allowed_hosts[0] if settings.allowed_hosts else socket.gethostname()
        return (
            f"{'https' if settings.certificate else 'http'}://{name}:{listener.getsockname()[1]}/"
        )
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    scheme = "https" if settings.certificate else "http"
    return f"{scheme}://{host}:{listener.getsockname()[1]}/"


def _is_every_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
