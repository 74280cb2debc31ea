"""Where a service may listen."""

from __future__ import annotations

from pathlib import Path

import pytest

from pneumoscope.errors import ServiceError
from pneumoscope.workbench.security import check_binding
from pneumoscope.workbench.settings import Settings

CERTIFICATE = {"certificate": Path("tls.crt"), "private_key": Path("tls.key")}


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.1", "localhost", "LOCALHOST", "::1", "[::1]"]
)
def test_on_this_machine_nothing_is_asked(host):
    check_binding(Settings(host=host), has_accounts=False)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.168.1.20", "xray.example", "localhost.example", "127.1"]
)
def test_elsewhere_there_must_be_an_account_and_tls(host):
    with pytest.raises(ServiceError, match="pneumoscope user add NAME --role admin"):
        check_binding(Settings(host=host, **CERTIFICATE), has_accounts=False)
    with pytest.raises(ServiceError, match="--behind-proxy"):
        check_binding(Settings(host=host), has_accounts=True)
    check_binding(Settings(host=host, **CERTIFICATE), has_accounts=True)
    check_binding(Settings(host=host, behind_proxy=True), has_accounts=True)


def test_through_a_proxy_on_this_machine_come_strangers():
    with pytest.raises(ServiceError, match="user add"):
        check_binding(Settings(behind_proxy=True), has_accounts=False)
    check_binding(Settings(behind_proxy=True), has_accounts=True)
