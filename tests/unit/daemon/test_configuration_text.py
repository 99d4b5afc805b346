"""Configuration as TOML text: places in it, settings written as it, and any text at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from carbonquota.daemon.configuration import (
    Configuration,
    format_settings,
    is_configuration,
    read_configuration,
)
from carbonquota.daemon.inputs import InputSettings
from carbonquota.daemon.inputs.pickle import PickleSettings
from carbonquota.daemon.settings import (
    Cache,
    CarbonServer,
    Common,
    Relay,
    Settings,
    State,
    StatsD,
    Whisper,
)
from carbonquota.service.values.address import Address
from carbonquota.service.values.toml import find_places

ROOT = Path(__file__).parents[3]


def read(text: str) -> Configuration:
    return read_configuration(text, "/etc/c/c.conf", hostname="web1.example.com")


def test_places_are_found_among_all_that_toml_allows() -> None:
    text = '''
a.b = 1 # c = 2
text = """
[no]
no = "\\"" """
list = [ # ]
  "]", [1, { x = '}' }], # no = 3
]
[ "s p".'q' ] # [no]
"k\\u0065y" = '#'
inner = { one = 1, two.three = [ { no = 1 } ], four = {} }
[[many]]
x = 1979-05-27 07:32:00
[[many]]
x = 2
'''
    shown = {
        path: (text[place.key.start : place.key.end], text[place.value.start : place.value.end])
        for path, place in find_places(text).items()
    }
    assert shown == {
        ("a",): ("a.b", "a.b"),
        ("a", "b"): ("a.b", "1"),
        ("text",): ("text", '"""\n[no]\nno = "\\"" """'),
        ("list",): ("list", "[ # ]\n  \"]\", [1, { x = '}' }], # no = 3\n]"),
        ("s p",): ("\"s p\".'q'", "\"s p\".'q'"),
        ("s p", "q"): ("\"s p\".'q'", "\"s p\".'q'"),
        ("s p", "q", "key"): ('"k\\u0065y"', "'#'"),
        ("s p", "q", "inner"): ("inner", "{ one = 1, two.three = [ { no = 1 } ], four = {} }"),
        ("s p", "q", "inner", "one"): ("one", "1"),
        ("s p", "q", "inner", "two"): ("two.three", "two.three"),
        ("s p", "q", "inner", "two", "three"): ("two.three", "[ { no = 1 } ]"),
        ("s p", "q", "inner", "four"): ("four", "{}"),
        ("many",): ("many", "many"),
        ("many", "x"): ("x", "1979-05-27 07:32:00"),
    }


text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
names = st.from_regex(r"[a-z][a-z0-9_-]{0,8}(\.[a-z0-9_-]{1,8}){0,2}", fullmatch=True)
paths = text.map(lambda rest: f"/{rest.replace('/', '').replace('.', '')}")
counts = st.integers(0, 2**63 - 1)
seconds = st.floats(1, 9e9) | st.integers(1, 10**9).map(float)
hosts = names | st.ip_addresses().map(str)
factors = st.floats(0, 1000, exclude_min=True)


def addresses(*ports: int) -> st.SearchStrategy[Address]:
    return st.builds(Address, hosts, st.sampled_from(ports))


whispers = st.builds(
    Whisper,
    enabled=st.just(True),
    data_dir=paths,
    schemas_file=st.just("") | paths,
    aggregation_file=st.just("") | paths,
    quotas_file=st.just("") | paths,
    sparse_create=st.booleans(),
    physical_size_factor=factors,
    max_updates_per_second=counts,
    max_creates_per_second=counts,
)
carbonservers = st.builds(
    CarbonServer,
    listen=addresses(8080, 0),
    scan_frequency=seconds | st.just(0.0),
    quota_usage_report_frequency=seconds,
    max_creates_per_second=counts,
    throughput_unit=st.sampled_from(["interval", "minute"]),
    allowed_hosts=st.lists(names.filter(lambda name: not name.endswith("-")) | st.just("*"), max_size=3).map(tuple),
    prometheus_max_namespaces=counts,
)
relays = st.builds(
    Relay,
    enabled=st.booleans(),
    destination=addresses(5, 65_535),
    queue_max_size=st.integers(1, 2**63 - 1),
    spool_dir=st.just("") | paths,
    spool_max_size=counts,
    timeout=seconds,
    resend_window=seconds | st.just(0.25),
)
states = st.builds(
    State, enabled=st.booleans(), directory=paths, snapshot_frequency=seconds, series_ttl=seconds | st.just(0.0)
)
inputs = st.fixed_dictionaries(
    {
        "tcp": st.builds(InputSettings, addresses(2003, 0), st.booleans()),
        "udp": st.builds(InputSettings, addresses(2003, 2004, 0) | st.just(Address("", 2003)), st.booleans()),
        "pickle": st.builds(PickleSettings, addresses(2004, 0), st.booleans(), st.integers(1, 2**32 - 1)),
    }
)
all_settings = st.builds(
    Settings,
    common=st.builds(Common, names),
    whisper=whispers,
    cache=st.builds(Cache, st.integers(1, 2**63 - 1)),
    inputs=inputs,
    carbonserver=carbonservers,
    relay=relays,
    state=states,
    statsd=st.builds(StatsD, st.booleans(), addresses(8125, 1), names | st.just("")),
).map(lambda made: replace(made, whisper=replace(made.whisper, enabled=not made.relay.enabled)))


@given(all_settings)
@example(Settings())
def test_what_is_written_reads_the_same(settings: Settings) -> None:
    again = read_configuration(format_settings(settings), "")
    assert [str(problem) for problem in again.problems] == []
    assert again.settings == settings


@given(st.text(st.sampled_from("[]{}\"'=.#\n\\ ,tcp1:true-_é\r\t"), max_size=60))
def test_no_text_is_more_than_an_error(text: str) -> None:
    is_configuration(text)
    for problem in read(text).problems:
        assert str(problem)
        assert problem.column <= len(problem.text) + 1
