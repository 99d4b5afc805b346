"""Puts quotas into a carbon daemon that was just made, and has not begun to run.

All that can be wrong is found here, while whoever starts carbon still sees it: in the foreground, before the fork.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from time import time
from typing import Any

from carbon import events, instrumentation, state
from carbon.conf import settings as carbon_settings
from carbon.pipeline import run_pipeline
from carbon.protocols import CarbonService
from twisted.application.service import MultiService
from twisted.internet import reactor as installed_reactor
from twisted.internet.task import Cooperator
from twisted.internet.threads import blockingCallFromThread

from carbonquota.errors import QuotaError
from carbonquota.plugins.carbon_flow import room
from carbonquota.plugins.carbon_host import CarbonHost, read_host
from carbonquota.plugins.carbon_logging import log_to_carbon
from carbonquota.plugins.carbon_parts import Carbon, Parts, rule_files
from carbonquota.plugins.carbon_service import Port, QuotaService
from carbonquota.plugins.carbon_settings import QuotaSettings
from carbonquota.plugins.carbon_stats import StatsWriter, recorder
from carbonquota.plugins.carbon_store import WaitingPoints, plain_store
from carbonquota.plugins.carbon_user import Owner, acting_as, check_state_directory
from carbonquota.plugins.graphite_carbon import GeneratedProcessor, QuotaProcessor
from carbonquota.service.rulebook import load_rules

reactor: Any = installed_reactor
"""The one that twistd chose; its type tells nothing of what it can do."""


def check(settings: QuotaSettings, options: Mapping[str, Any]) -> None:
    """See that quotas can be kept; QuotaError says why not. `options` are twistd's own."""
    owner = _owner(options)
    with acting_as(owner):
        load_rules(rule_files(settings, _host()))
    if settings.state_enabled:
        check_state_directory(settings.state_dir, owner)


def install(root: MultiService, settings: QuotaSettings, options: Mapping[str, Any]) -> None:
    """Put quotas before the last processor of each pipeline, and their service last below `root`.

    QuotaError where that cannot be.
    """
    if not state.pipeline_processors:
        raise QuotaError("carbon has nothing here that stores or relays; quotas are made for carbon 1.1")
    host = _host()
    log_to_carbon()
    with acting_as(_owner(options)):
        parts = Parts(settings, host, _carbon(host), time)
    _insert(parts.processor, host)
    stats = StatsWriter(recorder(stores=host.stores), Cooperator(scheduler=_soon))
    QuotaService(parts, stats, lambda: _ports(root), reactor).setServiceParent(root)


def _host() -> CarbonHost:
    """The daemon that quotas are put into."""
    return read_host(carbon_settings, instrumentation.HOSTNAME)


def _owner(options: Mapping[str, Any]) -> Owner:
    """The user that twistd will run it as."""
    return None if options.get("uid") is None else (options["uid"], options["gid"])


def _carbon(host: CarbonHost) -> Carbon:
    """Carbon as the parts see it."""
    is_pending = WaitingPoints().is_pending if host.stores else lambda _: False
    sink = state.pipeline_processors[-1]
    settle = partial(blockingCallFromThread, reactor)
    return Carbon(sink, plain_store(sink), room(stores=host.stores), settle, _soon, is_pending)


def _soon(function: Callable[[], object]) -> Any:  # noqa: ANN401 - what twisted gives
    """Call it when the reactor has done what it is at."""
    return reactor.callLater(0, function)


def _insert(processor: QuotaProcessor, host: CarbonHost) -> None:
    """Put a processor before those that store or relay."""
    received, generated = state.pipeline_processors, state.pipeline_processors_generated
    received.insert(len(received) - 1, processor)
    generated.insert(len(generated) - 1, GeneratedProcessor(processor, host.stats_prefix, aggregates=host.aggregates))
    if received[0] is processor:
        # Where nothing comes before, the walk through the pipeline would only cost time.
        events.metricReceived.removeHandler(run_pipeline)
        events.metricReceived.addHandler(processor.process)


def _ports(root: MultiService) -> Iterator[Port]:
    """The sockets of carbon's receivers; they exist once its services have started."""
    for service in root:
        if isinstance(service, CarbonService):
            yield service._port  # noqa: SLF001 - carbon has no other way to it
