"""Keeps pages of other sites, open in the browser of somebody who can reach a service, from using it.

Two ways lead a browser here. A site may have its own name resolve to this machine ("DNS rebinding"), and then read
what it likes as itself: such a request bears the site's name as `Host`, so only names of this machine are answered to.
Addresses in figures are always taken, as no site can have those. And a site may send requests to the service itself,
without reading the answer: browsers mark these by `Sec-Fetch-Site` or `Origin`, so none of them changes a thing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from carbonquota.web.problems import problem

ANY: Final = "*"
"""Among the allowed hosts it stands for all names."""

_LOOPBACK: Final = ("localhost", "ip6-localhost", "localhost.localdomain")
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITE: Final = frozenset({"same-origin", "none"})


def machine_names() -> Iterable[str]:
    """What this machine calls itself; may take some time where names are looked up in the network."""
    name = socket.gethostname()
    return name, name.partition(".")[0], socket.getfqdn(name)


class Guard:
    """An application around another, which is asked only by who may."""

    def __init__(
        self,
        application: ASGIApp,
        allowed: Iterable[str] = (),
        own_names: Callable[[], Iterable[str]] = machine_names,
        program: str = "daemon",
        setting: str = "[carbonserver] allowed-hosts",
    ) -> None:
        """Answer to `allowed` host names, to those of loopback, and to `own_names`, looked up when first in doubt.

        `program` and the `setting` that `allowed` comes from are for the text of a refusal.
        """
        self._program = program
        self._setting = setting
        self._application = application
        self._names = {name.lower() for name in (*allowed, *_LOOPBACK)}
        self._own_names = own_names
        self._is_complete = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not await self._is_ours(host_name(host)):
            detail = (
                f'this {self._program} does not answer to the name "{host_name(host)[:100]}": ask it by its address, '
                f"or add the name to {self._setting}"
            )
            await problem(421, detail)(scope, receive, send)
        elif scope["method"] not in _READING and _is_of_another_site(headers, host):
            detail = "a page of another site may not do that: send the request without Origin and Sec-Fetch-Site"
            await problem(403, detail)(scope, receive, send)
        else:
            await self._application(scope, receive, send)

    async def _is_ours(self, name: str) -> bool:
        """Whether the service answers to this name; probes that speak HTTP/1.0 send none, and browsers always do."""
        if not name or ANY in self._names or name in self._names or _is_address(name):
            return True
        if not self._is_complete:
            own = await asyncio.get_running_loop().run_in_executor(None, self._own_names)
            self._names |= {one.lower().rstrip(".") for one in own}
            self._is_complete = True
        return name in self._names


def host_name(host: str) -> str:
    """The name in a `Host` header, without its port, in lower case."""
    if host.startswith("["):
        return host.partition("]")[0][1:].lower()
    return host.partition(":")[0].rstrip(".").lower()


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_of_another_site(headers: Headers, host: str) -> bool:
    """Whether a browser says that a page from elsewhere made it send this."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site.lower() not in _OWN_SITE:
        return True
    return origin is not None and urlsplit(origin).netloc.lower() != host.lower()
