"""The daemon over HTTP: how it is, what its namespaces hold, why a metric is rejected, and the reload of its rules."""

from carbonquota.daemon.http.app import make_app
from carbonquota.daemon.http.source import DaemonStatus, HttpSource, ReloadAnswer, ReloadStatus
from carbonquota.web.server import HttpServer
from carbonquota.web.wire import HttpTimeouts

__all__ = ["DaemonStatus", "HttpServer", "HttpSource", "HttpTimeouts", "ReloadAnswer", "ReloadStatus", "make_app"]
