# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""The compiled counters: what Python sees of `_table.h`, which holds the work.

A table owns its memory and its lock; what is called with a key takes the lock and leaves it. Keys are str or bytes. The
table never calls Python while it holds the lock.
"""

import os

cimport cython
from libc.math cimport llround
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM

from carbonquota.limiter.native._c cimport *
from carbonquota.limiter.algorithms.policy import Outcome
from carbonquota.limiter.model import Code, Descriptor, FullAnswer, Reason, Request, Status
from carbonquota.limiter.plan import NO_RULE, identity_of
from carbonquota.limiter.rules.model import escaped

DEF GROUP = 16
DEF LONGEST = 256

cdef int IN_FLIGHT = 4
cdef int SHADOW = 1, CHARGE_DENIED = 2, GUARANTEE = 4, QUOTA = 32, QUOTA_BEGINS = 64
# Names of C, as those of the module are looked up each time.
cdef object A_REQUEST = Request, A_DESCRIPTOR = Descriptor, AN_ANSWER = FullAnswer, A_STATUS = Status, UNRULED = NO_RULE
cdef object AN_OUTCOME = Outcome
cdef object NO_WAIT = 0.0, NO_LEASES = ()
cdef object OK = Code.OK, OVER = Code.OVER_LIMIT, UNDER = Reason.UNDER, PASSED_OVER = Reason.OVER


cdef struct cl_charge:
    cl_record* record
    cl_state undo
    uint32_t undo_meta
    int64_t number, hits
    int kind
    cl_outcome outcome


cdef int64_t bounded(object hits) except -1:
    """Hits as C counts them."""
    if hits < 0:
        raise ValueError(f"hits are from 0 on, not {hits}")
    return CL_MOST_HITS if hits > CL_MOST_HITS else <int64_t>hits


cdef class Table:
    """States by key, `most` of them at once; `clock` gives seconds since the epoch, None being the system's."""

    cdef cl_table table
    cdef cq_lock lock
    cdef object clock
    cdef dict numbers, numbers_by_id
    cdef list policies

    def __cinit__(self, int64_t most, clock=None):
        if not 1 <= most < 2**32 - 1:
            raise ValueError(f"a table is for 1 to 4,294,967,294 keys, not {most}")
        if cq_make_lock(&self.lock) != 0 or cl_make_table(&self.table, most) != 0:
            raise MemoryError
        secret = os.urandom(16)
        memcpy(self.table.secret, PyBytes_AS_STRING(secret), 16)
        self.clock = clock
        self.numbers = {}
        self.numbers_by_id = {}
        self.policies = []

    def __dealloc__(self):
        cl_free_table(&self.table)
        cq_free_lock(&self.lock)

    def __len__(self):
        return self.table.count

    @property
    def evicted(self):
        """How many keys had to go, as there was no room."""
        return self.table.evicted

    @property
    def evicted_limited(self):
        """How many of them were being limited."""
        return self.table.evicted_limited

    @property
    def memory(self):
        """Bytes that the table takes when it is full."""
        return cl_record_bytes(&self.table) + cl_slot_bytes(&self.table)

    cdef int64_t now(self) except -1:
        if self.clock is None:
            return llround(cq_system_time() * 1e6)
        return llround(<double>self.clock() * 1e6)

    cdef cl_digest digest(self, object key) except *:
        cdef Py_ssize_t length
        cdef const char* text
        if isinstance(key, str):
            try:
                text = PyUnicode_AsUTF8AndSize(key, &length)
            except UnicodeEncodeError:
                key = (<str>key).encode("utf-8", "surrogatepass")
                return cl_hash(self.table.secret, <const unsigned char*>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
            return cl_hash(self.table.secret, <const unsigned char*>text, length)
        if not isinstance(key, bytes):
            raise TypeError(f"a key is str or bytes, not {type(key).__name__}")
        return cl_hash(self.table.secret, <const unsigned char*>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))

    cdef int64_t number(self, object policy) except -1:
        """The number of a policy, by which object it is where that is known, as hashing one takes longer."""
        found = self.numbers_by_id.get(id(policy))
        if found is not None:
            return found
        cdef cl_policy one
        found = self.numbers.get(policy)
        if found is None:
            one.algorithm, one.capacity = policy.algorithm, policy.capacity
            one.per_hit, one.rate = policy.per_hit, policy.rate
            if one.algorithm == IN_FLIGHT:
                return -2
            if one.capacity < 0 or one.per_hit < 1 or one.rate < 1 or one.capacity > CL_MOST_HITS:
                raise ValueError(f"no policy: {policy!r}")
            if self.table.policy_count == CL_MOST_POLICIES:
                raise ValueError("there are too many policies")
            cq_wait_for_lock(&self.lock)
            found = cl_add_policy(&self.table, &one)
            cq_unlock(&self.lock)
            if found < 0:
                raise MemoryError
            self.numbers[policy] = found
        if len(self.policies) > 100_000:
            self.policies.clear()
            self.numbers_by_id.clear()
        # The object is kept, so that no other gets its id.
        self.policies.append(policy)
        self.numbers_by_id[id(policy)] = found
        return found

    def limit(self, policy, prefix=b"", suffix=b""):
        """Checks of keys by one policy; a key stands between `prefix` and `suffix`."""
        cdef KeyedLimit one = KeyedLimit.__new__(KeyedLimit)
        one.table = self
        one.number = self.number(policy)
        if one.number < 0:
            raise ValueError("requests in flight are not kept in a table")
        one.prefix, one.suffix = prefix, suffix
        one.is_framed = bool(prefix or suffix)
        return one

    def decide(self, charges, now=None, bint refused=False):
        """Make all charges or none: whether they were made, and an outcome each. `now` is in microseconds.

        Where the request is `refused` already, only what is charged in any case is. None where one of them is for places in flight, which are not kept here.
        """
        cdef Py_ssize_t count = len(charges), at
        cdef int64_t moment = self.now() if now is None else now
        cdef cl_charge* made = <cl_charge*>calloc(<size_t>max(count, 1), sizeof(cl_charge))
        cdef cl_digest* digests = <cl_digest*>calloc(<size_t>max(count, 1), sizeof(cl_digest))
        cdef int passes
        if made == NULL or digests == NULL:
            free(made)
            free(digests)
            raise MemoryError
        try:
            for at in range(count):
                key, policy, hits, kind = charges[at]
                digests[at] = self.digest(key)
                made[at].number = self.number(policy)
                if made[at].number < 0:
                    return None
                made[at].hits = bounded(hits)
                made[at].kind = kind
            cq_wait_for_lock(&self.lock)
            passes = self.decide_locked(made, digests, count, moment, not refused)
            cq_unlock(&self.lock)
            if passes < 0:
                raise ValueError(f"{count} charges are more than the table has room for")
            return bool(passes), [outcome_of(made[at].outcome) for at in range(count)]
        finally:
            free(made)
            free(digests)

    cdef int decide_locked(
        self, cl_charge* made, cl_digest* digests, Py_ssize_t count, int64_t now, int passes
    ) noexcept nogil:
        """The same in C, `passes` being 0 for what is refused already; -1 where there is no room."""
        cdef cl_table* table = &self.table
        # Of several quotas one with room is enough: -1 before the first, then whether the running one has any.
        cdef int forced = 0, room = -1, has_room = 0
        cdef Py_ssize_t at, done = count
        cdef cl_charge* charge
        for at in range(count):
            charge = &made[at]
            charge.record = cl_record_of(table, digests[at], now)
            if charge.record == NULL:
                passes, done = -1, at
                break
            charge.record.meta |= CL_PINNED
            charge.undo = charge.record.state
            charge.undo_meta = charge.record.meta
            charge.outcome = cl_decide(table, charge.record, charge.number, now, charge.hits, forced)
            if charge.kind & QUOTA:
                if room == -1 or charge.kind & QUOTA_BEGINS:
                    has_room |= room == 1
                    room = 1
                if not charge.outcome.fits and not forced:
                    room = 0
            elif not charge.outcome.fits and not forced and not charge.kind & (SHADOW | GUARANTEE):
                passes = 0
            forced = charge.kind & GUARANTEE and charge.outcome.fits
        if room == 0 and not has_room and passes == 1:
            passes = 0
        if passes != 1:
            undo(table, made, done, now)
        for at in range(done):
            made[at].record.meta &= ~CL_PINNED
        return passes


cdef void undo(cl_table* table, cl_charge* made, Py_ssize_t count, int64_t now) noexcept nogil:
    """Take charges back, tell what is left then, and make those that are made in any case."""
    cdef Py_ssize_t at
    cdef cl_charge* charge
    cdef cl_outcome left
    for at in range(count - 1, -1, -1):
        charge = &made[at]
        charge.record.state = charge.undo
        charge.record.meta = charge.undo_meta | CL_PINNED
    for at in range(count):
        charge = &made[at]
        if charge.outcome.fits:
            left = cl_decide(table, charge.record, charge.number, now, 0, -1)
            charge.outcome.remaining, charge.outcome.reset = left.remaining, left.reset
        elif not charge.kind & GUARANTEE:
            charge.record.meta |= CL_LIMITED
    for at in range(count):
        charge = &made[at]
        if charge.kind & CHARGE_DENIED:
            cl_penalize(
                &table.policies[charge.number],
                cl_before(table, charge.record, &table.policies[charge.number]),
                &charge.record.state,
                now,
                charge.hits,
            )
            charge.record.meta = (charge.record.meta & ~CL_POLICY) | <uint32_t>charge.number | CL_USED


cdef object outcome_of(cl_outcome outcome):
    made = cl_new_tuple(AN_OUTCOME, 4)
    put(made, 0, outcome.fits != 0)
    put(made, 1, outcome.remaining)
    put(made, 2, outcome.reset)
    put(made, 3, outcome.retry)
    return made


cdef class KeyedLimit:
    """Checks of keys by one policy, one at a time or many; made by `Table.limit`."""

    cdef Table table
    cdef int64_t number
    cdef bytes prefix, suffix
    cdef bint is_framed

    cdef cl_digest digest(self, object key) except *:
        """The digest of a key in its frame, which is put together here where it is short."""
        cdef char framed[LONGEST]
        cdef Py_ssize_t length, before, behind
        cdef const char* text
        if not self.is_framed:
            return self.table.digest(key)
        before, behind = PyBytes_GET_SIZE(self.prefix), PyBytes_GET_SIZE(self.suffix)
        if isinstance(key, str) and PyUnicode_IS_ASCII(key):
            text = PyUnicode_AsUTF8AndSize(key, &length)
            if before + length + behind <= LONGEST:
                memcpy(framed, PyBytes_AS_STRING(self.prefix), <size_t>before)
                memcpy(framed + before, text, <size_t>length)
                memcpy(framed + before + length, PyBytes_AS_STRING(self.suffix), <size_t>behind)
                return cl_hash(self.table.table.secret, <const unsigned char*>framed, before + length + behind)
        if isinstance(key, str):
            key = (<str>key).encode("utf-8", "surrogatepass")
        return self.table.digest(self.prefix + key + self.suffix)

    def check(self, key, int64_t hits=1):
        """Whether hits of a key pass; then they are charged."""
        cdef cl_digest digest = self.digest(key)
        # While the clock is read, the slot is on its way.
        cl_prefetch_slot(&self.table.table, digest)
        cdef int64_t now = self.table.now()
        if not 0 <= hits <= CL_MOST_HITS:
            hits = bounded(hits)
        cq_wait_for_lock(&self.table.lock)
        cdef int passes = cl_passes(&self.table.table, digest, self.number, now, hits)
        cq_unlock(&self.table.lock)
        return passes != 0

    def ask(self, key, int64_t hits=1):
        """The same, with all there is to know of the outcome."""
        cdef cl_digest digest = self.digest(key)
        cdef int64_t now = self.table.now()
        if not 0 <= hits <= CL_MOST_HITS:
            hits = bounded(hits)
        cq_wait_for_lock(&self.table.lock)
        cdef cl_outcome outcome = cl_check(&self.table.table, digest, self.number, now, hits)
        cq_unlock(&self.table.lock)
        return outcome_of(outcome)

    def check_many(self, list keys):
        """Whether one hit of each key passes, in their order: a byte each, 1 or 0."""
        cdef Py_ssize_t count = len(keys), first, at, last
        cdef bytes answers = PyBytes_FromStringAndSize(NULL, count)
        cdef char* passes = PyBytes_AS_STRING(answers)
        cdef cl_digest digests[GROUP]
        cdef int64_t now = self.table.now()
        cdef cl_table* table = &self.table.table
        for first in range(0, count, GROUP):
            last = min(count - first, GROUP)
            # The waits for memory of a group overlap: first its slots, then its records.
            for at in range(last):
                digests[at] = self.digest(keys[first + at])
                cl_prefetch_slot(table, digests[at])
            cq_wait_for_lock(&self.table.lock)
            for at in range(last):
                cl_prefetch_record(table, digests[at])
            for at in range(last):
                passes[first + at] = cl_passes(table, digests[at], self.number, now, 1)
            cq_unlock(&self.table.lock)
        return answers


include "_rules.pxi"
include "_answer.pxi"
include "_decider.pxi"
