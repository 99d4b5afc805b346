"""What is wrong in a `carbonquota.conf`: every error with its full text, all of them in one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from carbonquota.daemon.configuration import (
    Configuration,
    format_settings,
    load_settings,
    read_configuration,
)
from carbonquota.errors import ConfigError

ROOT = Path(__file__).parents[3]


def read(text: str) -> Configuration:
    return read_configuration(text, "/etc/c/c.conf", hostname="web1.example.com")


def told(text: str) -> str:
    return "\n".join(str(problem) for problem in read(text).problems).replace("/etc/c/", "")


ERRORS = [
    ('[tcp]\nlisten = "2003"', '2:10: listen: "2003" is not an address', '"2003"', 'did you mean ":2003"?'),
    (
        '[tcp]\nlisten = "::1"',
        '2:10: listen: "::1" is not an address',
        '"::1"',
        'an IPv6 address stands in brackets, with a port behind: "[::1]:2003"',
    ),
    (
        '[tcp]\nlisten = "tcp://a:1"',
        '2:10: listen: "tcp://a:1" is not an address',
        '"tcp://a:1"',
        'did you mean "a:1"?',
    ),
    ('[tcp]\nlisten = "*:1"', '2:10: listen: "*" is not a host', '"*:1"', 'did you mean ":1"?'),
    (
        '[tcp]\nlisten = ":65536"',
        '2:10: listen: "65536" is not a port',
        '":65536"',
        "a port is a number from 0 to 65535",
    ),
    ("[tcp]\nlisten = 2003", "2:10: listen: this is text, not the number 2003", "2003", 'write it in quotes: "2003"'),
    (
        '[tcp]\nenabled = "true"',
        '2:11: enabled: this is true or false, not the text "true"',
        '"true"',
        "write true, without quotes",
    ),
    (
        "[tcp]\nenabled = 0",
        "2:11: enabled: this is true or false, not the number 0",
        "0",
        "write false, without quotes",
    ),
    (
        "[state]\nsnapshot_frequency = 5",
        '2:1: unknown key "snapshot_frequency" in [state]',
        "snapshot_frequency",
        'did you mean "snapshot-frequency"?',
    ),
    (
        '[carbonserver]\nthroughput_unit = "minute"',
        '2:1: unknown key "throughput_unit" in [carbonserver]',
        "throughput_unit",
        'did you mean "throughput-unit"?',
    ),
    (
        "[whisper]\nthroughput-unit = 8",
        '2:1: unknown key "throughput-unit" in [whisper]',
        "throughput-unit",
        "it belongs to [carbonserver]",
    ),
    ("[statsd]\nzzz = 8", '2:1: unknown key "zzz" in [statsd]', "zzz", "keys are: enabled, address, prefix"),
    ("[cache]\nmax-size = -1", "2:12: max-size: this is 0 or more, not -1", "-1", ""),
    (
        '[carbonserver]\nallowed-hosts = "a.example.com"',
        '2:17: allowed-hosts: this is a list of names, not the text "a.example.com"',
        '"a.example.com"',
        'write ["a.example.com"]',
    ),
    (
        '[carbonserver]\nallowed-hosts = ["http://a.example.com:8080/"]',
        '2:17: allowed-hosts: "http://a.example.com:8080/" is not the name of a host',
        '["http://a.example.com:8080/"]',
        'did you mean "a.example.com"?',
    ),
    (
        "[carbonserver]\nallowed-hosts = [1]",
        "2:17: allowed-hosts: this is text, not the number 1",
        "[1]",
        'write it in quotes: "1"',
    ),
    (
        '[cache]\nmax-size = "1,000"',
        '2:12: max-size: this is a whole number, not the text "1,000"',
        '"1,000"',
        "write 1000, without quotes",
    ),
    (
        "[cache]\nmax-size = 1.5",
        "2:12: max-size: this is a whole number, not the number 1.5",
        "1.5",
        "for example 1000 or 1_000",
    ),
    (
        "[whisper]\nphysical-size-factor = inf",
        "2:24: physical-size-factor: this is above 0 and at most 1000, not inf",
        "inf",
        "1 is as large as the points, 0.75 three quarters of it",
    ),
    ('[whisper]\ndata-dir = ""', "2:12: data-dir: this cannot be empty", '""', "name a directory"),
    (
        '[carbonserver]\nscan-frequency = "60"',
        '2:18: scan-frequency: "60" is not a duration',
        '"60"',
        'a unit is missing: did you mean "60s"?',
    ),
    (
        '[carbonserver]\nscan-frequency = "30d"',
        '2:18: scan-frequency: "30d" is not a duration',
        '"30d"',
        'the longest unit is the hour: did you mean "720h"?',
    ),
    (
        '[carbonserver]\nscan-frequency = "-1s"',
        '2:18: scan-frequency: this duration is not negative, not "-1s"',
        '"-1s"',
        "0 is never",
    ),
    (
        '[carbonserver]\nquota-usage-report-frequency = "300ms"',
        '2:32: quota-usage-report-frequency: this duration is at least 1s, not "300ms"',
        '"300ms"',
        "",
    ),
    (
        '[carbonserver]\nthroughput-unit = "minutes"',
        '2:19: throughput-unit: unknown word "minutes"',
        '"minutes"',
        'did you mean "minute"?',
    ),
    (
        '[relay]\nqueue-max-size = "lots"',
        '2:18: queue-max-size: "lots" is not a size',
        '"lots"',
        'write it in bytes, or as "64MB" (1000s) or "64MiB" (1024s)',
    ),
    (
        '[relay]\ndestination = ":2003"',
        '2:15: destination: ":2003" names no host',
        '":2003"',
        'did you mean "127.0.0.1:2003"?',
    ),
    (
        "[relay]\ntimeout = [1,\n 2]",
        "2:11: timeout: this is a duration, not a list",
        "[1,",
        'for example "1m30s", or seconds: 90',
    ),
    (
        '[common]\ngraph-prefix = "a b"',
        '2:16: graph-prefix: "a b" cannot begin the name of a metric',
        '"a b"',
        "take out blanks, ; and braces other than {host}",
    ),
    (
        '[statsd]\nprefix = "a:b"',
        "2:10: prefix: a blank, a control character or one of : | @ #, which no StatsD name may hold",
        '"a:b"',
        "take it out",
    ),
    ("[rellay]", "1:2: unknown section [rellay]", "rellay", "did you mean [relay]?"),
    (
        "[[tcp]]",
        "1:3: tcp is a section, not a list",
        "tcp",
        'write "[tcp]" once, and its keys below',
    ),
    (
        "[whisper]\nenabled = false",
        "2:11: neither Whisper nor the relay is on: there is nowhere to put points",
        "false",
        "set enabled = true in [whisper] or in [relay]",
    ),
    (
        "[whisper]\nenabled = true\n[relay]\nenabled = true",
        "4:11: the relay is on, and so is Whisper, at line 2: points go to one of them",
        "true",
        "set enabled = false in [whisper] or in [relay]",
    ),
    (
        "[relay]\nenabled = true",
        "2:11: the relay is on, but has no destination",
        "true",
        'for example destination = "graphite.example.com:2003"',
    ),
    (
        '[relay]\nenabled = true\ndestination = "localhost:2003"',
        "3:15: the relay would send to ourselves: [tcp] listens at :2003",
        '"localhost:2003"',
        "name another destination, or listen at another address",
    ),
    (
        '[pickle]\nlisten = "127.0.0.1:2003"',
        "2:10: [pickle] would listen at 127.0.0.1:2003, where [tcp] listens already, at :2003",
        '"127.0.0.1:2003"',
        "give one of them another port, or turn it off",
    ),
]


@pytest.mark.parametrize(("text", "message", "underlined", "remedy"), ERRORS)
def test_an_error_is_told_with_its_place_and_remedy(text: str, message: str, underlined: str, remedy: str) -> None:
    number, column = map(int, message.split(":")[:2])
    line = text.splitlines()[number - 1]
    assert line[column - 1 :].startswith(underlined)
    shown = f"c.conf:{message}\n    {line}\n    {' ' * (column - 1)}{'^' * len(underlined)}"
    assert told(text) == (f"{shown}\n  {remedy}" if remedy else shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "[tcp]\nlisten = :2003\n",
            (
                "c.conf:2:10: this is not TOML: invalid value\n    listen = :2003\n             ^^^^^\n"
                '  text stands in quotes, as in listen = ":2003"; other values are 1, 0.5, true and false'
            ),
        ),
        (
            "[tcp]\nenabled = true\nenabled = false\n",
            (
                "c.conf:3:1: this is not TOML: cannot overwrite a value\n    enabled = false\n    ^^^^^^^^^^^^^^^\n"
                "  this key stands twice: keep one of the two"
            ),
        ),
        (
            '[tcp]\nlisten = ":2003\nenabled = true\n',
            (
                "c.conf:2:1: this is not TOML: illegal character '\\n'\n"
                '    listen = ":2003\n    ^^^^^^^^^^^^^^^\n  end the text with a quote, in the same line'
            ),
        ),
        ("a = " + "[" * 5000, "c.conf: values are nested too deeply to be read"),
        ("a = " + "1" * 5000, "c.conf: this is not TOML: a number has thousands of digits"),
    ],
)
def test_an_error_of_syntax_is_told_as_one(text: str, shown: str) -> None:
    assert told(text) == shown


def test_all_errors_are_told_in_file_order(tmp_path: Path) -> None:
    path = tmp_path / "c.conf"
    path.write_text("[tcp]\nenabled = 1\n[cache]\nmax-size = -1\n[stat]\n[state]\nlissten = 1\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert [(problem.line, problem.column) for problem in caught.value.problems] == [(2, 11), (4, 12), (5, 2), (7, 1)]
    assert caught.value.path == str(path)


def test_a_missing_file_is_one_error() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings("/nowhere/c.conf")
    assert str(caught.value) == "/nowhere/c.conf: there is no such file"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[access]\ntls-certificate = "a"\n', "tls-certificate is set, but tls-key is not"),
        ('[access]\njwt-keys = "a"\n', "jwt-keys is set, but jwt-issuer and jwt-audience are not"),
        ('[hub]\ngroup = "a"\n', "group is set, but url is not"),
        ('[hub]\nurl = "https://a"\ntoken = "x"\ntoken-file = "y"\n', "token-file is set, and so is token"),
        ('[hub]\nurl = "ftp://a"\n', 'url: "ftp://a" is no URL of a service'),
        ('[hub]\nurl = "https://u:p@a"\n', "url: a URL of a service has no user, query or fragment"),
        ('[hub]\nurl = "https://a"\ngroup = "a b"\n', 'group: "a b" is no name of a group'),
        ('[access]\nreading = "always"\n', 'reading: unknown word "always"'),
    ],
)
def test_what_belongs_together_is_there_together(text: str, message: str) -> None:
    problems = read_configuration(text, "c.conf", hostname="h").problems
    assert [problem.message for problem in problems] == [message]


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        ('[carbonserver]\nlisten = ":8080"\n', "nobody needs a token: whoever reaches it may reload the rules"),
        ('[hub]\nurl = "http://hub.example.com"\n', "hub.url is not https"),
        ('[hub]\nurl = "https://a"\n[state]\nenabled = false\n', "no release is kept for a start"),
    ],
)
def test_what_lets_others_in_is_remarked(text: str, remark: str) -> None:
    assert any(remark in one for one in read_configuration(text, "c.conf", hostname="h").diagnostics.remarks)


def test_a_token_is_printed_nowhere() -> None:
    configuration = read_configuration('[hub]\nurl = "https://a"\ntoken = "cq_secret"\n', "c.conf", hostname="h")
    assert "cq_secret" not in format_settings(configuration.settings) + repr(configuration)
    for text in ('[hub]\ntoken = "cq_secret"\n', '[hub]\nurl = "https://a"\ntoken = "cq_secret x"\n'):
        (problem,) = read_configuration(text, "c.conf", hostname="h").problems
        assert "cq_secret" not in str(problem)
