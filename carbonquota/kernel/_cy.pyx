# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""The compiled kernel: what Python sees of `_text.h`, `_tables.h`, `_lines.h` and `_ledger.h`, which hold the work.

Each class here owns C memory and frees it, turns C's answers into Python's, and lets go of the interpreter while C
works. What is called under the caller's lock says so; `SeriesTable.read` alone may run beside anything.
"""

import os

cimport cython
import numpy as np

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII

from carbonquota.kernel._joined import JoinedNames, Survey

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef extern from "_bulk.h" nogil:
    enum: CQ_UNKNOWN, CQ_BLANK, CQ_DOUBT, CQ_CREATED, CQ_LONGEST_NAME, CQ_CONTROLS, CQ_STOCKS
    ctypedef struct cq_keys:
        pass
    ctypedef struct cq_epochs:
        int64_t row_count
    ctypedef struct cq_slots:
        int64_t live
    ctypedef struct cq_space:
        pass
    ctypedef struct cq_names:
        cq_keys* keys
        cq_epochs epochs
        cq_slots slots
        int64_t size
    ctypedef struct cq_record:
        uint32_t namespace_row
    ctypedef struct cq_series:
        cq_names* names
        cq_slots slots
        int64_t size
        uint64_t generation
    ctypedef struct cq_line:
        int64_t start
        int64_t row
        uint64_t hash
        uint32_t name_length
        uint32_t namespace_row
        int32_t quota
        int32_t size
        int32_t control
    ctypedef struct cq_batch:
        const unsigned char* text
        int64_t length
        cq_line* lines
        int64_t count
        int64_t doubts
        int64_t unknown
    ctypedef struct cq_size:
        int64_t logical
        int64_t physical
        int64_t data_points
        int32_t number
    ctypedef struct cq_outcome:
        int64_t accepted
        int64_t dropped
        int64_t malformed
        int64_t created
        int64_t creates_left
    ctypedef struct cq_ledger:
        cq_series* series
        int64_t* quota_of
        int64_t* parent
        int64_t** used
        int64_t* held
        int64_t* rule
        int64_t* left
        int64_t* limit
        int64_t* enforcing
        int64_t* throttle
        int64_t** dropped
        int32_t* flows
        int32_t* stocks
        int64_t flow_width
        int64_t stock_width
        int64_t* limits
        int64_t rows
        int32_t* size_number
        uint32_t* seen
        uint32_t now
        uint32_t era
        int32_t* order
        int32_t namespaces, metrics, logical_size, physical_size, data_points, throughput, creates
        int32_t some_forbid_all

    uint64_t cq_hash(const cq_keys* keys, const unsigned char* name, int64_t length, const unsigned char* end)
    uint64_t cq_enter(cq_epochs* epochs)
    void cq_leave(cq_epochs* epochs, uint64_t epoch)
    void cq_free_epochs(cq_epochs* epochs)
    int cq_reserve(cq_slots* slots, cq_epochs* epochs, int64_t more)
    void cq_make_names(cq_names* names, cq_keys* keys)
    void cq_make_series(cq_series* series, cq_names* names)
    void cq_free_names(cq_names* names)
    void cq_free_series(cq_series* series)
    cq_space* cq_space_at(const cq_names* names, int64_t row)
    int64_t cq_called(const cq_space* space, const unsigned char** name)
    int64_t cq_find_name(cq_names* names, uint64_t hash, const unsigned char* name, int64_t length)
    int cq_insert_name(cq_names* names, uint64_t hash, const unsigned char* name, int64_t length, int64_t row)
    int cq_remove_name(cq_names* names, uint64_t hash, int64_t row)
    uint64_t cq_generation(const cq_series* series)
    cq_record* cq_record_at(const cq_series* series, int64_t row)
    int64_t cq_find_series(const cq_series* series, uint64_t hash, const unsigned char* name, int64_t length)
    int cq_reserve_series(cq_series* series, int64_t more)
    int64_t cq_insert_series(
        cq_series* series, uint64_t hash, int64_t namespace_row, const unsigned char* leaf, int64_t length
    )
    int cq_remove_series(cq_series* series, uint64_t hash, int64_t row)
    ctypedef struct cq_copy:
        pass
    int cq_copy_series(const cq_series* series, cq_copy* copied)
    void cq_free_copy(cq_copy* copied)
    int64_t cq_joined_size(const cq_copy* copied)
    void cq_join(const cq_copy* copied, unsigned char* text)
    int64_t cq_insert_joined(
        cq_series* series, const unsigned char* text, const int64_t* ends, int64_t count, const int64_t* namespaces,
        int64_t* rows
    )
    ctypedef struct cq_seen_names:
        pass
    int cq_make_seen(cq_seen_names* seen, cq_names* names, int64_t count)
    void cq_free_seen(cq_seen_names* seen)
    bint cq_is_seen(cq_seen_names* seen, const unsigned char* text, const int64_t* ends, int64_t at)
    int64_t cq_last_dot(const unsigned char* name, int64_t length)
    int64_t cq_length(const cq_space* space, const cq_record* record)
    int64_t cq_write(const cq_space* space, const cq_record* record, unsigned char* name)
    int cq_is_plain_name(const unsigned char* name, int64_t length, int64_t* last_dot)
    int cq_read(const cq_series* series, cq_batch* batch)
    void cq_find_again(const cq_series* series, cq_batch* batch)
    int64_t cq_decide(cq_ledger* ledger, cq_batch* batch, int64_t start, const cq_size* sizes, cq_outcome* outcome)
    int64_t cq_missing(const cq_ledger* ledger, const unsigned char* text, const cq_line* line, const cq_size* sizes)
    int32_t cq_take_known(cq_ledger* ledger, int64_t row, int64_t namespace_row, int64_t points)
    int64_t cq_kept_size(const cq_batch* batch)
    void cq_keep(const cq_batch* batch, unsigned char* kept)

cdef extern from "_lock.h" nogil:
    ctypedef struct cq_lock:
        pass
    int cq_make_lock(cq_lock* lock)
    void cq_free_lock(cq_lock* lock)
    int cq_try_lock(cq_lock* lock)
    void cq_wait_for_lock(cq_lock* lock)
    double cq_system_time()
    void cq_unlock(cq_lock* lock)

NAME = "compiled"


cdef inline const unsigned char* _characters(bytes text) noexcept:
    return <const unsigned char*>PyBytes_AS_STRING(text)


cdef uint64_t _hash(const cq_names* names, bytes name) noexcept:
    cdef const unsigned char* text = _characters(name)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(name)
    return cq_hash(names.keys, text, length, text + length)


cdef int _check_length(bytes name) except -1:
    if PyBytes_GET_SIZE(name) > CQ_LONGEST_NAME:
        raise ValueError(f"a name of {len(name):,} bytes is too long: at most {CQ_LONGEST_NAME:,}")
    return 0


cdef class Lines


cdef class Lock:
    """A lock for what takes microseconds: who has to wait looks again and again for a while before it sleeps."""

    cdef cq_lock lock
    cdef bint made

    def __cinit__(self):
        if cq_make_lock(&self.lock):
            raise MemoryError
        self.made = True

    def __dealloc__(self):
        if self.made:
            cq_free_lock(&self.lock)

    cpdef acquire(self):
        """Wait until nobody else has it, and have it."""
        if not cq_try_lock(&self.lock):
            with nogil:
                cq_wait_for_lock(&self.lock)

    cpdef release(self):
        """Let others have it; to be called by the thread that has it."""
        cq_unlock(&self.lock)

    def __enter__(self):
        """Acquire it."""
        if not cq_try_lock(&self.lock):
            with nogil:
                cq_wait_for_lock(&self.lock)

    def __exit__(self, kind, error, trace):
        """Release it."""
        cq_unlock(&self.lock)


cdef class NameTable:
    """The names of namespaces, each with the row that the caller gives it. To be used under the caller's lock."""

    cdef cq_names names
    cdef cq_keys* keys
    cdef bint taken

    def __cinit__(self):
        cdef bytes random = os.urandom(sizeof(cq_keys))
        self.keys = <cq_keys*>calloc(1, sizeof(cq_keys))
        if self.keys == NULL:
            raise MemoryError
        memcpy(self.keys, _characters(random), sizeof(cq_keys))
        cq_make_names(&self.names, self.keys)
        if cq_reserve(&self.names.slots, &self.names.epochs, 1):
            raise MemoryError

    def __dealloc__(self):
        cq_free_names(&self.names)
        free(self.keys)

    def __len__(self):
        """The number of names."""
        return self.names.slots.live

    def find(self, bytes name not None):
        """The row of a name, or UNKNOWN."""
        if PyBytes_GET_SIZE(name) > CQ_LONGEST_NAME:
            return CQ_UNKNOWN
        return cq_find_name(&self.names, _hash(&self.names, name), _characters(name), PyBytes_GET_SIZE(name))

    def insert(self, bytes name not None, int64_t row):
        """Give a row, which no name has, to a name that is not in the table."""
        _check_length(name)
        if row < 0:
            raise ValueError(f"{row} is no row")
        if cq_insert_name(&self.names, _hash(&self.names, name), _characters(name), PyBytes_GET_SIZE(name), row):
            raise MemoryError

    def remove(self, int64_t row):
        """Take out the name of a row that has one."""
        cdef const unsigned char* name
        if self.called(row, &name) < 0:
            raise KeyError(row)
        if cq_remove_name(&self.names, _hash(&self.names, self.name(row)), row):
            raise MemoryError

    def name(self, int64_t row):
        """The name of a row, empty where it has none. May be asked at any time."""
        cdef uint64_t epoch = cq_enter(&self.names.epochs)
        cdef const unsigned char* name
        cdef int64_t length
        try:
            length = self.called(row, &name)
            return PyBytes_FromStringAndSize(<const char*>name, length) if length > 0 else b""
        finally:
            cq_leave(&self.names.epochs, epoch)

    cdef int64_t called(self, int64_t row, const unsigned char** name) noexcept:
        return cq_called(cq_space_at(&self.names, row), name) if 0 <= row < self.names.size else -1


@cython.no_gc_clear  # what `__dealloc__` needs must be there to the end, in garbage that holds itself, too
cdef class SeriesTable:
    """The names of all series, each with a row number that callers key their own columns by.

    All but `read` is to be called under the caller's lock.
    """

    cdef cq_series series
    cdef readonly NameTable namespaces

    def __cinit__(self, NameTable namespaces not None):
        if namespaces.taken:
            raise ValueError("another table has its series in these namespaces")
        namespaces.taken = True
        self.namespaces = namespaces
        cq_make_series(&self.series, &namespaces.names)
        if cq_reserve_series(&self.series, 1):
            raise MemoryError

    def __dealloc__(self):
        if self.series.names != NULL:
            cq_free_series(&self.series)

    def __len__(self):
        """The number of series."""
        return self.series.slots.live

    @property
    def size(self):
        """One more than the highest row number ever given: how long a column by row must be."""
        return self.series.size

    cdef int64_t row_of(self, bytes name) noexcept:
        cdef Py_ssize_t length = PyBytes_GET_SIZE(name)
        if length > CQ_LONGEST_NAME:
            return CQ_UNKNOWN
        return cq_find_series(&self.series, _hash(self.series.names, name), _characters(name), length)

    def find(self, bytes name not None):
        """The row of a name in normal form, or UNKNOWN."""
        return self.row_of(name)

    def namespace_of(self, int64_t row):
        """The row of the namespace that the series at `row` lies in."""
        self.check(row)
        return cq_record_at(&self.series, row).namespace_row

    def insert(self, bytes name not None, int64_t namespace):
        """The row for a name that is not in the table yet; `namespace` is the row of what stands before its last dot."""
        _check_length(name)
        if cq_reserve_series(&self.series, 1):
            raise MemoryError
        return self.put(name, namespace)

    cdef int64_t put(self, bytes name, int64_t namespace) except -1:
        cdef const unsigned char* text = _characters(name)
        cdef Py_ssize_t length = PyBytes_GET_SIZE(name)
        cdef const unsigned char* above
        cdef int64_t before = self.namespaces.called(namespace, &above)
        cdef int64_t leaf = before + (before > 0)
        if before < 0 or leaf > length:
            raise ValueError(f"{name!r} does not lie in the namespace at {namespace}")
        cdef int64_t row = cq_insert_series(&self.series, _hash(self.series.names, name), namespace, text + leaf, length - leaf)
        if row < 0:
            raise MemoryError
        return row

    def insert_many(self, names, int64_t[::1] namespaces not None):
        """`insert` for many `JoinedNames` that differ, pairwise with their namespaces; their rows, int64."""
        cdef bytes text = names.text
        cdef const unsigned char* characters = _characters(text)
        cdef int64_t[::1] ends = names.ends
        cdef int64_t failed
        if ends.shape[0] != namespaces.shape[0]:
            raise ValueError("names and namespaces must go pairwise")
        rows = np.empty(ends.shape[0], np.int64)
        cdef int64_t[::1] given = rows
        if ends.shape[0] == 0:
            return rows
        if cq_reserve_series(&self.series, ends.shape[0]):
            raise MemoryError
        with nogil:
            failed = cq_insert_joined(
                &self.series, characters, &ends[0], ends.shape[0], &namespaces[0], &given[0]
            )
        if failed == -2:
            raise MemoryError
        if failed >= 0:
            _check_length(names[failed])
            raise ValueError(f"{names[failed]!r} does not lie in the namespace at {namespaces[failed]}")
        return rows

    def remove(self, bytes name not None):
        """Take a name out and give the row that it had, which may be given again; KeyError if it is not in."""
        cdef int64_t row = self.row_of(name)
        if row < 0:
            raise KeyError(name)
        if cq_remove_series(&self.series, _hash(self.series.names, name), row):
            raise MemoryError
        return row

    cdef int check(self, int64_t row) except -1:
        if not 0 <= row < self.series.size or cq_record_at(&self.series, row).namespace_row == 0xFFFFFFFF:
            raise KeyError(row)
        return 0

    cdef bytes name_at(self, int64_t row):
        self.check(row)
        cdef cq_record* record = cq_record_at(&self.series, row)
        cdef cq_space* space = cq_space_at(self.series.names, record.namespace_row)
        cdef bytes name = PyBytes_FromStringAndSize(NULL, cq_length(space, record))
        cq_write(space, record, <unsigned char*>PyBytes_AS_STRING(name))
        return name

    def names_at(self, int64_t[::1] rows not None):
        """The names of series by their rows, in that order; every row must be in use."""
        cdef Py_ssize_t at
        return [self.name_at(rows[at]) for at in range(rows.shape[0])]

    def copy(self):
        """A copy of all names and rows; made in a moment, as a caller with a lock wants it."""
        return TableCopy(self)

    def rows(self):
        """The rows in use, int64, in ascending order."""
        rows = np.empty(self.series.slots.live, np.int64)
        cdef int64_t[::1] given = rows
        cdef int64_t row, at = 0
        for row in range(self.series.size):
            if cq_record_at(&self.series, row).namespace_row != 0xFFFFFFFF:
                given[at] = row
                at += 1
        return rows

    def read(self, bytes buffer not None):
        """The lines of a buffer, with the series of those that are known; needs no lock."""
        cdef Lines lines = Lines.__new__(Lines)
        cdef int failed
        lines.buffer = buffer
        lines.batch.text = _characters(buffer)
        lines.batch.length = PyBytes_GET_SIZE(buffer)
        with nogil:
            failed = self.take_apart(lines)
        if failed:
            raise MemoryError
        return lines

    cdef int take_apart(self, Lines lines) noexcept nogil:
        cdef uint64_t epoch = cq_enter(&self.series.names.epochs)
        lines.generation = cq_generation(&self.series)
        cdef int failed = cq_read(&self.series, &lines.batch)
        cq_leave(&self.series.names.epochs, epoch)
        return failed

    def renew(self, Lines lines not None):
        """Look again for the series of lines if some were removed since."""
        if lines.generation != self.series.generation:
            lines.generation = self.series.generation
            with nogil:
                cq_find_again(&self.series, &lines.batch)


@cython.no_gc_clear  # as above: its epoch must be left whatever happens
cdef class TableCopy:
    """All names and rows of a table at one moment. To be used without any lock.

    It has the records of the series and the addresses of the namespaces' names. As long as it is there it counts as a
    reader, so that none of what these lead to is let go of.
    """

    cdef SeriesTable table
    cdef cq_copy copied
    cdef uint64_t epoch
    cdef readonly object rows

    def __cinit__(self, SeriesTable table not None):
        self.table = table
        self.epoch = cq_enter(&table.series.names.epochs)
        if cq_copy_series(&table.series, &self.copied):
            raise MemoryError
        self.rows = table.rows()

    def __dealloc__(self):
        cq_free_copy(&self.copied)
        if self.table is not None:
            cq_leave(&self.table.series.names.epochs, self.epoch)

    def names(self):
        """The names, pairwise with `rows`."""
        cdef int64_t size
        with nogil:
            size = cq_joined_size(&self.copied)
        cdef bytes text = PyBytes_FromStringAndSize(NULL, size)
        cdef unsigned char* place = <unsigned char*>PyBytes_AS_STRING(text)
        with nogil:
            cq_join(&self.copied, place)
        return JoinedNames(text)


def survey(names):
    """What is to be known of `JoinedNames` before they are put into a table: a `Survey`."""
    cdef bytes text = names.text
    cdef int64_t[::1] ends = names.ends
    cdef int64_t count = ends.shape[0], at, start = 0, length, dot, path, number
    cdef const unsigned char* characters = _characters(text)
    cdef const unsigned char* name
    cdef NameTable namespaces = NameTable()
    cdef cq_names* found = &namespaces.names
    cdef uint64_t hash
    cdef bint twice = False
    cdef cq_seen_names seen
    groups = np.empty(count, np.int64)
    cdef int64_t[::1] given = groups
    doubtful = []
    paths = []
    memset(&seen, 0, sizeof(seen))
    if cq_make_seen(&seen, found, count):
        raise MemoryError
    try:
        for at in range(count):
            length = ends[at] - start
            name = characters + start
            if not cq_is_plain_name(name, length, &dot):
                doubtful.append(at)
                dot = cq_last_dot(name, length)
            path = max(dot, 0)
            if path > CQ_LONGEST_NAME:
                path = 0  # such a name is refused, wherever it lies
            hash = cq_hash(found.keys, name, path, name + length)
            number = cq_find_name(found, hash, name, path)
            if number < 0:
                number = len(paths)
                paths.append(PyBytes_FromStringAndSize(<const char*>name, path))
                if cq_insert_name(found, hash, name, path, number):
                    raise MemoryError
            given[at] = number
            twice = twice or cq_is_seen(&seen, characters, &ends[0], at)
            start = ends[at] + 1
    finally:
        cq_free_seen(&seen)
    return Survey(doubtful, twice, paths, groups)


cdef class Lines:
    """A buffer taken apart, and what was decided on each of its lines. Positions count lines from 0."""

    cdef readonly bytes buffer
    cdef cq_batch batch
    cdef cq_outcome outcome
    cdef uint64_t generation
    cdef bint decided

    def __dealloc__(self):
        free(self.batch.lines)

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

    def new_names(self):
        """The names of unknown metrics that are in normal form beyond doubt, in order, as text."""
        cdef int64_t at, dot
        cdef cq_line* line
        names = []
        for at in range(self.batch.count):
            line = &self.batch.lines[at]
            if line.row == CQ_UNKNOWN and cq_is_plain_name(self.batch.text + line.start, line.name_length, &dot):
                line.size = 0
                names.append(PyUnicode_DecodeASCII(<const char*>self.batch.text + line.start, line.name_length, NULL))
        return names

    def put_sizes(self, list numbers not None):
        """Note the number of each of `new_names`' sizes in the table of sizes that `decide` gets, or -1."""
        cdef int64_t at
        cdef Py_ssize_t place = 0
        for at in range(self.batch.count):
            if self.batch.lines[at].size >= 0 and place < len(numbers):
                self.batch.lines[at].size = numbers[place]
                place += 1

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
        line.quota = quota
        line.control = control
        if quota == 0:
            self.outcome.accepted += 1
        else:
            self.outcome.dropped += 1

    def created_at(self):
        """The positions of lines that brought their metrics into the table, their rows, and the numbers of their sizes."""
        cdef int64_t at, place = 0
        columns = np.empty((3, self.outcome.created), np.int64)
        cdef int64_t[:, ::1] given = columns
        for at in range(self.batch.count):
            if self.batch.lines[at].control == CQ_CREATED:
                given[0, place] = at
                given[1, place] = self.batch.lines[at].row
                given[2, place] = self.batch.lines[at].size
                place += 1
        return columns

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


cdef class Ledger:
    """Decides over columns that others own. To be used under the owner's lock."""

    cdef cq_ledger ledger
    cdef SeriesTable table
    cdef object kept
    cdef Lock lock
    cdef object clock
    cdef bint clock_is_system
    cdef double quiet_from
    cdef double quiet_until

    def __cinit__(self, SeriesTable table not None, *, controls, order):
        """Decide on the series of `table`.

        `controls` has the number of each control by its name, `order` the names of the stocks as they are asked.
        """
        cdef int at = 0
        self.table = table
        self.ledger.series = &table.series
        self.ledger.namespaces = controls["namespaces"]
        self.ledger.metrics = controls["metrics"]
        self.ledger.logical_size = controls["logical_size"]
        self.ledger.physical_size = controls["physical_size"]
        self.ledger.data_points = controls["data_points"]
        self.ledger.throughput = controls["throughput"]
        self.ledger.creates = controls["creates"]
        if len(order) != CQ_STOCKS:
            raise ValueError(f"there are {CQ_STOCKS} stocks, not {len(order)}")
        for name in order:
            self.ledger.order[at] = controls[name]
            at += 1

    def bind(self, *, columns, used, dropped, flows, stocks, limits, size_number, seen, some_forbid_all):
        """Decide over these arrays from now on; to be called whenever one was replaced.

        `columns` has int64 columns by name: of namespaces `quota_of` and `parent`, of quotas the others. `used` and
        `dropped` are int64 columns by control, `flows` and `stocks` chains of quotas (int32, shape (quotas, width)),
        `limits` int64 of shape (rules, controls), `size_number` int32 and `seen` uint32 or None, by series.
        """
        cdef int control
        # What is refused leaves all as it was.
        cdef cq_ledger bound = self.ledger
        if len(used) != CQ_STOCKS or len(dropped) != CQ_CONTROLS:
            raise ValueError(f"there must be columns of {CQ_STOCKS} stocks and {CQ_CONTROLS} controls")
        bound.quota_of = _longs(columns["quota_of"])
        bound.parent = _longs(columns["parent"])
        bound.held = _longs(columns["held"])
        bound.rule = _longs(columns["rule"])
        bound.left = _longs(columns["left"])
        bound.limit = _longs(columns["limit"])
        bound.enforcing = _longs(columns["enforcing"])
        bound.throttle = _longs(columns["throttle"])
        for control in range(CQ_STOCKS):
            bound.used[control] = _longs(used[control])
        for control in range(CQ_CONTROLS):
            bound.dropped[control] = _longs(dropped[control])
        bound.flows = _chains(flows)
        bound.flow_width = flows.shape[1]
        bound.stocks = _chains(stocks)
        bound.stock_width = stocks.shape[1]
        cdef int64_t[:, ::1] amounts = limits
        if amounts.shape[1] != CQ_CONTROLS:
            raise ValueError(f"limits must have {CQ_CONTROLS} columns")
        bound.limits = &amounts[0, 0]
        cdef int32_t[::1] numbers = size_number
        bound.size_number = &numbers[0]
        bound.rows = numbers.shape[0]
        cdef uint32_t[::1] times = seen
        bound.seen = NULL if seen is None else &times[0]
        if seen is not None:
            bound.rows = min(bound.rows, times.shape[0])
        bound.some_forbid_all = some_forbid_all
        bound.era += 1
        self.ledger = bound
        self.kept = (columns, used, dropped, flows, stocks, limits, size_number, seen)

    cdef int check(self) except -1:
        if self.ledger.era == 0:
            raise ValueError("a ledger decides over columns that it is bound to")
        return 0

    def keep_time(self, uint32_t now):
        """Have what is decided from here on be seen at `now`."""
        self.ledger.now = now

    def offer(self, metric, int64_t points):
        """Decide on points of a metric: the quota that rejects them, 0 where none does, UNKNOWN where it is not found."""
        self.check()
        return self.take(metric, points)

    cdef int32_t take(self, metric, int64_t points) except? CQ_UNKNOWN:
        cdef const unsigned char* name
        cdef Py_ssize_t length
        if type(metric) is str:
            try:
                name = <const unsigned char*>PyUnicode_AsUTF8AndSize(metric, &length)
            except UnicodeError:
                return CQ_UNKNOWN
        elif isinstance(metric, bytes):
            name = _characters(metric)
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

    def attend(self, Lock lock not None, clock, bint is_system):
        """Take this lock, and the time from this clock, in what ends in `_now`; `is_system` is it if `time.time` is."""
        self.lock = lock
        self.clock = clock
        self.clock_is_system = is_system

    def keep_quiet(self, double start, double end):
        """Have what ends in `_now` decide by itself from `start` until just before `end`."""
        self.quiet_from = start
        self.quiet_until = end

    def offer_now(self, metric, int64_t points):
        """`offer` under the lock; what is not 0 leaves the lock with the caller, who is to go on.

        UNKNOWN where the metric is not found, or the time is out of the quiet stretch.
        """
        cdef int32_t quota = CQ_UNKNOWN
        cdef double now
        self.check()
        self.lock.acquire()
        try:
            now = self.clock()
            if self.quiet_from <= now < self.quiet_until:
                quota = self.take(metric, points)
        except:
            self.lock.release()
            raise
        if quota == 0:
            self.lock.release()
        return quota

    def admit_now(self, bytes buffer not None):
        """The lines of a buffer, decided if that takes no Python. If they are not settled, the caller has the lock then.

        It takes some where a line's metric is not known or only `parse` can read it, where the clock is not the system's,
        or the time is out of the quiet stretch; then no line is decided yet.
        """
        cdef Lines lines = Lines.__new__(Lines)
        cdef int failed
        self.check()
        lines.buffer = buffer
        lines.batch.text = _characters(buffer)
        lines.batch.length = PyBytes_GET_SIZE(buffer)
        with nogil:
            failed = self.table.take_apart(lines)
            if not failed:
                cq_wait_for_lock(&self.lock.lock)
                if self.table.series.generation != lines.generation:
                    lines.generation = self.table.series.generation
                    cq_find_again(&self.table.series, &lines.batch)
                if lines.batch.unknown + lines.batch.doubts == 0 and self.is_quiet():
                    lines.decided = cq_decide(&self.ledger, &lines.batch, 0, NULL, &lines.outcome) == lines.batch.count
                    if lines.outcome.dropped == 0:
                        cq_unlock(&self.lock.lock)
        if failed:
            raise MemoryError
        return lines

    cdef bint is_quiet(self) noexcept nogil:
        cdef double now
        if not self.clock_is_system:
            return False
        now = cq_system_time()
        return self.quiet_from <= now < self.quiet_until

    def missing(self, Lines lines not None, int64_t[:, ::1] sizes not None):
        """The namespaces, as text, that are missing for new metrics which what is there would not reject as it stands.

        Left out are those that could be called in stats as another is. `sizes` is as `decide` takes it.
        """
        cdef int64_t at, length
        cdef cq_line* line
        cdef cq_size* table
        self.check()
        table = _sizes(sizes)
        names = []
        try:
            for at in range(lines.batch.count):
                line = &lines.batch.lines[at]
                length = cq_missing(&self.ledger, lines.batch.text, line, table) if line.row == CQ_UNKNOWN else 0
                if length > 0:
                    names.append(PyUnicode_DecodeASCII(<const char*>lines.batch.text + line.start, length, NULL))
        finally:
            free(table)
        return names

    def reserve(self, int64_t more):
        """Make sure that `decide` can put so many series into the table."""
        if cq_reserve_series(self.ledger.series, more):
            raise MemoryError

    def decide(self, Lines lines not None, int64_t start, int64_t[:, ::1] sizes not None, int64_t creates_left):
        """Decide on the lines from `start` on; the position of the first that is left to the caller, or their number.

        `sizes` has rows of logical size, physical size, data points and the size's number; `reserve` must have been
        called for as many series as lines are unknown. Columns by series must reach as far, too.
        """
        cdef cq_size* table
        self.check()
        if start < 0:
            raise ValueError("lines begin at 0")
        table = _sizes(sizes)
        lines.outcome.creates_left = creates_left
        with nogil:
            start = cq_decide(&self.ledger, &lines.batch, start, table, &lines.outcome)
        lines.decided = start == lines.batch.count
        free(table)
        return start


cdef cq_size* _sizes(int64_t[:, ::1] sizes) except NULL:
    if sizes.shape[1] != 4:
        raise ValueError("sizes have four columns")
    cdef cq_size* table = <cq_size*>calloc(sizes.shape[0] + 1, sizeof(cq_size))
    cdef Py_ssize_t at
    if table == NULL:
        raise MemoryError
    for at in range(sizes.shape[0]):
        table[at].logical = sizes[at, 0]
        table[at].physical = sizes[at, 1]
        table[at].data_points = sizes[at, 2]
        table[at].number = <int32_t>sizes[at, 3]
    return table


cdef int64_t* _longs(int64_t[::1] column) except NULL:
    return &column[0]


cdef int32_t* _chains(int32_t[:, ::1] matrix) except NULL:
    return &matrix[0, 0]
