# The tables of names, and what a snapshot takes from them and brings to them.


cdef class NameTable:
    """The names of namespaces, each with the row that the caller gives it. To be used under the caller's lock.

    With `like`, names have the hashes that they have in that table.
    """

    def __cinit__(self, NameTable like=None):
        cdef bytes random
        self.like = like
        if like is None:
            random = os.urandom(sizeof(cq_keys))
            self.keys = <cq_keys*>calloc(1, sizeof(cq_keys))
            if self.keys == NULL:
                raise MemoryError
            memcpy(self.keys, _characters(random), sizeof(cq_keys))
        cq_make_names(&self.names, self.keys if like is None else like.names.keys)
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
        return cq_called(cq_space_at(&self.names, row), name) if cq_has_space(&self.names, row) else -1


@cython.no_gc_clear  # what `__dealloc__` needs must be there to the end, in garbage that holds itself, too
cdef class SeriesTable:
    """The names of all series, each with a row number that callers key their own columns by.

    All but `read` is to be called under the caller's lock.
    """

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
        """The row for a name that is not in the table yet; `namespace` is the row of what is before its last dot."""
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
        cdef uint64_t hash = _hash(self.series.names, name)
        cdef int64_t row = cq_insert_series(&self.series, hash, namespace, text + leaf, length - leaf)
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
        return self.looked_up(Lines.of(buffer))

    def read_names(self, list names not None):
        """The same for names, text or bytes, one a line: `Lines.of_names`."""
        return self.looked_up(Lines.of_names(names))

    cdef Lines looked_up(self, Lines lines):
        cdef int failed
        with nogil:
            failed = self.take_apart(lines)
        if failed:
            raise MemoryError
        return lines

    cdef int take_apart(self, Lines lines) noexcept nogil:
        cdef uint64_t epoch = cq_enter(&self.series.names.epochs)
        cdef int failed
        lines.generation = cq_generation(&self.series)
        if lines.are_names:
            failed = cq_read_names(&self.series, &lines.batch)
        else:
            failed = cq_read(&self.series, &lines.batch)
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
            if at % CQ_AHEAD == 0:
                cq_approach_names(found, &seen, characters, &ends[0], count, at)
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
