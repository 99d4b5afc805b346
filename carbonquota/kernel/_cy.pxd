"""The compiled kernel's classes, as other extensions may use them."""

from libc.stdint cimport int64_t, uint64_t

from carbonquota.kernel._c cimport *


cdef class Lock:
    cdef cq_lock lock
    cdef bint made
    cpdef acquire(self)
    cpdef release(self)


cdef class NameTable:
    cdef cq_names names
    cdef cq_keys* keys
    cdef NameTable like
    cdef bint taken
    cdef int64_t called(self, int64_t row, const unsigned char** name) noexcept


cdef class SeriesTable:
    cdef cq_series series
    cdef readonly NameTable namespaces
    cdef int64_t row_of(self, bytes name) noexcept
    cdef int64_t put(self, bytes name, int64_t namespace) except -1
    cdef int check(self, int64_t row) except -1
    cdef bytes name_at(self, int64_t row)
    cdef Lines looked_up(self, Lines lines)
    cdef int take_apart(self, Lines lines) noexcept nogil


cdef class Lines:
    cdef readonly bytes buffer
    cdef readonly bint are_names
    cdef cq_batch batch
    cdef uint64_t generation
    cdef cq_line* at(self, int64_t position) except NULL
    cpdef normal_name(self, int64_t position)


cdef class FlatMatcher:
    cdef cq_matcher tables
    cdef readonly object of
    cdef object beyond
    cdef int put_keys(self, int64_t[:, ::1] keys) except -1
    cdef cq_found find(self, int64_t state, const unsigned char* name, int64_t length) except *
    cdef bint learn(self, int64_t state, const unsigned char* name, int64_t length) except -1
    cdef bint learn_state(self, int64_t state) except -1
