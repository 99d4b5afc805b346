/* A lock that is held for microseconds: waking up a thread would take longer than most waits do. */
#ifndef CARBONQUOTA_LOCK_H
#define CARBONQUOTA_LOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

#define CQ_SPINS 2000 /* looks at a lock before a thread sleeps: some dozens of microseconds */

typedef struct {
    pthread_mutex_t mutex;
} cq_lock;

static inline int cq_make_lock(cq_lock *lock)
{
    return pthread_mutex_init(&lock->mutex, NULL);
}

static inline void cq_free_lock(cq_lock *lock) { pthread_mutex_destroy(&lock->mutex); }

static inline int cq_try_lock(cq_lock *lock) { return pthread_mutex_trylock(&lock->mutex) == 0; }

static inline void cq_unlock(cq_lock *lock) { pthread_mutex_unlock(&lock->mutex); }

/* Tell the processor that this thread is only waiting. */
static inline void cq_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

/* Seconds since the epoch, as Python's `time.time` tells them. */
static inline double cq_system_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static inline void cq_wait_for_lock(cq_lock *lock)
{
    if (cq_try_lock(lock))
        return;
    for (int spin = 0; spin < CQ_SPINS; spin++) {
        cq_pause();
        if (cq_try_lock(lock))
            return;
    }
    pthread_mutex_lock(&lock->mutex);
}

#endif
