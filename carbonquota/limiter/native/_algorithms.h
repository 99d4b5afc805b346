/* The algorithms, as carbonquota/limiter/algorithms defines them; times are in microseconds since the epoch.
 *
 * A state without `CL_USED` is none. Hits are at most CL_MOST_HITS, so that no sum overflows; where a product might,
 * it is made in 128 bits. */
#ifndef CARBONQUOTA_LIMITS_ALGORITHMS_H
#define CARBONQUOTA_LIMITS_ALGORITHMS_H

#include <stdint.h>
#include <string.h>

#define CL_BUCKET 1
#define CL_FIXED 2
#define CL_SLIDING 3
#define CL_SLOTS 6
#define CL_NEVER (-1)
#define CL_MOST_HITS (INT64_C(1) << 53)

typedef __int128 cl_wide;

typedef struct {
    int64_t capacity, per_hit, rate;
    int64_t algorithm;
} cl_policy;

typedef union {
    struct {
        int64_t level, then;
    } bucket;
    struct {
        int64_t window, count;
    } fixed;
    struct {
        uint32_t number; /* of the running slot, the lower half; hits of that one come first */
        uint32_t hits[CL_SLOTS + 1];
    } sliding;
} cl_state;

typedef struct {
    int64_t fits, remaining, reset, retry;
} cl_outcome;

static inline int64_t cl_ceil(int64_t number, int64_t by) { return number <= 0 ? 0 : (number - 1) / by + 1; }

static inline int64_t cl_at_least_0(int64_t number) { return number < 0 ? 0 : number; }

/* The level of a bucket now; `before` is the policy that wrote the state. */
static inline int64_t cl_level(const cl_policy *policy, const cl_policy *before, const cl_state *state, int64_t now)
{
    int64_t used = state->bucket.level;
    if (before->per_hit != policy->per_hit) {
        cl_wide taken = ((cl_wide)used * policy->per_hit + before->per_hit - 1) / before->per_hit;
        used = taken > CL_MOST_HITS ? CL_MOST_HITS : (int64_t)taken;
    }
    int64_t passed = cl_at_least_0(now - state->bucket.then);
    cl_wide fallen = (cl_wide)passed * policy->rate;
    return fallen >= used ? 0 : used - (int64_t)fallen;
}

static inline int64_t cl_count(const cl_policy *policy, const cl_state *state, int64_t now)
{
    return state->fixed.window < now / policy->per_hit ? 0 : state->fixed.count;
}

/* The hits of a sliding window's slots now, the running one first; their sum. */
static inline int64_t cl_slots(const cl_policy *policy, const cl_state *state, int64_t now, uint32_t hits[CL_SLOTS + 1])
{
    int32_t passed = (int32_t)((uint32_t)(now / policy->per_hit) - state->sliding.number);
    if (passed < 0)
        passed = 0;
    int64_t sum = 0;
    for (int at = 0; at <= CL_SLOTS; at++) {
        hits[at] = at < passed ? 0 : state->sliding.hits[at - passed];
        sum += hits[at];
    }
    return sum;
}

/* The microseconds until at most so many hits are counted. */
static inline int64_t cl_wait(const cl_policy *policy, const uint32_t hits[], int64_t used, int64_t now, int64_t most)
{
    if (used <= most)
        return 0;
    int64_t until = policy->per_hit - now % policy->per_hit;
    for (int at = CL_SLOTS; at > 0; at--) {
        used -= hits[at];
        if (used <= most)
            return until;
        until += policy->per_hit;
    }
    return until;
}

static inline cl_outcome cl_ask_bucket(const cl_policy *policy, int64_t used, int64_t hits)
{
    cl_outcome outcome = {0, cl_at_least_0(policy->capacity - used) / policy->per_hit, cl_ceil(used, policy->rate), CL_NEVER};
    cl_wide after = (cl_wide)hits * policy->per_hit + used;
    if (after <= policy->capacity) {
        outcome.fits = 1;
        outcome.remaining -= hits;
        outcome.reset = cl_ceil((int64_t)after, policy->rate);
        outcome.retry = 0;
    } else if ((cl_wide)hits * policy->per_hit <= policy->capacity)
        outcome.retry = cl_ceil((int64_t)(after - policy->capacity), policy->rate);
    return outcome;
}

static inline cl_outcome cl_ask_fixed(const cl_policy *policy, int64_t used, int64_t now, int64_t hits)
{
    cl_outcome outcome = {0, cl_at_least_0(policy->capacity - used), policy->per_hit - now % policy->per_hit, CL_NEVER};
    if (used + hits <= policy->capacity) {
        outcome.fits = 1;
        outcome.remaining -= hits;
        outcome.retry = 0;
    } else if (hits <= policy->capacity)
        outcome.retry = outcome.reset;
    return outcome;
}

static inline cl_outcome cl_ask_sliding(const cl_policy *policy, uint32_t slots[], int64_t used, int64_t now, int64_t hits)
{
    cl_outcome outcome = {0, cl_at_least_0(policy->capacity - used), 0, CL_NEVER};
    if (used + hits <= policy->capacity) {
        slots[0] += (uint32_t)hits;
        outcome.reset = cl_wait(policy, slots, used + hits, now, 0);
        slots[0] -= (uint32_t)hits;
        outcome.fits = 1;
        outcome.remaining -= hits;
        outcome.retry = 0;
        return outcome;
    }
    outcome.reset = cl_wait(policy, slots, used, now, 0);
    if (hits <= policy->capacity)
        outcome.retry = cl_wait(policy, slots, used, now, policy->capacity - hits);
    return outcome;
}

/* Ask for hits, and, where they fit or `forced` is set, take them; -1 for `forced` only asks. `state` becomes what is
 * behind, `before` is the policy that wrote it, NULL for no state. */
static inline cl_outcome cl_decide_one(
    const cl_policy *policy, const cl_policy *before, cl_state *state, int64_t now, int64_t hits, int forced)
{
    cl_outcome outcome;
    if (policy->algorithm == CL_BUCKET) {
        int64_t used = before == NULL ? 0 : cl_level(policy, before, state, now);
        outcome = cl_ask_bucket(policy, used, hits);
        if (forced >= 0 && (outcome.fits || forced)) {
            cl_wide after = (cl_wide)hits * policy->per_hit + used;
            state->bucket.level = after > CL_MOST_HITS ? CL_MOST_HITS : (int64_t)after;
            state->bucket.then = now;
        }
    } else if (policy->algorithm == CL_FIXED) {
        int64_t used = before == NULL ? 0 : cl_count(policy, state, now);
        outcome = cl_ask_fixed(policy, used, now, hits);
        if (forced >= 0 && (outcome.fits || forced)) {
            state->fixed.window = now / policy->per_hit;
            state->fixed.count = used + hits > CL_MOST_HITS ? CL_MOST_HITS : used + hits;
        }
    } else {
        uint32_t slots[CL_SLOTS + 1] = {0};
        int64_t used = before == NULL ? 0 : cl_slots(policy, state, now, slots);
        outcome = cl_ask_sliding(policy, slots, used, now, hits);
        if (forced >= 0 && (outcome.fits || forced)) {
            state->sliding.number = (uint32_t)(now / policy->per_hit);
            int64_t first = slots[0] + hits;
            slots[0] = first > UINT32_MAX ? UINT32_MAX : (uint32_t)first;
            memcpy(state->sliding.hits, slots, sizeof(slots));
        }
    }
    return outcome;
}

/* Charge hits that were refused. */
static inline void cl_penalize(const cl_policy *policy, const cl_policy *before, cl_state *state, int64_t now, int64_t hits)
{
    if (policy->algorithm != CL_BUCKET) {
        cl_decide_one(policy, before, state, now, hits, 1);
        return;
    }
    int64_t used = before == NULL ? 0 : cl_level(policy, before, state, now);
    cl_wide after = (cl_wide)hits * policy->per_hit + used;
    int64_t most = after > policy->capacity ? policy->capacity : (int64_t)after;
    state->bucket.level = most > used ? most : used;
    state->bucket.then = now;
}

/* Whether a state is as good as none. */
static inline int cl_is_over(const cl_policy *policy, const cl_state *state, int64_t now)
{
    if (policy->algorithm == CL_BUCKET)
        return (cl_wide)(now - state->bucket.then) * policy->rate >= state->bucket.level;
    if (policy->algorithm == CL_FIXED)
        return state->fixed.window < now / policy->per_hit;
    return (int32_t)((uint32_t)(now / policy->per_hit) - state->sliding.number) > CL_SLOTS;
}

#endif
