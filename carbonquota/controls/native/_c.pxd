"""What the compiled decision uses of its own C header; that of the kernel stands there."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from carbonquota.kernel._c cimport cq_batch, cq_matcher, cq_names, cq_series

cdef extern from "_ledger.h" nogil:
    enum: CQ_CONTROLS, CQ_CAPACITIES, CQ_CREATED, CQ_TOLD, CQ_LONGEST_PREFIX, CQ_SIZES_DIFFER, CQ_MOST_KEPT
    ctypedef struct cq_size:
        int64_t* amounts
        int32_t number
    ctypedef int32_t (*cq_ask_size)(void* owner, int64_t at, int64_t namespace_row) noexcept
    ctypedef struct cq_fate:
        int32_t quota
        int32_t control
        int32_t size
    ctypedef struct cq_deciding:
        cq_batch* lines
        cq_fate* fates
        const int64_t* points
        cq_ask_size ask
        void* owner
        int64_t rejected
        int64_t accepted
        int64_t dropped
        int64_t malformed
        int64_t created
        int64_t creates_remaining
    ctypedef struct cq_rows:
        int64_t* meter
        int64_t* free
        int64_t capacity
    ctypedef struct cq_absent:
        cq_names* names
        int64_t* throttle
        int64_t** dropped
        int64_t most
    ctypedef struct cq_wanted_step:
        int64_t state
        const unsigned char* part
        int64_t length
    ctypedef struct cq_ledger:
        cq_series* series
        int64_t sure_length
        unsigned char* doubtful_prefix
        int32_t prefix_length
        int32_t* quota_of
        int32_t* parent
        int64_t** used
        int32_t* held
        int32_t* rule
        int64_t* remaining
        int64_t* limit
        int64_t* throttle
        int64_t** dropped
        int32_t* rates
        int64_t rate_width
        int64_t* checks
        cq_size* sizes
        uint64_t* remembered
        bint sizes_by_namespace, sizes_are_bounded
        cq_size least, most
        int64_t rows
        int32_t* size_number
        uint32_t* seen
        uint32_t now
        uint32_t revision
        int32_t namespaces, metrics, throughput, creates
        int32_t some_reject_alone
        int32_t* state
        int32_t* child_count
        int32_t* named
        int64_t* lag
        int64_t* rule_enforcing
        int64_t* rule_metered
        int64_t* rule_throughput
        cq_rows namespace_rows
        cq_rows quota_rows
        cq_matcher* matcher
        cq_absent absent
        cq_wanted_step wanted

    void cq_forget_remembered(cq_ledger* ledger)
    int64_t cq_decide(cq_ledger* ledger, cq_deciding* deciding, int64_t start)
    int32_t cq_take_known(cq_ledger* ledger, int64_t row, int64_t namespace_row, int64_t points)
    int64_t cq_points_of(const cq_deciding* deciding, int64_t at)
    void cq_add(int64_t* total, int64_t more)
    void cq_reject(cq_deciding* deciding, int64_t at, int32_t quota, int32_t control)
