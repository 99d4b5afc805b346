/* A table of states by key, of a fixed size, which forgets what matters least.
 *
 * Theory of operation. A record is 48 bytes: 96 bits of the key's hash stand for the key. A slot of 8 bytes leads from a
 * hash to a record; slots are probed one after the other and are at most three quarters full, so a key takes 59 bytes at
 * the most. Memory is asked for once and touched as it fills, so nothing is ever moved or grown.
 *
 * What has to go is found by CLOCK: a hand goes round the records. One whose state is as good as none goes at once;
 * one that was used since the hand came by last has its mark taken and stays; one that is being limited stays, unless
 * that holds of the next four thousand, too: nobody may make others wait for a search of all of them. A key that came
 * once has no mark, so a flood of new keys drives out itself, and not those who come again. Before a record is added to
 * many, the hand looks at two, so that what has expired is reused first.
 */
#ifndef CARBONQUOTA_LIMITS_TABLE_H
#define CARBONQUOTA_LIMITS_TABLE_H

#include "_algorithms.h"
#include "_hash.h"
#include "_memory.h"

#define CL_POLICY UINT32_C(0x00FFFFFF) /* the policy's number */
#define CL_USED UINT32_C(0x01000000) /* there is a state */
#define CL_MARK UINT32_C(0x02000000) /* it was used since the hand came by */
#define CL_LIMITED UINT32_C(0x04000000) /* its last charge was refused */
#define CL_PINNED UINT32_C(0x08000000) /* a decision that goes on is about it */
#define CL_PATIENCE 4096 /* records that are looked at for one that may go */
#define CL_FEW 1024 /* records of which none is looked for to be reused */
#define CL_MOST_POLICIES INT64_C(0x01000000)

typedef struct {
    uint64_t tag;
    uint32_t hash;
    uint32_t meta;
    cl_state state;
} cl_record;

typedef struct {
    cl_record *records;
    uint64_t *slots; /* hash << 32 | record + 1, 0 where it is free */
    cl_policy *policies;
    uint64_t slot_count;
    int64_t most, count, hand, policy_count, policy_room;
    int64_t evicted, evicted_limited;
    uint64_t secret[2];
} cl_table;

static inline uint64_t cl_home(const cl_table *table, uint32_t hash) { return ((uint64_t)hash * table->slot_count) >> 32; }

static inline uint64_t cl_next(const cl_table *table, uint64_t at) { return at + 1 == table->slot_count ? 0 : at + 1; }

static inline size_t cl_record_bytes(const cl_table *table) { return (size_t)table->most * sizeof(cl_record); }

static inline size_t cl_slot_bytes(const cl_table *table) { return (size_t)table->slot_count * sizeof(uint64_t); }

static inline int cl_make_table(cl_table *table, int64_t most)
{
    table->most = most;
    table->slot_count = (uint64_t)most + (uint64_t)most / 3 + 8;
    table->records = cq_allocate(cl_record_bytes(table));
    table->slots = cq_allocate(cl_slot_bytes(table));
    return table->records == NULL || table->slots == NULL ? -1 : 0;
}

static inline void cl_free_table(cl_table *table)
{
    if (table->records != NULL)
        cq_release(table->records, cl_record_bytes(table));
    if (table->slots != NULL)
        cq_release(table->slots, cl_slot_bytes(table));
    free(table->policies);
}

/* The number of a policy that is new; -1 where there is no memory. */
static inline int64_t cl_add_policy(cl_table *table, const cl_policy *policy)
{
    if (table->policy_count == table->policy_room) {
        int64_t room = 2 * table->policy_room + 16;
        cl_policy *grown = realloc(table->policies, (size_t)room * sizeof(cl_policy));
        if (grown == NULL)
            return -1;
        table->policies = grown;
        table->policy_room = room;
    }
    table->policies[table->policy_count] = *policy;
    return table->policy_count++;
}

/* The record of a key, or NULL. */
static inline cl_record *cl_find(const cl_table *table, cl_digest digest)
{
    uint32_t hash = (uint32_t)digest.high;
    for (uint64_t at = cl_home(table, hash); table->slots[at] != 0; at = cl_next(table, at))
        if ((uint32_t)(table->slots[at] >> 32) == hash) {
            cl_record *record = &table->records[(uint32_t)table->slots[at] - 1];
            if (record->tag == digest.low)
                return record;
        }
    return NULL;
}

static inline void cl_prefetch_slot(const cl_table *table, cl_digest digest)
{
    __builtin_prefetch(&table->slots[cl_home(table, (uint32_t)digest.high)]);
}

static inline void cl_prefetch_record(const cl_table *table, cl_digest digest)
{
    uint32_t hash = (uint32_t)digest.high;
    for (uint64_t at = cl_home(table, hash); table->slots[at] != 0; at = cl_next(table, at))
        if ((uint32_t)(table->slots[at] >> 32) == hash) {
            __builtin_prefetch(&table->records[(uint32_t)table->slots[at] - 1], 1);
            return;
        }
}

/* Take a record's slot out, and move those behind it nearer to their homes, so that no mark has to stay. */
static inline void cl_unlink(cl_table *table, const cl_record *record)
{
    uint64_t slot = (uint64_t)record->hash << 32 | (uint64_t)(record - table->records + 1);
    uint64_t at = cl_home(table, record->hash);
    while (table->slots[at] != slot)
        at = cl_next(table, at);
    for (uint64_t hole = at;;) {
        at = cl_next(table, at);
        uint64_t other = table->slots[at];
        if (other == 0) {
            table->slots[hole] = 0;
            return;
        }
        uint64_t home = cl_home(table, (uint32_t)(other >> 32));
        uint64_t away = at >= home ? at - home : at + table->slot_count - home;
        uint64_t gap = at >= hole ? at - hole : at + table->slot_count - hole;
        if (away >= gap) {
            table->slots[hole] = other;
            hole = at;
        }
    }
}

static inline int cl_has_expired(const cl_table *table, const cl_record *record, int64_t now)
{
    return !(record->meta & CL_USED) || cl_is_over(&table->policies[record->meta & CL_POLICY], &record->state, now);
}

static inline cl_record *cl_turn(cl_table *table)
{
    cl_record *record = &table->records[table->hand];
    table->hand = table->hand + 1 == table->count ? 0 : table->hand + 1;
    return record;
}

/* A record to be used anew, which has no slot; there is one as long as not all are pinned. */
static inline cl_record *cl_room(cl_table *table, int64_t now)
{
    for (int look = 0; look < 2 && table->count >= CL_FEW; look++) {
        cl_record *record = cl_turn(table);
        if (!(record->meta & CL_PINNED) && cl_has_expired(table, record, now)) {
            cl_unlink(table, record);
            return record;
        }
    }
    if (table->count < table->most)
        return &table->records[table->count++];
    int64_t patience = table->count < CL_PATIENCE ? 2 * table->count : CL_PATIENCE;
    for (int64_t step = 0; step < patience + table->count; step++) {
        cl_record *record = cl_turn(table);
        if (record->meta & CL_PINNED)
            continue;
        if (!cl_has_expired(table, record, now)) {
            if (step < patience && record->meta & (CL_MARK | CL_LIMITED)) {
                record->meta &= ~CL_MARK;
                continue;
            }
            table->evicted++;
            table->evicted_limited += (record->meta & CL_LIMITED) != 0;
        }
        cl_unlink(table, record);
        return record;
    }
    return NULL;
}

/* The record of a key, made where there is none; NULL where all are pinned. */
static inline cl_record *cl_record_of(cl_table *table, cl_digest digest, int64_t now)
{
    cl_record *record = cl_find(table, digest);
    if (record != NULL) {
        record->meta |= CL_MARK;
        return record;
    }
    record = cl_room(table, now);
    if (record == NULL)
        return NULL;
    memset(record, 0, sizeof(*record));
    record->tag = digest.low;
    record->hash = (uint32_t)digest.high;
    uint64_t at = cl_home(table, record->hash);
    while (table->slots[at] != 0)
        at = cl_next(table, at);
    table->slots[at] = (uint64_t)record->hash << 32 | (uint64_t)(record - table->records + 1);
    return record;
}

/* The policy that wrote a record's state; NULL where it has none that another algorithm's policy could go on with. */
static inline const cl_policy *cl_before(const cl_table *table, const cl_record *record, const cl_policy *policy)
{
    const cl_policy *before = &table->policies[record->meta & CL_POLICY];
    return record->meta & CL_USED && before->algorithm == policy->algorithm ? before : NULL;
}

/* Decide on hits for a record; `forced` as for cl_decide_one. */
static inline cl_outcome cl_decide(
    cl_table *table, cl_record *record, int64_t number, int64_t now, int64_t hits, int forced)
{
    const cl_policy *policy = &table->policies[number];
    cl_outcome outcome = cl_decide_one(policy, cl_before(table, record, policy), &record->state, now, hits, forced);
    if (forced >= 0) {
        if (outcome.fits || forced)
            record->meta = (record->meta & ~CL_POLICY) | (uint32_t)number | CL_USED;
        record->meta = outcome.fits ? record->meta & ~CL_LIMITED : record->meta | CL_LIMITED;
    }
    return outcome;
}

/* The same for a key. One that a new state has no room for is not kept. */
static inline cl_outcome cl_check(cl_table *table, cl_digest digest, int64_t number, int64_t now, int64_t hits)
{
    const cl_policy *policy = &table->policies[number];
    cl_record *record = cl_find(table, digest);
    if (record == NULL) {
        cl_state none;
        cl_outcome outcome = cl_decide_one(policy, NULL, &none, now, hits, 0);
        if (!outcome.fits || (record = cl_record_of(table, digest, now)) == NULL)
            return outcome;
        record->state = none;
        record->meta |= (uint32_t)number | CL_USED;
        return outcome;
    }
    record->meta |= CL_MARK;
    return cl_decide(table, record, number, now, hits, 0);
}

/* Whether hits of a key pass, without telling what is left; most are of keys that are known, by a bucket. */
static inline int cl_passes(cl_table *table, cl_digest digest, int64_t number, int64_t now, int64_t hits)
{
    const cl_policy *policy = &table->policies[number];
    cl_record *record = policy->algorithm == CL_BUCKET ? cl_find(table, digest) : NULL;
    if (record == NULL || (record->meta & (CL_POLICY | CL_USED)) != ((uint32_t)number | CL_USED))
        return cl_check(table, digest, number, now, hits).fits != 0;
    int64_t used = cl_level(policy, policy, &record->state, now);
    cl_wide after = (cl_wide)hits * policy->per_hit + used;
    record->meta |= CL_MARK;
    if (after > policy->capacity) {
        record->meta |= CL_LIMITED;
        return 0;
    }
    record->meta &= ~CL_LIMITED;
    record->state.bucket.level = (int64_t)after;
    record->state.bucket.then = now;
    return 1;
}

#endif
