"""Who may do what: everything that stands between the network and the routes."""

from pneumoscope.workbench.security.access import PUBLIC_PATHS, PUBLIC_PREFIX, require
from pneumoscope.workbench.security.binding import check_binding, needs_authentication
from pneumoscope.workbench.security.identity import Identity
from pneumoscope.workbench.security.wiring import add_security

__all__ = [
    "PUBLIC_PATHS",
    "PUBLIC_PREFIX",
    "Identity",
    "add_security",
    "check_binding",
    "needs_authentication",
    "require",
]
