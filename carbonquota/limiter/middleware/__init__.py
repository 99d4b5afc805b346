"""The limiter inside of an application: middleware for ASGI and WSGI, around any application of these kinds."""

from __future__ import annotations

from carbonquota.limiter.middleware.asgi import AsgiLimits
from carbonquota.limiter.middleware.requests import RequestLimits
from carbonquota.limiter.middleware.wsgi import WsgiLimits

__all__ = ["AsgiLimits", "RequestLimits", "WsgiLimits"]
