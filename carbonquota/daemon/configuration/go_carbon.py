"""Sections and keys that are not ours: go-carbon's own are ignored, others are a warning or an error.

The tables have every section and key that a release of go-carbon read since 0.7 (the TOML tags in its carbon/config.go
and receiver/). go-carbon passes over what it does not know, so a file that starts it may hold anything: what is in
neither our tables nor these is a warning with its place, and an error only where it is near to a key of our own. A
remark is made only where ignoring a value changes what an operator gets, and only if the value is one that asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from carbonquota.daemon.configuration.keys import KEYS
from carbonquota.daemon.inputs import sections
from carbonquota.daemon.settings import Cache
from carbonquota.errors import Problem
from carbonquota.service.values.toml import Path, TomlDocument
from carbonquota.suggest import did_you_mean, nearest

FOREIGN_SECTIONS: Final = frozenset(
    ["carbon", "carbonlink", "dump", "grpc", "logging", "pprof", "prometheus", "receiver", "tags", "tracing"],
)
"""Sections that only go-carbon reads."""

FOREIGN_KEYS: Final[Mapping[str, frozenset[str]]] = {
    section: frozenset(keys.split())
    for section, keys in {
        "common": "user logfile log-level max-cpu metric-endpoint metric-interval",
        "whisper": """
            workers flock compressed hash-filenames remove-empty-file hard-max-creates-per-second
            online-migration online-migration-rate online-migration-global-scope
        """,
        "cache": "write-strategy bloom-size input-buffer",
        "tcp": "buffer-size compression log-incomplete",
        "udp": "buffer-size log-incomplete",
        "pickle": "buffer-size compression log-incomplete",
        "carbonserver": """
            api-per-path-rate-limiters buckets cache-scan concurrent-index do-not-log-404s empty-result-ok
            fail-on-max-globs file-list-cache file-list-cache-version find-cache-enabled find-cache-size-mb
            glob-cache-enabled glob-cache-size-mb graphite-web-10-strict-mode graphtie-web-10-strict-mode grpc
            heavy-glob-query-rate-limiters idle-timeout internal-stats-dir max-fetch-data-goroutines
            max-files-globbed max-globs max-inflight-requests max-metrics-globbed max-metrics-rendered
            metrics-as-counters no-service-when-index-is-not-ready query-cache-enabled query-cache-size-mb
            query-timeout read-timeout realtime-index render-trace-logging-enabled request-timeout stats-percentiles
            streaming-query-cache-enabled trie-index trie-index-with-trigrams trigram-index write-timeout
        """,
    }.items()
}
"""Keys that only go-carbon reads, in sections that we read too."""

_SURPRISES: Final[Mapping[Path, tuple[tuple[object, ...], str]]] = {
    ("whisper", "compressed"): ((True,), "new files are plain Whisper, not compressed"),
    ("whisper", "hash-filenames"): ((True,), "tagged series get files under readable names, beside hashed ones"),
    ("whisper", "flock"): ((True,), "files are not locked: let nothing else write to data-dir"),
    ("whisper", "online-migration"): ((True,), "an existing file keeps the retention it was made with"),
    ("whisper", "hard-max-creates-per-second"): (
        (True,),
        (
            "new files above max-creates-per-second wait, and none is refused; "
            "max-creates-per-second in [carbonserver] refuses new metrics"
        ),
    ),
    ("cache", "max-size"): (
        (0,),
        (
            f"go-carbon's word for no bound; here there is one, {Cache().max_size:,} data points: "
            "when the cache is full, senders wait"
        ),
    ),
    ("carbonserver", "enabled"): (
        (True,),
        (
            "there is no render and no find here, so carbonapi and graphite-web's cluster find nothing at this "
            "address: let them read data-dir through graphite-web, or a go-carbon with its receivers and [whisper] "
            "off; with a relay, from its destination"
        ),
    ),
    ("tcp", "compression"): (("gzip", "lz4", "snappy", "zstd"), "compressed input is not understood: send plain text"),
    ("common", "metric-endpoint"): ((), "our own stats go where all points go, and to [statsd]"),
    ("common", "user"): ((), "whoever starts the program is whom it runs as"),
    ("common", "logfile"): ((), "the log goes to standard error"),
    ("carbonlink", "enabled"): ((True,), "points that wait to be written cannot be queried"),
    ("tags", "enabled"): ((True,), "tagged series are stored, but no TagDB is told of them"),
    ("prometheus", "enabled"): ((True,), "metrics for Prometheus are at /metrics of [carbonserver] listen"),
    ("receiver",): ((), f"only {sections()} receive"),
}
"""By section and key: the values that ask for a remark (none listed: any), and the remark."""

_HARMLESS: Final[Mapping[Path, tuple[object, ...]]] = {
    ("common", "metric-endpoint"): ("", "local"),
    ("common", "user"): ("",),
    ("common", "logfile"): ("",),
}
"""Values that ask for none, where any other does."""

_SHARED: Final = frozenset(["common", "whisper", "cache", "tcp", "udp", "pickle", "carbonserver"])
"""Sections that go-carbon has, too."""
OWN_SECTIONS: Final = frozenset(KEYS) - _SHARED
_OWN_KEYS: Final = frozenset(["throughput-unit"])
"""Keys of our own in sections of go-carbon's."""


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """What was read without being an error, to be told once: what is ignored, and remarks with their places.

    `warnings` are about what neither we nor any go-carbon know.
    """

    source: str = ""
    sections: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()

    def lines(self) -> Iterator[str]:
        """A line for each thing to tell, without the warnings."""
        if self.sections:
            yield f"{self.source}: sections of go-carbon's own, without meaning here: {', '.join(self.sections)}"
        if self.keys:
            yield f"{self.source}: keys of go-carbon's own, without meaning here: {', '.join(self.keys)}"
        yield from self.remarks


def diagnostics_of(document: TomlDocument) -> Diagnostics:
    """What is ignored of a file."""
    table = document.table
    keys = [
        f"{section}.{key}"
        for section, known in FOREIGN_KEYS.items()
        if isinstance(table.get(section), dict)
        for key in table[section]
        if key in known
    ]
    sections = tuple(f"[{section}]" for section in table if section in FOREIGN_SECTIONS)
    return Diagnostics(document.source, sections, tuple(keys), tuple(_remarks(document)))


def _remarks(document: TomlDocument) -> Iterator[str]:
    for path, (asking, remark) in _SURPRISES.items():
        value = _value_at(document.table, path)
        if value is None or value in _HARMLESS.get(path, ()) or (asking and not _is_one_of(value, asking)):
            continue
        what = ".".join(path) if isinstance(value, dict) else f"{'.'.join(path)} = {value!r}"
        yield f"{document.source}:{document.line_of(path)}: {_as_toml(what)}: {remark}"


def _is_one_of(value: object, asking: tuple[object, ...]) -> bool:
    """Whether the value is one of these; `true` is not 1."""
    return any(type(value) is type(one) and value == one for one in asking)


def _value_at(table: dict[str, Any], path: Path) -> object:
    value: object = table
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _as_toml(text: str) -> str:
    return text.replace("'", '"').replace("True", "true")


@dataclass(frozen=True, slots=True)
class Unknown:
    """One section or key that nobody knows."""

    problem: Problem
    is_error: bool


def find_unknown(document: TomlDocument) -> Iterator[Unknown]:
    """All of them: top level first, then section by section."""
    known = (*KEYS, *FOREIGN_SECTIONS)
    for name, value in document.table.items():
        if name not in known:
            yield _unknown_section(document, name, value)
    for section in KEYS:
        table = document.table.get(section, {})
        if isinstance(table, dict):
            foreign = FOREIGN_KEYS.get(section, frozenset())
            yield from (_unknown_key(document, section, key) for key in table if key not in {*KEYS[section], *foreign})


def _unknown_section(document: TomlDocument, name: str, value: object) -> Unknown:
    if not isinstance(value, dict | list):
        hint = _home_of(name) or "put a section such as [tcp] above it"
        return Unknown(document.key_problem((name,), f'"{name}" stands outside of any section', hint), is_error=False)
    near = nearest(name, (*KEYS, *FOREIGN_SECTIONS))
    hint = f"did you mean [{near}]?" if near else f"sections are: {', '.join(KEYS)}"
    return Unknown(document.key_problem((name,), f"unknown section [{name}]", hint), near in OWN_SECTIONS)


def _unknown_key(document: TomlDocument, section: str, key: str) -> Unknown:
    near = nearest(key, (*KEYS[section], *FOREIGN_KEYS.get(section, frozenset())))
    hint = f'did you mean "{near}"?' if near else _home_of(key) or did_you_mean(key, KEYS[section], "keys")
    problem = document.key_problem((section, key), f'unknown key "{key}" in [{section}]', hint)
    return Unknown(problem, section in OWN_SECTIONS or near in _OWN_KEYS or key in _OWN_KEYS)


def _home_of(key: str) -> str:
    """Where a key belongs, if it is one of a single section."""
    homes = [section for section, kinds in KEYS.items() if key in kinds]
    return f"it belongs to [{homes[0]}]" if len(homes) == 1 else ""
