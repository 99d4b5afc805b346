# The decision over columns.


cdef class Ledger:
    """Decides over columns that others own.

    What is called with names or bytes takes the owner's lock and leaves it; all else is to be called under it.
    """

    cdef cq_ledger ledger
    cdef SeriesTable table
    cdef readonly FlatMatcher matcher
    cdef int64_t* creates_remaining
    cdef object kept_creates
    cdef object kept
    cdef cq_times times
    cdef Lock lock
    cdef object clock
    cdef object owner
    cdef object size_of, number_of, sizes_of, size_below
    cdef object last_size
    cdef int32_t last_number, size_count, size_room
    cdef Batch asking
    cdef int64_t ahead
    cdef object raised
    cdef bint clock_is_system
    cdef double quiet_from
    cdef double quiet_until

    def __cinit__(self, SeriesTable table not None, *, controls):
        """Decide on the series of `table`; `controls` has the number of each control by its name."""
        self.table = table
        self.ledger.sure_length = CQ_LONGEST_NAME
        self.ledger.series = &table.series
        self.ledger.namespaces = controls["namespaces"]
        self.ledger.metrics = controls["metrics"]
        self.ledger.throughput = controls["throughput"]
        self.ledger.creates = controls["creates"]
        if len(controls) != CQ_CONTROLS + 1:
            raise ValueError(f"there are {CQ_CONTROLS} controls and the bound on new metrics, not {len(controls)}")
        # Of whatever size it is, it is one metric.
        self.ledger.least.amounts[self.ledger.metrics] = self.ledger.most.amounts[self.ledger.metrics] = 1

    def __dealloc__(self):
        free(self.ledger.sizes)
        cq_forget_remembered(&self.ledger)

    def bind(
        self, *, columns, narrow, rows, used, dropped, rates, checks, size_number, seen, matcher, absent, some_reject_alone
    ):
        """Decide over these arrays from now on; to be called whenever one was replaced.

        `columns` has int64 columns by name: of namespaces `lag`, of rules `rule_enforcing`, `rule_metered` and
        `rule_throughput`, of quotas the others. `narrow` has int32 ones: `quota_of`, `parent`, `child_count` and `state`
        of namespaces, `held`, `rule` and `named` of quotas. `rows` has two `trie.columns.Columns`, of
        namespaces and of quotas, that give out rows. `used` and `dropped` are int64 columns by control, `rates`
        chains of quotas (int32, shape (quotas, width)), `checks` int64 of shape (rules, capacities + 1, 2): numbers
        of capacities with their limits, as they are asked, -1 behind the last. `size_number` is int32 and `seen` uint32 or
        None, by series. `absent` counts by namespaces that do not exist: a
        `NameTable`, how many it may hold, and its columns, `throttle` before those by control.
        """
        cdef int control
        # What is refused leaves all as it was.
        cdef cq_ledger bound = self.ledger
        if len(used) != CQ_CAPACITIES or len(dropped) != CQ_CONTROLS:
            raise ValueError(f"there must be columns of {CQ_CAPACITIES} capacities and {CQ_CONTROLS} controls")
        bound.quota_of = _numbers(narrow["quota_of"])
        bound.parent = _numbers(narrow["parent"])
        bound.held = _numbers(narrow["held"])
        bound.rule = _numbers(narrow["rule"])
        bound.remaining = _longs(columns["remaining"])
        bound.limit = _longs(columns["limit"])
        bound.throttle = _longs(columns["throttle"])
        for control in range(CQ_CAPACITIES):
            bound.used[control] = _longs(used[control])
        for control in range(CQ_CONTROLS):
            bound.dropped[control] = _longs(dropped[control])
        bound.rates = _chains(rates)
        bound.rate_width = rates.shape[1]
        cdef int64_t[:, :, ::1] pairs = checks
        if pairs.shape[1] != CQ_CAPACITIES + 1 or pairs.shape[2] != 2:
            raise ValueError(f"checks must be {CQ_CAPACITIES + 1} pairs for each rule")
        bound.checks = &pairs[0, 0, 0]
        cdef int32_t[::1] numbers = size_number
        bound.size_number = &numbers[0]
        bound.rows = numbers.shape[0]
        cdef uint32_t[::1] times = seen
        bound.seen = NULL if seen is None else &times[0]
        if seen is not None:
            bound.rows = min(bound.rows, times.shape[0])
        bound.some_reject_alone = some_reject_alone
        bound.state = _numbers(narrow["state"])
        bound.child_count = _numbers(narrow["child_count"])
        bound.named = _numbers(narrow["named"])
        bound.lag = _longs(columns["lag"])
        bound.rule_enforcing = _longs(columns["rule_enforcing"])
        bound.rule_metered = _longs(columns["rule_metered"])
        bound.rule_throughput = _longs(columns["rule_throughput"])
        _bind_rows(&bound.namespace_rows, rows[0])
        _bind_rows(&bound.quota_rows, rows[1])
        cdef FlatMatcher flat = matcher
        if flat is None:
            raise TypeError("a ledger takes a matcher")
        bound.matcher = &flat.tables
        cdef NameTable names = absent[0]
        bound.absent.names = &names.names
        bound.absent.most = absent[1]
        bound.absent.throttle = _longs(absent[2][0])
        for control in range(CQ_CONTROLS):
            bound.absent.dropped[control] = _longs(absent[2][1 + control])
        bound.revision += 1
        self.ledger = bound
        self.matcher = flat
        self.kept = (columns, narrow, rows[0].free, rows[1].free, used, dropped, rates, checks, size_number, seen, absent)

    cdef int check(self) except -1:
        if self.ledger.revision == 0:
            raise ValueError("a ledger decides over columns that it is bound to")
        return 0

    def hold_to(self, int64_t earliest, int64_t latest, int64_t sure_length, bytes doubtful_prefix not None):
        """Have lines with timestamps outside of these, in seconds, be malformed.

        New metrics with longer names, in bytes, with names that are not plain or begin with the prefix, are left to
        the caller; but names with tags only where their files' names may be too long, or have a slash.
        """
        cdef Py_ssize_t at, length = PyBytes_GET_SIZE(doubtful_prefix)
        if not 0 <= earliest <= latest < 2**53 // 1000:
            raise ValueError(f"no store has room from {earliest} to {latest}")
        if length > CQ_LONGEST_PREFIX:
            raise ValueError(f"a prefix of {length} bytes is too long")
        self.times.earliest = earliest
        self.times.latest = latest
        self.times.hold = True
        self.times.first_two = min(latest // 10**8, 100) if earliest <= 1 else 0
        self.ledger.sure_length = sure_length
        self.ledger.prefix_length = <int32_t>length
        for at in range(length):
            self.ledger.doubtful_prefix[at] = doubtful_prefix[at]

    cdef int32_t take(self, metric, int64_t points) except? CQ_UNKNOWN:
        cdef const unsigned char* name
        cdef Py_ssize_t length
        if type(metric) is str:
            try:
                name = <const unsigned char*>PyUnicode_AsUTF8AndSize(metric, &length)
            except UnicodeError:
                return CQ_UNKNOWN
        elif isinstance(metric, bytes):
            name = <const unsigned char*>PyBytes_AS_STRING(metric)
            length = PyBytes_GET_SIZE(metric)
        else:
            return CQ_UNKNOWN
        if length > CQ_LONGEST_NAME:
            return CQ_UNKNOWN
        cdef uint64_t hash = cq_hash(self.ledger.series.names.keys, name, length, name + length)
        cdef int64_t row = cq_find_series(self.ledger.series, hash, name, length)
        if row < 0:
            return CQ_UNKNOWN
        return cq_take_known(&self.ledger, row, cq_record_at(self.ledger.series, row).namespace_row, points)

    def bind_lock(self, Lock lock not None, clock, bint is_system, owner):
        """Take this lock and the time from this clock; `is_system` tells whether it is `time.time`.

        `owner` is asked where Python is needed, in the methods that end in `_locked` under the lock.
        """
        self.lock = lock
        self.clock = clock
        self.clock_is_system = is_system
        self.owner = owner

    cdef int check_bound(self) except -1:
        if self.lock is None:
            raise ValueError("a ledger decides once it is bound to a lock and a clock")
        return self.check()

    def set_time(self, double start, double end, uint32_t now):
        """Decide without the owner from `start` until just before `end`; series are seen at `now`."""
        self.quiet_from = start
        self.quiet_until = end
        self.ledger.now = now

    def offer(self, metric, int64_t points, size=None):
        """The owner's answer to points of a metric: `accepted` where it is known and passes.

        Else what `offer_locked(metric, points, size, quota)` says, the quota that rejects a known metric or UNKNOWN.
        """
        cdef int32_t quota = CQ_UNKNOWN
        cdef double now
        self.check_bound()
        self.lock.acquire()
        try:
            now = self.clock()
            if self.quiet_from <= now < self.quiet_until:
                quota = self.take(metric, points)
                if quota == 0:
                    return self.owner.accepted
            return self.owner.offer_locked(metric, points, size, quota)
        finally:
            cq_unlock(&self.lock.lock)

    def admit(self, bytes buffer not None):
        """The owner's `answer` to a batch of lines."""
        cdef Batch batch = Batch.__new__(Batch)
        batch.set(Lines.of(buffer), None)
        batch.lines.batch.times = self.times
        return self.run(batch)

    def admit_names(self, list names not None, points):
        """The same to names, of one point each, or of so many."""
        cdef Batch batch = Batch.__new__(Batch)
        batch.set(Lines.of_names(names), points)
        return self.run(batch)

    cdef run(self, Batch batch):
        """Decide on a batch, without Python where that goes; else `decide_locked(batch)` is called.

        It takes Python where a metric is to be put into the index, a line can only be read by `parse`, the clock is not
        the system's, or the time is out of the quiet stretch; `position` is then the first line that is not decided.
        The answer is made under the lock where points are rejected.
        """
        cdef bint settled = False, failed
        cdef Lines lines = batch.lines
        self.check_bound()
        with nogil:
            failed = self.table.take_apart(lines) or batch.begin()
            if not failed:
                cq_wait_for_lock(&self.lock.lock)
                if self.table.series.generation != lines.generation:
                    lines.generation = self.table.series.generation
                    cq_find_again(&self.table.series, &lines.batch)
                if self.is_quiet():
                    batch.deciding.creates_remaining = 2**63 - 1 if self.creates_remaining == NULL else self.creates_remaining[0]
                    batch.position = cq_decide(&self.ledger, &batch.deciding, 0)
                    batch.decided = batch.position == lines.batch.count
                    settled = batch.decided and batch.deciding.rejected == 0
                    if settled:
                        cq_unlock(&self.lock.lock)
        if failed:
            raise MemoryError
        if settled:
            return self.owner.answer(batch)
        try:
            if not batch.decided:
                self.owner.decide_locked(batch)
            return self.owner.answer(batch)
        finally:
            cq_unlock(&self.lock.lock)

    cdef bint is_quiet(self) noexcept nogil:
        cdef double now
        if not self.clock_is_system:
            return False
        now = cq_system_time()
        return self.quiet_from <= now < self.quiet_until

    def count_creates(self, int64_t[::1] remaining not None):
        """Look there for how many metrics may still be created, before anything is decided without Python."""
        self.creates_remaining = &remaining[0]
        self.kept_creates = remaining

    def reserve(self, int64_t more):
        """Make sure that `decide` can put so many series into the table."""
        if cq_reserve_series(self.ledger.series, more):
            raise MemoryError

    def ask_for_sizes(self, size_of, number_of, size_below=None, sizes_of=None, bounds=None):
        """Have new metrics be of the sizes that `size_of` gives for their normal names.

        `number_of` gives what `add_size` gave for one. `size_below` gives the size of all new metrics below a namespace
        if they have one, else None; `sizes_of` those of many names; and `bounds` has the least and the most that they
        may add, by control.
        """
        cdef cq_size least, most
        cdef int control
        if bounds is not None:
            for control in range(CQ_CAPACITIES):
                least.amounts[control], most.amounts[control] = bounds[0][control], bounds[1][control]
            self.ledger.least, self.ledger.most = least, most
        self.ledger.sizes_are_bounded = bounds is not None
        self.ledger.sizes_by_namespace = size_below is not None
        self.size_of, self.number_of, self.size_below, self.sizes_of = size_of, number_of, size_below, sizes_of
        self.forget_sizes()

    def forget_sizes(self):
        """Have no sizes any more; to be called when no batch is being decided."""
        cq_forget_remembered(&self.ledger)
        self.last_size = None
        self.size_count = 0
        self.ledger.revision += 1

    def add_size(self, amounts, int32_t number):
        """Have a size to give to metrics, by the number that is returned.

        `amounts` has what it adds by each stock, `number` is what it is by series.
        """
        cdef cq_size* sizes
        cdef int control
        if len(amounts) != CQ_CAPACITIES or min(*amounts, number) < 0:
            raise ValueError(f"a size has {CQ_CAPACITIES} amounts, none below 0")
        if self.size_count == self.size_room:
            sizes = <cq_size*>realloc(self.ledger.sizes, (2 * self.size_room + 16) * sizeof(cq_size))
            if sizes == NULL:
                raise MemoryError
            self.ledger.sizes = sizes
            self.size_room = 2 * self.size_room + 16
        for control in range(CQ_CAPACITIES):
            self.ledger.sizes[self.size_count].amounts[control] = amounts[control]
        self.ledger.sizes[self.size_count].number = number
        self.size_count += 1
        return self.size_count - 1

    cdef int32_t number(self, size) except -1:
        # Most have the size of the one before, often the very object.
        cdef int32_t number
        if size is not self.last_size:
            number = self.number_of(size)
            if not 0 <= number < self.size_count:
                raise ValueError(f"there is no size {number}")
            self.last_size, self.last_number = size, number
        return self.last_number

    cdef int32_t size_at(self, int64_t at, int64_t namespace_row) except -1:
        cdef cq_space* space
        cdef int32_t number
        if self.size_below is not None:
            space = cq_space_at(self.ledger.series.names, namespace_row)
            if space.size == 0:
                size = self.size_below(self.table.namespaces.name(namespace_row).decode())
                number = CQ_MOST_KEPT if size is None else self.number(size)
                space.size = CQ_SIZES_DIFFER + (number + 1 if number < CQ_MOST_KEPT else 0)
                if size is not None:
                    return number + 1
        if self.sizes_of is not None:
            return self.sizes_from(at)
        return self.number(self.size_of(self.asking.lines.normal_name(at))) + 1

    cdef int32_t sizes_from(self, int64_t at) except -1:
        # Asking for more than one name at a time is cheaper, but some of them may be rejected without it.
        cdef int64_t place, most = self.ahead
        cdef cq_line* line
        cdef cq_fate* fates = self.asking.deciding.fates
        names, places = [], []
        for place in range(at, self.asking.lines.batch.count):
            line = &self.asking.lines.batch.lines[place]
            if line.row != CQ_UNKNOWN or fates[place].size > 0:
                continue
            if place > at and cq_space_at(self.ledger.series.names, line.namespace_row).size > CQ_SIZES_DIFFER:
                continue
            name = self.asking.lines.normal_name(place)
            if name is not None:
                names.append(name)
                places.append(place)
                most -= 1
                if most == 0:
                    break
        self.ahead = min(2 * self.ahead, CQ_GROUP)
        for place, size in zip(places, self.sizes_of(names), strict=True):
            fates[place].size = self.number(size) + 1
        return fates[at].size

    def decide(self, Batch batch not None, int64_t start, int64_t creates_remaining):
        """Decide on the lines from `start` on; the position of the first that is left to the caller, or their number.

        `reserve` must have been called for as many series as lines are unknown. Columns by series must reach as
        far, too. Where metrics are unknown, the interpreter is kept: a decision that stops for sizes would else wait
        for it at each, with the owner's lock.
        """
        self.check()
        if start < 0:
            raise ValueError("lines begin at 0")
        batch.deciding.creates_remaining = creates_remaining
        if batch.lines.batch.unknown == 0:
            with nogil:
                start = cq_decide(&self.ledger, &batch.deciding, start)
        else:
            start = self.decide_new(batch, start)
        batch.decided = start == batch.lines.batch.count
        return start

    cdef int64_t decide_new(self, Batch batch, int64_t start) except -1:
        cdef cq_wanted_step* wanted = &self.ledger.wanted
        self.asking, self.ahead = batch, 1
        batch.deciding.owner = <void*>self
        if self.size_of is not None:
            # The interpreter is kept, so it may be called, whatever its type says.
            batch.deciding.ask = <cq_ask_size><void*>_ask_size
        try:
            while True:
                wanted.part = NULL
                start = cq_decide(&self.ledger, &batch.deciding, start)
                if self.raised is not None:
                    raise self.raised
                if wanted.part == NULL or not self.matcher.learn(wanted.state, wanted.part, wanted.length):
                    return start
        finally:
            self.asking = self.raised = None
            batch.deciding.ask = NULL


cdef int32_t _ask_size(void* owner, int64_t at, int64_t namespace_row) noexcept:
    cdef Ledger ledger = <Ledger>owner
    try:
        return ledger.size_at(at, namespace_row)
    except BaseException as error:
        # C has to end its work first.
        ledger.raised = error
        return 0


cdef int64_t* _longs(int64_t[::1] column) except NULL:
    return &column[0]


cdef int32_t* _numbers(int32_t[::1] column) except NULL:
    return &column[0]


cdef int _bind_rows(cq_rows* rows, owner) except -1:
    rows.meter = _longs(owner.meter)
    rows.free = _longs(owner.free)
    rows.capacity = owner.capacity
    return 0


cdef int32_t* _chains(int32_t[:, ::1] matrix) except NULL:
    return &matrix[0, 0]
