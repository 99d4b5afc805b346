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
    uint32_t era; /* of the columns: chains kept with namespaces are of one */
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

/* What a batch came to so far, in lines, and how many metrics may still be created. */
typedef struct {
    int64_t accepted, dropped, malformed, created, creates_left;
} cq_outcome;

#define CQ_CREATED -2 /* stands for the control of a line that brought its metric into the table */

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
    space->era = ledger->era;
}

/* Ask the flows of a namespace, and charge them where none rejects. */
static inline int32_t cq_take(cq_ledger *ledger, int64_t namespace_row, int64_t points)
{
    cq_space *space = cq_space_at(ledger->series->names, namespace_row);
    if (space->era != ledger->era)
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

static inline int cq_is_size(const cq_ledger *ledger, int32_t control)
{
    return control == ledger->logical_size || control == ledger->physical_size || control == ledger->data_points;
}

/* The first control over which what is needed would bring a quota's namespace, or -1. Without `needed` sizes
 * (`sized` being 0) a limit of one, asked in its turn, gives CQ_UNSIZED. */
#define CQ_UNSIZED -3

static inline int32_t cq_first_over(const cq_ledger *ledger, int32_t quota, const int64_t *needed, int sized)
{
    for (int64_t turn = 0; turn < CQ_STOCKS; turn++) {
        int32_t control = ledger->order[turn];
        if (!sized && cq_is_size(ledger, control)) {
            if (ledger->limits[ledger->rule[quota] * CQ_CONTROLS + control] != INT64_MAX)
                return CQ_UNSIZED;
        } else if (!cq_has_room(ledger, quota, control, needed[control])) {
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
    const cq_ledger *ledger, int64_t quota, int64_t gaining, int64_t *needed, int sized, cq_overs *overs)
{
    const int32_t *chain = ledger->flows + quota * ledger->flow_width;
    int found = CQ_ROOM;
    overs->count = 0;
    for (int64_t level = 0; level < ledger->flow_width && chain[level] != 0 && found == CQ_ROOM; level++)
        if (ledger->left[chain[level]] < 1)
            found = cq_note_over(ledger, overs, chain[level], ledger->throughput);
    chain = ledger->stocks + quota * ledger->stock_width;
    for (int64_t level = 0; level < ledger->stock_width && chain[level] != 0 && found == CQ_ROOM; level++) {
        needed[ledger->namespaces] = ledger->held[chain[level]] == gaining;
        int32_t over = cq_first_over(ledger, chain[level], needed, sized);
        if (over == CQ_UNSIZED)
            return CQ_WANTS_SIZE;
        if (over >= 0)
            found = cq_note_over(ledger, overs, chain[level], over);
    }
    return found;
}

/* Count one point at each quota that it is over. */
static inline void cq_count_overs(cq_ledger *ledger, const cq_overs *overs)
{
    for (int64_t at = 0; at < overs->count; at++)
        cq_over(ledger, overs->found[at].quota, overs->found[at].control, 1);
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

static inline void cq_reject(cq_line *line, int32_t quota, int32_t control, cq_outcome *outcome)
{
    line->quota = quota;
    line->control = control;
    outcome->dropped++;
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

/* A metric that is not in the table. */
typedef struct {
    const unsigned char *name;
    int64_t dot; /* its last one, or -1 */
    int64_t nearest; /* the namespace above it that is there */
    int own; /* whether that is the metric's own */
    int64_t needed[CQ_CONTROLS];
} cq_arrival;

/* Whether a plain name may be one that the store has no file for. */
static inline int cq_may_have_no_file(const cq_ledger *ledger, const unsigned char *name, int64_t length)
{
    int64_t prefix = ledger->prefix_length;
    return length > ledger->sure_length ||
           (prefix > 0 && length >= prefix && memcmp(name, ledger->doubtful_prefix, (size_t)prefix) == 0);
}

/* Find out where a line's new metric would lie; whether its name is plain, so that this can be told, and has a file. */
static inline int cq_locate(
    const cq_ledger *ledger, const unsigned char *text, const cq_line *line, cq_arrival *arrival)
{
    arrival->name = text + line->start;
    if (!cq_is_plain_name(arrival->name, line->name_length, &arrival->dot) ||
        cq_may_have_no_file(ledger, arrival->name, line->name_length))
        return 0;
    arrival->nearest = cq_nearest(ledger, arrival->name, arrival->dot, &arrival->own);
    return 1;
}

/* Ask the quotas that are there about it. Without a size it is wanted where a limit of it is to be asked. */
static inline int cq_ask(const cq_ledger *ledger, cq_arrival *arrival, const cq_size *size, cq_overs *overs)
{
    int64_t gaining = cq_gaining(ledger, arrival->nearest, !arrival->own);
    cq_need(ledger, size, arrival->needed);
    return cq_walk(ledger, ledger->quota_of[arrival->nearest], gaining, arrival->needed, size != NULL, overs);
}

/* How long the name of the namespace is that is missing for a line's new metric, or 0. It is none where what is there
 * rejects the metric whatever its size, or where the namespace's name is cut in stats. */
static inline int64_t cq_missing(const cq_ledger *ledger, const unsigned char *text, const cq_line *line)
{
    cq_arrival arrival;
    cq_overs overs;
    if (line->row != CQ_UNKNOWN || !cq_locate(ledger, text, line, &arrival))
        return 0;
    if (arrival.own || arrival.dot > CQ_DISTINCT || cq_ask(ledger, &arrival, NULL, &overs) == CQ_REJECTED)
        return 0;
    return arrival.dot;
}

/* Put a new metric into the table and charge it everywhere; whether that was possible. */
static inline int cq_accept_new(
    cq_ledger *ledger, const cq_arrival *arrival, cq_line *line, const cq_size *size, cq_outcome *outcome)
{
    int64_t leaf = arrival->dot + 1;
    int64_t row = cq_insert_series(
        ledger->series, line->hash, arrival->nearest, arrival->name + leaf, line->name_length - leaf);
    if (row < 0)
        return 0;
    cq_charge(ledger, ledger->flows + ledger->quota_of[arrival->nearest] * ledger->flow_width, ledger->flow_width, 1);
    cq_hold(ledger, arrival->nearest, arrival->needed);
    ledger->size_number[row] = size->number;
    if (ledger->seen != NULL)
        ledger->seen[row] = ledger->now;
    line->row = row;
    line->control = CQ_CREATED;
    outcome->creates_left--;
    outcome->created++;
    outcome->accepted++;
    return 1;
}

/* Decide on a point of a metric that is not in the table; whether that was possible. Where its size is wanted first,
 * the line says so. */
static inline int cq_decide_new(
    cq_ledger *ledger, const unsigned char *text, cq_line *line, const cq_size *sizes, cq_outcome *outcome)
{
    const cq_size *size = line->size < 0 ? NULL : &sizes[line->size];
    cq_arrival arrival;
    cq_overs overs;
    if (!cq_locate(ledger, text, line, &arrival))
        return 0;
    if (outcome->creates_left <= 0) {
        cq_reject(line, -1, ledger->creates, outcome);
        return 1;
    }
    if (!arrival.own && ledger->some_forbid_all)
        return 0;
    int found = cq_ask(ledger, &arrival, size, &overs);
    if (size != NULL && !cq_can_hold(ledger, arrival.needed))
        return 0;
    if (found == CQ_REJECTED) {
        cq_count_overs(ledger, &overs);
        cq_reject(line, overs.found[overs.count - 1].quota, overs.found[overs.count - 1].control, outcome);
        return 1;
    }
    if (found == CQ_TOO_DEEP || (found == CQ_ROOM && !arrival.own) || ledger->series->size >= ledger->rows)
        return 0;
    if (size == NULL) {
        line->size = CQ_SIZE_WANTED;
        return 0;
    }
    if (!cq_accept_new(ledger, &arrival, line, size, outcome))
        return 0;
    cq_count_overs(ledger, &overs);
    return 1;
}

/* Decide on a line; whether that was possible. */
static inline int cq_decide_line(
    cq_ledger *ledger, const cq_batch *batch, cq_line *line, const cq_size *sizes, cq_outcome *outcome)
{
    if (line->row == CQ_UNKNOWN) {
        int64_t length;
        const unsigned char *name = cq_name_of(batch, line, &length);
        int64_t row = cq_find_series(ledger->series, line->hash, name, length);
        if (row < 0)
            return cq_decide_new(ledger, batch->text, line, sizes, outcome);
        line->row = row; /* an earlier line brought it */
        line->namespace_row = cq_record_at(ledger->series, row)->namespace_row;
    }
    if (line->row >= 0) {
        int32_t rejecter = cq_take_known(ledger, line->row, line->namespace_row, 1);
        if (rejecter == 0)
            outcome->accepted++;
        else
            cq_reject(line, rejecter, ledger->throughput, outcome);
        return 1;
    }
    outcome->malformed += line->row < CQ_BLANK && line->row > CQ_DOUBT;
    return line->row != CQ_DOUBT;
}

/* The lowest quota of a flow chain that is kept with a namespace, or 0 where none is. */
static inline int32_t cq_lowest(const cq_ledger *ledger, uint32_t namespace_row)
{
    const cq_space *space = cq_space_at(ledger->series->names, namespace_row);
    int kept = space->era == ledger->era && space->levels > 0 && space->levels <= CQ_LEVELS;
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
static inline int64_t cq_decide(
    cq_ledger *ledger, cq_batch *batch, int64_t from, const cq_size *sizes, cq_outcome *outcome)
{
    for (int64_t first = from; first < batch->count; first += CQ_GROUP) {
        int64_t count = batch->count - first < CQ_GROUP ? batch->count - first : CQ_GROUP;
        cq_fetch_group(ledger, batch->lines + first, count, outcome->dropped > 0);
        for (int64_t at = first; at < first + count; at++)
            if (!cq_decide_line(ledger, batch, &batch->lines[at], sizes, outcome))
                return at;
    }
    return batch->count;
}

/* Whether a line is passed on. */
static inline int cq_is_kept(const cq_line *line)
{
    return line->quota == 0 && (line->row >= CQ_BLANK || line->row == CQ_DOUBT);
}

static inline int64_t cq_kept_size(const cq_batch *batch)
{
    int64_t size = 0;
    for (const cq_line *line = batch->lines; line < batch->lines + batch->count; line++)
        if (cq_is_kept(line))
            size += line[1].start - line->start;
    return size;
}

/* Write the kept lines, stretch by stretch. */
static inline void cq_keep(const cq_batch *batch, unsigned char *kept)
{
    const cq_line *line = batch->lines, *end = batch->lines + batch->count;
    while (line < end) {
        const cq_line *first = line;
        while (line < end && cq_is_kept(line))
            line++;
        memcpy(kept, batch->text + first->start, (size_t)(line->start - first->start));
        kept += line->start - first->start;
        while (line < end && !cq_is_kept(line))
            line++;
    }
}

#endif
