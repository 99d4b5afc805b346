"""What the first bytes of Whisper files tell, against files that the real library wrote."""

from __future__ import annotations

import re
import struct
from contextlib import suppress
from pathlib import Path

import pytest
import whisper
from hypothesis import given
from hypothesis import strategies as st

from carbonquota.errors import InputError
from carbonquota.ingest import LONGEST_HEADER, count_data_points, metric_of_path


@pytest.mark.parametrize(
    ("archives", "points"),
    [([(60, 1440)], 1440), ([(10, 360), (60, 1440), (3600, 8760)], 10_560), ([(1, 1)], 1)],
)
@pytest.mark.parametrize("sparse", [False, True])
def test_data_points_are_those_of_the_library(
    tmp_path: Path, archives: list[tuple[int, int]], points: int, sparse: bool
) -> None:
    path = tmp_path / "m.wsp"
    whisper.create(str(path), archives, sparse=sparse)
    content = path.read_bytes()
    assert count_data_points(content[:LONGEST_HEADER], len(content)) == points
    assert sum(archive["points"] for archive in whisper.info(str(path))["archives"]) == points


def test_a_compressed_file_counts_its_archives_points() -> None:
    metadata = b"whisper_compressed" + bytes([1]) + struct.pack("!2Lf2LfL", 1, 86400, 0.5, 7200, 2, 2.0, 0) + bytes(16)
    archives = b"".join(struct.pack("!3L", 500, seconds, points) + bytes(116) for seconds, points in [(1, 60), (60, 5)])
    assert count_data_points(metadata + archives, 600) == 65


HEADER = struct.pack("!2LfL", 1, 86400, 0.5, 1)


@pytest.mark.parametrize(
    ("header", "length", "message"),
    [
        (b"", 0, "empty"),
        (b"short", 5, "no Whisper header"),
        (b"hello, this is some text, not a Whisper file", 44, "no Whisper header"),
        (bytes(64), 64, "no Whisper header"),
        (HEADER + b"\0\0", 18, "the Whisper header is cut short"),
        (HEADER + struct.pack("!3L", 28, 60, 0), 28, "an archive without points"),
        (HEADER + struct.pack("!3L", 28, 0, 10), 148, "an archive without points"),
        (HEADER + struct.pack("!3L", 28, 60, 1000), 148, "cut short: 148 of 12,028 bytes"),
        (b"whisper_compressed", 18, "no Whisper header"),
    ],
)
def test_what_is_no_whisper_file_is_refused(header: bytes, length: int, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        count_data_points(header, length)


@given(st.binary(max_size=200))
def test_garbage_never_raises_anything_else(header: bytes) -> None:
    with suppress(InputError):
        assert count_data_points(header, len(header)) > 0


@pytest.mark.parametrize(
    ("path", "metric"),
    [
        ("a.wsp", "a"),
        ("servers/web1/cpu.wsp", "servers.web1.cpu"),
        ("servers/web1.example/cpu.wsp", "servers.web1.example.cpu"),
        ("_tagged/eff/aae/some_DOT_metric;host=a_DOT_b;dc=x.wsp", "some.metric;host=a.b;dc=x"),
        ("_tagged/eff/aae/" + "0" * 64 + ".wsp", "_tagged.eff.aae." + "0" * 64),
        ("x/_tagged/eff/aae/a_DOT_b;c=d.wsp", "x._tagged.eff.aae.a_DOT_b;c=d"),
    ],
)
def test_the_path_gives_the_metric(path: str, metric: str) -> None:
    assert metric_of_path(path) == metric
