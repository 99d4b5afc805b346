"""The topics of the HTTP API, one file each; who adds one adds a line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fastapi import APIRouter

from carbonquota.hub.http import customers, history, metrics, operations, providers, quotas, rules, tokens, writes
from carbonquota.hub.service.hub import Hub

ROUTERS: Final[tuple[Callable[[Hub], APIRouter], ...]] = (
    customers.make_router,
    quotas.make_router,
    providers.make_router,
    writes.make_router,
    history.make_router,
    tokens.make_router,
    rules.make_router,
    rules.make_limits_router,
    operations.make_router,
    metrics.make_router,
)
