# An answer that is kept as numbers, and told in words when somebody asks for them.
#
# Most callers want to know whether a request passes. To make a status and the tuple around it takes as long as to match
# and to charge the request.


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class QuickAnswer:
    """The `Answer` to a request with one descriptor and one limit: it refers to the rule and the limit alone."""

    cdef ReadyRule rule
    cdef RuleLimit limit
    cdef cl_outcome outcome
    cdef bint is_over

    @property
    def allowed(self):
        """Whether the request passes."""
        return not self.is_over

    @property
    def code(self):
        """The same, as Envoy's protocol has it."""
        return OVER if self.is_over else OK

    @property
    def statuses(self):
        """The one status."""
        return (self.status(),)

    @property
    def challenge(self):
        """Whether the edge should challenge the client rather than refuse it."""
        return bool(self.is_over and self.rule.challenge)

    @property
    def leases(self):
        """None: these are kept elsewhere."""
        return NO_LEASES

    @property
    def tightest(self):
        """The one status, which has a limit."""
        return self.status()

    @property
    def retry_after(self):
        """The seconds to wait before asking again, 0 where it passes; None where waiting does not help."""
        return waits(&self.outcome, self.is_over)

    cdef object status(self):
        return told_status(self.rule, self.limit, &self.outcome)

    cdef object full(self):
        return FullAnswer(self.code, self.statuses, self.challenge)

    def __eq__(self, other):
        return self.full() == ((<QuickAnswer>other).full() if type(other) is QuickAnswer else other)

    def __hash__(self):
        return hash(self.full())

    def __repr__(self):
        return repr(self.full())

    def __reduce__(self):
        return FullAnswer, tuple(self.full())


cdef inline object waits(const cl_outcome* told, bint is_over):
    return NO_WAIT if not is_over else None if told.retry < 0 else told.retry / 1e6


cdef object told_status(ReadyRule rule, RuleLimit limit, const cl_outcome* told):
    """The status of a descriptor by one of its limits."""
    cdef bint is_over = not told.fits and not rule.is_shadow
    status = cl_new_tuple(A_STATUS, 8)
    put(status, 0, OVER if is_over else OK)
    put(status, 1, UNDER if told.fits else PASSED_OVER)
    put(status, 2, limit.limit)
    put(status, 3, told.remaining)
    put(status, 4, told.reset / 1e6)
    put(status, 5, waits(told, is_over))
    put(status, 6, bool(not told.fits and rule.is_shadow))
    put(status, 7, rule.name)
    return status
