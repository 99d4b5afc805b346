# A batch of lines, and what is decided on each.


cdef class Batch:
    """Lines, and what was decided on each; positions count lines from 0. To be used under the owner's lock."""

    cdef readonly Lines lines
    cdef cq_deciding deciding
    cdef object kept
    cdef bint decided
    cdef int64_t told
    cdef readonly int64_t position

    def __dealloc__(self):
        free(self.deciding.fates)

    @staticmethod
    def of(Lines lines not None, points=None):
        """The lines of a table's `read`, of one point each, or of so many: int64, a line each."""
        cdef Batch batch = Batch.__new__(Batch)
        batch.set(lines, points)
        if batch.begin():
            raise MemoryError
        return batch

    cdef int set(self, Lines lines, object points) except -1:
        cdef int64_t[::1] amounts
        self.lines = lines
        if points is not None:
            amounts = points
            if amounts.shape[0] != lines.batch.count:
                raise ValueError("names and points must go pairwise")
            if amounts.shape[0] > 0:
                self.deciding.points = &amounts[0]
            self.kept = points
        return 0

    cdef int begin(self) noexcept nogil:
        self.deciding.lines = &self.lines.batch
        self.deciding.fates = <cq_fate*>calloc(self.lines.batch.count + 1, sizeof(cq_fate))
        return self.deciding.fates == NULL

    @property
    def is_decided(self):
        """Whether the decision on all lines is made."""
        return self.decided

    @property
    def accepted(self):
        """How many points were accepted so far."""
        return self.deciding.accepted

    @property
    def dropped(self):
        """How many points were rejected so far."""
        return self.deciding.dropped

    @property
    def rejected(self):
        """On how many lines they were."""
        return self.deciding.rejected

    @property
    def malformed(self):
        """How many lines were found malformed so far."""
        return self.deciding.malformed

    @property
    def created(self):
        """How many metrics were put into the table so far."""
        return self.deciding.created

    @property
    def creates_remaining(self):
        """How many more metrics might have been."""
        return self.deciding.creates_remaining

    cdef cq_fate* at(self, int64_t position) except NULL:
        self.lines.at(position)
        return &self.deciding.fates[position]

    def points(self, int64_t position):
        """How many points are on a line."""
        self.at(position)
        return cq_points_of(&self.deciding, position)

    def size(self, int64_t position):
        """Which of the ledger's sizes a new metric has, or -1 where it is not known."""
        return self.at(position).size - 1

    def put_size(self, int64_t position, int32_t number):
        """Have a new metric be of one of the ledger's sizes, without its being asked for."""
        if number < 0:
            raise ValueError(f"there is no size {number}")
        self.at(position).size = number + 1

    def put_malformed(self, int64_t position, int64_t reason):
        """Note why a line is no data point, or that it is BLANK."""
        self.lines.put_row(position, reason)
        self.deciding.malformed += reason != CQ_BLANK

    def put_decision(self, int64_t position, int32_t quota, int32_t control):
        """Note the decision on a line's points: the quota that rejects them and the control, or quota 0."""
        cdef cq_fate* fate = self.at(position)
        cdef cq_line* line = &self.lines.batch.lines[position]
        if control < -1:
            raise ValueError(f"{control} is no control")
        line.row = max(line.row, CQ_UNKNOWN)
        self.lines.batch.odd += not line.odd
        line.odd = 1
        if quota == 0:
            cq_add(&self.deciding.accepted, cq_points_of(&self.deciding, position))
        else:
            fate.control = control
            cq_reject(&self.deciding, position, quota, control)

    def tell_created(self, list told not None, list sizes not None, bint with_text):
        """Put what was put into the table since the last call into a list: a size, how many metrics, and their names.

        `sizes` has the ledger's sizes by number. The names, where they are wanted, are in normal form in one text, in
        the order of the lines, each ended by a line feed. What raises changes nothing, and no signal comes in between.
        """
        found = self.created_names(len(sizes), with_text)
        told.extend([(sizes[number], count, names) for number, count, names in found])
        cdef int64_t at
        for at in range(self.lines.batch.count if found else 0):
            if self.deciding.fates[at].control == CQ_CREATED:
                self.deciding.fates[at].control = CQ_TOLD
        self.told = self.deciding.created

    cdef list created_names(self, Py_ssize_t sizes, bint with_text):
        cdef Py_ssize_t size
        cdef int64_t at, length
        cdef const unsigned char* name
        cdef int64_t* counts
        cdef int64_t* lengths
        cdef unsigned char** ends
        if self.deciding.created == self.told:
            return []
        counts = <int64_t*>calloc(2 * sizes + 1, sizeof(int64_t))
        ends = <unsigned char**>calloc(sizes + 1, sizeof(unsigned char*))
        found = []
        try:
            if counts == NULL or ends == NULL:
                raise MemoryError
            lengths = counts + sizes
            for at in range(self.lines.batch.count):
                if self.deciding.fates[at].control == CQ_CREATED:
                    size = self.deciding.fates[at].size - 1
                    if not 0 <= size < sizes:
                        raise ValueError(f"there is no size {size}")
                    cq_name_of(&self.lines.batch, &self.lines.batch.lines[at], &length)
                    counts[size] += 1
                    lengths[size] += length + 1
            for size in range(sizes):
                if counts[size]:
                    text = PyBytes_FromStringAndSize(NULL, lengths[size]) if with_text else b""
                    ends[size] = <unsigned char*>PyBytes_AS_STRING(text)
                    found.append((size, counts[size], text))
            for at in range(self.lines.batch.count if with_text else 0):
                if self.deciding.fates[at].control == CQ_CREATED:
                    size = self.deciding.fates[at].size - 1
                    name = cq_name_of(&self.lines.batch, &self.lines.batch.lines[at], &length)
                    memcpy(ends[size], name, length)
                    ends[size][length] = b"\n"
                    ends[size] += length + 1
            return found
        finally:
            free(counts)
            free(ends)

    def rejected_at(self):
        """The positions (int64) of rejected lines, the quotas (int32) and controls (int8) that reject them."""
        cdef int64_t at, place = 0
        cdef cq_fate* fate
        positions = np.empty(self.deciding.rejected, np.int64)
        quotas = np.empty(self.deciding.rejected, np.int32)
        controls = np.empty(self.deciding.rejected, np.int8)
        cdef int64_t[::1] to_positions = positions
        cdef int32_t[::1] to_quotas = quotas
        cdef signed char[::1] to_controls = controls
        for at in range(self.lines.batch.count):
            fate = &self.deciding.fates[at]
            if fate.quota != 0:
                to_positions[place] = at
                to_quotas[place] = fate.quota
                to_controls[place] = fate.control
                place += 1
        return positions, quotas, controls
