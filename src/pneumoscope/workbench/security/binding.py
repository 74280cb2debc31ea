"""Where the service may listen: on this machine freely, elsewhere only behind a lock."""

from __future__ import annotations

import ipaddress

from pneumoscope.errors import ServiceError
from pneumoscope.workbench.settings import Settings


def needs_authentication(settings: Settings) -> bool:
    """Whether everybody has to say who they are, whatever accounts there are.

    On this machine alone they need not, until there is a first user or token. Whoever comes
    through a proxy may be anybody.
    """
    return settings.behind_proxy or not is_loopback(settings.host)


def check_binding(settings: Settings, has_accounts: bool) -> None:
    """Refuse to start where strangers could look at patients' images, or listen to passwords.

    Raises
    ------
    ServiceError
        Others can reach the service, and there is no user or token, or no TLS.
    """
    if not needs_authentication(settings):
        return
    place = f"{settings.host}:{settings.port}"
    if not has_accounts:
        raise ServiceError(
            f"Others can reach {place}, and nobody has to say who they are: add a first user with "
            "`pneumoscope user add NAME --role admin`."
        )
    if not settings.uses_tls:
        raise ServiceError(
            f"Others can reach {place}, and passwords would go over the network as they are: give "
            "--certificate and --private-key, or --behind-proxy where a proxy ends TLS."
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
