/* Namespaces that do not exist yet: which rules they would be under, and what is counted there all the same.
 *
 * Theory of operation. A namespace is under its rule before it exists, and an empty one can reject a metric that is
 * larger than a limit by itself. So the rules of what is missing above a new metric are found from the state of the
 * nearest namespace that is there. Where one of them rejects, nothing comes to be: the points are counted in a table
 * of names that holds only so many.
 */
#ifndef CARBONQUOTA_COMING_H
#define CARBONQUOTA_COMING_H

#include "_lines.h"
#include "_matcher.h"

/* CQ_CAPACITIES, the number of controls of what is held, which come first, is given by setup.py. */
#ifndef CQ_CAPACITIES
#error "build this by setup.py, which says how many controls there are"
#endif
#define CQ_CONTROLS (CQ_CAPACITIES + 1) /* one of what passes is behind them */
#define CQ_MOST_COMING 16 /* rules of missing namespaces above one metric; what has more is left to the caller */

/* A missing namespace that is under a rule: how much of the metric's name is its own. */
typedef struct {
    int32_t rule;
    uint32_t path;
    int32_t quota; /* its quota's row, once it was created, else 0 */
} cq_coming;

/* A step that the matcher's owner is to be asked for. */
typedef struct {
    int64_t state;
    const unsigned char *part; /* NULL where none is wanted */
    int64_t length;
} cq_wanted_step;

enum { CQ_FORESEEN, CQ_STEP_WANTED, CQ_TOO_MANY_RULES };

/* Find the rules of the namespaces from `known` to `path` of a name, the first of them below one in `state`. */
static inline int cq_foresee(cq_matcher *matcher, int64_t state, const unsigned char *name, uint32_t known,
                             uint32_t path, cq_coming *coming, int64_t *count, cq_wanted_step *wanted)
{
    cq_reached reached;
    *count = 0;
    for (uint32_t start = known + (known > 0); start < path && state != 0;) {
        uint32_t end = start + (uint32_t)cq_next_separator_of_parts(name + start, path - start, 0);
        int64_t step = cq_step(matcher, state, name + start, end - start, &reached);
        if (step < 0) {
            *wanted = (cq_wanted_step){state, name + start, end - start};
            return CQ_STEP_WANTED;
        }
        cq_found found = matcher->steps[step].found;
        if (found.rule >= 0) {
            if (*count == CQ_MOST_COMING)
                return CQ_TOO_MANY_RULES;
            coming[(*count)++] = (cq_coming){found.rule, end, 0};
        }
        state = found.state;
        start = end + 1;
    }
    return CQ_FORESEEN;
}

/* Rows that can be given out of columns which somebody else has. */
typedef struct {
    int64_t *meter; /* how many were given out, how many of these are free, and one for what the columns are of */
    int64_t *free;
    int64_t capacity;
} cq_rows;

static inline int64_t cq_rows_remaining(const cq_rows *rows)
{
    return rows->capacity - rows->meter[0] + rows->meter[1];
}

static inline int64_t cq_take_row(cq_rows *rows)
{
    return rows->meter[1] > 0 ? rows->free[--rows->meter[1]] : rows->meter[0]++;
}

/* Counts by name, for so many names as there is room for. */
typedef struct {
    cq_names *names;
    int64_t *throttle, *dropped[CQ_CONTROLS];
    int64_t most;
} cq_absent;

/* The row of a name, which it gets if it has none and there is one; else -1. */
static inline int64_t cq_absent_row(cq_absent *absent, uint64_t hash, const unsigned char *name, int64_t length)
{
    int64_t row = cq_find_name(absent->names, hash, name, length);
    if (row >= 0 || absent->names->slots.live >= absent->most)
        return row;
    row = absent->names->slots.live;
    return cq_insert_name(absent->names, hash, name, length, row) == 0 ? row : -1;
}

#endif
