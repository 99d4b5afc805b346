# A buffer taken apart.


cdef class Lines:
    """A buffer taken apart, and which series each line is of. Positions count lines from 0."""

    def __dealloc__(self):
        free(self.batch.lines)
        free(self.batch.spellings)

    @staticmethod
    def of(bytes buffer not None):
        """The lines of a buffer, of which nothing is known yet."""
        cdef Lines lines = Lines.__new__(Lines)
        lines.buffer = buffer
        lines.batch.text = _characters(buffer)
        lines.batch.length = PyBytes_GET_SIZE(buffer)
        return lines

    @staticmethod
    def of_names(list names not None):
        """Names, text or bytes, as lines that have nothing else; what is neither, or no UTF-8, is malformed."""
        cdef Lines lines = Lines.__new__(Lines)
        cdef const unsigned char* name
        cdef Py_ssize_t count, at, length, size = 0
        # Nobody can change our own list.
        names = names[:]
        count = len(names)
        lines.are_names = True
        lines.batch.lines = <cq_line*>calloc(count + 1, sizeof(cq_line))
        if lines.batch.lines == NULL:
            raise MemoryError
        lines.batch.count = lines.batch.room = count
        for at in range(count):
            lines.batch.lines[at].start = size
            lines.batch.lines[at].row = CQ_UNKNOWN
            if not _read_name(names[at], &name, &length):
                encoded = encoded_name(names[at])
                if encoded is None:
                    lines.batch.lines[at].row = CQ_NAME
                    encoded = str(names[at]).encode("utf-8", "backslashreplace")
                names[at] = encoded
                length = len(encoded)
            size += length
        lines.batch.lines[count].start = lines.batch.length = size
        lines.buffer = PyBytes_FromStringAndSize(NULL, size)
        lines.batch.text = _characters(lines.buffer)
        for at in range(count):
            _read_name(names[at], &name, &length)
            memcpy(<unsigned char*>lines.batch.text + lines.batch.lines[at].start, name, length)
        return lines

    def __len__(self):
        """The number of lines, blank and malformed ones included."""
        return self.batch.count

    @property
    def unknown(self):
        """How many lines are of metrics that were not found."""
        return self.batch.unknown

    @property
    def doubts(self):
        """How many lines only `parse` could tell about when they were read."""
        return self.batch.doubts

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

    cpdef normal_name(self, int64_t position):
        """The same in normal form, as text; None where only `normalize` can tell, which raises if there is none."""
        cdef cq_line* line = self.at(position)
        cdef int64_t length
        cdef const unsigned char* name
        if not cq_is_normal(&self.batch, line):
            return None
        name = cq_name_of(&self.batch, line, &length)
        if not line.plain:
            return PyUnicode_DecodeUTF8(<const char*>name, length, NULL)
        text = PyUnicode_New(length, 127)
        memcpy(PyUnicode_1BYTE_DATA(text), name, length)
        return text

    def put_row(self, int64_t position, int64_t row):
        """Note what stands for a row where a line is no data point: BLANK, or why it is malformed."""
        if not CQ_DOUBT < row < CQ_UNKNOWN:
            raise ValueError(f"{row} does not say why a line is no data point")
        self.at(position).row = row

    def malformed_at(self):
        """The positions of malformed lines, in order, by why they are."""
        cdef int64_t at
        positions = {}
        for at in range(self.batch.count):
            if CQ_DOUBT < self.batch.lines[at].row < CQ_BLANK:
                positions.setdefault(self.batch.lines[at].row, []).append(at)
        return positions

    def without(self, int64_t[::1] positions not None):
        """The buffer without the lines at these positions, in ascending order; itself where there are none."""
        cdef int64_t count = positions.shape[0], size, at
        if count == 0:
            return self.buffer
        for at in range(count):
            self.at(positions[at])
            if at > 0 and positions[at] <= positions[at - 1]:
                raise ValueError("the positions of lines to leave out must ascend")
        size = cq_size_without(&self.batch, &positions[0], count)
        cdef bytes kept = PyBytes_FromStringAndSize(NULL, size)
        cq_write_without(&self.batch, &positions[0], count, <unsigned char*>PyBytes_AS_STRING(kept))
        return kept

    def columns(self, int64_t[::1] positions not None):
        """The points of all lines but those at these positions, among which all malformed ones must be."""
        cdef int64_t at, next_gone = 0, second
        cdef double value
        cdef cq_line* line
        cdef list names = [], timestamps = [], values = []
        for at in range(self.batch.count):
            line = &self.batch.lines[at]
            if next_gone < positions.shape[0] and positions[next_gone] == at:
                next_gone += 1
            elif _read_numbers(&self.batch, line, &value, &second):
                names.append(PyBytes_FromStringAndSize(<const char*>self.batch.text + line.start, line.name_length))
                timestamps.append(second)
                values.append(value)
            elif line.row != CQ_BLANK:
                name, timestamp, number = point_of(self.line(at))
                names.append(name)
                timestamps.append(timestamp)
                values.append(number)
        return PointColumns(names, timestamps, values)

    def odd_at(self):
        """The positions of those that may have to go on otherwise than they came."""
        cdef int64_t at
        if self.batch.odd == 0:
            return []
        return [at for at in range(self.batch.count) if self.batch.lines[at].odd]

    def odd_places(self, int64_t[::1] positions not None):
        """Where in what `without` gives the lines begin and end that may have to go on otherwise than they came."""
        cdef int64_t at, place = 0, size, next_gone = 0
        cdef cq_line* line
        places = []
        if self.batch.odd == 0:
            return places
        for at in range(self.batch.count):
            line = &self.batch.lines[at]
            if next_gone < positions.shape[0] and positions[next_gone] == at:
                next_gone += 1
                continue
            size = line[1].start - line.start
            if line.odd and line.row != CQ_BLANK:
                places.append((place, place + size))
            place += size
        return places


cdef bint _read_numbers(const cq_batch* batch, const cq_line* line, double* value, int64_t* second) except -1:
    # Reads both numbers of a line with single spaces between its fields; false where that takes `point_of`.
    cdef const char* at = <const char*>batch.text + line.start + line.name_length + 1
    cdef char* end
    if line.odd or line.row < CQ_UNKNOWN or line.name_length > CQ_LONGEST_NAME:
        return False
    value[0] = PyOS_string_to_double(at, &end, NULL)
    if end[0] != b' ' or not cq_whole_second(end + 1, second):
        return False
    return True


cdef bint _read_name(object name, const unsigned char** characters, Py_ssize_t* length):
    # Gives the UTF-8 of a text, which stays with it, or bytes; whether there is such.
    if type(name) is bytes:
        characters[0] = _characters(name)
        length[0] = PyBytes_GET_SIZE(name)
        return True
    if type(name) is not str:
        return False
    try:
        characters[0] = <const unsigned char*>PyUnicode_AsUTF8AndSize(name, length)
    except UnicodeError:
        return False
    return True
