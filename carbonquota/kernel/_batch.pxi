# A buffer taken apart.


cdef class Lines:
    """A buffer taken apart, and what was decided on each of its lines. Positions count lines from 0."""

    cdef readonly bytes buffer
    cdef cq_batch batch
    cdef cq_outcome outcome
    cdef uint64_t generation
    cdef bint decided
    cdef cq_size* sizes
    cdef int32_t size_count
    cdef int32_t size_room

    def __dealloc__(self):
        free(self.batch.lines)
        free(self.batch.spellings)
        free(self.sizes)

    def __len__(self):
        """The number of lines, blank and malformed ones included."""
        return self.batch.count

    @property
    def is_decided(self):
        """Whether the decision on all lines is made."""
        return self.decided

    @property
    def is_settled(self):
        """Whether it is, and no point was rejected."""
        return self.decided and self.outcome.dropped == 0

    @property
    def unknown(self):
        """How many lines are of metrics that were not found."""
        return self.batch.unknown

    @property
    def doubts(self):
        """How many lines only `parse` could tell about when they were read."""
        return self.batch.doubts

    @property
    def accepted(self):
        """How many points were accepted so far."""
        return self.outcome.accepted

    @property
    def dropped(self):
        """How many points were rejected so far."""
        return self.outcome.dropped

    @property
    def malformed(self):
        """How many lines were found malformed so far."""
        return self.outcome.malformed

    @property
    def created(self):
        """How many metrics were put into the table so far."""
        return self.outcome.created

    @property
    def creates_left(self):
        """How many more metrics might have been."""
        return self.outcome.creates_left

    cdef cq_line* at(self, int64_t position) except NULL:
        if not 0 <= position < self.batch.count:
            raise IndexError(f"there is no line {position}")
        return &self.batch.lines[position]

    def line(self, int64_t position):
        """One line as it came, with its line end."""
        cdef cq_line* line = self.at(position)
        return self.buffer[line.start : line[1].start]

    def row(self, int64_t position):
        """The row of the line's series, or what stands for one; None where only `parse` can tell."""
        cdef int64_t row = self.at(position).row
        return None if row == CQ_DOUBT else row

    def name(self, int64_t position):
        """The first field of a line that has a row, or is UNKNOWN."""
        cdef cq_line* line = self.at(position)
        return self.buffer[line.start : line.start + line.name_length]

    def wants_size(self, int64_t position):
        """Whether the decision on a new metric has stopped as it takes the metric's size."""
        return self.at(position).size == CQ_SIZE_WANTED

    def size(self, int64_t position):
        """Which size a new metric has, or below 0 where it is not known."""
        return self.at(position).size

    def add_size(self, int64_t logical, int64_t physical, int64_t data_points, int32_t number):
        """Have a size to give to lines, by the number that is returned; `number` is what its owner calls it."""
        cdef cq_size* sizes
        if min(logical, physical, data_points, number) < 0:
            raise ValueError("no amount of a size is below 0")
        if self.size_count == self.size_room:
            sizes = <cq_size*>realloc(self.sizes, (2 * self.size_room + 16) * sizeof(cq_size))
            if sizes == NULL:
                raise MemoryError
            self.sizes = sizes
            self.size_room = 2 * self.size_room + 16
        sizes = &self.sizes[self.size_count]
        sizes.logical, sizes.physical, sizes.data_points, sizes.number = logical, physical, data_points, number
        self.size_count += 1
        return self.size_count - 1

    def put_size(self, int64_t position, int32_t size):
        """Note which size a new metric has, by what `add_size` gave."""
        if not 0 <= size < self.size_count:
            raise ValueError(f"there is no size {size}")
        self.at(position).size = size

    def put_row(self, int64_t position, int64_t row):
        """Note what stands for a row where a line is no data point: BLANK, or why it is malformed."""
        if not CQ_DOUBT < row < CQ_UNKNOWN:
            raise ValueError(f"{row} does not say why a line is no data point")
        self.at(position).row = row
        self.outcome.malformed += row != CQ_BLANK

    def put_decision(self, int64_t position, int32_t quota, int32_t control):
        """Note the decision on a point: the quota that rejects it and the control, or quota 0."""
        cdef cq_line* line = self.at(position)
        if control < -1:
            raise ValueError(f"{control} is no control")
        line.row = max(line.row, CQ_UNKNOWN)
        self.batch.odd += not line.odd
        line.odd = 1
        line.quota = quota
        line.control = control
        if quota == 0:
            self.outcome.accepted += 1
        else:
            self.outcome.dropped += 1

    def created_names(self, Py_ssize_t sizes, bint with_text):
        """Of each number of a size: how many lines brought a metric of it into the table, and, if wanted, their names.

        The names are one text, in the order of the lines, each ended by a line feed.
        """
        cdef Py_ssize_t size
        cdef int64_t at
        cdef cq_line* line
        cdef int64_t* counts = <int64_t*>calloc(2 * sizes + 1, sizeof(int64_t))
        cdef unsigned char** ends = <unsigned char**>calloc(sizes + 1, sizeof(unsigned char*))
        cdef int64_t* lengths = counts + sizes
        texts = []
        try:
            if counts == NULL or ends == NULL:
                raise MemoryError
            for at in range(self.batch.count):
                line = &self.batch.lines[at]
                if line.control == CQ_CREATED:
                    if not 0 <= line.size < sizes:
                        raise ValueError(f"there is no size {line.size}")
                    counts[line.size] += 1
                    lengths[line.size] += line.name_length + 1
            for size in range(sizes):
                text = PyBytes_FromStringAndSize(NULL, lengths[size]) if with_text else b""
                ends[size] = <unsigned char*>PyBytes_AS_STRING(text)
                texts.append(text)
            for at in range(self.batch.count if with_text else 0):
                line = &self.batch.lines[at]
                if line.control == CQ_CREATED:
                    memcpy(ends[line.size], self.batch.text + line.start, line.name_length)
                    ends[line.size][line.name_length] = b"\n"
                    ends[line.size] += line.name_length + 1
            return [(counts[size], texts[size]) for size in range(sizes)]
        finally:
            free(counts)
            free(ends)

    def rejected(self):
        """The positions (int64) of rejected points, the quotas (int32) and controls (int8) that reject them."""
        cdef int64_t at, place = 0
        cdef cq_line* line
        positions = np.empty(self.outcome.dropped, np.int64)
        quotas = np.empty(self.outcome.dropped, np.int32)
        controls = np.empty(self.outcome.dropped, np.int8)
        cdef int64_t[::1] to_positions = positions
        cdef int32_t[::1] to_quotas = quotas
        cdef signed char[::1] to_controls = controls
        for at in range(self.batch.count):
            line = &self.batch.lines[at]
            if line.quota != 0:
                to_positions[place] = at
                to_quotas[place] = line.quota
                to_controls[place] = line.control
                place += 1
        return positions, quotas, controls

    def malformed_at(self):
        """The positions of malformed lines, in order, by why they are."""
        cdef int64_t at
        positions = {}
        for at in range(self.batch.count):
            if CQ_DOUBT < self.batch.lines[at].row < CQ_BLANK:
                positions.setdefault(self.batch.lines[at].row, []).append(at)
        return positions

    def odd_places(self):
        """Where in what `cut` gives the lines begin and end that may have to go on otherwise than they came."""
        cdef int64_t at, place = 0, size
        cdef cq_line* line
        places = []
        if self.batch.odd == 0:
            return places
        for at in range(self.batch.count):
            line = &self.batch.lines[at]
            if line.quota != 0 or (line.row < CQ_BLANK and line.row != CQ_DOUBT):
                continue
            size = line[1].start - line.start
            if line.odd and line.row != CQ_BLANK:
                places.append((place, place + size))
            place += size
        return places

    def cut(self):
        """The buffer down to accepted points and blank lines; the buffer itself where that is all of it."""
        cdef int64_t size
        if self.outcome.dropped + self.outcome.malformed == 0:
            return self.buffer
        with nogil:
            size = cq_kept_size(&self.batch)
        cdef bytes kept = PyBytes_FromStringAndSize(NULL, size)
        if size > 0:
            cq_keep(&self.batch, <unsigned char*>PyBytes_AS_STRING(kept))
        return kept
