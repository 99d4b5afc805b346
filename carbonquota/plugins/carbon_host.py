"""What carbon's own settings say that matters to quotas: where its stats go, its files, whether it stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SCHEMAS: Final = "storage-schemas.conf"


@dataclass(frozen=True, slots=True)
class CarbonHost:
    """One carbon daemon.

    Its own stats begin with `stats_prefix`, and those of all its siblings on this machine with one of `own_prefixes`,
    as far as they store. `data_dir` is its Whisper tree, empty where it has none. New files in it are sparse where
    `sparse`, and those of tagged series are called by a hash where `hashes_tags`.
    """

    program: str
    stats_prefix: str
    own_prefixes: tuple[str, ...]
    schemas_file: str
    data_dir: str
    sparse: bool
    hashes_tags: bool

    @property
    def stores(self) -> bool:
        """Whether it keeps points, rather than sending them on."""
        return "cache" in self.program

    @property
    def aggregates(self) -> bool:
        """Whether it makes metrics of others."""
        return "aggregator" in self.program


def read_host(values: Mapping[str, object], hostname: str) -> CarbonHost:
    """What carbon's settings say of the daemon; `hostname` is the machine's name as its stats have it."""
    program = str(values["program"])
    kind = _kind(program)
    stem = f"{values['CARBON_METRIC_PREFIX']}.{kind}.{hostname}"
    instance = values.get("instance")
    stored = kind == "agents" and values["DATABASE"] == "whisper"
    return CarbonHost(
        program=program,
        stats_prefix=stem if instance is None else f"{stem}-{instance}",
        own_prefixes=(f"{stem}.", f"{stem}-"),
        schemas_file=str(Path(str(values["CONF_DIR"])).absolute() / _SCHEMAS),
        data_dir=str(Path(str(values["LOCAL_DATA_DIR"])).absolute()) if stored else "",
        sparse=bool(values["WHISPER_SPARSE_CREATE"]),
        hashes_tags=bool(values["TAG_HASH_FILENAMES"]),
    )


def _kind(program: str) -> str:
    """Where carbon files the stats of a program, in the order in which it asks."""
    if "cache" in program:
        return "agents"
    return "aggregator" if "aggregator" in program else "relays"
