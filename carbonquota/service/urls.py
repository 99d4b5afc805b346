"""Opening URLs of services: no redirection is followed, and this machine is asked without a proxy."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, build_opener


class NoRedirect(HTTPRedirectHandler):
    """Takes a redirection for an error: a token is sent to the place it was given for, and to no other."""

    def redirect_request(self, *_: object) -> None:
        """Do not follow."""


def url_opener(url: str) -> OpenerDirector:
    """What opens URLs on the host of this one."""
    return build_opener(NoRedirect(), *([ProxyHandler({})] if is_here(urlsplit(url).hostname or "") else []))


def is_here(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
