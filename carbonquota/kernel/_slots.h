/* Slots and columns: where a hash leads to rows, and rows to entries.
 *
 * Theory of operation. A *slot* is a hash's lower half and a row; eight lie side by side in a bucket, so that finding
 * a name's slot costs one wait for memory. The half picks the bucket and tells slots apart; what it leaves open, the
 * name itself decides. A column lies in pieces that never move, so that a reader needs no care.
 */
#ifndef CARBONQUOTA_SLOTS_H
#define CARBONQUOTA_SLOTS_H

#include "_memory.h"
#include "_text.h"

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

#if CQ_SSE2
/* Which slots of a bucket have a hash's tag, a bit each. This looks at all of them at once, and may see one that is being
 * written; it says only where to begin, and a slot that matters is read as one before anything is made of it. That is
 * why ThreadSanitizer is told not to watch it. */
CQ_UNWATCHED static inline int cq_glance(const uint64_t *bucket, uint64_t hash)
{
    const __m128i tag = _mm_set1_epi32((int32_t)(uint32_t)hash);
    const __m128 *slots = (const __m128 *)bucket;
    __m128i first = _mm_castps_si128(_mm_shuffle_ps(slots[0], slots[1], _MM_SHUFFLE(3, 1, 3, 1)));
    __m128i second = _mm_castps_si128(_mm_shuffle_ps(slots[2], slots[3], _MM_SHUFFLE(3, 1, 3, 1)));
    return _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(first, tag))) |
           _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(second, tag))) << 4;
}
#endif

/* Begin a search and find the first row that a hash may belong to, or -1. A place in a bucket is as good as any other,
 * so asking one after the other would mislead the processor's guesses. A bucket is filled from its beginning, so the name
 * is in none behind one whose last slot is free. */
static inline int64_t cq_first_candidate(cq_block *block, uint64_t hash, cq_search *search)
{
    *search = cq_begin_search(block, hash);
#if CQ_SSE2
    int match;
    while ((match = cq_glance(search->bucket, hash)) == 0) {
        if (__atomic_load_n(&search->bucket[CQ_WAYS - 1], __ATOMIC_RELAXED) == CQ_FREE)
            return -1;
        search->bucket = cq_next_bucket(block, search->bucket);
    }
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

#endif
