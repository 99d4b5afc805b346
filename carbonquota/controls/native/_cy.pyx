# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""The compiled decision: what Python sees of `_ledger.h`, which holds the work.

It is an extension beside the kernel's, whose headers it inlines and whose tables and lines it works on. The kernel knows
nothing of it.
"""

cimport cython
import numpy as np

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8

from carbonquota.kernel._c cimport *
from carbonquota.kernel._cy cimport FlatMatcher, Lines, Lock, NameTable, SeriesTable
from carbonquota.controls.native._c cimport *

include "_batch.pxi"
include "_decide.pxi"
