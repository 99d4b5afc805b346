"""The service of one node, by its settings; only what its mode needs is imported, and nothing where that is off."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from carbonquota.cluster.settings import ClusterSettings
from carbonquota.errors import InputError
from carbonquota.service.runtime import ClusterNode, Runtime

OnLoop = Callable[[Callable[[], None]], None]
"""Calls a function on the thread that batches are decided on, and waits for it."""

_SERVICES = {"sync": ("service", "SyncService"), "slices": ("prepaid_service", "PrepaidService")}


def make_service(
    settings: ClusterSettings, runtime: Runtime, node: str, *, on_loop: OnLoop | None = None
) -> ClusterNode | None:
    """What counts together with other nodes, None where that is off; nothing is begun.

    `node` is what this one is called, also after a restart. With `on_loop`, new metrics are claimed in slices mode,
    too; the runtime's engine must hold them back then. InputError where a package is not installed, QuotaError where
    a setting cannot be used.
    """
    if settings.mode == "off":
        return None
    make = _import(*_SERVICES[settings.mode])
    service: ClusterNode = make(
        settings, runtime.engine, runtime.settings.usage_report_frequency, runtime.clock, node=node
    )
    if settings.mode == "slices" and on_loop is not None:
        claims: ClusterNode = _import("claim_service", "ClaimService")(settings, runtime.engine, service, node, on_loop)
        return claims
    return service


def _import(module: str, name: str) -> Any:  # noqa: ANN401 - its packages may not be there
    """A class of the cluster's; InputError where its package is not installed."""
    try:
        return getattr(importlib.import_module(f"carbonquota.cluster.{module}"), name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"[cluster] needs the package {error.name}: install carbonquota with its extra cluster"
        ) from None
