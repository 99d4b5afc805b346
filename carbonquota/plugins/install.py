"""Puts quotas into a carbon daemon that was just made, and has not begun to run.

All that can be wrong is found here, while whoever starts carbon still sees it: in the foreground, before the fork.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import time
from typing import Any, Final

from carbon import events, instrumentation, log, state
from carbon.conf import settings as carbon_settings
from carbon.pipeline import run_pipeline
from carbon.protocols import CarbonService
from twisted.application.internet import TCPClient
from twisted.application.service import MultiService
from twisted.internet import reactor as installed_reactor
from twisted.internet.protocol import ReconnectingClientFactory
from twisted.internet.task import Cooperator
from twisted.internet.threads import blockingCallFromThread

from carbonquota.errors import QuotaError
from carbonquota.plugins.cache import StatsWriter, WaitingPoints, plain_store, recorder, room
from carbonquota.plugins.processors import GeneratedProcessor, QuotaProcessor
from carbonquota.plugins.service import Carbon, CarbonParts, Port, QuotaService, ReactorTimers, rule_files
from carbonquota.plugins.settings import CarbonHost, QuotaSettings, read_host
from carbonquota.service.rule_source import load_rules
from carbonquota.service.state.files import DirectoryLock

reactor: Any = installed_reactor
"""The one that twistd chose; its type tells nothing of what it can do."""

Owner = tuple[int, int] | None
"""The numbers of a user and his group; None where the process stays who it is."""

TYPE: Final = "quotas"
"""What carbon's log is told that our lines are about; the name of the file."""


def check(settings: QuotaSettings, options: Mapping[str, Any]) -> None:
    """See that quotas can be kept; QuotaError says why not. `options` are twistd's own."""
    owner = _owner(options)
    with acting_as(owner):
        load_rules(rule_files(settings, _host()))
    if settings.runtime.state_enabled:
        check_state_directory(settings.runtime.state_dir, owner)


def install(root: MultiService, settings: QuotaSettings, options: Mapping[str, Any]) -> None:
    """Put quotas before the last processor of each pipeline, and their service last below `root`.

    QuotaError where that cannot be.
    """
    if not state.pipeline_processors:
        raise QuotaError("carbon has nothing here that stores or relays; quotas are made for carbon 1.1")
    host = _host()
    log_to_carbon()
    with acting_as(_owner(options)):
        parts = CarbonParts(settings, host, _carbon(host), time)
    _insert(parts.processor, host)
    stats = StatsWriter(recorder(stores=host.stores), Cooperator(scheduler=_soon))
    QuotaService(parts, stats, lambda: find_ports(root), reactor).setServiceParent(root)


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
    on_data_thread = partial(blockingCallFromThread, reactor)
    has_room = room(stores=host.stores)
    return Carbon(sink, plain_store(sink), has_room, on_data_thread, _soon, is_pending, ReactorTimers(reactor))


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


def find_ports(root: MultiService) -> Iterator[Port]:
    """What carbon takes points at: the sockets, which exist once its services have started, and a message broker's."""
    for service in root:
        if isinstance(service, CarbonService):
            yield service._port  # noqa: SLF001 - carbon has no other way to it
        elif isinstance(service, TCPClient) and isinstance(service.args[2], ReconnectingClientFactory):
            yield BrokerPort(service, service.args[2])


class BrokerPort:
    """The connection to a message broker (AMQP), which brings points as the sockets do: there, or not there."""

    def __init__(self, client: TCPClient, factory: ReconnectingClientFactory) -> None:
        """It is there as soon as `client` was started, which `factory` connects again and again."""
        self._client = client
        self._factory = factory

    def stopReading(self) -> None:  # noqa: N802 - twisted's name
        """Leave what comes to the broker."""
        self._factory.continueTrying = 0
        self._client.stopService()

    def startReading(self) -> None:  # noqa: N802 - twisted's name
        """Be connected."""
        self._factory.resetDelay()
        self._client.startService()


@contextmanager
def acting_as(owner: Owner) -> Iterator[None]:
    """Read and write files as the owner within the block."""
    if owner is None or os.geteuid() != 0:
        yield
        return
    user, group = os.geteuid(), os.getegid()
    os.setegid(owner[1])
    os.seteuid(owner[0])
    try:
        yield
    finally:
        os.seteuid(user)
        os.setegid(group)


def check_state_directory(directory: str, owner: Owner) -> None:
    """Make it if need be, and see that the owner can write there and nobody else does; QuotaError says why not."""
    path = Path(directory)
    try:
        _make(path, owner)
    except OSError as error:
        raise _unusable(directory, (error.strerror or str(error)).lower()) from None
    with acting_as(owner):
        # What a run as another user left behind is refused here, as the lock could not say which setting helps.
        for entry in (path, path / "lock"):
            if entry.exists() and not os.access(entry, os.W_OK, effective_ids=True):
                raise _unusable(directory, "permission denied" if entry is path else "its lock is another user's")
        DirectoryLock(path).release()


def _make(path: Path, owner: Owner) -> None:
    """Make a directory and what is missing above it, as the owner's."""
    if path.is_dir():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir()
    if owner is not None and os.geteuid() == 0:
        os.chown(path, *owner)


def _unusable(directory: str, cause: str) -> QuotaError:
    return QuotaError(
        f"{directory}: no directory to keep the state of quotas in: {cause}; set QUOTA_STATE_DIR to one that the user "
        "carbon runs as can write to"
    )


class CarbonHandler(logging.Handler):
    """Hands records on to carbon's log, which may be called from any thread."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log it, its level before it where somebody should look at it."""
        try:
            text = self.format(record)
            loud = record.levelno >= logging.WARNING
            log.msg(f"{record.levelname}: {text}" if loud else text, type=TYPE)
        except Exception:  # noqa: BLE001 - as logging has it: a line that cannot be written ends nothing
            self.handleError(record)


def log_to_carbon() -> None:
    """Have all that the package logs appear in carbon's logs."""
    logger = logging.getLogger("carbonquota")
    if not any(isinstance(handler, CarbonHandler) for handler in logger.handlers):
        logger.addHandler(CarbonHandler())
    logger.setLevel(logging.DEBUG if log.debugEnabled else logging.INFO)
    logger.propagate = False
