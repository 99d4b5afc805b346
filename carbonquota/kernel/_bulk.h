/* Many names at once: a whole table copied for a snapshot, and a whole snapshot put into a table.
 *
 * Names come and go as one text, each ended by a line feed, with the places of these.
 */
#ifndef CARBONQUOTA_BULK_H
#define CARBONQUOTA_BULK_H

#include "_lines.h"

/* --- out of a table ---------------------------------------------------------------------------------------------- */

typedef struct {
    cq_record *records;
    cq_space *spaces;
    int64_t size, names;
} cq_copy;

static inline void cq_free_copy(cq_copy *copied)
{
    if (copied->records != NULL)
        cq_release(copied->records, sizeof(cq_record) * (size_t)(copied->size + 1));
    if (copied->spaces != NULL)
        cq_release(copied->spaces, sizeof(cq_space) * (size_t)(copied->names + 1));
    memset(copied, 0, sizeof(*copied));
}

/* Copy `size` bytes of a column. */
static inline void cq_copy_column(const cq_column *column, size_t size, char *to)
{
    for (int64_t piece = 0; size > 0; piece++) {
        size_t part = size < CQ_PIECE_SIZE ? size : CQ_PIECE_SIZE;
        memcpy(to, column->pieces[piece], part);
        to += part;
        size -= part;
    }
}

/* Copy what the names are made of; -1 where there is no memory. */
static inline int cq_copy_series(const cq_series *series, cq_copy *copied)
{
    copied->size = series->size;
    copied->names = series->names->size;
    copied->records = cq_allocate(sizeof(cq_record) * (size_t)(copied->size + 1));
    copied->spaces = cq_allocate(sizeof(cq_space) * (size_t)(copied->names + 1));
    if (copied->records == NULL || copied->spaces == NULL) {
        cq_free_copy(copied);
        return -1;
    }
    cq_copy_column(&series->records, sizeof(cq_record) * (size_t)copied->size, (char *)copied->records);
    cq_copy_column(&series->names->spaces, sizeof(cq_space) * (size_t)copied->names, (char *)copied->spaces);
    return 0;
}

static inline int64_t cq_joined_size(const cq_copy *copied)
{
    int64_t size = 0;
    for (const cq_record *record = copied->records; record < copied->records + copied->size; record++) {
        if (record->namespace_row == CQ_NO_NAMESPACE)
            continue;
        size += cq_length(&copied->spaces[record->namespace_row], record) + 1;
    }
    return size;
}

/* Write all names, in the order of their rows, to where there is room for them. */
static inline void cq_join(const cq_copy *copied, unsigned char *text)
{
    for (const cq_record *record = copied->records; record < copied->records + copied->size; record++) {
        if (record->namespace_row == CQ_NO_NAMESPACE)
            continue;
        text += cq_write(&copied->spaces[record->namespace_row], record, text);
        *text++ = '\n';
    }
}

/* --- into a table ------------------------------------------------------------------------------------------------ */

#define CQ_AHEAD 32 /* names whose memory is fetched together */

/* Bring what putting the next names into a table will touch near. */
static inline void cq_approach_inserts(const cq_series *series, const unsigned char *text, const int64_t *ends,
                                       int64_t count, const int64_t *namespaces, int64_t first)
{
    const cq_names *names = series->names;
    __asm__ volatile(""); /* for GCC drops calls of functions that do nothing but prefetch */
    for (int64_t at = first; at < count && at < first + CQ_AHEAD; at++) {
        int64_t start = at == 0 ? 0 : ends[at - 1] + 1;
        if (ends[at] - start <= CQ_LONGEST_NAME) {
            uint64_t hash = cq_hash(names->keys, text + start, ends[at] - start, text + ends[at]);
            cq_prefetch(cq_bucket(series->slots.block, hash));
        }
        if (namespaces[at] >= 0 && namespaces[at] < names->size)
            cq_prefetch(cq_space_at(names, namespaces[at]));
    }
}

/* Put names, for which there is room, into a table. -1, or the place of one that is not in its namespace, or -2 where
 * there is no memory; those before it are in the table then. */
static inline int64_t cq_insert_joined(cq_series *series, const unsigned char *text, const int64_t *ends, int64_t count,
                                       const int64_t *namespaces, int64_t *rows)
{
    const cq_names *names = series->names;
    int64_t start = 0;
    for (int64_t at = 0; at < count; start = ends[at++] + 1) {
        if (at % CQ_AHEAD == 0)
            cq_approach_inserts(series, text, ends, count, namespaces, at);
        const unsigned char *name = text + start;
        int64_t length = ends[at] - start;
        const unsigned char *above;
        int64_t before = -1;
        if (namespaces[at] >= 0 && namespaces[at] < names->size)
            before = cq_called(cq_space_at(names, namespaces[at]), &above);
        int64_t leaf = before + (before > 0);
        if (before < 0 || leaf > length || length > CQ_LONGEST_NAME)
            return at;
        uint64_t hash = cq_hash(names->keys, name, length, name + length);
        rows[at] = cq_insert_series(series, hash, namespaces[at], name + leaf, length - leaf);
        if (rows[at] < 0)
            return -2;
    }
    return -1;
}

/* Which names of a text came already. */
typedef struct {
    cq_names *names; /* whose keys it hashes by */
    cq_slots slots;
    cq_epochs epochs;
} cq_seen_names;

static inline int cq_make_seen(cq_seen_names *seen, cq_names *names, int64_t count)
{
    seen->names = names;
    return cq_reserve(&seen->slots, &seen->epochs, count);
}

static inline void cq_free_seen(cq_seen_names *seen)
{
    cq_free_slots(&seen->slots);
    cq_free_epochs(&seen->epochs);
}

/* Bring what looking at the next names will touch near: the slots, then the namespaces that these lead to. */
static inline void cq_approach_names(
    cq_names *found, const cq_seen_names *seen, const unsigned char *text, const int64_t *ends, int64_t count,
    int64_t first)
{
    uint64_t hashes[CQ_AHEAD];
    int64_t last = first + CQ_AHEAD < count ? first + CQ_AHEAD : count;
    __asm__ volatile(""); /* for GCC drops calls of functions that do nothing but prefetch */
    for (int64_t at = first; at < last; at++) {
        int64_t start = at == 0 ? 0 : ends[at - 1] + 1, length = ends[at] - start;
        const unsigned char *name = text + start;
        hashes[at - first] = 0;
        if (length > CQ_LONGEST_NAME)
            continue;
        int64_t dot = cq_last_dot(name, length);
        hashes[at - first] = cq_hash(found->keys, name, dot > 0 ? dot : 0, name + length);
        cq_prefetch(cq_bucket(found->slots.block, hashes[at - first]));
        cq_prefetch(cq_bucket(seen->slots.block, cq_hash(seen->names->keys, name, length, name + length)));
    }
    for (int64_t at = first; at < last; at++) {
        cq_search search;
        int64_t row = cq_first_candidate(found->slots.block, hashes[at - first], &search);
        if (row >= 0)
            cq_prefetch(cq_space_at(found, row));
    }
}

/* Whether the name at this place came before; now it did. Names that are too long to be hashed never do. */
static inline int cq_is_seen(cq_seen_names *seen, const unsigned char *text, const int64_t *ends, int64_t at)
{
    int64_t start = at == 0 ? 0 : ends[at - 1] + 1, length = ends[at] - start, other;
    if (length > CQ_LONGEST_NAME)
        return 0;
    uint64_t hash = cq_hash(seen->names->keys, text + start, length, text + ends[at]);
    cq_search search = cq_begin_search(seen->slots.block, hash);
    while ((other = cq_next_candidate(&search)) >= 0) {
        int64_t begin = other == 0 ? 0 : ends[other - 1] + 1;
        if (ends[other] - begin == length && cq_equal(text + begin, text + start, length))
            return 1;
    }
    cq_insert(&seen->slots, hash, at);
    return 0;
}

#endif
