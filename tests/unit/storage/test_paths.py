"""Where a metric's file lies: as carbon has it, and never outside of the tree."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from carbon.util import TaggedSeries
from hypothesis import given
from hypothesis import strategies as st

from carbonquota.errors import MetricNameError
from carbonquota.ingest import metric_of_path
from carbonquota.metric_name import normalize
from carbonquota.storage.paths import is_hashed, path_of

PARTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.sampled_from("./_DOT;=~"), max_size=12)
NAMES = st.lists(PARTS, min_size=1, max_size=4).map(".".join)
TAGS = st.lists(st.tuples(st.sampled_from(["a", "a2", "a-b", "host", "_DOT_"]), PARTS), max_size=3)


def hashed(metric: str) -> str:
    digest = sha256(metric.encode()).hexdigest()
    return f"_tagged/{digest[:3]}/{digest[3:6]}/{digest}.wsp"


IMPOSTOR = hashed("m;a=/").removesuffix(".wsp").replace("/", ".")


@pytest.mark.parametrize(
    ("metric", "path"),
    [
        ("cpu", "cpu.wsp"),
        ("a.b.c", "a/b/c.wsp"),
        ("a.wsp.b", "a/wsp/b.wsp"),
        ("größe.a b", "größe/a b.wsp"),
        ("a.~.*", "a/~/*.wsp"),
        ("x" * 251, "x" * 251 + ".wsp"),
        ("x" * 255 + ".y", "x" * 255 + "/y.wsp"),
        ("some.metric;tag1=value2;tag2=value.2", "_tagged/effaae some_DOT_metric;tag1=value2;tag2=value_DOT_2.wsp"),
    ],
)
def test_paths_are_the_names_with_parts_as_directories(metric: str, path: str) -> None:
    assert path_of(metric) == path.replace("effaae ", "eff/aae/")
    assert metric_of_path(path_of(metric)) == metric


@pytest.mark.parametrize(
    "metric", ["cpu.idle;host=a", "m;a=1;b=2", "m;host=a;host2=b", "m;a=1;a-b=2;a.b=3", "m.n;ä=ö", f"m;a={'x' * 200}"]
)
def test_tagged_series_lie_where_carbon_has_them(metric: str) -> None:
    carbons = TaggedSeries.encode(TaggedSeries.parse(metric).path, "/") + ".wsp"
    assert path_of(normalize(metric)) == carbons
    assert normalize(metric_of_path(carbons)) == normalize(metric)


@pytest.mark.parametrize(
    "metric",
    [f"m;a={'x' * 248}", f"{'a.' * 60}b;c=d", "disk.free;path=/var/log", "m;a=../../x", "a_DOT_b;c=d", "m;a=_DOT."],
)
def test_a_tagged_name_that_can_be_no_files_name_is_kept_as_its_hash(metric: str) -> None:
    assert path_of(metric) == hashed(metric) == TaggedSeries.encode(metric, "/", hash_only=True) + ".wsp"
    assert is_hashed(path_of(metric))


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("a/b", "no file can hold 'a/b': there is a slash in it"),
        ("../../etc/passwd", "no file can hold '../../etc/passwd': there is a slash in it"),
        ("a\0b", "no file can hold 'a\\x00b': there is a NUL in it"),
        ("a;b=\0", "no file can hold 'a;b=\\x00': there is a NUL in it"),
        ("", "no file can hold '': a part of it is empty"),
        ("..", "no file can hold '..': a part of it is empty"),
        (".a", "no file can hold '.a': a part of it is empty"),
        ("a.", "no file can hold 'a.': a part of it is empty"),
        ("a\ud800", "no file can hold 'a\\ud800': it is not valid UTF-8"),
        ("a\ud800;b=c", "no file can hold 'a\\ud800;b=c': it is not valid UTF-8"),
        ("x" * 252, f"no file can hold '{'x' * 40}'...: it is too long, or a part of it is"),
        ("ä" * 128 + ".y", f"no file can hold '{'ä' * 40}'...: it is too long, or a part of it is"),
        (("x" * 200 + ".") * 16 + "y", f"no file can hold '{'x' * 40}'...: it is too long, or a part of it is"),
        (
            IMPOSTOR,
            f"no file can hold {IMPOSTOR!r}: that is where a tagged series has its own",
        ),
    ],
)
def test_a_name_that_no_file_can_have_is_refused(metric: str, message: str) -> None:
    with pytest.raises(MetricNameError) as error:
        path_of(metric)
    assert str(error.value) == message


@given(NAMES, TAGS)
def test_every_path_stays_inside_and_is_read_back_as_its_metric(name: str, tags: list[tuple[str, str]]) -> None:
    try:
        metric = normalize(";".join([name, *(f"{tag}={value}" for tag, value in tags)]))
        path = path_of(metric)
    except MetricNameError:
        return
    assert Path("/data", path).resolve() == Path("/data", path)
    assert Path(path).parts == tuple(path.split("/"))
    assert is_hashed(path) or normalize(metric_of_path(path)) == metric


@given(st.text(max_size=300))
def test_any_text_has_a_path_inside_or_is_refused(text: str) -> None:
    try:
        path = path_of(text)
    except MetricNameError:
        return
    assert not path.startswith("/")
    assert {"", ".", ".."}.isdisjoint(path.split("/"))
    assert "\0" not in path
    assert all(len(part) <= 255 for part in path.encode().split(b"/"))


def test_two_metrics_never_share_a_file() -> None:
    metrics = ["a.b", "a;", "a;b", "a;b=", "a;=b", "a;x=1;b", "a;b;x=1"]
    metrics += ["a;b=c", "a_DOT_b;c=d", "a.b;c=d", "_tagged.a.b.c", "a.b;c=/", "a.b;c=_DOT_", "a.b;c=."]
    assert len({path_of(metric) for metric in metrics}) == len(metrics)
