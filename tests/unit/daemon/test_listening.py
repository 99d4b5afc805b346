"""Where receivers listen: on IPv4 and IPv6, at free ports, and what they say where they cannot."""

from __future__ import annotations

import asyncio
import pickle
import socket
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from carbonquota.daemon.inputs import InputSettings
from carbonquota.daemon.inputs.receivers import Receivers
from carbonquota.daemon.intake import Intake
from carbonquota.daemon.settings import Settings
from carbonquota.errors import QuotaError
from carbonquota.service.values.address import Address
from tests.support.receiving import ANY_PORT, KeepingSink, Loops, receiving, run, settings_for, with_inputs
from tests.support.small import engine_under

pytestmark = pytest.mark.parametrize(
    "loops", [pytest.param(asyncio.new_event_loop, id="asyncio"), pytest.param(uvloop.new_event_loop, id="uvloop")]
)

PICKLED = pickle.dumps([("a", (1, 2))], 2)

HAS_IPV6 = socket.has_ipv6 and Path("/proc/net/if_inet6").exists() and Path("/proc/net/if_inet6").read_text() != ""


def test_all_interfaces_are_those_of_both_families_at_one_port(loops: Loops) -> None:
    everywhere = Address("", 0)

    async def main() -> None:
        async with receiving(settings_for(everywhere, everywhere, everywhere)) as daemon:
            sent = 0
            for receiver, bound in daemon.receivers.addresses.items():
                assert [address.host for address in bound] == ["0.0.0.0", "::"][: 1 + HAS_IPV6]  # noqa: S104
                assert len({address.port for address in bound}) == 1
                for host in ("127.0.0.1", "::1")[: len(bound)]:
                    family = socket.AF_INET6 if ":" in host else socket.AF_INET
                    kind = socket.SOCK_DGRAM if receiver == "udp" else socket.SOCK_STREAM
                    with socket.socket(family, kind) as sender:
                        sender.connect((host, bound[0].port))
                        sender.sendall(
                            struct.pack(">I", len(PICKLED)) + PICKLED if receiver == "pickle" else b"a 2 1\n"
                        )
                    sent += 1
            await daemon.has_lines(sent)
            assert daemon.sink.lines == [b"a 2 1\n"] * sent

    run(main(), loops)


def test_where_ipv6_is_off_all_interfaces_are_those_of_ipv4(loops: Loops, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def without_ipv6(family: int = socket.AF_INET, *rest: object, **more: object) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, *rest, **more)  # type: ignore[arg-type]

    async def main() -> None:
        monkeypatch.setattr("carbonquota.service.listening.socket.socket", without_ipv6)
        async with receiving(replace(settings_for(tcp=Address("", 0)))) as daemon:
            monkeypatch.undo()
            assert [address.host for address in daemon.receivers.addresses["tcp"]] == ["0.0.0.0"]  # noqa: S104
            await daemon.send(b"a 1 1\n")
            await daemon.has_lines(1)

    run(main(), loops)


def test_only_what_is_enabled_is_opened(loops: Loops) -> None:
    off = InputSettings(ANY_PORT, enabled=False)

    async def main() -> None:
        async with receiving(with_inputs(settings_for(), tcp=off, udp=off)) as daemon:
            assert list(daemon.receivers.addresses) == ["pickle"]

    run(main(), loops)


def complaint_of(settings: Settings, loops: Loops) -> str:
    """What the receivers say where they cannot start."""

    async def main() -> None:
        await Receivers(settings.inputs, Intake(engine_under().admit, KeepingSink())).start()

    with pytest.raises(QuotaError) as raised:
        run(main(), loops)
    return str(raised.value)


def test_a_port_that_is_taken(loops: Loops) -> None:
    for kind, key in ((socket.SOCK_STREAM, "tcp"), (socket.SOCK_DGRAM, "udp"), (socket.SOCK_STREAM, "pickle")):
        with socket.socket(socket.AF_INET, kind) as taken:
            taken.bind(("127.0.0.1", 0))
            if kind is socket.SOCK_STREAM:
                taken.listen()
            address = Address("127.0.0.1", taken.getsockname()[1])
            places = {"tcp": ANY_PORT, "udp": ANY_PORT, "pickle": ANY_PORT} | {key: address}
            assert complaint_of(settings_for(places["tcp"], places["udp"], places["pickle"]), loops) == (
                f"[{key}] listen: cannot listen at {address}: another program has the port: "
                "end it (`ss -lnp` names it), or choose another port"
            )


def test_an_address_that_is_not_of_this_machine(loops: Loops) -> None:
    assert complaint_of(settings_for(udp=Address("192.0.2.1", 2003)), loops) == (
        "[udp] listen: cannot listen at 192.0.2.1:2003: this machine has no such address: "
        "give one of its own, or none to listen at all of them"
    )
    assert complaint_of(settings_for(tcp=Address("no-such-host.invalid", 2003)), loops) == (
        "[tcp] listen: cannot listen at no-such-host.invalid:2003: there is no host called so: "
        "give an address of this machine"
    )


def test_a_port_that_is_not_permitted(loops: Loops, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("carbonquota.service.listening._open", refuse)
    assert complaint_of(settings_for(tcp=Address("::1", 203)), loops) == (
        "[tcp] listen: cannot listen at [::1]:203: not permitted: choose a port from 1024 on, "
        "or give the daemon the capability CAP_NET_BIND_SERVICE"
    )
