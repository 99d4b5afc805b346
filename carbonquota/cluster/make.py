"""The service of one node, by its settings; only what its mode needs is imported, and nothing where that is off."""

from __future__ import annotations

import importlib

from carbonquota.cluster.settings import ClusterSettings
from carbonquota.errors import InputError
from carbonquota.service.runtime import ClusterNode, Runtime

_SERVICES = {"sync": ("service", "SyncService"), "slices": ("prepaid_service", "PrepaidService")}


def make_service(settings: ClusterSettings, runtime: Runtime, node: str) -> ClusterNode | None:
    """What counts throughput together with other nodes, None where that is off; nothing is begun.

    `node` is what this one is called, also after a restart. InputError where a package is not installed, QuotaError
    where a setting cannot be used.
    """
    if settings.mode == "off":
        return None
    module, name = _SERVICES[settings.mode]
    try:
        make = getattr(importlib.import_module(f"carbonquota.cluster.{module}"), name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"[cluster] needs the package {error.name}: install carbonquota with its extra cluster"
        ) from None
    service: ClusterNode = make(
        settings, runtime.engine, runtime.settings.usage_report_frequency, runtime.clock, node=node
    )
    return service
