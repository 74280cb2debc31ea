"""How often: requests of one caller, and tries at a password."""

from __future__ import annotations

import ipaddress
import math
import time

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pneumoscope.records import spell_name
from pneumoscope.workbench.problems import Problem, describe_problem
from pneumoscope.workbench.security.identity import Identity

#: Tries at one name from one address, in so many minutes. Who locks a name locks it for their own
#: address alone, and not for long.
_TRIES, _LOCKED_MINUTES = 5, 5
#: Tries at any name from one address, a minute; a whole ward may come from one.
_TRIES_PER_ADDRESS = 30
#: What somebody unknown may ask for, as a share of what others may.
_SHARE_OF_UNKNOWN = 0.1


class Rates:
    """Counts requests in windows of time, in memory."""

    def __init__(self) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def count(self, item: RateLimitItem, *key: str) -> int | None:
        """Count one more; return the seconds to wait where it is one too many."""
        if self._limiter.hit(item, *key):
            return None
        reset = self._limiter.get_window_stats(item, *key).reset_time
        return max(1, math.ceil(reset - time.time()))

    def clear(self, item: RateLimitItem, *key: str) -> None:
        """Begin to count anew."""
        self._limiter.clear(item, *key)


class RateMiddleware:
    """Answers 429 to whoever asks too often, with the seconds to wait."""

    def __init__(self, app: ASGIApp, per_minute: int, behind_proxy: bool) -> None:
        self.app = app
        self._behind_proxy = behind_proxy
        self._rates = Rates()
        self._known = RateLimitItemPerMinute(per_minute)
        self._unknown = RateLimitItemPerMinute(math.ceil(per_minute * _SHARE_OF_UNKNOWN))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        wait = self._count(scope) if scope["type"] == "http" else None
        if wait is None:
            await self.app(scope, receive, send)
        else:
            await make_throttled(wait)(scope, receive, send)

    def _count(self, scope: Scope) -> int | None:
        identity: Identity = scope["state"]["identity"]
        if identity.role is None:
            return self._rates.count(
                self._unknown, "address", find_network(scope, self._behind_proxy)
            )
        return self._rates.count(self._known, "name", identity.name)


class SignInRates:
    """Counts tries at passwords, before they are compared: many at once count as many."""

    def __init__(self) -> None:
        self._rates = Rates()
        self._by_name = RateLimitItemPerMinute(_TRIES, _LOCKED_MINUTES)
        self._by_address = RateLimitItemPerMinute(_TRIES_PER_ADDRESS)

    def count(self, name: str, network: str) -> int | None:
        """Count a try; return the seconds to wait where it is one too many."""
        wait = self._rates.count(self._by_address, "address", network)
        return wait or self._rates.count(self._by_name, "name", spell_name(name), network)

    def clear(self, name: str, network: str) -> None:
        """Forget the tries at a name, whose password was given."""
        self._rates.clear(self._by_name, "name", spell_name(name), network)


def find_network(scope: Scope, behind_proxy: bool) -> str:
    """Return the caller's address; of IPv6 the network, whose addresses one caller has all of."""
    client = scope.get("client")
    host = client[0] if client else ""
    if behind_proxy:
        # The last one is the proxy's word; those before it are the caller's, who may say anything.
        said = Headers(scope=scope).getlist("x-forwarded-for")
        host = said[-1].rpartition(",")[2].strip() if said else host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False))


def make_throttled(wait: int) -> Response:
    """Return the answer to one request too many, `wait` in seconds."""
    detail = f"Too many requests: ask again in {wait} s."
    return describe_problem(Problem(429, detail, headers={"Retry-After": str(wait)}))
