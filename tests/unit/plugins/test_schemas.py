"""storage-schemas.conf is read as carbon reads it."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from carbon import state
from carbon.conf import settings
from carbon.database import WhisperDatabase

from carbonquota.errors import ConfigError
from carbonquota.plugins.schemas import read_schemas, warn_of_slow
from carbonquota.rules.expressions import read_expression
from carbonquota.service.patterns import PatternGuard
from carbonquota.service.rule_source import RuleFiles

CARBONS_DEFAULT = 10_080
ALL = "[all]\npattern = .*\nretentions = 1s:1h\n"


@pytest.fixture(autouse=True)
def database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Carbon's store, as far as it has a say in what can be kept."""
    validate = partial(WhisperDatabase.validateArchiveList, None)
    monkeypatch.setattr(state, "database", SimpleNamespace(validateArchiveList=validate))


ACCEPTED = {
    "plain": (f"[x]\npattern = ^a\nretentions = 60s:1d\n{ALL}", 1440),
    "numbers": ("[x]\npattern = ^a\nretentions = 60:1440\n", 1440),
    "several": ("[x]\npattern = ^a\nretentions = 60s:1d, 5m:30d\n", 1440 + 8640),
    "colons": ("[x]\npattern: ^a\nretentions: 60s:1d\n", 1440),
    "continued": ("[x]\npattern = ^a\nretentions = 60s:1d,\n  5m:30d\n", 1440 + 8640),
    "upper case": ("[x]\nPATTERN = ^a\nRETENTIONS = 60s:1d\n", 1440),
    "unknown keys": (f"[x]\npattern = ^a\npriority = 5\nfoo = bar\nretentions = 60s:1d\n{ALL}", 1440),
    "file order, not priority": (f"{ALL}[x]\npattern = ^a\npriority = 5\nretentions = 60s:1d\n", 3600),
    "no pattern": (f"[x]\nretentions = 60s:1d\n{ALL}", 3600),
    "no retentions": (f"[x]\npattern = ^a\n{ALL}", 3600),
    "archives that do not go together": (f"[x]\npattern = ^a\nretentions = 60s:1d,61s:30d\n{ALL}", 3600),
    "found anywhere": ("[x]\npattern = metric\nretentions = 60s:1d\n", 1440),
    "a percent sign": (f"[x]\npattern = ^a%%b\nretentions = 60s:1d\n{ALL}", 3600),
    "no schema matches": ("[x]\npattern = ^b\nretentions = 60s:1d\n", CARBONS_DEFAULT),
    "empty": ("", CARBONS_DEFAULT),
}


@pytest.mark.parametrize("text, points", ACCEPTED.values(), ids=ACCEPTED)  # noqa: PT006 - a table of pairs
def test_sizes_are_those_of_the_files_that_carbon_makes(
    text: str, points: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_schemas(text, RuleFiles(schemas="s.conf")).size_of("a.metric").data_points == points
    assert points_in_carbon(text, tmp_path, monkeypatch) == points


def points_in_carbon(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """The points that carbon gives a file by these schemas."""
    (tmp_path / "storage-schemas.conf").write_text(text)
    monkeypatch.setitem(settings, "CONF_DIR", str(tmp_path))
    from carbon import storage  # noqa: PLC0415 - it looks at the settings when it is imported

    monkeypatch.setattr(storage, "STORAGE_SCHEMAS_CONFIG", str(tmp_path / "storage-schemas.conf"))
    schema = next(schema for schema in storage.loadStorageSchemas() if schema.matches("a.metric"))
    return sum(archive.points for archive in schema.archives)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "[x]\npattern = .*\nretentions = often\n",
            '[x]: carbon cannot read retentions = often; write them as "retentions = 60s:1d, 5m:30d"',
        ),
        (
            "[x]\npattern = .*\nretentions = 0s:1d\n",
            '[x]: carbon cannot read retentions = 0s:1d; write them as "retentions = 60s:1d, 5m:30d"',
        ),
        (
            "[x]\npattern = (\nretentions = 60s:1d\n",
            "[x]: pattern = ( is no regular expression: missing ), unterminated subpattern at position 0",
        ),
        (
            "pattern = .*\n",
            "File contains no section headers. file: 's.conf', line: 1 'pattern = .*\\n'",
        ),
        (
            "[x]\npattern = .*\npattern = a\n",
            "While reading from 's.conf' [line 3]: option 'pattern' in section 'x' already exists",
        ),
    ],
)
def test_what_carbon_cannot_start_with_is_told_in_one_line(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_schemas(text, RuleFiles(schemas="s.conf"))
    assert str(caught.value) == f"s.conf: {problem}"


@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
def test_an_expression_means_what_carbon_takes_it_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "[x]\npattern = [[:alpha:]]\nretentions = 60s:1d\n" + ALL
    # To carbon it is a set of a colon and letters with a bracket behind it.
    assert points_in_carbon(text, tmp_path, monkeypatch) == 3600
    assert read_schemas(text, RuleFiles(schemas="s.conf")).size_of("a.metric").data_points == 3600
    with pytest.raises(ConfigError, match=r"pattern = \^\\pL is no regular expression"):
        read_schemas("[x]\npattern = ^\\pL\nretentions = 60s:1d\n", RuleFiles(schemas="s.conf"))


def test_no_name_holds_up_carbon_through_our_schemas() -> None:
    guard = PatternGuard()
    try:
        endless = "[x]\npattern = ^(?=a)(a+)+$\nretentions = 60s:1d\n[y]\npattern = (a+)+$\nretentions = 60s:2d\n"
        schemas = read_schemas(endless + ALL, RuleFiles(schemas="s.conf", search=guard))
        begun = time.monotonic()
        assert schemas.size_of("a" * 36 + "b").data_points == 3600
        # Without the guard it would be hours.
        assert time.monotonic() - begun < 20
    finally:
        guard.close()


def test_patterns_that_carbon_itself_may_need_long_for_are_named(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_slow(map(read_expression, ["^carbon\\.", "(a+)+$", "a(?!b)", "^(?!x)(a+)+$", "^(?!x)", ".*"]))
    assert caplog.messages == [
        f"pattern = {pattern}: carbon itself may need very long to match a new metric by this, and stands still "
        f"meanwhile; the costly part is {part}"
        for pattern, part in (
            ("(a+)+$", "(a+)+ (a repetition within a repetition)"),
            ("a(?!b)", "(?! (look-around)"),
            ("^(?!x)(a+)+$", "(a+)+ (a repetition within a repetition)"),
        )
    ]
