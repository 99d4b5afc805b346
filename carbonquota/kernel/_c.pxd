"""What the compiled kernel uses of its C headers."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    double PyOS_string_to_double(const char* text, char** end, void* overflow) except? -1.0

cdef extern from "_matcher.h" nogil:
    enum: CQ_NO_STEP, CQ_BEYOND, CQ_MOST_NODES
    ctypedef struct cq_node:
        pass
    ctypedef struct cq_key:
        int32_t node, kind, glob, child
        int64_t text, length
    ctypedef struct cq_found:
        int32_t state, rule
    ctypedef struct cq_set:
        cq_found found
    ctypedef struct cq_reached:
        int32_t count
        int32_t* nodes
    ctypedef struct cq_matcher:
        int32_t* programs
        int32_t* program_of
        cq_node* nodes
        int32_t* edges
        int32_t* lengths
        cq_key* keys
        uint64_t key_mask
        unsigned char* texts
        cq_set* steps
    int cq_grow_steps(cq_matcher* matcher)
    void cq_put_key(cq_matcher* matcher, const cq_key* key)
    int64_t cq_step(
        cq_matcher* matcher, int64_t state, const unsigned char* name, int64_t length, cq_reached* reached
    )
    int cq_learn_state(cq_matcher* matcher, int64_t state, const int32_t* nodes, int32_t count)
    int cq_learn_step(cq_matcher* matcher, const int32_t* nodes, int32_t count, cq_found found)
    void cq_free_matcher(cq_matcher* matcher)

cdef extern from "_bulk.h" nogil:
    enum: CQ_UNKNOWN, CQ_BLANK, CQ_NAME, CQ_DOUBT, CQ_LONGEST_NAME, CQ_GROUP
    ctypedef struct cq_keys:
        pass
    ctypedef struct cq_epochs:
        int64_t row_count
    ctypedef struct cq_slots:
        int64_t live
    ctypedef struct cq_space:
        unsigned short size
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
        unsigned char odd, plain
    ctypedef struct cq_times:
        int64_t earliest
        int64_t latest
        int hold
        int first_two
    ctypedef struct cq_batch:
        const unsigned char* text
        int64_t length
        cq_line* lines
        int64_t count
        int64_t room
        int64_t doubts
        int64_t unknown
        int64_t odd
        cq_times times
        unsigned char* spellings
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
    int cq_has_space(const cq_names* names, int64_t row)
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
    enum: CQ_AHEAD
    void cq_approach_names(
        cq_names* found, const cq_seen_names* seen, const unsigned char* text, const int64_t* ends, int64_t count,
        int64_t first
    )
    bint cq_is_seen(cq_seen_names* seen, const unsigned char* text, const int64_t* ends, int64_t at)
    int64_t cq_last_dot(const unsigned char* name, int64_t length)
    int64_t cq_length(const cq_space* space, const cq_record* record)
    int64_t cq_write(const cq_space* space, const cq_record* record, unsigned char* name)
    int64_t cq_single_dots(const unsigned char* name, int64_t length, unsigned char* to)
    int64_t cq_normalize(const unsigned char* name, int64_t length, unsigned char* to, int* other_file)
    int cq_is_plain_name(const unsigned char* name, int64_t length, int64_t* last_dot)
    int cq_read(const cq_series* series, cq_batch* batch)
    void cq_find_again(const cq_series* series, cq_batch* batch)
    int cq_read_names(const cq_series* series, cq_batch* batch)
    bint cq_whole_second(const char* text, int64_t* second)
    int64_t cq_size_without(const cq_batch* batch, const int64_t* places, int64_t count)
    void cq_write_without(const cq_batch* batch, const int64_t* places, int64_t count, unsigned char* to)
    const unsigned char* cq_name_of(const cq_batch* batch, const cq_line* line, int64_t* length)
    bint cq_is_normal(const cq_batch* batch, const cq_line* line)

cdef extern from "_lock.h" nogil:
    ctypedef struct cq_lock:
        pass
    int cq_make_lock(cq_lock* lock)
    void cq_free_lock(cq_lock* lock)
    int cq_try_lock(cq_lock* lock)
    void cq_wait_for_lock(cq_lock* lock)
    double cq_system_time()
    void cq_unlock(cq_lock* lock)
