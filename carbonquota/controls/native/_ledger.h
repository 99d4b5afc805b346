/* The decision on points, one after the other, over the columns of namespaces and quotas.
 *
 * Theory of operation. Columns belong to their Python owners, who bind them here anew whenever they move. A point of a
 * known series is asked for and charged at each quota of its flow chain. A point of a new metric in a namespace that is
 * there is asked for at the rates, then at the capacities, and then put into the table and charged everywhere. Every line
 * is decided in its turn, so a batch is what its lines are one by one. A metric that is rejected leaves nothing behind
 * but counts, even where the namespace that rejects it does not exist; one that is accepted brings its namespaces, each
 * under its rule. What needs more than columns (rows beyond those there is room for, a name that only Python can tell
 * about) is left to the caller, who goes on with the line after it.
 *
 * Only the thread that holds the owner's lock may be here. Amounts are of int64; what could pass 2^63 - 1 stops there.
 */
#ifndef CARBONQUOTA_LEDGER_H
#define CARBONQUOTA_LEDGER_H

#include "_coming.h"

#define CQ_LONGEST_PREFIX 64

/* What a metric may be counted with. */
typedef struct {
    int64_t amounts[CQ_CAPACITIES]; /* by control: what it adds to each namespace above it */
    int32_t number;             /* that its owner has for it */
} cq_size;

/* Sizes of new metrics that were rejected by these, for as long as sizes are not forgotten: who was rejected once comes
 * again as often as it sends points, and to ask costs more than all else. A name has a bucket of a few places, of which it
 * takes another's where none is free. The bucket and what stands there are a whole hash, so no other name is taken for it. */
#define CQ_REMEMBERED UINT64_C(8192) /* buckets, and what a size's number stays below */

typedef struct {
    cq_series *series;
    /* by namespace row */
    int64_t *used[CQ_CAPACITIES], *lag; /* `lag` is how much later it was born than the first namespace at its row could be */
    int32_t *quota_of, *parent, *child_count, *state; /* `state` is the matcher's */
    cq_rows namespace_rows, quota_rows;
    /* by quota row */
    int64_t *remaining, *limit, *throttle, *dropped[CQ_CONTROLS];
    int32_t *held, *rule;
    int32_t *rates; /* chains of those with a throughput limit, root first, with 0 behind them */
    int32_t *named;
    int64_t rate_width;
    /* by rule, in the order of asking: pairs of a stock's number and its limit, with -1 behind the last of them */
    int64_t *checks;
    int64_t *rule_enforcing, *rule_metered, *rule_throughput; /* by rule; what a quota's limit begins with */
    /* by series row, as far as `rows`; `seen` may be NULL */
    int64_t rows;
    int32_t *size_number;
    uint32_t *seen;
    uint32_t now;
    int32_t namespaces, metrics, throughput, creates; /* numbers of controls */
    uint32_t revision; /* of the columns and the sizes: what is kept with namespaces is of one */
    cq_size *sizes;      /* that are known; 0 stands for none, and n + 1 for the one at n */
    uint64_t *remembered; /* CQ_REMEMBERED buckets: the upper part of a name's hash, and a size; NULL before the first */
    int sizes_by_namespace, sizes_are_bounded; /* whether a namespace may tell them, and `least` and `most` do */
    cq_size least, most;                       /* of all that a new metric may have */
    int64_t sure_length; /* bytes up to which a plain name can be stored, unless it begins with the prefix */
    unsigned char doubtful_prefix[CQ_LONGEST_PREFIX];
    int32_t prefix_length;
    int32_t some_reject_alone; /* whether a rule may reject by an empty namespace, so that missing ones matter */
    cq_matcher *matcher;
    cq_absent absent;
    cq_wanted_step wanted; /* without which a line could not be decided */
} cq_ledger;

/* What was decided on a line. */
typedef struct {
    int32_t quota; /* that rejects it, or 0 */
    int32_t control; /* by which, or CQ_CREATED */
    int32_t size; /* of a new metric, or 0 where it is not known */
} cq_fate;

/* Stand for a control where the line brought its metric into the table, and where the owner was told so. */
enum { CQ_CREATED = -2, CQ_TOLD = -3 };

/* Gives the size of the new metric on a line, below a namespace that is there; 0 where it cannot. */
typedef int32_t (*cq_ask_size)(void *owner, int64_t at, int64_t namespace_row);

/* A batch and what it came to so far: counts of points, of malformed lines and of metrics. */
typedef struct {
    cq_batch *lines;
    cq_fate *fates; /* a line each */
    const int64_t *points; /* a line each, or NULL where each line is one */
    cq_ask_size ask; /* NULL where no metric may come */
    void *owner;     /* whom to ask */
    int64_t rejected; /* lines */
    int64_t accepted, dropped, malformed, created, creates_remaining;
    int64_t hashed; /* from this line on, of a group, `paths` has the hashes of what new metrics' own namespaces are called */
    uint64_t paths[CQ_GROUP];
} cq_deciding;

static inline int cq_is_hashed(const cq_deciding *deciding, int64_t at)
{
    return deciding->ask != NULL && at >= deciding->hashed && at < deciding->hashed + CQ_GROUP;
}

/* The hash of what the own namespace of a line's new metric is called. */
static inline uint64_t cq_hash_of_path(const cq_names *names, const cq_deciding *deciding, int64_t at)
{
    const cq_line *line = &deciding->lines->lines[at];
    int64_t length;
    if (cq_is_hashed(deciding, at) && deciding->paths[at - deciding->hashed] != 0)
        return deciding->paths[at - deciding->hashed];
    return cq_hash(names->keys, cq_name_of(deciding->lines, line, &length), line->path,
                   cq_end_of_names(deciding->lines, line));
}

static inline int64_t cq_points_of(const cq_deciding *deciding, int64_t at)
{
    return deciding->points == NULL ? 1 : deciding->points[at];
}

/* What became of the walk over the quotas above a new metric. */
enum { CQ_ROOM, CQ_REJECTED, CQ_WANTS_SIZE, CQ_TOO_DEEP };

#define CQ_MOST_OVERS 512

/* The quotas that a new metric is over, in the order of asking, and by which control each; ~n stands for the quota of
 * the n-th namespace that is coming. */
typedef struct {
    int64_t count;
    struct {
        int32_t quota, control;
    } found[CQ_MOST_OVERS];
} cq_overs;

static inline void cq_add(int64_t *total, int64_t more)
{
    *total = *total > INT64_MAX - more ? INT64_MAX : *total + more;
}

static inline int cq_is_enforcing(const cq_ledger *ledger, int32_t quota)
{
    return ledger->rule_enforcing[ledger->rule[quota]] != 0;
}

/* Count an offer over a quota's limit; whether it is thereby rejected. */
static inline int cq_over(cq_ledger *ledger, int32_t quota, int32_t control, int64_t points)
{
    cq_add(&ledger->throttle[quota], points);
    if (!cq_is_enforcing(ledger, quota))
        return 0;
    cq_add(&ledger->dropped[control][quota], points);
    return 1;
}

/* The first quota of a flow chain that rejects, or 0. Charges nothing. */
static inline int32_t cq_ask_rates(cq_ledger *ledger, const int32_t *chain, int64_t width, int64_t points)
{
    for (int64_t level = 0; level < width && chain[level] != 0; level++)
        if (ledger->remaining[chain[level]] < points && cq_over(ledger, chain[level], ledger->throughput, points))
            return chain[level];
    return 0;
}

static inline void cq_charge(cq_ledger *ledger, const int32_t *chain, int64_t width, int64_t points)
{
    for (int64_t level = 0; level < width && chain[level] != 0; level++) {
        int32_t quota = chain[level];
        int64_t least = ledger->limit[quota] - INT64_MAX; /* so that what is used stays below 2^63 */
        int64_t remaining = ledger->remaining[quota];
        ledger->remaining[quota] = remaining < least + points ? least : remaining - points;
    }
}

/* Keep the flow chain of a namespace with it, if it is not too long. */
static inline void cq_keep_chain(cq_ledger *ledger, cq_space *space, int64_t namespace_row)
{
    const int32_t *chain = ledger->rates + (int64_t)ledger->quota_of[namespace_row] * ledger->rate_width;
    int64_t levels = 0;
    for (; levels < ledger->rate_width && chain[levels] != 0 && levels <= CQ_LEVELS; levels++)
        if (levels < CQ_LEVELS)
            space->chain[levels] = chain[levels];
    space->levels = (uint8_t)levels;
    space->size = 0;
    space->revision = ledger->revision;
}

/* Ask the rates of a namespace, and charge them where none rejects. */
static inline int32_t cq_take(cq_ledger *ledger, int64_t namespace_row, int64_t points)
{
    cq_space *space = cq_space_at(ledger->series->names, namespace_row);
    if (space->revision != ledger->revision)
        cq_keep_chain(ledger, space, namespace_row);
    const int32_t *chain = space->chain;
    int64_t width = space->levels, level = 0;
    if (width > CQ_LEVELS) {
        chain = ledger->rates + (int64_t)ledger->quota_of[namespace_row] * ledger->rate_width;
        while (width < ledger->rate_width && chain[width] != 0)
            width++;
    }
    while (level < width && ledger->remaining[chain[level]] >= points)
        level++;
    if (level == width) {
        for (level = 0; level < width; level++)
            ledger->remaining[chain[level]] -= points;
        return 0;
    }
    int32_t rejecter = cq_ask_rates(ledger, chain, width, points);
    if (rejecter == 0)
        cq_charge(ledger, chain, width, points);
    return rejecter;
}

static inline int32_t cq_take_known(cq_ledger *ledger, int64_t row, int64_t namespace_row, int64_t points)
{
    int32_t rejecter = cq_take(ledger, namespace_row, points);
    if (rejecter == 0 && ledger->seen != NULL)
        ledger->seen[row] = ledger->now;
    return rejecter;
}

#define CQ_UNSIZED -3

/* What a new metric adds to a namespace, by control: its size may be between two, or not known at all. */
typedef struct {
    int64_t least[CQ_CAPACITIES], most[CQ_CAPACITIES];
    int is_open; /* whether only a size can tell */
} cq_need;

static inline int cq_is_of_size(const cq_ledger *ledger, int32_t control)
{
    return control != ledger->namespaces && control != ledger->metrics;
}

/* The first control of a rule over which what is needed brings a namespace, or an empty one where the row is below 0;
 * else -1, or CQ_UNSIZED where a size is needed to tell. */
static inline int32_t cq_first_over(
    const cq_ledger *ledger, int64_t rule, int64_t namespace_row, const cq_need *need)
{
    const int64_t *check = ledger->checks + rule * 2 * (CQ_CAPACITIES + 1);
    for (; check[0] >= 0; check += 2) {
        int32_t control = (int32_t)check[0];
        int64_t used = namespace_row < 0 ? 0 : ledger->used[control][namespace_row];
        if (need->is_open && cq_is_of_size(ledger, control))
            return used > check[1] ? control : CQ_UNSIZED; /* what is over its limit takes nothing, however small */
        if (used > check[1] - need->least[control])
            return control;
        if (used > check[1] - need->most[control])
            return CQ_UNSIZED;
    }
    return -1;
}

/* Which namespace would gain a direct sub-namespace by a metric put at this one, or -1. Of those that would gain one,
 * the lowest are empty themselves, so their limit, at least 1, cannot matter. */
static inline int64_t cq_gaining(const cq_ledger *ledger, int64_t namespace_row, int missing)
{
    int64_t gaining = missing ? namespace_row : -1;
    while (namespace_row != 0 && ledger->used[ledger->metrics][namespace_row] == 0)
        namespace_row = gaining = ledger->parent[namespace_row];
    return gaining;
}

/* A metric that is not in the table. */
typedef struct {
    const unsigned char *name, *end; /* and where the memory ends that may be read from there on */
    int64_t length;
    uint32_t path, known; /* how long the names are of its own namespace, and of the nearest that is there */
    uint64_t hash;        /* of the former's name */
    int64_t nearest;      /* that one's row */
    int own;              /* whether that is the metric's own */
    int64_t points;
    int64_t coming_count;
    cq_coming coming[CQ_MOST_COMING]; /* those of the missing ones that are under a rule, where these matter */
    cq_need need;
} cq_arrival;

/* Note a quota that is over its limit; whether it rejects, or CQ_TOO_DEEP. */
static inline int cq_note_over(cq_overs *overs, int64_t quota, int32_t control, int64_t enforcing)
{
    if (overs->count == CQ_MOST_OVERS)
        return CQ_TOO_DEEP;
    overs->found[overs->count].quota = (int32_t)quota;
    overs->found[overs->count++].control = control;
    return enforcing ? CQ_REJECTED : CQ_ROOM;
}

/* Ask for throughput, from the root down. */
static inline int cq_walk_rates(const cq_ledger *ledger, const cq_arrival *arrival, cq_overs *overs)
{
    const int32_t *chain = ledger->rates + (int64_t)ledger->quota_of[arrival->nearest] * ledger->rate_width;
    int found = CQ_ROOM;
    for (int64_t level = 0; level < ledger->rate_width && chain[level] != 0 && found == CQ_ROOM; level++)
        if (ledger->remaining[chain[level]] < arrival->points)
            found = cq_note_over(overs, chain[level], ledger->throughput, cq_is_enforcing(ledger, chain[level]));
    for (int64_t at = 0; at < arrival->coming_count && found == CQ_ROOM; at++) {
        int32_t rule = arrival->coming[at].rule;
        if (ledger->rule_throughput[rule] < arrival->points)
            return CQ_TOO_DEEP; /* it may have to come all the same, to be granted more */
    }
    return found;
}

static inline void cq_gain(const cq_ledger *ledger, cq_need *need, int64_t gained)
{
    need->least[ledger->namespaces] = need->most[ledger->namespaces] = gained;
}

/* The quota above the one that holds a namespace, or 0. */
static inline int32_t cq_quota_above(const cq_ledger *ledger, int32_t namespace_row)
{
    int32_t parent = ledger->parent[namespace_row];
    return parent < 0 ? 0 : ledger->quota_of[parent];
}

/* Ask for what is held, from the root down. */
static inline int cq_walk_capacities(const cq_ledger *ledger, cq_arrival *arrival, cq_overs *overs)
{
    int64_t gaining = cq_gaining(ledger, arrival->nearest, !arrival->own), levels = 0;
    int32_t chain[CQ_MOST_OVERS];
    int found = CQ_ROOM;
    for (int32_t quota = ledger->quota_of[arrival->nearest]; quota != 0;
         quota = cq_quota_above(ledger, ledger->held[quota])) {
        if (levels == CQ_MOST_OVERS)
            return CQ_TOO_DEEP;
        chain[levels++] = quota;
    }
    while (levels > 0 && found == CQ_ROOM) {
        int32_t quota = chain[--levels], row = ledger->held[quota];
        cq_gain(ledger, &arrival->need, row == gaining);
        int32_t over = cq_first_over(ledger, ledger->rule[quota], row, &arrival->need);
        if (over == CQ_UNSIZED)
            return CQ_WANTS_SIZE;
        if (over >= 0)
            found = cq_note_over(overs, quota, over, cq_is_enforcing(ledger, quota));
    }
    cq_gain(ledger, &arrival->need, 0);
    for (int64_t at = 0; at < arrival->coming_count && found == CQ_ROOM; at++) {
        int32_t over = cq_first_over(ledger, arrival->coming[at].rule, -1, &arrival->need);
        if (over == CQ_UNSIZED)
            return CQ_WANTS_SIZE;
        if (over >= 0)
            found = cq_note_over(overs, ~at, over, ledger->rule_enforcing[arrival->coming[at].rule]);
    }
    return found;
}

/* Ask all quotas above a new metric, those of missing namespaces too: throughput first, then what is held. Nothing is
 * counted; `overs` has those that are over, of which the last one rejects if any does. Its size may be wanted first. */
static inline int cq_walk(const cq_ledger *ledger, cq_arrival *arrival, cq_overs *overs)
{
    overs->count = 0;
    int found = cq_walk_rates(ledger, arrival, overs);
    return found == CQ_ROOM ? cq_walk_capacities(ledger, arrival, overs) : found;
}

/* Count points of a rejected metric at a namespace that does not exist. */
static inline void cq_over_absent(cq_ledger *ledger, const cq_arrival *arrival, const cq_coming *coming, int32_t control)
{
    const cq_keys *keys = ledger->absent.names->keys;
    int is_hashed = coming->path == arrival->path && keys == ledger->series->names->keys;
    uint64_t hash = is_hashed ? arrival->hash : cq_hash(keys, arrival->name, coming->path, arrival->end);
    int64_t row = cq_absent_row(&ledger->absent, hash, arrival->name, coming->path);
    if (row < 0)
        return;
    cq_add(&ledger->absent.throttle[row], arrival->points);
    if (ledger->rule_enforcing[coming->rule])
        cq_add(&ledger->absent.dropped[control][row], arrival->points);
}

/* Count points at each quota that they are over. */
static inline void cq_count_overs(cq_ledger *ledger, const cq_arrival *arrival, const cq_overs *overs)
{
    for (int64_t at = 0; at < overs->count; at++) {
        int32_t quota = overs->found[at].quota;
        if (quota < 0)
            quota = arrival->coming[~quota].quota > 0 ? arrival->coming[~quota].quota : quota;
        if (quota >= 0)
            cq_over(ledger, quota, overs->found[at].control, arrival->points);
        else
            cq_over_absent(ledger, arrival, &arrival->coming[~quota], overs->found[at].control);
    }
}

/* Whether the root's sums can take so much more. */
static inline int cq_can_hold(const cq_ledger *ledger, const int64_t *amounts)
{
    for (int control = 0; control < CQ_CAPACITIES; control++)
        if (ledger->used[control][0] > INT64_MAX - amounts[control])
            return 0;
    return 1;
}

/* Count one more metric at a namespace and at all above it. */
static inline void cq_hold(cq_ledger *ledger, int64_t namespace_row, const int64_t *amounts)
{
    int was_empty = 0;
    for (; namespace_row >= 0; namespace_row = ledger->parent[namespace_row]) {
        int64_t gained = was_empty;
        was_empty = ledger->used[ledger->metrics][namespace_row] == 0;
        for (int control = 0; control < CQ_CAPACITIES; control++)
            if (control != ledger->namespaces && amounts[control] != 0)
                ledger->used[control][namespace_row] += amounts[control];
        if (gained)
            ledger->used[ledger->namespaces][namespace_row]++;
    }
}

/* Have it be known what a new metric adds, as far as its size is. */
static inline void cq_note_need(const cq_ledger *ledger, int32_t size, cq_need *need)
{
    const cq_size *least = size > 0 ? &ledger->sizes[size - 1] : &ledger->least;
    const cq_size *most = size > 0 ? least : &ledger->most;
    memcpy(need->least, least->amounts, sizeof(need->least));
    memcpy(need->most, most->amounts, sizeof(need->most));
    need->is_open = size == 0 && !(ledger->sizes_are_bounded && cq_can_hold(ledger, need->most));
}

/* The size of a new metric, as far as it is known: of itself, or of all below its namespace. */
static inline int32_t cq_known_size(cq_ledger *ledger, const cq_fate *fate, int64_t namespace_row)
{
    if (fate->size > 0 || !ledger->sizes_by_namespace)
        return fate->size;
    cq_space *space = cq_space_at(ledger->series->names, namespace_row);
    if (space->revision != ledger->revision)
        cq_keep_chain(ledger, space, namespace_row);
    return space->size > CQ_SIZES_DIFFER ? space->size - CQ_SIZES_DIFFER : 0;
}

static inline uint64_t *cq_bucket_of_sizes(const cq_ledger *ledger, uint64_t hash)
{
    return ledger->remembered + CQ_WAYS * (hash % CQ_REMEMBERED);
}

/* The size that a name was rejected with, or 0. */
static inline int32_t cq_remembered_size(const cq_ledger *ledger, uint64_t hash)
{
    if (ledger->remembered == NULL)
        return 0;
    const uint64_t *bucket = cq_bucket_of_sizes(ledger, hash);
    for (uint64_t match = cq_ways_of(bucket, hash >> 32); match != 0; match &= match - 1) {
        uint64_t found = bucket[cq_first_bit(match)];
        if (found / CQ_REMEMBERED == hash / CQ_REMEMBERED)
            return (int32_t)(found % CQ_REMEMBERED);
    }
    return 0;
}

/* Remember the size that a name was rejected with, if there is memory for that. */
static inline void cq_remember_size(cq_ledger *ledger, uint64_t hash, int32_t size)
{
    if ((uint64_t)size >= CQ_REMEMBERED ||
        (ledger->remembered == NULL &&
         (ledger->remembered = cq_allocate(CQ_REMEMBERED * CQ_WAYS * sizeof(uint64_t))) == NULL))
        return;
    uint64_t *bucket = cq_bucket_of_sizes(ledger, hash);
    int way = cq_first_free(bucket);
    bucket[way < CQ_WAYS ? way : (int)(hash >> 61)] = hash / CQ_REMEMBERED * CQ_REMEMBERED + (uint64_t)size;
}

static inline void cq_forget_remembered(cq_ledger *ledger)
{
    if (ledger->remembered != NULL)
        cq_release(ledger->remembered, CQ_REMEMBERED * CQ_WAYS * sizeof(uint64_t));
    ledger->remembered = NULL;
}

/* Whether a name may be one that the store has no file for. With tags it is a file's name as a whole, each dot in five
 * bytes, below three folders; some have another that only Python can tell. */
static inline int cq_may_have_no_file(const cq_ledger *ledger, const unsigned char *name, int64_t length)
{
    int64_t prefix = ledger->prefix_length, dot;
    if (ledger->sure_length >= CQ_LONGEST_NAME)
        return 0;
    if (memchr(name, ';', (size_t)length) != NULL)
        return length + 4 * cq_count_dots(name, length) + 24 > ledger->sure_length ||
               memchr(name, '/', (size_t)length) != NULL;
    return length > ledger->sure_length || !cq_is_plain_name(name, length, &dot) ||
           (prefix > 0 && length >= prefix && memcmp(name, ledger->doubtful_prefix, (size_t)prefix) == 0);
}

/* Find out where a line's new metric would lie; whether its name has a normal form and may have a file, so that this can
 * be told. */
static inline int cq_locate(const cq_ledger *ledger, const cq_deciding *deciding, int64_t at, cq_arrival *arrival)
{
    cq_batch *batch = deciding->lines;
    cq_line *line = &batch->lines[at];
    if (!cq_is_normal(batch, line))
        return 0;
    arrival->name = cq_name_of(batch, line, &arrival->length);
    if (cq_may_have_no_file(ledger, arrival->name, arrival->length))
        return 0;
    int is_known = line->known == line->path && batch->removed == ledger->series->names->removed;
    arrival->hash = is_known ? 0 : cq_hash_of_path(ledger->series->names, deciding, at);
    cq_place_again(ledger->series->names, batch, line, arrival->hash);
    arrival->end = cq_end_of_names(batch, line);
    arrival->path = line->path;
    arrival->known = line->known;
    arrival->nearest = line->namespace_row;
    arrival->own = line->known == line->path;
    arrival->points = cq_points_of(deciding, at);
    arrival->coming_count = 0;
    return 1;
}

/* Find the rules of the namespaces that are missing above it, if these may matter; whether that was possible. */
static inline int cq_foresee_coming(cq_ledger *ledger, cq_arrival *arrival)
{
    /* A single point passes a limit of one; several may not. */
    return arrival->own || (!ledger->some_reject_alone && arrival->points == 1) ||
           cq_foresee(ledger->matcher, ledger->state[arrival->nearest], arrival->name, arrival->known, arrival->path,
                      arrival->coming, &arrival->coming_count, &ledger->wanted) == CQ_FORESEEN;
}

static inline int64_t cq_length_of_chain(const int32_t *chain, int64_t width)
{
    int64_t length = 0;
    while (length < width && chain[length] != 0)
        length++;
    return length;
}

/* Write a number where another is. Zeros are not written over zeros, as that would take memory. */
static inline void cq_put(int32_t *place, int32_t number)
{
    if (*place != number)
        *place = number;
}

/* Write a chain and, where `own` tells so, one quota more. */
static inline void cq_put_chain(int32_t *chains, int64_t width, int64_t above, int64_t quota, int own)
{
    const int32_t *upper = chains + above * width;
    int32_t *chain = chains + quota * width;
    int64_t length = 0;
    for (; length < width && upper[length] != 0; length++)
        chain[length] = upper[length];
    if (own)
        chain[length++] = (int32_t)quota;
    for (; length < width; length++)
        cq_put(&chain[length], 0);
}

/* A quota on a namespace, by a rule, below another quota. To be called where there is room. */
static inline int64_t cq_create_quota(cq_ledger *ledger, int64_t namespace_row, int64_t rule, int64_t above)
{
    int64_t quota = cq_take_row(&ledger->quota_rows);
    ledger->held[quota] = (int32_t)namespace_row;
    ledger->rule[quota] = (int32_t)rule;
    if (ledger->rule_metered[rule]) /* else no memory is taken for what nobody reads */
        ledger->limit[quota] = ledger->remaining[quota] = ledger->rule_throughput[rule];
    ledger->named[quota] = (int32_t)-(++ledger->quota_rows.meter[2]);
    cq_put_chain(ledger->rates, ledger->rate_width, above, quota, ledger->rule_metered[rule] != 0);
    return quota;
}

/* A namespace below another, its quota not set yet; -1 where there is no memory. To be called where there is room. */
static inline int64_t cq_create_namespace(
    cq_ledger *ledger, const unsigned char *name, int64_t length, uint64_t hash, int64_t parent)
{
    cq_names *names = ledger->series->names;
    cq_rows *rows = &ledger->namespace_rows;
    int64_t row = rows->meter[1] > 0 ? rows->free[rows->meter[1] - 1] : rows->meter[0];
    if (cq_insert_name(names, hash, name, length, row) != 0)
        return -1;
    cq_take_row(rows);
    int64_t lag = ++rows->meter[2] - (row + 1);
    if (ledger->lag[row] != lag) /* else no memory is taken, as long as no row is given twice */
        ledger->lag[row] = lag;
    ledger->parent[row] = (int32_t)parent;
    ledger->child_count[parent]++;
    return row;
}

/* How many of the rules of missing namespaces have a throughput limit. */
static inline int64_t cq_count_metered(const cq_ledger *ledger, const cq_arrival *arrival)
{
    int64_t metered = 0;
    for (int64_t at = 0; at < arrival->coming_count; at++)
        metered += ledger->rule_metered[arrival->coming[at].rule] != 0;
    return metered;
}

/* Whether there is room for all that is missing above a metric. */
static inline int cq_can_create(const cq_ledger *ledger, const cq_arrival *arrival)
{
    int64_t quota = ledger->quota_of[arrival->nearest], levels = 1;
    for (uint32_t at = arrival->known + 1; at < arrival->path; at++)
        levels += arrival->name[at] == '.';
    const int32_t *rates = ledger->rates + quota * ledger->rate_width;
    return cq_rows_remaining(&ledger->namespace_rows) >= levels &&
           cq_rows_remaining(&ledger->quota_rows) >= arrival->coming_count &&
           cq_length_of_chain(rates, ledger->rate_width) + cq_count_metered(ledger, arrival) <= ledger->rate_width;
}

/* Have it be known of a new namespace what size new metrics have there, if all below its parent have one. */
static inline void cq_inherit_size(cq_ledger *ledger, int64_t parent, int64_t row)
{
    const cq_space *above = cq_space_at(ledger->series->names, parent);
    cq_space *space = cq_space_at(ledger->series->names, row);
    if (above->revision != ledger->revision || above->size <= CQ_SIZES_DIFFER)
        return;
    cq_keep_chain(ledger, space, row);
    space->size = above->size;
}

/* Create what is missing above a metric, each namespace under its rule; whether that was possible. */
static inline int cq_create_missing(cq_ledger *ledger, cq_arrival *arrival)
{
    cq_reached reached;
    if (!ledger->some_reject_alone &&
        cq_foresee(ledger->matcher, ledger->state[arrival->nearest], arrival->name, arrival->known, arrival->path,
                   arrival->coming, &arrival->coming_count, &ledger->wanted) != CQ_FORESEEN)
        return 0;
    if (!cq_can_create(ledger, arrival))
        return 0;
    for (int64_t coming = 0; arrival->known < arrival->path;) {
        uint32_t start = arrival->known + (arrival->known > 0);
        uint32_t end = start + (uint32_t)cq_next_separator_of_parts(arrival->name + start, arrival->path - start, 0);
        cq_found found = {0, -1};
        int64_t state = ledger->state[arrival->nearest];
        if (state != 0)
            found = ledger->matcher->steps[cq_step(
                ledger->matcher, state, arrival->name + start, end - start, &reached)].found;
        uint64_t hash = arrival->hash;
        if (end < arrival->path)
            hash = cq_hash(ledger->series->names->keys, arrival->name, end, arrival->end);
        int64_t row = cq_create_namespace(ledger, arrival->name, end, hash, arrival->nearest);
        if (row < 0)
            return 0;
        cq_put(&ledger->state[row], found.state);
        cq_put(&ledger->quota_of[row], ledger->quota_of[arrival->nearest]);
        if (found.rule >= 0) {
            ledger->quota_of[row] = (int32_t)cq_create_quota(ledger, row, found.rule, ledger->quota_of[row]);
            arrival->coming[coming++].quota = (int32_t)ledger->quota_of[row];
        }
        cq_inherit_size(ledger, arrival->nearest, row);
        arrival->nearest = row;
        arrival->known = end;
    }
    arrival->own = 1;
    return 1;
}

/* Put a new metric into the table and charge it everywhere; its row, or -1 where there is no memory. */
static inline int64_t cq_take_in(cq_ledger *ledger, const cq_arrival *arrival, uint64_t hash, int32_t size_number)
{
    int64_t leaf = arrival->path + (arrival->path > 0);
    int64_t row = cq_insert_series(
        ledger->series, hash, arrival->nearest, arrival->name + leaf, arrival->length - leaf);
    if (row < 0)
        return -1;
    const int32_t *chain = ledger->rates + (int64_t)ledger->quota_of[arrival->nearest] * ledger->rate_width;
    cq_charge(ledger, chain, ledger->rate_width, arrival->points);
    cq_hold(ledger, arrival->nearest, arrival->need.least);
    if (ledger->size_number[row] != size_number) /* else no memory is taken where it is 0 */
        ledger->size_number[row] = size_number;
    if (ledger->seen != NULL)
        ledger->seen[row] = ledger->now;
    return row;
}

static inline void cq_reject(cq_deciding *deciding, int64_t at, int32_t quota, int32_t control)
{
    deciding->fates[at].quota = quota;
    deciding->fates[at].control = control;
    deciding->rejected++;
    cq_add(&deciding->dropped, cq_points_of(deciding, at));
}

#define CQ_FIRST_ABSENT -2 /* stands for the quota of rule 0 at a namespace that does not exist; those of others below */

/* Reject a new metric by the last of what it is over. */
static inline void cq_reject_new(
    cq_ledger *ledger, const cq_arrival *arrival, const cq_overs *overs, cq_deciding *deciding, int64_t at)
{
    int32_t quota = overs->found[overs->count - 1].quota;
    if (quota < 0)
        quota = CQ_FIRST_ABSENT - arrival->coming[~quota].rule;
    cq_count_overs(ledger, arrival, overs);
    cq_reject(deciding, at, quota, overs->found[overs->count - 1].control);
}

/* Put a new metric that nothing rejects into the table, with the namespaces that it brings; whether that was possible. */
static inline int cq_accept_new(
    cq_ledger *ledger, cq_arrival *arrival, const cq_overs *overs, cq_deciding *deciding, int64_t at)
{
    cq_line *line = &deciding->lines->lines[at];
    cq_fate *fate = &deciding->fates[at];
    if (!arrival->own && !cq_create_missing(ledger, arrival))
        return 0;
    int64_t row = cq_take_in(ledger, arrival, line->hash, ledger->sizes[fate->size - 1].number);
    if (row < 0)
        return 0;
    cq_count_overs(ledger, arrival, overs);
    line->row = row;
    fate->control = CQ_CREATED;
    deciding->creates_remaining--;
    deciding->created++;
    cq_add(&deciding->accepted, arrival->points);
    return 1;
}

/* Whether a new metric, which is held back, is rejected at once: by a limit of what is held that is reached here. */
static inline int cq_is_full(const cq_ledger *ledger, const cq_overs *overs)
{
    return overs->found[overs->count - 1].control != ledger->throughput;
}

/* Decide on points of a metric that is not in the table; whether that was possible. Below 0, `creates_remaining` says that new
 * metrics are held back. */
static inline int cq_decide_new(cq_ledger *ledger, cq_deciding *deciding, int64_t at)
{
    cq_fate *fate = &deciding->fates[at];
    uint64_t hash = deciding->lines->lines[at].hash;
    cq_arrival arrival;
    cq_overs overs;
    if (!cq_locate(ledger, deciding, at, &arrival))
        return 0;
    int is_held = deciding->creates_remaining < 0;
    if (deciding->creates_remaining == 0) {
        cq_reject(deciding, at, -1, ledger->creates);
        return 1;
    }
    int32_t size = cq_known_size(ledger, fate, arrival.nearest), remembered = 0;
    if (size == 0 && !is_held)
        remembered = cq_remembered_size(ledger, hash);
    cq_note_need(ledger, size > 0 ? size : remembered, &arrival.need);
    int found = cq_foresee_coming(ledger, &arrival) ? cq_walk(ledger, &arrival, &overs) : CQ_TOO_DEEP;
    if (remembered > 0 && found == CQ_ROOM) {
        /* Who is taken in is asked about: what is remembered may be old. */
        cq_note_need(ledger, 0, &arrival.need);
        found = cq_walk(ledger, &arrival, &overs);
    }
    if (is_held && found != CQ_TOO_DEEP && !(found == CQ_REJECTED && cq_is_full(ledger, &overs))) {
        cq_reject(deciding, at, -1, ledger->creates);
        return 1;
    }
    if (size == 0 && (found == CQ_WANTS_SIZE || found == CQ_ROOM)) {
        if (deciding->ask == NULL || (size = deciding->ask(deciding->owner, at, arrival.nearest)) == 0)
            return 0;
        cq_note_need(ledger, size, &arrival.need);
        if (found == CQ_WANTS_SIZE && (found = cq_walk(ledger, &arrival, &overs)) == CQ_REJECTED)
            cq_remember_size(ledger, hash, size);
    }
    if (size + remembered > 0 && !cq_can_hold(ledger, arrival.need.least))
        return 0;
    if (found == CQ_REJECTED) {
        cq_reject_new(ledger, &arrival, &overs, deciding, at);
        return 1;
    }
    if (found == CQ_TOO_DEEP || deciding->ask == NULL || ledger->series->size >= ledger->rows)
        return 0;
    fate->size = size;
    return cq_accept_new(ledger, &arrival, &overs, deciding, at);
}

/* Decide on a line; whether that was possible. */
static inline int cq_decide_line(cq_ledger *ledger, cq_deciding *deciding, int64_t at)
{
    cq_line *line = &deciding->lines->lines[at];
    if (line->row == CQ_UNKNOWN && !cq_find_late(ledger->series, deciding->lines, line))
        return cq_decide_new(ledger, deciding, at);
    if (line->row >= 0) {
        int64_t points = cq_points_of(deciding, at);
        int32_t rejecter = cq_take_known(ledger, line->row, line->namespace_row, points);
        if (rejecter == 0)
            cq_add(&deciding->accepted, points);
        else
            cq_reject(deciding, at, rejecter, ledger->throughput);
        return 1;
    }
    deciding->malformed += line->row < CQ_BLANK && line->row > CQ_DOUBT;
    return line->row != CQ_DOUBT;
}

/* The lowest quota of a flow chain that is kept with a namespace, or 0 where none is. */
static inline int32_t cq_lowest(const cq_ledger *ledger, uint32_t namespace_row)
{
    const cq_space *space = cq_space_at(ledger->series->names, namespace_row);
    int kept = space->revision == ledger->revision && space->levels > 0 && space->levels <= CQ_LEVELS;
    return kept ? space->chain[space->levels - 1] : 0;
}

/* Bring what the decisions on known series will read near, for a group of lines: what belongs to the lowest quotas, as
 * there are many of these, while those above are near anyway. */
static inline void cq_fetch_group(const cq_ledger *ledger, const cq_line *lines, int64_t count, int some_rejected)
{
    __asm__ volatile(""); /* for GCC drops calls of functions that do nothing but prefetch */
    for (int64_t at = 0; at < count; at++)
        if (lines[at].row >= 0)
            cq_prefetch(&ledger->remaining[cq_lowest(ledger, lines[at].namespace_row)]);
    if (!some_rejected)
        return;
    for (int64_t at = 0; at < count; at++) {
        int32_t quota = lines[at].row < 0 ? 0 : cq_lowest(ledger, lines[at].namespace_row);
        if (ledger->remaining[quota] <= 0) {
            cq_prefetch(&ledger->rule[quota]);
            cq_prefetch(&ledger->throttle[quota]);
            cq_prefetch(&ledger->dropped[ledger->throughput][quota]);
        }
    }
}

/* Bring the places near at which new metrics, and their namespaces where these are missing, are looked for and put. */
static inline void cq_fetch_new(const cq_ledger *ledger, cq_deciding *deciding, int64_t first, int64_t count)
{
    const cq_batch *batch = deciding->lines;
    cq_names *names = ledger->series->names;
    cq_block *series = cq_current(&ledger->series->slots), *spaces = cq_current(&names->slots);
    __asm__ volatile("");
    deciding->hashed = first;
    for (int64_t at = first; at < first + count; at++) {
        const cq_line *line = &batch->lines[at];
        uint64_t *path = &deciding->paths[at - first];
        *path = 0;
        if (line->row != CQ_UNKNOWN)
            continue;
        int64_t length;
        cq_prefetch(cq_bucket(series, line->hash));
        if (ledger->remembered != NULL)
            cq_prefetch(cq_bucket_of_sizes(ledger, line->hash));
        if (line->known != line->path) {
            const unsigned char *name = cq_name_of(batch, line, &length);
            *path = cq_hash(names->keys, name, line->path, cq_end_of_names(batch, line));
            cq_prefetch(cq_bucket(spaces, *path));
        }
    }
}

/* Decide on the lines from this one on; the first that could not be, or the number of lines. */
static inline int64_t cq_decide(cq_ledger *ledger, cq_deciding *deciding, int64_t at)
{
    const cq_batch *batch = deciding->lines;
    for (; at < batch->count; at++) {
        if (at % CQ_GROUP == 0) {
            int64_t count = batch->count - at < CQ_GROUP ? batch->count - at : CQ_GROUP;
            cq_fetch_group(ledger, batch->lines + at, count, deciding->rejected > 0);
            if (deciding->ask != NULL)
                cq_fetch_new(ledger, deciding, at, count);
        }
        if (!cq_decide_line(ledger, deciding, at))
            return at;
    }
    return at;
}

#endif
