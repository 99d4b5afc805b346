/* Memory that one thread writes and any number read without a lock.
 *
 * Theory of operation. What a reader may still hold (a replaced block, a removed name, a row to be given again) is
 * *retired* and let go of two epochs later: readers sign in under the running epoch, and it advances when those of the
 * one before have signed out. Only the writer advances it, retires and reclaims.
 */
#ifndef CARBONQUOTA_MEMORY_H
#define CARBONQUOTA_MEMORY_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Marks what reads memory that others may be writing, on purpose, and says there why that does no harm. */
#if defined(__SANITIZE_THREAD__)
#define CQ_UNWATCHED __attribute__((no_sanitize("thread")))
#else
#define CQ_UNWATCHED
#endif

#define CQ_LARGE ((size_t)1 << 21) /* from so many bytes on, a block has pages of its own */

#define CQ_PAGE ((size_t)1 << 16) /* a whole number of pages, whatever these are */

#ifdef MAP_NORESERVE
#define CQ_NO_RESERVE MAP_NORESERVE /* some systems refuse more memory than they have, whether it is used or not */
#else
#define CQ_NO_RESERVE 0
#endif

/* Zeroed pages on small pages, which take memory where they are written to. */
static inline char *cq_map_pages(size_t size, int flags)
{
    size_t pages = (size + CQ_PAGE - 1) & ~(CQ_PAGE - 1);
    char *mapped = mmap(NULL, pages + CQ_LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    if (mapped == MAP_FAILED)
        return NULL;
    size_t before = (CQ_LARGE - ((uintptr_t)mapped & (CQ_LARGE - 1))) & (CQ_LARGE - 1);
    if (before > 0)
        munmap(mapped, before);
    munmap(mapped + before + pages, CQ_LARGE - before);
    return mapped + before;
}

/* Have memory lie on large pages, which spare who looks up at random the wait for page tables. */
static inline void cq_use_large_pages(void *start, size_t size)
{
#ifdef MADV_HUGEPAGE
    madvise(start, size, MADV_HUGEPAGE);
#endif
    (void)start;
    (void)size;
}

/* Zeroed pages, large ones or not. */
static inline void *cq_map(size_t size, int large)
{
    char *mapped = cq_map_pages(size, 0);
    if (mapped != NULL && large)
        cq_use_large_pages(mapped, size);
    return mapped;
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

#endif
