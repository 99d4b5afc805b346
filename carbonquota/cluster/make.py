"""The service of one node, by its settings; only what its mode needs is imported, and nothing where that is off."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeGuard

from carbonquota.cluster.settings import ClusterSettings
from carbonquota.errors import InputError
from carbonquota.service.runtime import ClusterNode, Runtime

OnLoop = Callable[[Callable[[], None]], None]
"""Calls a function on the thread that batches are decided on, and waits for it."""


class Stocks(Protocol):
    """A service that shares what is held, as its host sees it."""

    def bind(self, batches: Any, finish: Callable[[], None]) -> None:  # noqa: ANN401 - `Batches` of whatever the host has
        """Have what is not held back any more decided in this way, and all of it finished at the end."""

    def hold_back(self, items: Sequence[Any]) -> None:
        """Take what is of new metrics, to be decided on now or later."""


def make_service(
    settings: ClusterSettings, runtime: Runtime, node: str, *, on_loop: OnLoop | None = None
) -> ClusterNode | None:
    """What counts together with other nodes, None where that is off; nothing is begun.

    `node` is what this one is called, also after a restart. With `on_loop`, what is held is shared, too: the runtime's
    engine must hold new metrics back then, and `bind` be called. InputError where a package is not installed,
    QuotaError where a setting cannot be used.
    """
    if settings.mode == "off":
        return None
    engine, length, clock = runtime.engine, runtime.settings.usage_report_frequency, runtime.clock
    if settings.mode == "sync":
        shared: ClusterNode = _import("service", "SyncService")(
            settings, engine, length, clock, node=node, on_loop=on_loop
        )
        return shared
    slices: ClusterNode = _import("prepaid_service", "PrepaidService")(settings, engine, length, clock, node=node)
    if on_loop is None:
        return slices
    claims: ClusterNode = _import("claim_service", "ClaimService")(settings, engine, slices, node, on_loop)
    return claims


def shares_capacities(cluster: object) -> TypeGuard[Stocks]:
    """Whether a cluster decides on new metrics before they are accepted."""
    return hasattr(cluster, "hold_back")


def _import(module: str, name: str) -> Any:  # noqa: ANN401 - its packages may not be there
    """A class of the cluster's; InputError where its package is not installed."""
    try:
        return getattr(importlib.import_module(f"carbonquota.cluster.{module}"), name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"[cluster] needs the package {error.name}: install carbonquota with its extra cluster"
        ) from None
