"""The limiter as a process: asked by real clients over gRPC and HTTP, reloaded, drained, and attacked."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import grpc
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from envoy.service.ratelimit.v3 import rls_pb2, rls_pb2_grpc
from jwt.algorithms import OKPAlgorithm

from carbonquota.web.grpc import frames
from tests.support.daemon import wait_until
from tests.support.limiter import LimiterProcess, document, limiter, question, statuses

RULES = """
domain: gateway
descriptors:
  - key: client
    rate_limit: {unit: year, requests_per_unit: 3}
  - key: client
    value: "key:acme"
    rate_limit: {unit: year, requests_per_unit: 100}
  - key: route
    value: login
    descriptors:
      - key: remote_address
        rate_limit: {unit: year, requests_per_unit: 1}
  - key: many
    rate_limit: {unit: year, requests_per_unit: 100}
  - key: hits
    rate_limit: {unit: year, requests_per_unit: 10}
  - key: shadow
    shadow_mode: true
    rate_limit: {unit: year, requests_per_unit: 1}
"""

IDENTITY = """
keys-file = "keys.toml"
"""

ROUTES = """
[headers]
x-ratelimit = true
[jwt]
keys = "jwks.json"
issuer = "https://id.example"
audience = "gateway"
[[routes]]
name = "login"
path = "/login"
descriptors = [["route", "remote_address"], ["client"]]
"""

KEYS = """
[[keys]]
sha256 = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" # "secret"
client = "acme"
"""


SIGNER = ed25519.Ed25519PrivateKey.generate()


def public_key() -> dict[str, str]:
    """The key set's one key."""
    jwk: dict[str, str] = OKPAlgorithm.to_jwk(SIGNER.public_key(), as_dict=True)
    return jwk | {"kid": "one", "alg": "EdDSA", "use": "sig"}


def token(key: object = SIGNER, algorithm: str = "EdDSA", **changed: object) -> str:
    """A token of Ada's, with other claims where they are given."""
    claims = {"sub": "ada", "iss": "https://id.example", "aud": "gateway", "exp": time.time() + 600} | changed
    return jwt.encode(claims, key, algorithm, headers={"kid": "one"})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimiterProcess]:
    folder = tmp_path_factory.mktemp("limiter")
    (folder / "keys.toml").write_text(KEYS)
    (folder / "jwks.json").write_text(json.dumps({"keys": [public_key()]}))
    with limiter(folder, RULES, identity=IDENTITY, more=ROUTES) as one:
        yield one


def told(address: str, path: str = "/", **more: str) -> dict[str, str]:
    """The head by which a gateway asks about a client's request."""
    fields = {"x-forwarded-for": address, "x-forwarded-uri": path, "x-forwarded-method": "GET"}
    return fields | {name.replace("_", "-"): value for name, value in more.items()}


def test_a_gateway_is_told_what_passes_and_when_to_come_again(running: LimiterProcess) -> None:
    with running.http() as http:
        answers = [http.get("/check", headers=told("198.51.100.1")) for _ in range(5)]
        assert [one.status_code for one in answers] == [200, 200, 200, 429, 429]
        first, last = answers[0], answers[-1]
        assert first.headers["ratelimit-policy"] == '"gateway.client";q=3;w=31536000'
        assert first.headers["ratelimit"].startswith('"gateway.client";r=2;t=')
        assert "retry-after" not in first.headers
        assert 1 <= int(last.headers["retry-after"]) <= 31_536_000
        assert last.headers["x-ratelimit-verdict"] == "limit"
        assert last.headers["x-ratelimit-limit"] == '3, 3;w=31536000;name="gateway.client"'
        assert last.headers["x-ratelimit-remaining"] == "0"
        assert document(last)["status"] == 429
        assert last.headers["content-type"] == "application/problem+json"


def test_a_client_escapes_by_nothing_that_it_makes_up(running: LimiterProcess) -> None:
    with running.http() as http:
        for n in range(9):
            made_up = {
                "x-forwarded-for": f"10.0.0.{n}, 198.51.100.2",
                "x-api-key": f"guess {n}",
                "authorization": f"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0{n}.",
                "x-real-ip": f"10.1.0.{n}",
                "forwarded": f"for=10.2.0.{n}",
                "x-original-url": f"/made/up/{n}",
            }
            assert http.get("/check", headers=made_up).status_code == (200 if n < 3 else 429), n


def test_a_user_is_who_a_genuine_token_says_wherever_it_comes_from(running: LimiterProcess) -> None:
    forged = {
        "no algorithm": token(None, "none"),
        "the public key as a secret": token(public_key()["x"], "HS256"),
        "another key": token(ed25519.Ed25519PrivateKey.generate()),
        "expired": token(exp=time.time() - 3_600),
        "another audience": token(aud="other"),
        "another issuer": token(iss="https://evil.example"),
        "nobody": token(sub=""),
        "cut": token()[:-2],
        "no token": "a.b.c",
    }
    with running.http() as http:

        def check(address: str, bearer: str) -> httpx.Response:
            return http.get("/check", headers=told(address, authorization=f"Bearer {bearer}"))

        assert [check(f"198.51.100.2{n}", token()).status_code for n in range(4)] == [200, 200, 200, 429]
        for n, (kind, bearer) in enumerate(forged.items()):
            # Counted by its address, not as Ada and not as somebody new.
            answers = [check(f"198.51.100.3{n}", bearer).status_code for _ in range(4)]
            assert answers == [200, 200, 200, 429], kind


def test_a_route_and_a_key_have_limits_of_their_own(running: LimiterProcess) -> None:
    with running.http() as http:
        logins = [
            http.get("/check", headers=told("198.51.100.3", path)).status_code
            for path in ("/login?again=1", "//login", "/%6Cogin", "/x/../login/")
        ]
        assert logins == [200, 429, 429, 429]
        assert http.get("/check", headers=told("198.51.100.3", "/other")).status_code == 200
        by_key = [http.get("/check", headers=told("198.51.100.3", x_api_key="secret")) for _ in range(9)]
        assert {one.status_code for one in by_key} == {200}


def test_json_is_answered_as_envoyproxy_ratelimit_does(running: LimiterProcess) -> None:
    body = {"domain": "gateway", "descriptors": [{"entries": [{"key": "hits", "value": "json"}]}], "hits_addend": 8}
    with running.http() as http:
        answers = [http.post("/json", json=body) for _ in range(2)]
        assert [one.status_code for one in answers] == [200, 429]
        assert document(answers[0])["statuses"][0]["limitRemaining"] == 2
        assert document(answers[1])["overallCode"] == "OVER_LIMIT"
        assert http.post("/json", content=b"{}").status_code == 400
        half = b'{"questions":[{"domain":"gateway","descriptors":[[["hits","\\ud800"]]]}]}'
        assert http.post("/v1/check", content=half).status_code == 400
        assert http.post("/v1/check", content=b"[" * 100_000).status_code == 400
        assert http.post("/json", content=b"\xff").status_code == 400
        assert http.get("/json").status_code == 405
        assert http.get("/nothing").status_code == 404
        assert http.get("/healthcheck").text == "OK"


def test_envoys_service_answers_a_grpc_client(running: LimiterProcess) -> None:
    with running.envoy() as envoy:
        asked = question("gateway", {"hits": "grpc"}, {"unknown": "x"}, hits=6)
        first = envoy.ShouldRateLimit(asked, timeout=30)
        second = envoy.ShouldRateLimit(asked, timeout=30)
        assert first.overall_code == rls_pb2.RateLimitResponse.OK
        assert second.overall_code == rls_pb2.RateLimitResponse.OVER_LIMIT
        status = second.statuses[0]
        assert (status.code, status.limit_remaining) == (2, 4)
        assert (status.current_limit.requests_per_unit, status.current_limit.unit) == (10, 6)
        assert 0 < status.duration_until_reset.seconds <= 31_536_000
        assert second.statuses[1].code == rls_pb2.RateLimitResponse.OK
        headers = {header.key: header.value for header in second.response_headers_to_add}
        assert {"ratelimit", "ratelimit-policy", "retry-after", "x-ratelimit-limit"} <= headers.keys()
        # What was refused was not charged, and a descriptor has its own hits and limit.
        asked = question("gateway", {"hits": "grpc"}, hits=99)
        asked.descriptors[0].hits_addend.value = 4
        assert envoy.ShouldRateLimit(asked, timeout=30).overall_code == rls_pb2.RateLimitResponse.OK
        asked.descriptors[0].limit.requests_per_unit = 1_000
        asked.descriptors[0].limit.unit = 4
        assert envoy.ShouldRateLimit(asked, timeout=30).statuses[0].current_limit.requests_per_unit == 1_000


def test_what_is_only_watched_passes_and_is_counted(running: LimiterProcess) -> None:
    with running.envoy() as envoy:
        answers = [envoy.ShouldRateLimit(question("gateway", {"shadow": "a"}), timeout=30) for _ in range(3)]
    assert {one.overall_code for one in answers} == {rls_pb2.RateLimitResponse.OK}
    row = 'carbonquota_limiter_decisions_total{outcome="shadow-blocked",route="",rule="gateway.shadow",tier=""}'
    assert running.metrics()[row] == 2.0


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (question(""), grpc.StatusCode.INVALID_ARGUMENT),
        (question("gateway"), grpc.StatusCode.INVALID_ARGUMENT),
        (question("gateway", {}), grpc.StatusCode.INVALID_ARGUMENT),
    ],
    ids=["no domain", "no descriptors", "no entries"],
)
def test_a_question_that_asks_nothing_is_an_error(
    running: LimiterProcess, asked: rls_pb2.RateLimitRequest, code: grpc.StatusCode
) -> None:
    with running.envoy() as envoy, pytest.raises(grpc.RpcError) as error:
        envoy.ShouldRateLimit(asked, timeout=30)
    assert error.value.code() is code


def test_malformed_messages_unknown_methods_and_health_over_grpc(running: LimiterProcess) -> None:
    with grpc.insecure_channel(running.address("gRPC")) as channel:

        def call(path: str, message: bytes, compression: grpc.Compression | None = None) -> object:
            method = channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
            try:
                return method(message, timeout=30, compression=compression)
            except grpc.RpcError as error:
                return error.code()

        service = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
        assert call(service, b"\xff\xff\xff") is grpc.StatusCode.INVALID_ARGUMENT
        assert call(service, b"\x0a\x02\xff\xfe") is grpc.StatusCode.INVALID_ARGUMENT
        assert call(service, b"", compression=grpc.Compression.Gzip) is not None
        assert call("/nobody.Knows/This", b"") is grpc.StatusCode.UNIMPLEMENTED
        assert call("/grpc.health.v1.Health/Check", b"") == b"\x08\x01"
        assert call(service, question("gateway", {"unknown": "x"}).SerializeToString()) != b""


def test_two_thousand_at_once_pass_no_limit_by_one(running: LimiterProcess) -> None:
    async def ask() -> list[int]:
        async with grpc.aio.insecure_channel(running.address("gRPC")) as channel:
            stub = rls_pb2_grpc.RateLimitServiceStub(channel)
            asked = question("gateway", {"many": "grpc"})
            answers = await asyncio.gather(*(stub.ShouldRateLimit(asked, timeout=60) for _ in range(2_000)))
            return [one.overall_code for one in answers]

    assert Counter(asyncio.run(ask())) == {1: 100, 2: 1_900}
    body = b'{"domain":"gateway","descriptors":[{"entries":[{"key":"many","value":"http"}]}]}'
    sent = b"POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    def pipelined(_: int) -> bytes:
        with socket.create_connection(("127.0.0.1", running.port("HTTP")), 30) as connection:
            connection.sendall(sent * 99 + sent.replace(b"Host: x", b"Connection: close"))
            return b"".join(iter(lambda: connection.recv(65_536), b""))

    with ThreadPoolExecutor(20) as pool:
        answers = b"".join(pool.map(pipelined, range(20)))
    assert (answers.count(b"HTTP/1.1 200 "), answers.count(b"HTTP/1.1 429 ")) == (100, 1_900)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"rubbish\r\n\r\n", b"400"),
        (b"GET /check HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", b"431"),
        (b"POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" + b"a" * 300_000, b"413"),
        (b"POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"POST /json HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
    ],
    ids=["rubbish", "a long head", "a long body", "two lengths", "no chunk"],
)
def test_a_hostile_client_is_told_off_and_cut_off(running: LimiterProcess, sent: bytes, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", running.port("HTTP")), 30) as connection:
        try:
            connection.sendall(sent)
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        except ConnectionError:
            return
    assert answer.startswith(b"HTTP/1.1 " + status)
    with running.http() as http:
        assert http.get("/healthcheck").status_code == 200


def test_a_grpc_client_that_takes_no_answers_holds_up_nobody(running: LimiterProcess) -> None:
    sent = frames.PREFACE + frames.settings_frame({frames.Setting.INITIAL_WINDOW_SIZE: 0})
    sent += frames.frame(frames.FrameType.PING, 0, 0, struct.pack(">Q", 7))
    with socket.create_connection(("127.0.0.1", running.port("gRPC")), 30) as connection:
        connection.sendall(sent)
        with running.envoy() as envoy:
            assert envoy.ShouldRateLimit(question("gateway", {"unknown": "x"}), timeout=30).overall_code == 1


def test_an_operator_denies_undoes_and_dims(running: LimiterProcess) -> None:
    with running.admin() as admin, running.http() as http:

        def check(address: str) -> int:
            return http.get("/check", headers=told(address)).status_code

        client = "address:198.51.100.77"
        assert admin.post("/api/bans", json={"client": client, "seconds": 60, "reason": "scraping"}).status_code == 201
        assert check("198.51.100.77") == 429
        assert admin.delete("/api/bans", params={"client": client}).status_code == 204
        assert check("198.51.100.77") == 200
        assert admin.delete("/api/bans", params={"client": client}).status_code == 404
        assert [one["what"] for one in document(admin.get("/api/bans"))["audit"][:2]] == ["lifted", "banned"]
        assert admin.put("/api/brownout", json={"tier": "*", "factor": 0.34, "seconds": 60}).status_code == 200
        assert [check("198.51.100.78") for _ in range(2)] == [200, 429]
        assert admin.delete("/api/brownout", params={"tier": "*"}).status_code == 204
        assert [check("198.51.100.78") for _ in range(3)] == [200, 200, 429]
        assert {one["client"] for one in document(admin.get("/api/offenders"))} >= {"address:198.51.100.78"}
        assert {one["rule"] for one in document(admin.get("/api/limits"))} >= {"gateway.client"}
        assert admin.get("/ready").json() == {"ready": True}
        assert document(admin.get("/health"))["status"] == "ok"
        assert admin.get("/metrics", headers={"host": "evil.example"}).status_code == 421
        assert admin.post("/api/reload").status_code == 415


def test_the_page_shows_what_was_decided_and_its_forms_do_what_they_say(running: LimiterProcess) -> None:
    with running.admin() as admin, running.http() as http:

        def check(address: str) -> int:
            return http.get("/check", headers=told(address)).status_code

        def submit(path: str, **fields: object) -> int:
            return admin.post(path, data=fields, headers={"origin": str(admin.base_url).rstrip("/")}).status_code

        assert [check("198.51.100.90") for _ in range(4)] == [200, 200, 200, 429]
        page = admin.get("/")
        assert page.status_code == 200
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "gateway.client" in page.text
        assert "address:198.51.100.90" in page.text
        client = '"><script>alert(1)</script>'
        assert submit("/page/ban", client=client, seconds=60) == 303
        assert "<script>alert" not in admin.get("/").text
        assert submit("/page/lift", client=client) == 303
        assert submit("/page/ban", client="address:198.51.100.91", seconds=60) == 303
        assert check("198.51.100.91") == 429
        assert "let in again" in admin.get("/").text
        assert submit("/page/lift", client="address:198.51.100.91") == 303
        assert check("198.51.100.91") == 200
        assert submit("/page/brownout", tier="*", factor="0,34", minutes=5) == 303
        assert [check("198.51.100.92") for _ in range(2)] == [200, 429]
        assert "are multiplied by 0.34" in admin.get("/").text
        assert submit("/page/brownout/lift", tier="*") == 303
        assert submit("/page/brownout", tier="*", factor="much", minutes=5) == 422
        assert submit("/page/ban", client="", seconds="nan") == 422
        stranger = admin.post(
            "/page/ban", data={"client": "x", "seconds": 9}, headers={"origin": "https://evil.example"}
        )
        assert stranger.status_code == 403


def test_rules_and_keys_are_read_anew_and_bad_ones_change_nothing(tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(KEYS)
    rules = "domain: gateway\ndescriptors:\n  - key: client\n    rate_limit: {unit: year, requests_per_unit: 1}\n"
    settings = {"limiter": 'watch-frequency = "100ms"', "identity": IDENTITY}
    with limiter(tmp_path, rules, **settings) as one, one.http() as http, one.admin() as admin:

        def verdicts(address: str) -> list[int]:
            return [http.get("/check", headers=told(address)).status_code for _ in range(3)]

        assert verdicts("198.51.100.1") == [200, 429, 429]
        one.rules.write_text(rules.replace(": 1}", ": 2}"))
        wait_until(
            lambda: "limits in force\n~ gateway.client" in one.log.replace("INFO ", "") or "~ gateway" in one.log,
            lambda: one.log,
        )
        assert verdicts("198.51.100.2") == [200, 200, 429]
        one.rules.write_text(rules.replace("year", "yearly"))
        assert one.process is not None
        one.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "failed: the limits in force stay" in one.log, lambda: one.log)
        assert verdicts("198.51.100.3") == [200, 200, 429]
        health = document(admin.get("/health"))
        assert (health["status"], health["ready"]) == ("degraded", True)

        def by_key() -> int:
            return http.get("/check", headers=told("198.51.100.4", x_api_key="secret")).status_code

        assert admin.post("/api/bans", json={"client": "key:acme", "seconds": 600}).status_code == 201
        assert by_key() == 429
        keys.write_text("rubbish")
        one.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the keys of before stay" in one.log, lambda: one.log)
        assert by_key() == 429
        keys.write_text("")
        one.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "0 API keys are known" in one.log, lambda: one.log)
        assert by_key() == 200
        assert one.stop() == 0


def test_clients_that_stall_are_cut_off_and_after_kill_9_it_answers_and_ends_in_order(
    tmp_path: Path, systemd: socket.socket
) -> None:
    sent = [
        ("HTTP", b"GET /check HTTP/1.1\r\nHost: x\r\n"),
        ("gRPC", frames.PREFACE + b"\x00\x00\x20\x01"),
        ("gRPC", frames.PREFACE[:5]),
        ("gRPC", b""),
    ]
    with limiter(tmp_path, RULES, limiter='client-timeout = "700ms"\ndrain = "2s"') as one:
        stalled = [socket.create_connection(("127.0.0.1", one.port(face)), 30) for face, _ in sent]
        for connection, (_, data) in zip(stalled, sent, strict=True):
            connection.sendall(data)
        with one.http() as http:
            assert http.get("/healthcheck").status_code == 200
        for connection in stalled:
            with connection, suppress(ConnectionError):
                while connection.recv(65_536):
                    pass
        assert sum(value for name, value in one.metrics().items() if 'reason="slow"' in name) == len(sent)
        told_systemd = _all_of(systemd)
        one.stop(signal.SIGKILL)
        one.start()
        assert statuses(f"http://{one.address('HTTP')}/check", 1, 1) == [200]
        with one.http() as http, one.envoy() as envoy:
            assert http.get("/healthcheck").status_code == 200
            envoy.ShouldRateLimit(question("gateway", {"unknown": "x"}), timeout=30)
            assert one.process is not None
            told_systemd += _all_of(systemd)
            one.process.send_signal(signal.SIGTERM)
            wait_until(lambda: "serving on for 2 s" in one.log, lambda: one.log)
            assert http.get("/healthcheck").status_code == 500
            assert http.get("/check", headers=told("198.51.100.9")).status_code == 200
            assert envoy.ShouldRateLimit(question("gateway", {"unknown": "x"}), timeout=30).overall_code == 1
        assert one.process.wait(30) == 0
        assert "Traceback" not in one.log
        assert "leaked" not in one.log
    told_systemd += _all_of(systemd)
    # It was killed once, and started again.
    assert [state for state in told_systemd if state != "WATCHDOG=1"] == ["READY=1", "READY=1", "STOPPING=1"]
    assert "WATCHDOG=1" in told_systemd


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket of a systemd that starts limiters, and wants to hear from them now and then."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "4000000")
        yield notified


def _all_of(notified: socket.socket) -> list[str]:
    """All that systemd was told."""
    told: list[str] = []
    with suppress(BlockingIOError):
        while True:
            told.append(notified.recv(1_000).decode())
    return told


def test_a_command_line_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    one = LimiterProcess(tmp_path, "domain: d\n", more="[stor]\n")
    with pytest.raises(AssertionError, match=r"unknown section \[stor\]"):
        one.start()
