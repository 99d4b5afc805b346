/* Series: a table from a metric's name to its row, which is read while it is written.
 *
 * Theory of operation. A row leads to a *record*: the namespace's row and the leaf, the rest of the name. So a record
 * fills half a cache line, and no name is kept twice.
 *
 * One thread writes at a time, its caller sees to that; any number read meanwhile, without a lock. A reader may find a
 * series that is being removed, or miss one that is being inserted. `generation` tells the first, so that the answer
 * can be asked for again; the caller sees to the second by asking again for what was not found.
 *
 * Nothing here knows Python. A function that needs memory and gets none returns -1 or NULL and changes nothing.
 */
#ifndef CARBONQUOTA_SERIES_H
#define CARBONQUOTA_SERIES_H

#include "_names.h"

#define CQ_INLINE 27
#define CQ_NO_NAMESPACE UINT32_C(0xFFFFFFFF)

typedef struct {
    uint32_t namespace_row; /* CQ_NO_NAMESPACE where the row is not in use */
    uint8_t length;
    unsigned char leaf[CQ_INLINE]; /* where it is elsewhere, a cq_text pointer from the fourth byte on */
} cq_record;

typedef struct {
    cq_names *names;
    cq_slots slots;
    cq_column records;
    int64_t size; /* one more than the highest row ever given */
    uint64_t generation; /* grows with each removal */
    uint64_t inserted;   /* grows with each that comes, and where slots have moved */
} cq_series;

/* To be asked before the slots are: what is found after it was removed no later than this tells. */
static inline uint64_t cq_generation(const cq_series *series)
{
    return __atomic_load_n(&series->generation, __ATOMIC_ACQUIRE);
}

static inline cq_record *cq_record_at(const cq_series *series, int64_t row)
{
    return CQ_ENTRY(&series->records, cq_record, row);
}

/* The namespace of a series that may be removed meanwhile: read once, so that what is looked at is what is used. */
static inline uint32_t cq_namespace_of(const cq_record *record)
{
    return __atomic_load_n(&record->namespace_row, __ATOMIC_RELAXED);
}

static inline cq_text *cq_leaf_elsewhere(const cq_record *record)
{
    cq_text *text;
    memcpy(&text, record->leaf + 3, sizeof(text));
    return text;
}

static inline int64_t cq_leaf(const cq_record *record, const unsigned char **leaf)
{
    if (record->length != CQ_ELSEWHERE) {
        *leaf = record->leaf;
        return record->length;
    }
    const cq_text *text = cq_leaf_elsewhere(record);
    *leaf = text->bytes;
    return text->length;
}

static inline int cq_is_called(const cq_series *series, int64_t row, const unsigned char *name, int64_t length)
{
    const cq_record *record = cq_record_at(series, row);
    uint32_t namespace_row = cq_namespace_of(record);
    if (namespace_row == CQ_NO_NAMESPACE)
        return 0;
    const unsigned char *leaf, *above;
    int64_t leaf_length = cq_leaf(record, &leaf);
    int64_t before = cq_called(cq_space_at(series->names, namespace_row), &above);
    if (before <= 0)
        return before == 0 && leaf_length == length && cq_equal(leaf, name, length);
    int64_t rest = length - before - 1;
    return rest == leaf_length && cq_equal(leaf, name + before + 1, rest) && name[before] == '.' &&
           cq_equal(above, name, before);
}

static inline int64_t cq_find_series(const cq_series *series, uint64_t hash, const unsigned char *name, int64_t length)
{
    cq_search search;
    int64_t row = cq_first_candidate(cq_current(&series->slots), hash, &search);
    while (row >= 0 && !cq_is_called(series, row, name, length))
        row = cq_next_candidate(&search);
    return row;
}

/* Make room for `more` series; -1 where there is no memory. */
static inline int cq_reserve_series(cq_series *series, int64_t more)
{
    cq_epochs *epochs = &series->names->epochs;
    int64_t size = series->size + more;
    if (size > CQ_MOST_ROWS || cq_cover(&series->records, size / CQ_ROWS(cq_record) + 1) != 0)
        return -1;
    int reserved = cq_reserve(&series->slots, epochs, more);
    if (reserved > 0)
        __atomic_store_n(&series->inserted, series->inserted + 1, __ATOMIC_RELEASE);
    return reserved < 0 ? -1 : 0;
}

/* The row of a series that is put into a namespace, or -1. Its name is `name`, of which `leaf` is where the rest after
 * its namespace begins. To be called after `cq_reserve_series`. */
static inline int64_t cq_insert_series(
    cq_series *series, uint64_t hash, int64_t namespace_row, const unsigned char *leaf, int64_t length)
{
    cq_epochs *epochs = &series->names->epochs;
    cq_text *text = NULL;
    if (length > CQ_INLINE && (text = cq_new_text(leaf, length)) == NULL)
        return -1;
    cq_reclaim(epochs);
    int64_t row = epochs->row_count > 0 ? epochs->rows[--epochs->row_count] : series->size++;
    cq_record *record = cq_record_at(series, row);
    if (text != NULL) {
        record->length = CQ_ELSEWHERE;
        memcpy(record->leaf + 3, &text, sizeof(text));
    } else {
        record->length = (uint8_t)length;
        memcpy(record->leaf, leaf, (size_t)length);
    }
    record->namespace_row = (uint32_t)namespace_row;
    cq_insert(&series->slots, hash, row);
    __atomic_store_n(&series->inserted, series->inserted + 1, __ATOMIC_RELEASE);
    return row;
}

static inline void cq_make_series(cq_series *series, cq_names *names)
{
    memset(series, 0, sizeof(*series));
    series->names = names;
}

static inline void cq_free_series(cq_series *series)
{
    for (int64_t row = 0; row < series->size; row++) {
        const cq_record *record = cq_record_at(series, row);
        if (record->namespace_row != CQ_NO_NAMESPACE && record->length == CQ_ELSEWHERE)
            free(cq_leaf_elsewhere(record));
    }
    cq_free_column(&series->records);
    cq_free_slots(&series->slots);
}

/* How long the name of a series in this namespace is. */
static inline int64_t cq_length(const cq_space *space, const cq_record *record)
{
    const unsigned char *part;
    int64_t before = cq_called(space, &part);
    return before + (before > 0) + cq_leaf(record, &part);
}

/* Write its name to where there is room for it; its length. */
static inline int64_t cq_write(const cq_space *space, const cq_record *record, unsigned char *name)
{
    const unsigned char *leaf, *above;
    int64_t before = cq_called(space, &above), length = cq_leaf(record, &leaf);
    if (before > 0) {
        memcpy(name, above, (size_t)before);
        name[before++] = '.';
    }
    memcpy(name + before, leaf, (size_t)length);
    return before + length;
}

static inline int cq_remove_series(cq_series *series, uint64_t hash, int64_t row)
{
    cq_epochs *epochs = &series->names->epochs;
    if (cq_make_room(epochs, 2) != 0)
        return -1;
    cq_remove(&series->slots, hash, row);
    __atomic_add_fetch(&series->generation, 1, __ATOMIC_SEQ_CST);
    cq_record *record = cq_record_at(series, row);
    if (record->length == CQ_ELSEWHERE) {
        cq_text *text = cq_leaf_elsewhere(record);
        cq_retire(epochs, text, cq_text_size(text));
    }
    __atomic_store_n(&record->namespace_row, CQ_NO_NAMESPACE, __ATOMIC_RELEASE);
    cq_retire(epochs, NULL, (uint64_t)row);
    cq_reclaim(epochs);
    return 0;
}

#endif
