"""Whose address a request has, whatever a client writes into its head."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonquota.limiter.identity.address import (
    ClientAddress,
    hops_of_forwarded,
    hops_of_x_forwarded_for,
    read_networks,
)

PROXIES = read_networks(["10.0.0.0/8", "fd00::/8", "127.0.0.1"])
BEHIND_PROXIES = ClientAddress(PROXIES)


@pytest.mark.parametrize(
    ("peer", "written", "found"),
    [
        pytest.param("198.51.100.7", "", "198.51.100.7", id="no proxy"),
        pytest.param("198.51.100.7", "203.0.113.9", "198.51.100.7", id="a stranger is not believed"),
        pytest.param("10.0.0.1", "198.51.100.7", "198.51.100.7", id="one proxy"),
        pytest.param(
            "10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7", id="what the client made up is left of it"
        ),
        pytest.param("10.0.0.1", "127.0.0.1, 198.51.100.7", "198.51.100.7", id="even where it made up a proxy's"),
        pytest.param("10.0.0.1", "198.51.100.7, 10.0.0.2", "198.51.100.7", id="two proxies"),
        pytest.param("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3", id="a client among the proxies"),
        pytest.param("10.0.0.1", "198.51.100.7, rubbish, 10.0.0.2", "10.0.0.2", id="rubbish ends the way"),
        pytest.param("10.0.0.1", "", "10.0.0.1", id="a proxy that tells nothing"),
        pytest.param("10.0.0.1", "198.51.100.7:4711", "198.51.100.7", id="with a port"),
        pytest.param("10.0.0.1", "[2001:db8:1:2:3::7]:4711", "2001:db8:1:2:3::7", id="IPv6 with a port"),
        pytest.param("10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7", id="IPv4 written as IPv6"),
        pytest.param("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7", id="a proxy's IPv4 written as IPv6"),
        pytest.param("fe80::1%eth0", "", "fe80::1", id="a zone is left out"),
        pytest.param("", "198.51.100.7", "", id="a Unix socket"),
    ],
)
def test_the_address_is_that_of_the_last_one_who_is_not_trusted(peer: str, written: str, found: str) -> None:
    hops = hops_of_x_forwarded_for([written]) if written else []
    assert BEHIND_PROXIES.find(peer, hops).exact == found


ADDRESSES = st.ip_addresses().map(str) | st.sampled_from(["10.1.2.3", "127.0.0.1", "", "unknown", "_hidden", '"'])


@given(st.lists(ADDRESSES, max_size=6))
def test_nothing_that_a_client_writes_changes_its_address(made_up: list[str]) -> None:
    hops = [*made_up, "198.51.100.7", "10.0.0.2"]
    assert BEHIND_PROXIES.find("10.0.0.1", hops).exact == "198.51.100.7"


@given(st.text(alphabet='for=";, 1.:[]a', max_size=40))
def test_nothing_that_a_client_writes_into_forwarded_hides_what_the_proxy_appends(made_up: str) -> None:
    hops = hops_of_forwarded([f'{made_up}, for="198.51.100.7:1";proto=https'])
    assert BEHIND_PROXIES.find("10.0.0.1", hops).exact == "198.51.100.7"


@pytest.mark.parametrize(
    ("written", "hops"),
    [
        ("for=192.0.2.60;proto=http;by=203.0.113.43", ["192.0.2.60"]),
        ('For="[2001:db8:cafe::17]:4711"', ["[2001:db8:cafe::17]:4711"]),
        ("for=192.0.2.43, for=198.51.100.17", ["192.0.2.43", "198.51.100.17"]),
        ("proto=https, for=198.51.100.17", ["", "198.51.100.17"]),
        ("for=_secret", ["_secret"]),
    ],
)
def test_forwarded_is_read_as_its_rfc_has_it(written: str, hops: list[str]) -> None:
    assert hops_of_forwarded([written]) == hops


def test_addresses_of_one_ipv6_network_are_one_client() -> None:
    found = {BEHIND_PROXIES.find(f"2001:db8:1:2:{n:x}::1").counted for n in range(1, 100)}
    assert found == {"2001:db8:1:2::/64"}
    assert ClientAddress(ipv6_prefix=128).find("2001:db8::1").counted == "2001:db8::1"
    assert ClientAddress(ipv6_prefix=56).find("2001:db8:1:2ff::1").counted == "2001:db8:1:200::/56"


def test_a_network_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match=r'^"10.0.0.1/8" is no address and no network such as 10.0.0.0/8$'):
        read_networks(["127.0.0.1", "10.0.0.1/8"])
