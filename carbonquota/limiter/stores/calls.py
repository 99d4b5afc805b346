"""The calls of the limiter to its store, one round trip each, or one for many: charges in, decisions out.

This file is the shell around the client library. What the answers mean stands in `functions.lua`; errors are the
`StoreError` of the cluster's store, told apart by what an operator has to do about them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import resources
from struct import Struct
from threading import Lock
from typing import Any, Final

from valkey.exceptions import ResponseError, ValkeyError

from carbonquota.cluster.store import StoreError, kind_of
from carbonquota.limiter.algorithms import Outcome
from carbonquota.limiter.charge import Charge, Decision
from carbonquota.limiter.model import Lease
from carbonquota.limiter.rules.model import SEPARATOR
from carbonquota.limiter.stores.wire import CommandWire, packed, wire_of

FUNCTIONS: Final = resources.files("carbonquota.limiter.stores").joinpath("functions.lua")
_CHARGE: Final = Struct("<6d")
_OUTCOME: Final = Struct("<5d")
"""How charges and outcomes are told; all numbers are whole, and such that doubles hold them."""
BLOB: Final = _OUTCOME.size
"""Bytes of most answers."""
_MOST_HITS: Final = 2**53


class StoreCalls:
    """Decides in the store. Safe to use from any thread."""

    def __init__(self, connect: Callable[[], Any], name: str, clock: Callable[[], int] = lambda: 0) -> None:
        """`name` tells those apart that share a server. `clock`, in us, takes the place of the server's, which is 0."""
        self._connect = connect
        self._client: Any = None
        self._name = name
        self._clock = clock
        self._lock = Lock()
        self._runs: dict[str, bytes] = {}
        self._heads: dict[str, bytes] = {}
        """How commands of a domain begin."""
        self.loads = 0
        """How often the functions were loaded."""
        self.restarts = 0
        """How often the server was found to be another run than before."""
        self._wire: CommandWire | None = None

    @property
    def changes(self) -> int:
        """A number that grows where the server is not as it was."""
        return self.loads + self.restarts

    def decide(self, charges: Sequence[Charge]) -> Decision:
        """Make all charges or none; StoreError where the store does not do it."""
        answer = self._answers([charges])[0]
        if isinstance(answer, Exception):
            raise error_of(answer) from answer
        return self.decision_of(charges, answer)

    def decide_many(self, several: Sequence[Sequence[Charge]]) -> list[Decision | StoreError]:
        """The same for several requests, each by itself, in one round trip."""
        answers = self._answers(several)
        return [
            error_of(answer) if isinstance(answer, Exception) else self.decision_of(charges, answer)
            for charges, answer in zip(several, answers, strict=True)
        ]

    def command_of(self, charges: Sequence[Charge]) -> bytes:
        """The command that makes charges, for whoever sends it himself."""
        if len(charges) != 1:
            return packed((b"FCALL", *self._call_of(charges)))
        key, policy, hits, kind = charges[0]
        domain = key.partition(SEPARATOR)[0]
        head = self._heads.get(domain)
        if head is None:
            call = (b"FCALL", b"cql1_decide", b"2", self._key(domain + SEPARATOR + "server"))
            head = self._heads[domain] = packed(call).replace(b"*4", b"*8", 1)
        told = _CHARGE.pack(policy.algorithm, policy.capacity, policy.per_hit, policy.rate, min(hits, _MOST_HITS), kind)
        name, now, run = self._key(key), b"%d" % self._clock(), self._runs.get(domain, b"")
        parts = (head, len(name), name, len(now), now, len(run), run, len(told), told)
        return b"%b$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % parts

    def load(self) -> None:
        """Load the functions; StoreError where that fails."""
        self._ask(self._load)

    def _load(self, client: Any) -> None:  # noqa: ANN401 - the library's own
        client.function_load(FUNCTIONS.read_text(), replace=True)
        self.loads += 1

    def _answers(self, several: Sequence[Sequence[Charge]]) -> list[Any]:
        """An answer, or an error, a request; all are made again where the server had no functions."""

        def ask(client: Any) -> list[Any]:  # noqa: ANN401 - the library's own
            answers: list[Any]
            if self._wire is not None:
                answers = self._wire.ask(b"".join([self.command_of(one) for one in several]), len(several))
            else:
                pipeline = client.pipeline(transaction=False)
                for charges in several:
                    pipeline.fcall(*self._call_of(charges))
                answers = pipeline.execute(raise_on_error=False)
            missing = next((one for one in answers if lacks_functions(one)), None)
            if missing is not None:
                # Then no call did anything.
                raise missing
            return answers

        answers: list[Any] = self._ask(ask)
        return answers

    def release(self, lease: Lease) -> None:
        """End a lease."""
        key = self._key(lease.key)
        self._ask(lambda client: client.fcall("cql1_release", 1, key, lease.token, lease.places))

    def close(self) -> None:
        """Let go of the connections."""
        with self._lock:
            client, self._client = self._client, None
            wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()
        if client is not None:
            with suppress(ValkeyError, OSError):
                client.close()

    def _call_of(self, charges: Sequence[Charge]) -> list[bytes]:
        """The function, its keys and arguments for charges, which are of one domain."""
        domain = charges[0].key.partition(SEPARATOR)[0]
        call = [b"cql1_decide", b"%d" % (len(charges) + 1), self._key(domain + SEPARATOR + "server")]
        call += [self._key(charge.key) for charge in charges]
        told = [
            _CHARGE.pack(policy.algorithm, policy.capacity, policy.per_hit, policy.rate, min(hits, _MOST_HITS), kind)
            for _, policy, hits, kind in charges
        ]
        call += (b"%d" % self._clock(), self._runs.get(domain, b""), b"".join(told))
        return call

    def _key(self, key: str) -> bytes:
        domain, _, rest = key.partition(SEPARATOR)
        # A name from the wire may hold halves of characters.
        return f"{{cql:{self._name}:{domain}}}:{rest}".encode("utf-8", "surrogatepass")

    def decision_of(self, charges: Sequence[Charge], answer: Any) -> Decision:  # noqa: ANN401 - as it comes
        """The decision that an answer of the store is, which is no error."""
        if isinstance(answer, bytes):
            fits, remaining, reset, retry, made = _OUTCOME.unpack(answer)
            return Decision(made == 1, (Outcome(fits == 1, int(remaining), int(reset), int(retry)),), {})
        passes, run, blob = answer
        if run:
            self._note_run(charges[0].key.partition(SEPARATOR)[0], run)
        rows = [tuple(map(int, row)) for row in _OUTCOME.iter_unpack(blob)]
        outcomes = [Outcome(bool(fits), remaining, reset, retry) for fits, remaining, reset, retry, _ in rows]
        return Decision(bool(passes), outcomes, {at: row[4] for at, row in enumerate(rows) if row[4]})

    def _note_run(self, domain: str, run: bytes) -> None:
        """The server is another run than the one that was known."""
        if domain in self._runs and run not in self._runs.values():
            self.restarts += 1
        self._runs[domain] = run

    def _ask(self, ask: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - as it comes
        """Ask the client, loading the functions first where the server does not know them."""
        try:
            client = self._client or self._connected()
            try:
                return ask(client)
            except ResponseError as error:
                if not lacks_functions(error):
                    raise
                self._load(client)
                return ask(client)
        except (ValkeyError, OSError) as error:
            raise error_of(error) from error

    def _connected(self) -> Any:  # noqa: ANN401 - the library's own
        with self._lock:
            if self._client is None:
                self._client = self._connect()
                self._wire = wire_of(self._client, BLOB)
            return self._client


def lacks_functions(answer: object) -> bool:
    """Whether an answer says that the server does not know the functions."""
    return isinstance(answer, ResponseError) and "unction not found" in str(answer)


def error_of(error: Exception) -> StoreError:
    """An error of the client library's as ours."""
    return StoreError(kind_of(error), str(error))
