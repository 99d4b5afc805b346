/* Slots and columns: where a hash leads to rows, and rows to entries.
 *
 * Theory of operation. A *slot* is a hash's lower half and a row; eight lie side by side in a bucket, so that finding
 * a name's slot costs one wait for memory. The half picks the bucket and tells slots apart; what it leaves open, the
 * name itself decides. A column lies in pieces that never move, so that a reader needs no care.
 *
 * The bucket of a hash is the higher the higher the hash. So a block that becomes longer keeps its order, and a large one,
 * which has addresses for many more buckets, is spread out where it lies, from its end to its beginning. That takes a few
 * nanoseconds a slot and no other memory. Who reads meanwhile may miss a name, as one may that is being inserted.
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
    uint64_t room; /* bytes that there are addresses for */
    uint64_t unused[6]; /* so that buckets lie on cache lines */
    uint64_t slots[];
} cq_block;

#define CQ_TO_COME ((size_t)1 << 29) /* bytes that a large block has addresses for, which cost nothing */

typedef struct {
    cq_block *block;
    int64_t live, used; /* names, and slots taken: those of removed names are until the block is replaced */
} cq_slots;

static inline size_t cq_block_size(uint64_t buckets)
{
    return sizeof(cq_block) + (size_t)buckets * CQ_WAYS * sizeof(uint64_t);
}

static inline cq_block *cq_current(const cq_slots *slots) { return __atomic_load_n(&slots->block, __ATOMIC_ACQUIRE); }

static inline uint64_t cq_buckets_of(const cq_block *block) { return __atomic_load_n(&block->buckets, __ATOMIC_RELAXED); }

/* Which of so many buckets a hash belongs to. */
static inline uint64_t cq_home(uint64_t hash, uint64_t buckets) { return ((hash & 0xFFFFFFFF) * buckets) >> 32; }

static inline uint64_t *cq_bucket(cq_block *block, uint64_t hash)
{
    return block->slots + CQ_WAYS * cq_home(hash, cq_buckets_of(block));
}

static inline uint64_t *cq_next_bucket(cq_block *block, uint64_t *bucket)
{
    bucket += CQ_WAYS;
    return bucket == block->slots + CQ_WAYS * cq_buckets_of(block) ? block->slots : bucket;
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

/* The same by who writes. */
static inline uint64_t cq_ways_of(const uint64_t *bucket, uint64_t tag)
{
#if CQ_SSE2
    return (uint64_t)cq_glance(bucket, tag);
#else
    uint64_t match = 0;
    for (int way = 0; way < CQ_WAYS; way++)
        match |= (uint64_t)(bucket[way] >> 32 == (tag & 0xFFFFFFFF)) << way;
    return match;
#endif
}

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

/* The first free slot of a bucket, or CQ_WAYS. To be asked by the one that writes. */
static inline int cq_first_free(const uint64_t *bucket)
{
#if CQ_SSE2
    /* Only a free slot has no row. Asking one after the other would mislead the processor's guesses here, too. */
    const __m128 *slots = (const __m128 *)bucket;
    __m128i none = _mm_setzero_si128();
    __m128i first = _mm_castps_si128(_mm_shuffle_ps(slots[0], slots[1], _MM_SHUFFLE(2, 0, 2, 0)));
    __m128i second = _mm_castps_si128(_mm_shuffle_ps(slots[2], slots[3], _MM_SHUFFLE(2, 0, 2, 0)));
    int free = _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(first, none))) |
               _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(second, none))) << 4;
    return cq_first_bit((uint64_t)free | 1u << CQ_WAYS);
#else
    int way = 0;
    while (way < CQ_WAYS && bucket[way] != CQ_FREE)
        way++;
    return way;
#endif
}

/* Put a slot into its place or the next free one. */
static inline void cq_place(cq_block *block, uint64_t slot)
{
    uint64_t *bucket = cq_bucket(block, slot >> 32);
    int way;
    while ((way = cq_first_free(bucket)) == CQ_WAYS)
        bucket = cq_next_bucket(block, bucket);
    __atomic_store_n(&bucket[way], slot, __ATOMIC_RELEASE);
}

/* Zeroed memory for so many buckets; a large one has addresses for more. */
static inline cq_block *cq_new_block(uint64_t buckets)
{
    size_t size = cq_block_size(buckets), room = size < CQ_TO_COME / 2 ? CQ_TO_COME : 4 * size;
    cq_block *block = size < CQ_LARGE ? NULL : (cq_block *)cq_map_pages(room, CQ_NO_RESERVE);
    if (block != NULL)
        cq_use_large_pages(block, size);
    else if ((block = cq_allocate(room = size)) == NULL)
        return NULL;
    block->buckets = buckets;
    block->room = room;
    return block;
}

/* How many buckets are to be had for so many slots: half as many again as they need, in whole large pages where there are
 * many. */
static inline uint64_t cq_buckets_for(uint64_t slots)
{
    uint64_t buckets = (slots + slots / 2) * 5 / 4 / CQ_WAYS + 8;
    size_t size = cq_block_size(buckets), pages = (size + CQ_LARGE / 4 * 3) / CQ_LARGE;
    return size < CQ_LARGE ? buckets : (pages * CQ_LARGE - sizeof(cq_block)) / (CQ_WAYS * sizeof(uint64_t));
}

/* A block that is being spread over more buckets: from some bucket on it is in order already. */
typedef struct {
    uint64_t *slots, buckets;
    uint8_t *filled;    /* a bucket each: how many of its slots are, as far as it is in order */
    uint64_t *waiting;  /* slots that were taken out and are not put in yet */
    int64_t first, last; /* how many at its beginning are of lower buckets; from where on there was no room for some */
    uint64_t next;      /* the highest of these lower buckets */
} cq_spreading;

/* Put a slot into its place in the part that is in order, from bucket `from` on, or have it wait. */
static inline void cq_put_in_order(cq_spreading *spreading, uint64_t from, uint64_t slot)
{
    uint64_t home = cq_home(slot >> 32, spreading->buckets);
    if (home < from) {
        spreading->next = spreading->first == 0 || home > spreading->next ? home : spreading->next;
        spreading->waiting[spreading->first++] = slot;
        return;
    }
    while (home < spreading->buckets && spreading->filled[home] == CQ_WAYS)
        home++;
    if (home == spreading->buckets)
        spreading->waiting[--spreading->last] = slot;
    else
        __atomic_store_n(&spreading->slots[CQ_WAYS * home + spreading->filled[home]++], slot, __ATOMIC_RELEASE);
}

/* Take all slots out of a block, from its end on, and put them in again. */
static inline void cq_put_all_in_order(cq_block *block, cq_spreading *spreading)
{
    for (uint64_t bucket = block->buckets; bucket-- > 0;) {
        uint64_t taken[CQ_WAYS], *from = block->slots + CQ_WAYS * bucket;
        for (int way = 0; way < CQ_WAYS; way++) {
            taken[way] = from[way];
            __atomic_store_n(&from[way], CQ_FREE, __ATOMIC_RELAXED);
        }
        for (int way = 0; way < CQ_WAYS; way++)
            if (taken[way] != CQ_FREE && taken[way] != CQ_REMOVED)
                cq_put_in_order(spreading, bucket, taken[way]);
        if (spreading->first > 0 && spreading->next >= bucket) {
            int64_t count = spreading->first;
            spreading->first = 0;
            for (int64_t at = 0; at < count; at++)
                cq_put_in_order(spreading, bucket, spreading->waiting[at]);
        }
    }
}

/* Spread a block's slots over more buckets, for which it has addresses, or just leave out removed ones; -1 where there is
 * no memory. A slot's bucket is never lower than before, so what is taken from the end on has its place where all was
 * taken out already. What was not in its own bucket may have to wait until that is so. */
static inline int cq_spread(cq_slots *slots, uint64_t buckets)
{
    cq_block *block = slots->block;
    cq_spreading spreading = {block->slots, buckets, NULL, NULL, 0, slots->live, 0};
    spreading.filled = calloc(buckets, 1);
    spreading.waiting = malloc(sizeof(uint64_t) * (size_t)(slots->live + 1)); /* hardly any of it is ever written to */
    int failed = spreading.filled == NULL || spreading.waiting == NULL;
    if (!failed) {
        cq_use_large_pages(block, cq_block_size(buckets));
        cq_put_all_in_order(block, &spreading);
        __atomic_store_n(&block->buckets, buckets, __ATOMIC_RELEASE);
        for (int64_t at = spreading.last; at < slots->live; at++)
            cq_place(block, spreading.waiting[at]);
        slots->used = slots->live;
    }
    free(spreading.filled);
    free(spreading.waiting);
    return failed ? -1 : 0;
}

/* Have room for `more` slots; -1 where there is no memory, 1 where slots have moved, so that who looked for a name
 * meanwhile may have missed it. */
static inline int cq_reserve(cq_slots *slots, cq_epochs *epochs, int64_t more)
{
    cq_block *old = slots->block, *block;
    uint64_t room = old == NULL ? 0 : old->buckets * CQ_WAYS;
    if ((uint64_t)(slots->used + more) * 5 <= room * 4)
        return 0;
    uint64_t buckets = cq_buckets_for((uint64_t)(slots->live + more));
    if (old != NULL && cq_block_size(old->buckets) >= CQ_LARGE && buckets >= old->buckets / 2 &&
        cq_block_size(buckets) <= old->room)
        return cq_spread(slots, buckets > old->buckets ? buckets : old->buckets) == 0 ? 1 : -1;
    if (cq_make_room(epochs, 1) != 0 || (block = cq_new_block(buckets)) == NULL)
        return -1;
    if (old != NULL) {
        for (uint64_t at = 0; at < room; at++)
            if (old->slots[at] != CQ_FREE && old->slots[at] != CQ_REMOVED)
                cq_place(block, old->slots[at]);
        cq_retire(epochs, old, old->room);
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
        cq_release(slots->block, slots->block->room);
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
