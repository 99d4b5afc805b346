/* The decision on points, one after the other, over the columns of namespaces and quotas.
 *
 * Theory of operation. Columns belong to their Python owners, who bind them here anew whenever they move. A point of a
 * known series is asked for and charged at each quota of its flow chain. A point of a new metric in a namespace that is
 * there is asked for at the flows, then at the stocks, and then put into the table and charged everywhere. Every line
 * is decided in its turn, so a batch is what its lines are one by one. What needs more than columns (a namespace
 * to be created, a name that is not plain) is left to the caller, who goes on with the line after it.
 *
 * Only the thread that holds the owner's lock may be here. Amounts are of int64; what could pass 2^63 - 1 stops there.
 */
#ifndef CARBONQUOTA_LEDGER_H
#define CARBONQUOTA_LEDGER_H

#include "_lines.h"

#define CQ_CONTROLS 6
#define CQ_STOCKS 5
#define CQ_LONGEST_PREFIX 64

typedef struct {
    cq_series *series;
    /* by namespace row */
    int64_t *quota_of, *parent, *used[CQ_CONTROLS]; /* `used` by control, of the stocks only */
    /* by quota row */
    int64_t *held, *rule, *left, *limit, *enforcing, *throttle, *dropped[CQ_CONTROLS];
    int32_t *flows, *stocks; /* chains, root first, with 0 behind them */
    int64_t flow_width, stock_width;
    /* by rule, `CQ_CONTROLS` side by side */
    int64_t *limits;
    /* by series row, as far as `rows`; `seen` may be NULL */
    int64_t rows;
    int32_t *size_number;
    uint32_t *seen;
    uint32_t now;
    int32_t order[CQ_STOCKS]; /* in which the stocks are asked */
    int32_t namespaces, metrics, logical_size, physical_size, data_points, throughput, creates; /* numbers */
    uint32_t generation; /* of the columns: chains kept with namespaces are of one */
    int64_t sure_length; /* bytes up to which a plain name can be stored, unless it begins with the prefix */
    unsigned char doubtful_prefix[CQ_LONGEST_PREFIX];
    int32_t prefix_length;
    int32_t some_forbid_all; /* whether a rule allows no point at all, so that missing namespaces matter */
} cq_ledger;

/* What a metric may be counted with, and the number that its owner has for it. */
typedef struct {
    int64_t logical, physical, data_points;
    int32_t number;
} cq_size;

/* What was decided on a line. */
typedef struct {
    int32_t quota; /* that rejects it, or 0 */
    int32_t control; /* by which, or CQ_CREATED */
    int32_t size; /* which one of the batch's sizes, from 1 on, a new metric has; 0 where it is not known */
} cq_fate;

enum { CQ_CREATED = -2 };     /* stands for a control where the line brought its metric into the table */
enum { CQ_SIZE_WANTED = -1 }; /* stands for a size where the decision has stopped for it */

/* A batch and what it came to so far: counts of points, of malformed lines and of metrics. */
typedef struct {
    cq_batch *lines;
    cq_fate *fates; /* a line each */
    const int64_t *points; /* a line each, or NULL where each line is one */
    cq_size *sizes;
    int64_t rejected; /* lines */
    int64_t accepted, dropped, malformed, created, creates_left;
} cq_deciding;

static inline int64_t cq_points_of(const cq_deciding *deciding, int64_t at)
{
    return deciding->points == NULL ? 1 : deciding->points[at];
}

/* What became of the walk over the quotas above a new metric. */
enum { CQ_ROOM, CQ_REJECTED, CQ_WANTS_SIZE, CQ_TOO_DEEP };

#define CQ_MOST_OVERS 512

/* The quotas that a new metric is over, in the order of asking, and by which control each. */
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

/* Count an offer over a quota's limit; whether it is thereby rejected. */
static inline int cq_over(cq_ledger *ledger, int32_t quota, int32_t control, int64_t points)
{
    cq_add(&ledger->throttle[quota], points);
    if (!ledger->enforcing[quota])
        return 0;
    cq_add(&ledger->dropped[control][quota], points);
    return 1;
}

/* The first quota of a flow chain that rejects, or 0. Charges nothing. */
static inline int32_t cq_ask_flows(cq_ledger *ledger, const int32_t *chain, int64_t width, int64_t points)
{
    for (int64_t level = 0; level < width && chain[level] != 0; level++)
        if (ledger->left[chain[level]] < points && cq_over(ledger, chain[level], ledger->throughput, points))
            return chain[level];
    return 0;
}

static inline void cq_charge(cq_ledger *ledger, const int32_t *chain, int64_t width, int64_t points)
{
    for (int64_t level = 0; level < width && chain[level] != 0; level++) {
        int32_t quota = chain[level];
        int64_t least = ledger->limit[quota] - INT64_MAX; /* so that what is used stays below 2^63 */
        int64_t left = ledger->left[quota];
        ledger->left[quota] = left < least + points ? least : left - points;
    }
}

/* Keep the flow chain of a namespace with it, if it is not too long. */
static inline void cq_keep_chain(cq_ledger *ledger, cq_space *space, int64_t namespace_row)
{
    const int32_t *chain = ledger->flows + ledger->quota_of[namespace_row] * ledger->flow_width;
    int64_t levels = 0;
    for (; levels < ledger->flow_width && chain[levels] != 0 && levels <= CQ_LEVELS; levels++)
        if (levels < CQ_LEVELS)
            space->chain[levels] = chain[levels];
    space->levels = (uint8_t)levels;
    space->generation = ledger->generation;
}

/* Ask the flows of a namespace, and charge them where none rejects. */
static inline int32_t cq_take(cq_ledger *ledger, int64_t namespace_row, int64_t points)
{
    cq_space *space = cq_space_at(ledger->series->names, namespace_row);
    if (space->generation != ledger->generation)
        cq_keep_chain(ledger, space, namespace_row);
    const int32_t *chain = space->chain;
    int64_t width = space->levels, level = 0;
    if (width > CQ_LEVELS) {
        chain = ledger->flows + ledger->quota_of[namespace_row] * ledger->flow_width;
        while (width < ledger->flow_width && chain[width] != 0)
            width++;
    }
    while (level < width && ledger->left[chain[level]] >= points)
        level++;
    if (level == width) {
        for (level = 0; level < width; level++)
            ledger->left[chain[level]] -= points;
        return 0;
    }
    int32_t rejecter = cq_ask_flows(ledger, chain, width, points);
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

#define CQ_DISTINCT 200 /* bytes up to which a namespace's name is not cut in stats */

/* The nearest namespace above a plain name whose last dot is at `dot`; and whether it is the metric's own. */
static inline int64_t cq_nearest(const cq_ledger *ledger, const unsigned char *name, int64_t dot, int *own)
{
    cq_names *names = ledger->series->names;
    *own = 1;
    while (dot > 0) {
        uint64_t hash = cq_hash(names->keys, name, dot, name + dot);
        int64_t row = cq_find_name(names, hash, name, dot);
        if (row >= 0)
            return row;
        *own = 0;
        for (dot--; dot > 0 && name[dot] != '.'; dot--)
            ;
    }
    return 0;
}

/* Whether a namespace can be asked for this much more of a control without passing its limit. */
static inline int cq_has_room(const cq_ledger *ledger, int32_t quota, int32_t control, int64_t needed)
{
    int64_t limit = ledger->limits[ledger->rule[quota] * CQ_CONTROLS + control];
    return ledger->used[control][ledger->held[quota]] <= limit - needed;
}

/* Points of a metric that is not in the table. */
typedef struct {
    const unsigned char *name; /* in normal form */
    int64_t length;
    int64_t dot; /* the last one before tags, or -1 */
    int64_t nearest; /* the namespace above it that is there */
    int own; /* whether that is the metric's own */
    int64_t points;
    int64_t needed[CQ_CONTROLS]; /* of what is held, but for namespaces */
} cq_arrival;

static inline int cq_is_size(const cq_ledger *ledger, int32_t control)
{
    return control == ledger->logical_size || control == ledger->physical_size || control == ledger->data_points;
}

/* The first control over which what is needed would bring a quota's namespace, or -1. Without sizes
 * (`sized` being 0) a limit of one, asked in its turn, gives CQ_UNSIZED. */
#define CQ_UNSIZED -3

static inline int32_t cq_first_over(
    const cq_ledger *ledger, int32_t quota, const cq_arrival *arrival, int64_t gains, int sized)
{
    for (int64_t turn = 0; turn < CQ_STOCKS; turn++) {
        int32_t control = ledger->order[turn];
        if (!sized && cq_is_size(ledger, control)) {
            if (ledger->limits[ledger->rule[quota] * CQ_CONTROLS + control] != INT64_MAX)
                return CQ_UNSIZED;
        } else if (!cq_has_room(ledger, quota, control, control == ledger->namespaces ? gains : arrival->needed[control])) {
            return control;
        }
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

/* Note a quota that is over its limit; whether it rejects, or CQ_TOO_DEEP. */
static inline int cq_note_over(const cq_ledger *ledger, cq_overs *overs, int32_t quota, int32_t control)
{
    if (overs->count == CQ_MOST_OVERS)
        return CQ_TOO_DEEP;
    overs->found[overs->count].quota = quota;
    overs->found[overs->count++].control = control;
    return ledger->enforcing[quota] ? CQ_REJECTED : CQ_ROOM;
}

/* Ask all quotas from the root down to this one about a new metric: throughput first, then what is held. Nothing is
 * counted; `overs` has those that are over, of which the last one rejects if any does. `gaining` is the namespace that
 * would gain a sub-namespace. Where the size is not known yet (`sized` being 0) and a limit of it is to be asked, it is
 * wanted. */
static inline int cq_walk(
    const cq_ledger *ledger, const cq_arrival *arrival, int64_t gaining, int sized, cq_overs *overs)
{
    int64_t quota = ledger->quota_of[arrival->nearest];
    const int32_t *chain = ledger->flows + quota * ledger->flow_width;
    int found = CQ_ROOM;
    overs->count = 0;
    for (int64_t level = 0; level < ledger->flow_width && chain[level] != 0 && found == CQ_ROOM; level++)
        if (ledger->left[chain[level]] < arrival->points)
            found = cq_note_over(ledger, overs, chain[level], ledger->throughput);
    chain = ledger->stocks + quota * ledger->stock_width;
    for (int64_t level = 0; level < ledger->stock_width && chain[level] != 0 && found == CQ_ROOM; level++) {
        int64_t gains = ledger->held[chain[level]] == gaining;
        int32_t over = cq_first_over(ledger, chain[level], arrival, gains, sized);
        if (over == CQ_UNSIZED)
            return CQ_WANTS_SIZE;
        if (over >= 0)
            found = cq_note_over(ledger, overs, chain[level], over);
    }
    return found;
}

/* Count points at each quota that they are over. */
static inline void cq_count_overs(cq_ledger *ledger, const cq_overs *overs, int64_t points)
{
    for (int64_t at = 0; at < overs->count; at++)
        cq_over(ledger, overs->found[at].quota, overs->found[at].control, points);
}

static inline int cq_can_hold(const cq_ledger *ledger, const int64_t *needed)
{
    return ledger->used[ledger->logical_size][0] <= INT64_MAX - needed[ledger->logical_size] &&
           ledger->used[ledger->physical_size][0] <= INT64_MAX - needed[ledger->physical_size] &&
           ledger->used[ledger->data_points][0] <= INT64_MAX - needed[ledger->data_points];
}

/* Count one more metric at a namespace and at all above it. */
static inline void cq_hold(cq_ledger *ledger, int64_t namespace_row, const int64_t *needed)
{
    int was_empty = 0;
    for (; namespace_row >= 0; namespace_row = ledger->parent[namespace_row]) {
        ledger->used[ledger->namespaces][namespace_row] += was_empty;
        was_empty = ledger->used[ledger->metrics][namespace_row] == 0;
        ledger->used[ledger->metrics][namespace_row]++;
        ledger->used[ledger->logical_size][namespace_row] += needed[ledger->logical_size];
        ledger->used[ledger->physical_size][namespace_row] += needed[ledger->physical_size];
        ledger->used[ledger->data_points][namespace_row] += needed[ledger->data_points];
    }
}

/* What a new metric of this size would add to a namespace, by control, where that gains no sub-namespace by it. */
static inline void cq_need(const cq_ledger *ledger, const cq_size *size, int64_t *needed)
{
    memset(needed, 0, CQ_CONTROLS * sizeof(*needed));
    needed[ledger->metrics] = 1;
    if (size == NULL)
        return;
    needed[ledger->logical_size] = size->logical;
    needed[ledger->physical_size] = size->physical;
    needed[ledger->data_points] = size->data_points;
}

/* Whether a name may be one that the store has no file for. */
static inline int cq_may_have_no_file(const cq_ledger *ledger, const unsigned char *name, int64_t length)
{
    int64_t prefix = ledger->prefix_length, dot;
    if (ledger->sure_length >= CQ_LONGEST_NAME)
        return 0;
    return length > ledger->sure_length || !cq_is_plain_name(name, length, &dot) ||
           (prefix > 0 && length >= prefix && memcmp(name, ledger->doubtful_prefix, (size_t)prefix) == 0);
}

/* Find out where a line's new metric would lie; whether its name is in normal form and has a file, so that this can be
 * told. */
static inline int cq_locate(const cq_ledger *ledger, const cq_deciding *deciding, int64_t at, cq_arrival *arrival)
{
    const cq_line *line = &deciding->lines->lines[at];
    if (!cq_is_normal(deciding->lines, line))
        return 0;
    arrival->name = cq_name_of(deciding->lines, line, &arrival->length);
    if (cq_may_have_no_file(ledger, arrival->name, arrival->length))
        return 0;
    arrival->dot = cq_last_dot(arrival->name, arrival->length);
    arrival->nearest = cq_nearest(ledger, arrival->name, arrival->dot, &arrival->own);
    arrival->points = cq_points_of(deciding, at);
    return 1;
}

/* Ask the quotas that are there about it. Without a size it is wanted where a limit of it is to be asked. */
static inline int cq_ask(const cq_ledger *ledger, cq_arrival *arrival, const cq_size *size, cq_overs *overs)
{
    int64_t gaining = cq_gaining(ledger, arrival->nearest, !arrival->own);
    cq_need(ledger, size, arrival->needed);
    return cq_walk(ledger, arrival, gaining, size != NULL, overs);
}

/* How long the name of the namespace is that is missing for a line's new metric, or 0. It is none where what is there
 * rejects the metric whatever its size, or where the namespace's name is cut in stats. */
static inline int64_t cq_missing(const cq_ledger *ledger, const cq_deciding *deciding, int64_t at, cq_arrival *arrival)
{
    cq_overs overs;
    if (deciding->lines->lines[at].row != CQ_UNKNOWN || !cq_locate(ledger, deciding, at, arrival))
        return 0;
    if (arrival->own || arrival->dot > CQ_DISTINCT || cq_ask(ledger, arrival, NULL, &overs) == CQ_REJECTED)
        return 0;
    return arrival->dot;
}

/* Put a new metric into the table and charge it everywhere; its row, or -1 where there is no memory. */
static inline int64_t cq_take_in(cq_ledger *ledger, const cq_arrival *arrival, uint64_t hash, int32_t size_number)
{
    int64_t leaf = arrival->dot + 1;
    int64_t row = cq_insert_series(
        ledger->series, hash, arrival->nearest, arrival->name + leaf, arrival->length - leaf);
    if (row < 0)
        return -1;
    const int32_t *chain = ledger->flows + ledger->quota_of[arrival->nearest] * ledger->flow_width;
    cq_charge(ledger, chain, ledger->flow_width, arrival->points);
    cq_hold(ledger, arrival->nearest, arrival->needed);
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

/* Decide on points of a metric that is not in the table; whether that was possible. Where its size is wanted first,
 * the line's fate says so. */
static inline int cq_decide_new(cq_ledger *ledger, cq_deciding *deciding, int64_t at)
{
    cq_fate *fate = &deciding->fates[at];
    const cq_size *size = fate->size <= 0 ? NULL : &deciding->sizes[fate->size - 1];
    cq_arrival arrival;
    cq_overs overs;
    if (!cq_locate(ledger, deciding, at, &arrival))
        return 0;
    if (deciding->creates_left <= 0) {
        cq_reject(deciding, at, -1, ledger->creates);
        return 1;
    }
    if (!arrival.own && ledger->some_forbid_all)
        return 0;
    int found = cq_ask(ledger, &arrival, size, &overs);
    if (size != NULL && !cq_can_hold(ledger, arrival.needed))
        return 0;
    if (found == CQ_REJECTED) {
        cq_count_overs(ledger, &overs, arrival.points);
        cq_reject(deciding, at, overs.found[overs.count - 1].quota, overs.found[overs.count - 1].control);
        return 1;
    }
    if (found == CQ_TOO_DEEP || (found == CQ_ROOM && !arrival.own) || ledger->series->size >= ledger->rows)
        return 0;
    if (size == NULL) {
        fate->size = CQ_SIZE_WANTED;
        return 0;
    }
    cq_line *line = &deciding->lines->lines[at];
    int64_t row = cq_take_in(ledger, &arrival, line->hash, size->number);
    if (row < 0)
        return 0;
    cq_count_overs(ledger, &overs, arrival.points);
    line->row = row;
    fate->control = CQ_CREATED;
    deciding->creates_left--;
    deciding->created++;
    cq_add(&deciding->accepted, arrival.points);
    return 1;
}

/* Decide on a line; whether that was possible. */
static inline int cq_decide_line(cq_ledger *ledger, cq_deciding *deciding, int64_t at)
{
    cq_line *line = &deciding->lines->lines[at];
    if (line->row == CQ_UNKNOWN) {
        int64_t length;
        const unsigned char *name = cq_name_of(deciding->lines, line, &length);
        int64_t row = cq_find_series(ledger->series, line->hash, name, length);
        if (row < 0)
            return cq_decide_new(ledger, deciding, at);
        line->row = row; /* an earlier line brought it */
        line->namespace_row = cq_record_at(ledger->series, row)->namespace_row;
    }
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
    int kept = space->generation == ledger->generation && space->levels > 0 && space->levels <= CQ_LEVELS;
    return kept ? space->chain[space->levels - 1] : 0;
}

/* Bring what the decisions on known series will read near, for a group of lines: what belongs to the lowest quotas, as
 * there are many of these, while those above are near anyway. */
static inline void cq_fetch_group(const cq_ledger *ledger, const cq_line *lines, int64_t count, int some_rejected)
{
    __asm__ volatile(""); /* for GCC drops calls of functions that do nothing but prefetch */
    for (int64_t at = 0; at < count; at++)
        if (lines[at].row >= 0)
            cq_prefetch(&ledger->left[cq_lowest(ledger, lines[at].namespace_row)]);
    if (!some_rejected)
        return;
    for (int64_t at = 0; at < count; at++) {
        int32_t quota = lines[at].row < 0 ? 0 : cq_lowest(ledger, lines[at].namespace_row);
        if (ledger->left[quota] <= 0) {
            cq_prefetch(&ledger->enforcing[quota]);
            cq_prefetch(&ledger->throttle[quota]);
            cq_prefetch(&ledger->dropped[ledger->throughput][quota]);
        }
    }
}

/* Decide on the lines from this one on; the first that could not be, or the number of lines. */
static inline int64_t cq_decide(cq_ledger *ledger, cq_deciding *deciding, int64_t from)
{
    const cq_batch *batch = deciding->lines;
    for (int64_t first = from; first < batch->count; first += CQ_GROUP) {
        int64_t count = batch->count - first < CQ_GROUP ? batch->count - first : CQ_GROUP;
        cq_fetch_group(ledger, batch->lines + first, count, deciding->rejected > 0);
        for (int64_t at = first; at < first + count; at++)
            if (!cq_decide_line(ledger, deciding, at))
                return at;
    }
    return batch->count;
}

#endif
