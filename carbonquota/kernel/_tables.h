/* Names and rows: two tables from a name to its row, which are read while they are written.
 *
 * Theory of operation. A *slot* is a hash's lower half and a row; eight lie side by side in a bucket, so that finding
 * a name's slot costs one wait for memory. The half picks the bucket and tells slots apart; what it leaves open, the
 * name itself decides. A namespace's row leads to its name, a series' row to its *record*: its namespace's row and the
 * leaf, the rest of its name. So a record fills half a cache line and no name is kept twice.
 *
 * One thread writes at a time, its caller sees to that; any number read meanwhile, without a lock. What a reader may
 * still hold (a replaced block of slots, a removed name, a row to be given again) is *retired* and let go of two epochs
 * later: readers sign in under the running epoch, and it advances when those of the one before have signed out. A
 * reader may find a series that is being removed, or miss one that is being inserted. `generation` tells the first, so
 * that the answer can be asked for again; the caller sees to the second by asking again for what was not found.
 *
 * Nothing here knows Python. A function that needs memory and gets none returns -1 or NULL and changes nothing.
 */
#ifndef CARBONQUOTA_TABLES_H
#define CARBONQUOTA_TABLES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "_text.h"

/* --- memory ------------------------------------------------------------------------------------------------------ */

#define CQ_LARGE ((size_t)1 << 21) /* from so many bytes on, a block has pages of its own */

#define CQ_PAGE ((size_t)1 << 16) /* a whole number of pages, whatever these are */

/* Zeroed pages. Large ones spare who looks up at random the wait for page tables. */
static inline void *cq_map(size_t size, int large)
{
    size_t pages = (size + CQ_PAGE - 1) & ~(CQ_PAGE - 1);
    char *mapped = mmap(NULL, pages + CQ_LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED)
        return NULL;
    size_t before = (CQ_LARGE - ((uintptr_t)mapped & (CQ_LARGE - 1))) & (CQ_LARGE - 1);
    if (before > 0)
        munmap(mapped, before);
    munmap(mapped + before + pages, CQ_LARGE - before);
#ifdef MADV_HUGEPAGE
    if (large)
        madvise(mapped + before, size, MADV_HUGEPAGE);
#endif
    (void)large;
    return mapped + before;
}

/* Zeroed memory on a cache line's boundary. */
static inline void *cq_allocate(size_t size)
{
    if (size >= CQ_LARGE)
        return cq_map(size, 1);
    void *block = NULL;
    if (posix_memalign(&block, 64, size) != 0)
        return NULL;
    return memset(block, 0, size);
}

static inline void cq_release(void *block, size_t size)
{
    if (size < CQ_LARGE)
        free(block);
    else
        munmap(block, (size + CQ_PAGE - 1) & ~(CQ_PAGE - 1));
}

/* --- epochs ------------------------------------------------------------------------------------------------------ */

typedef struct {
    void *block; /* what to release, or NULL for a row to give again */
    uint64_t size_or_row;
    uint64_t epoch;
} cq_retired;

typedef struct {
    uint64_t epoch;
    int64_t readers[2]; /* by the epoch's parity */
    cq_retired *retired; /* in the order of their epochs */
    int64_t first, last, room;
    uint32_t *rows; /* to be given again */
    int64_t row_count, row_room;
} cq_epochs;

static inline uint64_t cq_enter(cq_epochs *epochs)
{
    for (;;) {
        uint64_t epoch = __atomic_load_n(&epochs->epoch, __ATOMIC_SEQ_CST);
        __atomic_add_fetch(&epochs->readers[epoch & 1], 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&epochs->epoch, __ATOMIC_SEQ_CST) == epoch)
            return epoch;
        __atomic_sub_fetch(&epochs->readers[epoch & 1], 1, __ATOMIC_SEQ_CST);
    }
}

static inline void cq_leave(cq_epochs *epochs, uint64_t epoch)
{
    __atomic_sub_fetch(&epochs->readers[epoch & 1], 1, __ATOMIC_SEQ_CST);
}

/* Let go of what no reader can hold any more. */
static inline void cq_reclaim(cq_epochs *epochs)
{
    if (epochs->first == epochs->last)
        return;
    for (int step = 0; step < 2; step++) {
        uint64_t epoch = __atomic_load_n(&epochs->epoch, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&epochs->readers[(epoch + 1) & 1], __ATOMIC_SEQ_CST) != 0)
            break;
        __atomic_store_n(&epochs->epoch, epoch + 1, __ATOMIC_SEQ_CST);
    }
    while (epochs->first < epochs->last && epochs->retired[epochs->first].epoch + 2 <= epochs->epoch) {
        cq_retired *old = &epochs->retired[epochs->first++];
        if (old->block != NULL)
            cq_release(old->block, (size_t)old->size_or_row);
        else
            epochs->rows[epochs->row_count++] = (uint32_t)old->size_or_row;
    }
    if (epochs->first == epochs->last)
        epochs->first = epochs->last = 0;
}

/* Make sure that `more` things can be retired without asking for memory; -1 where there is none. */
static inline int cq_make_room(cq_epochs *epochs, int64_t more)
{
    if (epochs->last + more > epochs->room) {
        int64_t held = epochs->last - epochs->first;
        if (held > 0)
            memmove(epochs->retired, epochs->retired + epochs->first, sizeof(cq_retired) * (size_t)held);
        epochs->first = 0;
        epochs->last = held;
        if (held + more > epochs->room / 2) {
            int64_t room = 2 * (held + more) + 64;
            cq_retired *retired = realloc(epochs->retired, sizeof(cq_retired) * (size_t)room);
            if (retired == NULL)
                return -1;
            epochs->retired = retired;
            epochs->room = room;
        }
    }
    int64_t rows = epochs->row_count + (epochs->last - epochs->first) + more;
    if (rows > epochs->row_room) {
        uint32_t *grown = realloc(epochs->rows, sizeof(uint32_t) * (size_t)(2 * rows));
        if (grown == NULL)
            return -1;
        epochs->rows = grown;
        epochs->row_room = 2 * rows;
    }
    return 0;
}

/* To be called after `cq_make_room`. */
static inline void cq_retire(cq_epochs *epochs, void *block, uint64_t size_or_row)
{
    cq_retired *place = &epochs->retired[epochs->last++];
    place->block = block;
    place->size_or_row = size_or_row;
    place->epoch = epochs->epoch;
}

static inline void cq_free_epochs(cq_epochs *epochs)
{
    for (int64_t at = epochs->first; at < epochs->last; at++)
        if (epochs->retired[at].block != NULL)
            cq_release(epochs->retired[at].block, (size_t)epochs->retired[at].size_or_row);
    free(epochs->retired);
    free(epochs->rows);
    memset(epochs, 0, sizeof(*epochs));
}

/* --- slots ------------------------------------------------------------------------------------------------------- */

#define CQ_WAYS 8
#define CQ_FREE UINT64_C(0)
#define CQ_REMOVED UINT64_C(0xFFFFFFFF) /* no row is so high */
#define CQ_MOST_ROWS INT64_C(0xFFFFFFF0)

typedef struct {
    uint64_t buckets;
    uint64_t unused[7]; /* so that buckets lie on cache lines */
    uint64_t slots[];
} cq_block;

typedef struct {
    cq_block *block;
    int64_t live, used; /* names, and slots taken: those of removed names are until the block is replaced */
} cq_slots;

static inline size_t cq_block_size(uint64_t buckets)
{
    return sizeof(cq_block) + (size_t)buckets * CQ_WAYS * sizeof(uint64_t);
}

static inline cq_block *cq_current(const cq_slots *slots) { return __atomic_load_n(&slots->block, __ATOMIC_ACQUIRE); }

static inline uint64_t *cq_bucket(cq_block *block, uint64_t hash)
{
    return block->slots + CQ_WAYS * (((hash & 0xFFFFFFFF) * block->buckets) >> 32);
}

static inline uint64_t *cq_next_bucket(cq_block *block, uint64_t *bucket)
{
    bucket += CQ_WAYS;
    return bucket == block->slots + CQ_WAYS * block->buckets ? block->slots : bucket;
}

typedef struct {
    cq_block *block;
    uint64_t *bucket;
    uint64_t tag; /* the hash's lower half, where it stands in a slot */
    int way;
} cq_search;

static inline cq_search cq_begin_search(cq_block *block, uint64_t hash)
{
    cq_search search = {block, cq_bucket(block, hash), hash << 32, 0};
    return search;
}

/* The next row that a hash may belong to, or -1 where there is no other. */
static inline int64_t cq_next_candidate(cq_search *search)
{
    for (;;) {
        for (; search->way < CQ_WAYS; search->way++) {
            uint64_t slot = __atomic_load_n(&search->bucket[search->way], __ATOMIC_ACQUIRE);
            if (slot == CQ_FREE)
                return -1;
            uint64_t row = slot ^ search->tag;
            if (row < CQ_REMOVED) {
                search->way++;
                return (int64_t)row - 1;
            }
        }
        search->bucket = cq_next_bucket(search->block, search->bucket);
        search->way = 0;
    }
}

/* Begin a search and find the first row that a hash may belong to, or -1. A place in a bucket is as good as any other, so
 * asking one after the other would mislead the processor's guesses. */
static inline int64_t cq_first_candidate(cq_block *block, uint64_t hash, cq_search *search)
{
    *search = cq_begin_search(block, hash);
#if CQ_SSE2
    const __m128i tag = _mm_set1_epi32((int32_t)(uint32_t)hash);
    const __m128 *slots = (const __m128 *)search->bucket;
    __m128i first = _mm_castps_si128(_mm_shuffle_ps(slots[0], slots[1], _MM_SHUFFLE(3, 1, 3, 1)));
    __m128i second = _mm_castps_si128(_mm_shuffle_ps(slots[2], slots[3], _MM_SHUFFLE(3, 1, 3, 1)));
    int match = _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(first, tag))) |
                _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(second, tag))) << 4;
    if (match != 0)
        search->way = cq_first_bit((uint64_t)match);
#endif
    return cq_next_candidate(search);
}

/* Put a slot into its place or the next free one. */
static inline void cq_place(cq_block *block, uint64_t slot)
{
    uint64_t *bucket = cq_bucket(block, slot >> 32);
    for (;; bucket = cq_next_bucket(block, bucket))
        for (int way = 0; way < CQ_WAYS; way++)
            if (bucket[way] == CQ_FREE) {
                __atomic_store_n(&bucket[way], slot, __ATOMIC_RELEASE);
                return;
            }
}

/* Have room for `more` slots; -1 where there is no memory. Buckets are visited in the order in which they are filled,
 * so replacing a block reads and writes memory from its beginning to its end. */
static inline int cq_reserve(cq_slots *slots, cq_epochs *epochs, int64_t more)
{
    cq_block *old = slots->block;
    uint64_t room = old == NULL ? 0 : old->buckets * CQ_WAYS;
    if ((uint64_t)(slots->used + more) * 5 <= room * 4)
        return 0;
    uint64_t wanted = (uint64_t)(slots->live + more);
    cq_block *block;
    /* A growing table gets half as much again, one that is full of removed slots its room anew. */
    uint64_t buckets = (wanted + wanted / 2) * 5 / 4 / CQ_WAYS + 8;
    if (cq_make_room(epochs, 1) != 0 || (block = cq_allocate(cq_block_size(buckets))) == NULL)
        return -1;
    block->buckets = buckets;
    if (old != NULL) {
        for (uint64_t at = 0; at < room; at++)
            if (old->slots[at] != CQ_FREE && old->slots[at] != CQ_REMOVED)
                cq_place(block, old->slots[at]);
        cq_retire(epochs, old, cq_block_size(old->buckets));
    }
    slots->used = slots->live;
    __atomic_store_n(&slots->block, block, __ATOMIC_RELEASE);
    return 0;
}

/* To be called after `cq_reserve`. */
static inline void cq_insert(cq_slots *slots, uint64_t hash, int64_t row)
{
    cq_place(slots->block, hash << 32 | (uint64_t)(row + 1));
    slots->live++;
    slots->used++;
}

static inline void cq_remove(cq_slots *slots, uint64_t hash, int64_t row)
{
    cq_search search = cq_begin_search(slots->block, hash);
    for (int64_t found = 0; found >= 0;) {
        found = cq_next_candidate(&search);
        if (found == row) {
            __atomic_store_n(&search.bucket[search.way - 1], CQ_REMOVED, __ATOMIC_RELEASE);
            slots->live--;
            return;
        }
    }
}

static inline void cq_free_slots(cq_slots *slots)
{
    if (slots->block != NULL)
        cq_release(slots->block, cq_block_size(slots->block->buckets));
    slots->block = NULL;
}

/* --- columns in pieces ------------------------------------------------------------------------------------------- */

#define CQ_PIECE_SIZE CQ_LARGE /* bytes */
#define CQ_PIECES ((int64_t)1 << 17)

/* Entries by row, in pieces that never move. Macros, for a division by a constant is a shift. */
typedef struct {
    char **pieces;
    int64_t count; /* of pieces */
} cq_column;

#define CQ_ROWS(type) ((int64_t)(CQ_PIECE_SIZE / sizeof(type))) /* in a piece; a power of two, as all sizes are */
#define CQ_ENTRY(column, type, row) ((type *)(column)->pieces[(row) / CQ_ROWS(type)] + ((row) & (CQ_ROWS(type) - 1)))

static inline int cq_cover(cq_column *column, int64_t pieces)
{
    if (column->pieces == NULL && (column->pieces = calloc((size_t)CQ_PIECES, sizeof(char *))) == NULL)
        return -1;
    for (; column->count < pieces; column->count++) {
        /* A small table is not to fill huge pages. */
        char *piece = column->count == CQ_PIECES ? NULL : cq_map(CQ_PIECE_SIZE, column->count > 0);
        if (piece == NULL)
            return -1;
        __atomic_store_n(&column->pieces[column->count], piece, __ATOMIC_RELEASE);
    }
    return 0;
}

static inline void cq_free_column(cq_column *column)
{
    for (int64_t at = 0; at < column->count; at++)
        cq_release(column->pieces[at], CQ_PIECE_SIZE);
    free(column->pieces);
}

/* --- names ------------------------------------------------------------------------------------------------------- */

/* A text that is never changed, with its length before it. */
typedef struct {
    uint32_t length;
    unsigned char bytes[];
} cq_text;

static inline cq_text *cq_new_text(const unsigned char *bytes, int64_t length)
{
    cq_text *text = malloc(sizeof(cq_text) + (size_t)length);
    if (text == NULL)
        return NULL;
    text->length = (uint32_t)length;
    memcpy(text->bytes, bytes, (size_t)length);
    return text;
}

static inline size_t cq_text_size(const cq_text *text) { return sizeof(cq_text) + text->length; }

static inline int cq_equal(const unsigned char *one, const unsigned char *other, int64_t length)
{
    /* Names are short, and a call costs more than these few words; the last one may overlap the one before it. */
    if (length >= 8) {
        for (int64_t at = 0; at < length - 8; at += 8)
            if (cq_word(one + at) != cq_word(other + at))
                return 0;
        return cq_word(one + length - 8) == cq_word(other + length - 8);
    }
    if (length >= 4) {
        uint32_t words[4];
        memcpy(&words[0], one, 4);
        memcpy(&words[1], other, 4);
        memcpy(&words[2], one + length - 4, 4);
        memcpy(&words[3], other + length - 4, 4);
        return words[0] == words[1] && words[2] == words[3];
    }
    for (; length > 0; one++, other++, length--)
        if (*one != *other)
            return 0;
    return 1;
}

#define CQ_ELSEWHERE 255 /* stands for the length of a name that has a text of its own */
#define CQ_SHORT 32
#define CQ_LEVELS 4

/* A namespace: its name, and what whoever decides keeps there to have it at hand. One cache line. */
typedef struct {
    cq_text *text; /* the name, where it is long, else NULL */
    uint8_t form; /* 0 where the row is not in use, one more than the length of `name`, or CQ_ELSEWHERE */
    uint8_t levels; /* of `chain`, or more where it does not fit */
    uint16_t unused;
    uint32_t era; /* `chain` is of this one */
    int32_t chain[CQ_LEVELS];
    unsigned char name[CQ_SHORT];
} cq_space;

/* The namespaces, by rows that the caller gives. */
typedef struct {
    cq_keys *keys;
    cq_epochs epochs;
    cq_slots slots;
    cq_column spaces;
    int64_t size; /* one more than the highest row ever given */
} cq_names;

static inline cq_space *cq_space_at(const cq_names *names, int64_t row) { return CQ_ENTRY(&names->spaces, cq_space, row); }

/* A namespace's name, and its length or -1 where the row is not in use. What is read while it is written may be wrong,
 * but lies where something may be read. */
static inline int64_t cq_called(const cq_space *space, const unsigned char **name)
{
    int64_t form = __atomic_load_n(&space->form, __ATOMIC_ACQUIRE);
    const cq_text *text = __atomic_load_n(&space->text, __ATOMIC_ACQUIRE);
    *name = text != NULL ? text->bytes : space->name;
    if (text != NULL)
        return text->length;
    return form <= CQ_SHORT + 1 ? form - 1 : -1;
}

static inline int64_t cq_find_name(cq_names *names, uint64_t hash, const unsigned char *name, int64_t length)
{
    cq_search search = cq_begin_search(cq_current(&names->slots), hash);
    const unsigned char *found;
    int64_t row;
    while ((row = cq_next_candidate(&search)) >= 0)
        if (cq_called(cq_space_at(names, row), &found) == length && cq_equal(found, name, length))
            break;
    return row;
}

static inline int cq_insert_name(cq_names *names, uint64_t hash, const unsigned char *name, int64_t length, int64_t row)
{
    cq_text *text = NULL;
    if (cq_cover(&names->spaces, row / CQ_ROWS(cq_space) + 1) != 0 || cq_reserve(&names->slots, &names->epochs, 1) != 0)
        return -1;
    if (length > CQ_SHORT && (text = cq_new_text(name, length)) == NULL)
        return -1;
    cq_reclaim(&names->epochs);
    cq_space *space = cq_space_at(names, row);
    if (row >= names->size)
        names->size = row + 1;
    space->era = 0;
    if (text == NULL)
        memcpy(space->name, name, (size_t)length);
    __atomic_store_n(&space->text, text, __ATOMIC_RELEASE);
    __atomic_store_n(&space->form, text == NULL ? (uint8_t)(length + 1) : CQ_ELSEWHERE, __ATOMIC_RELEASE);
    cq_insert(&names->slots, hash, row);
    return 0;
}

static inline int cq_remove_name(cq_names *names, uint64_t hash, int64_t row)
{
    if (cq_make_room(&names->epochs, 1) != 0)
        return -1;
    cq_remove(&names->slots, hash, row);
    cq_space *space = cq_space_at(names, row);
    cq_text *text = space->text;
    __atomic_store_n(&space->form, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&space->text, NULL, __ATOMIC_RELEASE);
    if (text != NULL)
        cq_retire(&names->epochs, text, cq_text_size(text));
    cq_reclaim(&names->epochs);
    return 0;
}

static inline void cq_make_names(cq_names *names, cq_keys *keys)
{
    memset(names, 0, sizeof(*names));
    names->keys = keys;
}

static inline void cq_free_names(cq_names *names)
{
    for (int64_t row = 0; row < names->size; row++)
        free(cq_space_at(names, row)->text);
    cq_free_column(&names->spaces);
    cq_free_slots(&names->slots);
    cq_free_epochs(&names->epochs);
}

/* --- series ------------------------------------------------------------------------------------------------------ */

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
    uint32_t namespace_row = record->namespace_row;
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
    cq_search search = cq_begin_search(cq_current(&series->slots), hash);
    int64_t row;
    while ((row = cq_next_candidate(&search)) >= 0)
        if (cq_is_called(series, row, name, length))
            break;
    return row;
}

/* Make room for `more` series; -1 where there is no memory. */
static inline int cq_reserve_series(cq_series *series, int64_t more)
{
    cq_epochs *epochs = &series->names->epochs;
    if (series->size + more > CQ_MOST_ROWS || cq_cover(&series->records, (series->size + more) / CQ_ROWS(cq_record) + 1) != 0)
        return -1;
    return cq_reserve(&series->slots, epochs, more);
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
