# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""The compiled kernel: what Python sees of its C headers, which hold the work.

Each class here owns C memory and frees it, turns C's answers into Python's, and lets go of the interpreter while C
works. What is called under the caller's lock says so; `SeriesTable.read` alone may run beside anything.
"""

import os

cimport cython
import numpy as np

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_1BYTE_DATA, PyUnicode_DecodeASCII, PyUnicode_DecodeUTF8, PyUnicode_New

from carbonquota.kernel._columns import PointColumns, point_of
from carbonquota.kernel._joined import JoinedNames, Survey
from carbonquota.kernel._lines import encoded_name
from carbonquota.kernel._c cimport *

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


def normal_form(bytes name not None):
    """The normal form of a metric's name, or None where it is an error or only `metric_name.normalize` can tell."""
    cdef bytes normal = PyBytes_FromStringAndSize(NULL, PyBytes_GET_SIZE(name))
    cdef unsigned char* to = <unsigned char*>PyBytes_AS_STRING(normal)
    cdef int other_file
    cdef int64_t length = cq_single_dots(_characters(name), PyBytes_GET_SIZE(name), to)
    if length < 0:
        length = cq_normalize(_characters(name), PyBytes_GET_SIZE(name), to, &other_file)
    return normal[:length] if length >= 0 else None


def is_plain(bytes name not None):
    """Whether a name is proven to be in normal form at a glance."""
    cdef int64_t dot
    return cq_is_plain_name(_characters(name), PyBytes_GET_SIZE(name), &dot) != 0


cdef class Lock:
    """A lock for what takes microseconds: who has to wait looks again and again for a while before it sleeps."""

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


include "_tables.pxi"
include "_lines.pxi"
include "_matching.pxi"
