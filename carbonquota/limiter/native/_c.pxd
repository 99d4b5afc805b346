"""What the compiled counters use of their C headers."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from "Python.h":
    ctypedef struct PyObject:
        pass
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1
    bint PyUnicode_IS_ASCII(object text)
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef extern from "_answers.h":
    void cl_count_one(int64_t* number) nogil
    object cl_new_tuple(object kind, Py_ssize_t count)

cdef extern from "_lock.h" nogil:
    ctypedef struct cq_lock:
        pass
    int cq_make_lock(cq_lock* lock)
    void cq_free_lock(cq_lock* lock)
    void cq_wait_for_lock(cq_lock* lock)
    void cq_unlock(cq_lock* lock)
    double cq_system_time()

cdef extern from "_table.h" nogil:
    enum: CL_POLICY, CL_USED, CL_LIMITED, CL_PINNED, CL_MOST_POLICIES
    int64_t CL_MOST_HITS
    ctypedef struct cl_digest:
        uint64_t low, high
    ctypedef struct cl_policy:
        int64_t capacity, per_hit, rate, algorithm
    ctypedef union cl_state:
        pass
    ctypedef struct cl_outcome:
        int64_t fits, remaining, reset, retry
    ctypedef struct cl_record:
        uint32_t meta
        cl_state state
    ctypedef struct cl_table:
        cl_policy* policies
        int64_t most, count, policy_count, evicted, evicted_limited
        uint64_t secret[2]
    cl_digest cl_hash(const uint64_t* secret, const unsigned char* text, int64_t length)
    int cl_make_table(cl_table* table, int64_t most)
    void cl_free_table(cl_table* table)
    size_t cl_record_bytes(const cl_table* table)
    size_t cl_slot_bytes(const cl_table* table)
    int64_t cl_add_policy(cl_table* table, const cl_policy* policy)
    cl_record* cl_find(const cl_table* table, cl_digest digest)
    cl_record* cl_record_of(cl_table* table, cl_digest digest, int64_t now)
    const cl_policy* cl_before(const cl_table* table, const cl_record* record, const cl_policy* policy)
    cl_outcome cl_decide(cl_table* table, cl_record* record, int64_t number, int64_t now, int64_t hits, int forced)
    cl_outcome cl_check(cl_table* table, cl_digest digest, int64_t number, int64_t now, int64_t hits)
    int cl_passes(cl_table* table, cl_digest digest, int64_t number, int64_t now, int64_t hits)
    void cl_penalize(
        const cl_policy* policy, const cl_policy* before, cl_state* state, int64_t now, int64_t hits
    )
    void cl_prefetch_slot(const cl_table* table, cl_digest digest)
    void cl_prefetch_record(const cl_table* table, cl_digest digest)
