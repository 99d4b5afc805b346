"""The normal form of a name in C is that of `metric_name.normalize`, whatever the bytes are."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from carbonquota.errors import MetricNameError
from carbonquota.kernel import COMPILED
from carbonquota.metric_name import normalize

if not COMPILED:
    pytest.skip("the plain kernel has `normalize` itself", allow_module_level=True)

from carbonquota.kernel._cy import is_plain, normal_form

MOST_TAGS = 64
"""Names with more tags are left to Python."""

PIECES = (
    "a", "b", "host", "x" * 15, "x" * 16, "x" * 33, ".", "..", ".", ";", ";", "=", ";a=1", ";b=2", ";host=h", ";h2=b",
    ";name=c", "{", '="', '"}', '",', "./", "/../",
    "é", "größe", "€", "😀", "\x7f", "\x80", "\x9f", "\xa0", "\x00", "\t", " ", "/", "//", "~", "!", "^", "-", "0",
)  # fmt: skip
NAMES = st.lists(st.sampled_from(PIECES), max_size=14).map("".join).map(str.encode)
MANGLED = st.builds(
    lambda name, at, byte: name[:at] + byte + name[at:], NAMES, st.integers(0, 40), st.binary(max_size=3)
)


def defined(name: bytes) -> bytes | None:
    """What Python says: None stands for an error."""
    try:
        return normalize(name).encode()
    except MetricNameError:
        return None


def assert_same(name: bytes) -> None:
    answer = defined(name)
    found = normal_form(name)
    if name.count(b";") > MOST_TAGS or name.endswith(b'"}'):
        assert found in (None, answer)
    else:
        assert found == answer
    if is_plain(name):
        assert answer == name


@given(name=NAMES | MANGLED | st.binary(max_size=80))
@example(name=b"a" * 4096)
@example(name=b"a" * 4097)
@example(name=b"")
@example(name=b"\xed\xa0\x80.a")
@example(name=b"\xf4\x90\x80\x80")
@example(name=b"\xc0\xaf")
@example(name=b"\xe0\x80\xaf")
@example(name=b"a;b=1;b=~2;b=3")
@example(name=b"a;host=1;host2=2;host=3;host-a=4")
@example(name=b"a;name=b")
@example(name=b"a;name=b;c=d;nam=e;name=f;names=g")
@example(name=b"a;c=d;b")
@example(name=b"~/.~a//b/;c=/d/")
@example(name=b'a;b=c{d="e"}')
def test_any_bytes_come_to_the_same_as_in_python(name: bytes) -> None:
    assert_same(name)


@pytest.mark.parametrize("parts", [1, 2, 254, 255, 256, 257])
@pytest.mark.parametrize("form", ["{}", ".{}", "{}.", "{};t=1"])
def test_depth_is_bounded_alike(parts: int, form: str) -> None:
    assert_same(form.format(".".join(["d"] * parts)).encode())


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 70])
def test_tags_beyond_those_sorted_here_are_left_to_python(count: int) -> None:
    assert_same(b"a" + b"".join(b";t%d=%d" % (-number % 67, number) for number in range(count)))


@pytest.mark.parametrize("length", range(1, 70))
def test_a_plain_name_is_known_by_a_glance_at_any_length(length: int) -> None:
    name = (b"abcdefg." * 10)[: length - 1] + b"z"
    assert is_plain(name)
    for at in range(length):
        for odd in (b".", b"/", b";", b"~", b"}", b" ", b"\x7f", b"\x80", b"\xff", b"\x01"):
            changed = name[:at] + odd + name[at + 1 :]
            assert is_plain(changed) == (defined(changed) == changed and not set(changed) & set(b"; ~}")), changed
