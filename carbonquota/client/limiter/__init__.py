"""A client of the rate limiter: asks over HTTP, in batches, of one node or several, and lives through their absence."""

from __future__ import annotations

from carbonquota.client.limiter.async_client import AsyncLimiterClient
from carbonquota.client.limiter.client import LimiterClient
from carbonquota.client.limiter.nodes import Nodes
from carbonquota.client.limiter.queue import ChargeQueue
from carbonquota.client.limiter.retries import Fallback, RetryPolicy
from carbonquota.client.limiter.values import LimiterAwayError, LimiterVerdict, Question

__all__ = [
    "AsyncLimiterClient",
    "ChargeQueue",
    "Fallback",
    "LimiterAwayError",
    "LimiterClient",
    "LimiterVerdict",
    "Nodes",
    "Question",
    "RetryPolicy",
]
