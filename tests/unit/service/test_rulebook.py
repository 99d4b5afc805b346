"""Rules reloaded under a real engine: applied, unchanged or refused, told in the log, and handed on."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from carbonquota.engine import QuotaEngine
from carbonquota.errors import ConfigError
from carbonquota.model import Size
from carbonquota.rules import RuleSet, Schemas
from carbonquota.rules.aggregation import Aggregations
from carbonquota.service.rule_source import FileSource, LoadedRules, RuleFiles, load_rules
from carbonquota.service.rulebook import ReloadOutcome, Rulebook
from carbonquota.service.settling import signatures
from carbonquota.testing import ManualClock

RULES = "[team.*]\nmetrics = 2\n"
SCHEMAS = "[all]\npattern = .*\nretentions = 60s:1h\n"
AGGREGATION = "[all]\npattern = .*\naggregationMethod = sum\n"


class Case:
    """The files, an engine with what they say, and its rulebook."""

    def __init__(self, folder: Path) -> None:
        self.quotas, self.schemas, self.aggregation = (folder / name for name in ("q.conf", "s.conf", "a.conf"))
        self.quotas.write_text(RULES)
        self.schemas.write_text(SCHEMAS)
        self.aggregation.write_text(AGGREGATION)
        self.clock = ManualClock(1000)
        loaded = load_rules(RuleFiles("q.conf", "s.conf", "a.conf"))
        self.engine = QuotaEngine(loaded.rules, size_of=loaded.schemas.size_of, clock=self.clock)
        self.book = Rulebook(self.engine, loaded, clock=self.clock, source=FileSource(loaded.files, signatures))

    def health(self) -> dict[tuple[str, str], float]:
        return {(sample.stat, sample.label): sample.value for sample in self.book.health()}


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Case:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO, "carbonquota.service.rulebook")
    return Case(tmp_path)


def log(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


def test_the_first_load_tells_the_problems_of_all_files(case: Case) -> None:
    case.quotas.write_text("[a]\nmetricz = 1\n")
    case.schemas.unlink()
    case.aggregation.write_text("[a]\n")
    with pytest.raises(ConfigError) as caught:
        load_rules(case.book.loaded.files)
    assert [(problem.source, problem.message) for problem in caught.value.problems] == [
        ("s.conf", "there is no such file"),
        ("q.conf", 'unknown key "metricz"'),
        ("a.conf", "this section has no pattern"),
    ]


def test_files_that_are_not_named_say_nothing() -> None:
    loaded = load_rules(RuleFiles(physical_size_factor=0.5, sparse=True))
    assert (loaded.rules.rules, loaded.files.paths) == ((), ())
    assert loaded.schemas.size_of("a.b") == Size(2_073_628, 1_040_384, 172_800)


def test_a_change_is_applied_and_told(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    case.quotas.write_text("[team.*]\nmetrics = 1\n[a]\nmetrics = 5\n[b]\nmetrics = 5\n[a]\nmetrics = 6\n")
    case.clock.set(2000)
    result = case.book.reload("SIGHUP")
    assert (result.outcome, result.reason, result.time, result.rules, result.error) == (
        ReloadOutcome.APPLIED,
        "SIGHUP",
        2000,
        4,
        "",
    )
    assert [rule.pattern for rule in case.engine.rules.rules] == ["team.*", "a", "b", "a"]
    assert case.engine.offer("team.x.one").accepted
    assert not case.engine.offer("team.x.two").accepted
    assert log(caplog) == [
        "INFO reload (SIGHUP): 4 rules in force",
        "INFO + [a] (q.conf:3): metrics 5",
        "INFO + [b] (q.conf:5): metrics 5",
        "INFO + [a] (q.conf:7): metrics 6",
        "INFO ~ [team.*] (q.conf:1): metrics 2 -> 1",
        """WARNING q.conf:3:2: Q002 this section stands again at line 7, and that one wins
    [a]
     ^
  keep one of the two""",
    ]


def test_files_that_say_the_same_swap_nothing(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    before = case.engine.rules
    assert case.book.reload("a file changed").outcome is ReloadOutcome.UNCHANGED
    assert case.engine.rules is before
    assert log(caplog) == ["INFO reload (a file changed): the files say what is in force already"]


def test_a_bad_file_keeps_the_rules_in_force_until_it_is_mended(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    case.quotas.write_text("[a]\nmetricz = 1\n[b\n")
    result = case.book.reload("a file changed")
    problem = 'q.conf:2:1: unknown key "metricz"\n    metricz = 1\n    ^^^^^^^\n  did you mean "metrics"?'
    assert (result.ok, result.outcome, result.rules) == (False, ReloadOutcome.FAILED, 1)
    assert result.error.startswith(problem)
    assert case.book.last is result
    assert [rule.pattern for rule in case.engine.rules.rules] == ["team.*"]
    assert log(caplog)[0] == f"ERROR {problem}"
    assert log(caplog)[2:] == [
        "ERROR reload (a file changed) failed: the rules in force stay, until the files change again"
    ]
    case.quotas.write_text("[a]\nmetrics = 1\n")
    assert case.book.reload("a file changed").outcome is ReloadOutcome.APPLIED
    assert [rule.pattern for rule in case.engine.rules.rules] == ["a"]


def test_one_bad_file_of_three_holds_all_of_them_back(case: Case) -> None:
    handed: list[Schemas] = []
    case.book.on_schemas(handed.append)
    case.quotas.write_text("[a]\nmetrics = 1\n")
    case.schemas.write_text(SCHEMAS.replace("1h", "2h"))
    case.aggregation.unlink()
    result = case.book.reload("test")
    assert (result.error, handed) == ("a.conf: there is no such file", [])
    assert [rule.pattern for rule in case.engine.rules.rules] == ["team.*"]


def test_a_file_put_back_as_it_was_is_in_force_again(case: Case) -> None:
    case.quotas.unlink()
    assert not case.book.reload("test").ok
    case.quotas.write_text(RULES)
    assert case.book.reload("test").outcome is ReloadOutcome.UNCHANGED
    assert case.health()["reload_ok", ""] == 1


def test_schemas_and_aggregations_are_handed_on_when_they_change(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    schemas: list[Schemas] = []
    aggregations: list[Aggregations] = []
    case.book.on_schemas(schemas.append)
    case.book.on_aggregations(aggregations.append)
    case.quotas.write_text("[a]\nmetrics = 1\n")
    case.book.reload("test")
    assert (schemas, aggregations) == ([], [])
    case.schemas.write_text(SCHEMAS.replace("1h", "2h"))
    case.book.reload("test")
    assert ([found.size_of("a.b").data_points for found in schemas], aggregations) == ([120], [])
    case.aggregation.write_text(AGGREGATION.replace("sum", "max"))
    case.book.reload("test")
    assert (len(schemas), [found.match("a.b").method for found in aggregations]) == (1, ["max"])
    assert "INFO a.conf: changed; new metrics follow it" in log(caplog)


def test_a_long_difference_is_told_in_part(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    case.quotas.write_text(RULES + "".join(f"[n{number}]\nmetrics = 1\n" for number in range(100)))
    case.book.reload("test")
    assert len(log(caplog)) == 52
    assert log(caplog)[-1] == "INFO and 50 more, which `carbonquota check` and `carbonquota dry-run --against` tell"


def test_health_counts_reloads_by_result(case: Case) -> None:
    assert case.health() == {
        ("rules", ""): 1,
        ("reloads", "applied"): 0,
        ("reloads", "unchanged"): 0,
        ("reloads", "failed"): 0,
        ("reload_ok", ""): 1,
        ("reload_time", ""): 1000,
    }
    case.clock.set(3000)
    case.book.reload("test")
    case.quotas.write_text("# empty\n")
    case.book.reload("test")
    case.quotas.unlink()
    case.book.reload("test")
    assert case.health() == {
        ("rules", ""): 0,
        ("reloads", "applied"): 1,
        ("reloads", "unchanged"): 1,
        ("reloads", "failed"): 1,
        ("reload_ok", ""): 0,
        ("reload_time", ""): 3000,
    }


EMPTIED = """\
{file}.conf: this file has no sections any more, while 1 section is in force
  where that is meant, write a line "# empty" into it, or restart"""


@pytest.mark.parametrize("left", ["", "\n\n", "# nothing here\n", "\ufeff", "; emptyish\n"])
@pytest.mark.parametrize("file", ["quotas", "schemas", "aggregation"])
def test_a_file_that_is_emptied_changes_nothing(case: Case, file: str, left: str) -> None:
    before = case.book.loaded
    getattr(case, file).write_text(left)
    result = case.book.reload("test")
    assert (result.outcome, result.error) == (ReloadOutcome.FAILED, EMPTIED.format(file=file[0]))
    assert (case.book.loaded, case.health()["reload_ok", ""]) == (before, 0)
    assert not case.book.reload("and again").ok


@pytest.mark.parametrize("word", ["# empty\n", "\n  #EMPTY\n", "; empty", "# as agreed:\n# empty\n"])
@pytest.mark.parametrize("file", ["quotas", "schemas", "aggregation"])
def test_a_file_that_says_it_is_empty_is_in_force(case: Case, file: str, word: str) -> None:
    getattr(case, file).write_text(word)
    assert case.book.reload("test").outcome is ReloadOutcome.APPLIED
    assert case.book.loaded.sections() == tuple(int(other != file) for other in ("quotas", "schemas", "aggregation"))
    getattr(case, file).write_text("")
    assert case.book.reload("none before, none after").outcome is ReloadOutcome.APPLIED


def test_a_file_that_keeps_changing_is_refused(case: Case, tmp_path: Path) -> None:
    book = Rulebook(
        case.engine, case.book.loaded, clock=case.clock, source=FileSource(case.book.loaded.files, lambda paths: None)
    )
    assert book.reload("SIGHUP").error == (
        "q.conf, s.conf, a.conf: the files keep changing, and half a file may not be put in force\n"
        "  ask again when they are written"
    )


class Service:
    """A source of rules that is no file."""

    name = "https://rules.example.com"

    def __init__(self, loaded: LoadedRules) -> None:
        self.given = loaded
        self.versions = 0

    def version(self) -> int:
        return self.versions

    def settled_version(self) -> int:
        self.versions += 1
        return self.versions

    def read(self, known: LoadedRules) -> LoadedRules:
        return self.given


def test_rules_may_come_from_elsewhere_than_files(case: Case) -> None:
    source = Service(case.book.loaded)
    book = Rulebook(case.engine, case.book.loaded, clock=case.clock, source=source)
    assert book.reload("a call").outcome is ReloadOutcome.UNCHANGED
    rules = RuleSet.from_text("[a]\nmetrics = 7\n", source.name)
    source.given = replace(source.given, rules=rules, texts=("[a]", *source.given.texts[1:]))
    assert book.reload("a call").outcome is ReloadOutcome.APPLIED
    assert [rule.limits.metrics for rule in case.engine.rules.rules] == [7]


def test_a_file_that_changed_while_it_was_read_is_read_again(case: Case) -> None:
    before = signatures(case.book.loaded.files.paths)
    case.quotas.write_text("[a]\nmetrics = 100\n")
    assert case.book.reload("a file changed", before).outcome is ReloadOutcome.APPLIED
    assert [rule.limits.metrics for rule in case.engine.rules.rules] == [100]


def test_reloads_from_many_threads_end_with_what_the_file_says(case: Case) -> None:
    def reload(number: int) -> None:
        for turn in range(5):
            case.quotas.with_name(f"new{number}").write_text(f"[team.*]\nmetrics = {number + turn + 1}\n")
            case.quotas.with_name(f"new{number}").rename(case.quotas)
            assert case.book.reload("test").ok

    threads = [threading.Thread(target=reload, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert case.engine.rules == load_rules(case.book.loaded.files).rules
    assert sum(value for (stat, _), value in case.health().items() if stat == "reloads") == 20


def test_a_file_of_another_kind_is_told_in_part(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    case.quotas.write_text("no.rule\n" * 10_000)
    caplog.clear()
    result = case.book.reload("SIGHUP")
    assert (result.ok, result.error.count("\n")) == (False, 400)
    assert result.error.endswith("\nand 9,900 more errors")
    assert log(caplog)[-2:] == [
        "ERROR and 9950 more errors, which `carbonquota check` tells",
        "ERROR reload (SIGHUP) failed: the rules in force stay, until the files change again",
    ]
    assert len(log(caplog)) == 52
