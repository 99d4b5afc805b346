"""The files in `etc/`: configurations load, and systemd's units start what there is to start."""

from __future__ import annotations

import shlex
from configparser import ConfigParser
from pathlib import Path

import pytest

from carbonquota.cli.checked import check_file
from carbonquota.cli.limit import command as limit
from carbonquota.cli.run import command as run
from carbonquota.daemon.configuration import KEYS, load_settings
from carbonquota.daemon.settings import Settings
from carbonquota.limiter.process.load import load_settings as load_limiter_settings
from carbonquota.limiter.process.parts import LimiterParts
from carbonquota.limiter.rules.lint import lint
from carbonquota.service.values.address import Address

ROOT = Path(__file__).parents[2]
ETC = ROOT / "etc"


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings(ETC / "carbonquota.conf", hostname="web1.example.com")[0]


def test_the_example_configuration_asks_for_no_attention() -> None:
    _, notes = load_settings(ETC / "carbonquota.conf")
    assert list(notes.lines()) == []


def test_the_example_listens_on_this_machine_alone(settings: Settings) -> None:
    addresses = [*(one.listen for one in settings.inputs.values()), settings.carbonserver.listen]
    assert addresses == [Address("127.0.0.1", port) for port in (2003, 2003, 2004, 8080)]


def test_the_example_reads_the_files_beside_it_and_writes_into_var(settings: Settings) -> None:
    whisper = settings.whisper
    read = (whisper.quotas_file, whisper.schemas_file, whisper.aggregation_file)
    assert [Path(path) for path in read] == [
        ETC / "storage-quotas.conf",
        ETC / "storage-schemas.conf",
        ETC / "storage-aggregation.conf",
    ]
    written = (whisper.data_dir, settings.state.directory, settings.relay.spool_dir)
    assert {Path(path).parent for path in written} == {ROOT / "var"}
    assert settings.common.graph_prefix == "carbon.agents.web1_example_com"


def test_the_example_and_all_its_files_are_free_of_errors() -> None:
    reports = list(check_file(str(ETC / "carbonquota.conf"), None))
    assert [(Path(report.path).name, report.problems) for report in reports] == [
        ("carbonquota.conf", ()),
        ("storage-quotas.conf", ()),
        ("storage-schemas.conf", ()),
        ("storage-aggregation.conf", ()),
    ]


def test_the_example_names_every_section() -> None:
    text = (ETC / "carbonquota.conf").read_text()
    assert [section for section in KEYS if f"[{section}]\n" not in text] == []


class UnitParser(ConfigParser):
    """A parser whose keys keep their capitals, as systemd's have."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


@pytest.fixture(scope="module")
def unit() -> ConfigParser:
    return _unit("carbonquota.service")


def _unit(name: str) -> ConfigParser:
    parser = UnitParser(strict=False, interpolation=None, delimiters=("=",))
    parser.read(ETC / name)
    return parser


def test_the_unit_starts_a_command_with_options_that_there_are(unit: ConfigParser) -> None:
    program, name, *arguments = shlex.split(unit["Service"]["ExecStart"])
    assert (Path(program).name, name) == ("carbonquota", "run")
    assert run.make_context("run", arguments).params["config"] == "/etc/carbonquota/carbonquota.conf"


def test_the_unit_reloads_by_hangup_and_restarts_after_failures(unit: ConfigParser) -> None:
    service = unit["Service"]
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert (service["Type"], service["Restart"], service["KillSignal"]) == ("notify", "on-failure", "SIGTERM")


def test_the_unit_may_write_where_the_defaults_do(unit: ConfigParser) -> None:
    defaults = Settings()
    assert Path(defaults.state.directory) == Path("/var/lib") / unit["Service"]["StateDirectory"]
    assert unit["Service"]["ReadWritePaths"] == f"-{defaults.whisper.data_dir}"


def test_the_limiters_unit_starts_it_with_a_configuration_that_is_free_of_errors() -> None:
    service = _unit("carbonquota-limiter.service")["Service"]
    program, name, *arguments = shlex.split(service["ExecStart"])
    assert (Path(program).name, name) == ("carbonquota", "limit")
    assert str(limit.make_context("limit", arguments).params["config"]) == "/etc/carbonquota/limiter.toml"
    assert (service["Type"], service["Restart"], service["KillSignal"]) == ("notify", "always", "SIGTERM")
    parts = LimiterParts(load_limiter_settings(str(ETC / "limiter.toml")))
    assert len(parts.limiter.rules.rules()) == 2
    assert lint(parts.limiter.rules) == ()
