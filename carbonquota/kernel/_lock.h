/* A lock that is held for microseconds: waking up a thread would take longer than most waits do. */
#ifndef CARBONQUOTA_LOCK_H
#define CARBONQUOTA_LOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

#define CQ_SPINS 2000 /* looks at a lock before a thread sleeps: some dozens of microseconds */

typedef struct {
    pthread_mutex_t mutex;
    uintptr_t owner; /* the thread that has it, or 0 */
} cq_lock;

static inline uintptr_t cq_this_thread(void) { return (uintptr_t)pthread_self(); }

static inline int cq_make_lock(cq_lock *lock)
{
    lock->owner = 0;
    return pthread_mutex_init(&lock->mutex, NULL);
}

static inline void cq_free_lock(cq_lock *lock) { pthread_mutex_destroy(&lock->mutex); }

static inline void cq_have_lock(cq_lock *lock) { __atomic_store_n(&lock->owner, cq_this_thread(), __ATOMIC_RELAXED); }

static inline int cq_try_lock(cq_lock *lock)
{
    int taken = pthread_mutex_trylock(&lock->mutex) == 0;
    if (taken)
        cq_have_lock(lock);
    return taken;
}

static inline void cq_unlock(cq_lock *lock)
{
    __atomic_store_n(&lock->owner, 0, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&lock->mutex);
}

/* Unlock it if this thread has it; no other can make that so, or change it. */
static inline void cq_leave_lock(cq_lock *lock)
{
    if (__atomic_load_n(&lock->owner, __ATOMIC_RELAXED) == cq_this_thread())
        cq_unlock(lock);
}

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
    cq_have_lock(lock);
}

#endif
