"""The quota service over gRPC, through both clients, as processes of their own: also killed at random moments."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import pytest
from make_messages import made

from carbonquota.client.hub import AsyncHubClient, HubClient
from carbonquota.client.hub_calls import utilization
from carbonquota.client.messages import hub_pb2
from tests.support.hub_kills import QUOTA, KilledHubs, ServedHub
from tests.support.valkey import valkey_server


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[ServedHub]:
    served = ServedHub(folder, *arguments)
    served.start()
    try:
        yield served
    finally:
        served.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedHub]:
    with serving(tmp_path_factory.mktemp("hub"), "--max-grant", "90000") as one:
        one.put("providers/ssd")
        yield one


def test_both_clients_set_quotas_push_and_ask(served: ServedHub) -> None:
    limits = hub_pb2.Limits(bytes=1000, metrics=5)
    with served.client() as client:
        version = client.set_quotas([hub_pb2.Quota(customer="acme", limits=limits)], "signed")
        assert [(one.limits, one.version) for one in client.quotas("acme")] == [(limits, version)]
        pushed = client.push(utilization("ssd", ["acme", f"no-{part}"], {"bytes": [part, 7]}) for part in (300, 400))
        assert (pushed.values, pushed.unknown, list(pushed.such_as)) == (2, 2, ["no-300"])
        held = {(one.provider, one.control): (one.usage, one.limit) for one in client.utilization("acme").values}
        assert held == {("", "bytes"): (400, 1000), ("", "metrics"): (0, 5), ("ssd", "bytes"): (400, 0)}
        refused = client.write_ok("acme", "ssd", 601)
        assert (refused.ok, refused.granted, refused.left) == (False, 0, 600)
        assert client.write_ok("acme", "ssd", 100).granted == 100
        answers = client.write_ok_many(["acme", "acme", "nobody"], ["ssd"], [200, 400, 1])
        assert answers.granted == [200, 0, 0]
        assert [(at, one.left) for at, one in sorted(answers.refused.items())] == [(1, 300), (2, None)]
        assert client.deleted("acme", "ssd", 100) == 100
        client.set_quotas([hub_pb2.Quota(customer="large", limits=hub_pb2.Limits(bytes=10**6))])
        assert client.write_ok("large", "ssd", 200_000).granted == 90_000, "a slice, as --max-grant says"
        with pytest.raises(grpc.RpcError) as error:
            client.set_quotas([hub_pb2.Quota(customer="acme", limits=limits, version=0)])
        assert (error.value.code(), "version" in str(error.value.details())) == (grpc.StatusCode.ABORTED, True)
    asyncio.run(_ask(served))


def test_messages_may_be_large_and_many_and_what_is_too_large_or_unknown_is_told(served: ServedHub) -> None:
    with served.client() as client:
        names = [f"customer-with-a-long-name-{number}" for number in range(60_000)]
        pushed = client.push(utilization("ssd", names, {"bytes": [part] * len(names)}) for part in range(3))
        assert pushed.unknown == 180_000
        answers = client.write_ok_many(names[:10_000], ["ssd"], [1] * 10_000)
        assert len(answers.refused) == 10_000
        with pytest.raises(grpc.RpcError) as error:
            client.push(utilization("ssd" if part else "none", ["acme"], {"bytes": [part]}) for part in (1, 0, 2))
        assert (error.value.code(), error.value.details()) == (
            grpc.StatusCode.NOT_FOUND, "there is no provider called 'none': an administrator makes it",
        )  # fmt: skip
        with pytest.raises(grpc.RpcError) as error:
            client.push([utilization("ssd", ["x" * 17_000_000], {})])
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "too long: at most 16,777,216 are taken" in str(error.value.details())
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc}") as channel:
        health = channel.unary_unary("/grpc.health.v1.Health/Check", bytes, bytes)
        assert health(b"", timeout=10) == b"\x08\x01"
        for name, code in (("Nothing", grpc.StatusCode.UNIMPLEMENTED), ("WriteOk", grpc.StatusCode.INVALID_ARGUMENT)):
            spoiled = channel.unary_unary(f"/carbonquota.hub.v1.QuotaService/{name}", bytes, bytes)
            with pytest.raises(grpc.RpcError) as error:
                spoiled(b"\x0a\xff", timeout=10)
            assert error.value.code() is code


async def _ask(served: ServedHub) -> None:
    async with AsyncHubClient(f"127.0.0.1:{served.grpc}") as client:
        assert (await client.write_ok("acme", "ssd", 10)).ok
        assert (await client.write_ok_many(["acme"], ["ssd"], [10])).granted == [10]
        assert await client.deleted("acme", "ssd", 1) == 1
        assert (await client.push([utilization("ssd", ["acme"], {"metrics": [3]})])).values == 1
        assert [one.limits.bytes for one in await client.quotas("acme")] == [1000]
        assert (await client.utilization("acme")).fresh_within < 10
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await client.write_ok("nobody", "ssd", 10)
        assert (error.value.code(), error.value.details()) == (
            grpc.StatusCode.NOT_FOUND, "there is no customer called 'nobody'",
        )  # fmt: skip


def test_over_grpc_tokens_hold_customers_and_providers_to_their_own(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        base, address = f"http://127.0.0.1:{served.http}/v1", f"127.0.0.1:{served.grpc}"
        for name in ("ssd", "tape"):
            served.put(f"providers/{name}")
        for name in ("acme", "initech"):
            served.put(f"customers/{name}/quota", limits={"bytes": 1000})
        orders = [{"name": "root", "role": "admin"}, {"name": "a", "role": "customer", "subject": "acme"},
                  {"name": "s", "role": "provider", "subject": "ssd"}]  # fmt: skip
        headers: dict[str, str] = {}
        tokens = []
        for order in orders:
            made_token = httpx.post(f"{base}/tokens", json=order, headers=headers)
            assert made_token.status_code in {200, 201}, made_token.text
            tokens.append(made_token.json()["token"])
            headers = {"Authorization": f"Bearer {tokens[0]}"}
        with HubClient(address, token=tokens[1]) as customer, HubClient(address, token=tokens[2]) as provider:
            assert customer.quotas("acme")
            assert provider.write_ok("acme", "ssd", 1).ok
            for call, code in (
                (lambda: customer.quotas("initech"), grpc.StatusCode.NOT_FOUND),
                (lambda: customer.write_ok("acme", "ssd", 1), grpc.StatusCode.PERMISSION_DENIED),
                (lambda: provider.write_ok("acme", "tape", 1), grpc.StatusCode.NOT_FOUND),
                (lambda: provider.write_ok_many(["acme"], ["tape"], [1]), grpc.StatusCode.NOT_FOUND),
                (lambda: provider.push([utilization("tape", [], {})]), grpc.StatusCode.NOT_FOUND),
                (lambda: provider.quotas("acme"), grpc.StatusCode.PERMISSION_DENIED),
            ):
                with pytest.raises(grpc.RpcError) as error:
                    call()
                assert error.value.code() is code
        with HubClient(address) as nobody, pytest.raises(grpc.RpcError) as error:
            nobody.quotas("acme")
        assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_killed_at_random_moments_nothing_acknowledged_is_lost_and_no_grant_doubled(tmp_path: Path) -> None:
    with valkey_server(tmp_path / "valkey") as valkey:
        hubs = KilledHubs(tmp_path, 2, "--store", valkey.url)
        try:
            hubs.start()
            hubs.kill_one()
            hubs.fill()
            hubs.check()
            # Nearly all of it was granted, though one died with what it had reserved.
            assert sum(hubs.granted) > QUOTA // 2
        finally:
            hubs.end()


def test_the_documented_requests_are_answered_as_documented(tmp_path: Path) -> None:
    blocks = (Path(__file__).parents[2] / "docs" / "quota-service.md").read_text().split("```console\n")[1:]
    text = "\n".join(block.partition("```")[0] for block in blocks).replace("\\\n", "")
    asked = re.findall(r"^\$ (curl .*)\n(.*)$", text, re.MULTILINE)
    assert len(asked) == 4
    with serving(tmp_path) as served:
        for command, said in asked:
            order = shlex.split(command.replace("8090", str(served.http)))
            assert subprocess.run([*order, "--silent"], capture_output=True, text=True, check=True).stdout == said


def test_the_messages_in_the_package_are_those_of_the_proto_files() -> None:
    for path, text in made().items():
        assert path.read_text() == text, f"{path.name}: run tools/make_messages.py"
