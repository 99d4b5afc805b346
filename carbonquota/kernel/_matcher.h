/* A matcher's plan as flat tables: which patterns are alive below a namespace, found from those alive above it.
 *
 * Theory of operation. A plan is a trie of patterns: a node for the leading components that some share, and from node
 * to node a component, a literal or a glob. A *state* is a set of nodes. Stepping from a state with the next part of a
 * name gives the set of nodes that its literals and globs lead to, and that set's *step*: another state, and the number
 * of the rule that wins there. Sets are few, however many names there are, so whoever made the plan is asked for the
 * step of each set once, and it is kept here.
 *
 * A node with many globs has these under what they begin or end with, so that only those which may match are tried.
 */
#ifndef CARBONQUOTA_MATCHER_H
#define CARBONQUOTA_MATCHER_H

#include <stdlib.h>
#include <string.h>

#include "_globs.h"
#include "_text.h"

#define CQ_MOST_NODES 64 /* in a set; larger ones are left to the caller */

enum { CQ_LITERAL, CQ_PREFIX, CQ_SUFFIX }; /* kinds of keys */

#define CQ_ANY_NAME -1 /* stands for a glob that matches every name */
#define CQ_NO_STEP -1  /* the caller is to be asked for the step of the nodes found */
#define CQ_BEYOND -2   /* the caller has to step by itself */

/* A text under which a node's edge is found: a literal, or what a glob's names begin or end with. */
typedef struct {
    int32_t node, kind, glob, child;
    int64_t text, length;
} cq_key;

/* A node. Its tests are edges to be tried with any name. */
typedef struct {
    int32_t first_test, tests;           /* in `edges`: glob and child side by side */
    int32_t first_length, lengths;       /* in `lengths`: kind and length side by side */
} cq_node;

typedef struct {
    int32_t state, rule;
} cq_found;

/* The step of a set of nodes. */
typedef struct {
    int32_t first, count; /* in `sets` */
    cq_found found;
} cq_set;

/* A state: the set of nodes that are alive in it. */
typedef struct {
    int32_t first, count; /* in `sets`, or count -1 where the state is not known here */
    int32_t only;         /* the set that every name leads to, if that is known, else -1 */
    int32_t is_uniform;   /* whether all names lead to one set */
} cq_state;

typedef struct {
    int32_t *programs, *program_of; /* of globs */
    cq_node *nodes;
    int32_t *edges, *lengths;
    cq_key *keys; /* by hash, a power of two of them; where the node is -1 there is none */
    uint64_t key_mask;
    unsigned char *texts;
    int32_t *sets; /* numbers of nodes, ascending in each set */
    int64_t set_size, set_room;
    cq_set *steps; /* by hash, as the keys */
    uint64_t step_mask, step_count;
    cq_state *states;
    int64_t state_count;
} cq_matcher;

static inline uint64_t cq_mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ (hash >> 29);
}

static inline uint64_t cq_key_hash(int32_t node, int32_t kind, const unsigned char *text, int64_t length)
{
    uint64_t hash = cq_mix((uint64_t)length, (uint64_t)(uint32_t)node << 2 | (uint64_t)kind);
    for (; length >= 8; length -= 8, text += 8)
        hash = cq_mix(hash, cq_word(text));
    if (length > 0) {
        uint64_t rest = 0;
        for (int64_t at = 0; at < length; at++)
            rest = rest << 8 | text[at];
        hash = cq_mix(hash, rest);
    }
    return hash ^ (hash >> 32);
}

/* A set of nodes under way. */
typedef struct {
    int32_t count, nodes[CQ_MOST_NODES];
} cq_reached;

/* Put a node into a set, in its order; -1 where there is no room. */
static inline int cq_reach(cq_reached *reached, int32_t node)
{
    int32_t place = reached->count;
    if (place == CQ_MOST_NODES)
        return -1;
    for (; place > 0 && reached->nodes[place - 1] > node; place--)
        reached->nodes[place] = reached->nodes[place - 1];
    reached->nodes[place] = node;
    reached->count++;
    return 0;
}

/* Follow the edges that a node has under a text. */
static inline int cq_follow_keys(const cq_matcher *matcher, int32_t node, int32_t kind, const unsigned char *key,
                                 int64_t key_length, const unsigned char *name, int64_t length, cq_reached *reached)
{
    uint64_t slot = cq_key_hash(node, kind, key, key_length) & matcher->key_mask;
    for (const cq_key *found; (found = &matcher->keys[slot])->node >= 0; slot = (slot + 1) & matcher->key_mask) {
        if (found->node != node || found->kind != kind || found->length != key_length ||
            memcmp(matcher->texts + found->text, key, (size_t)key_length) != 0)
            continue;
        if (kind != CQ_LITERAL && !cq_glob_matches(matcher->programs + matcher->program_of[found->glob], name, length))
            continue;
        if (cq_reach(reached, found->child) != 0)
            return -1;
    }
    return 0;
}

/* Follow a node's edges with the next part of a name. */
static inline int cq_follow(
    const cq_matcher *matcher, int32_t number, const unsigned char *name, int64_t length, cq_reached *reached)
{
    const cq_node *node = &matcher->nodes[number];
    const int32_t *edge = matcher->edges + 2 * (int64_t)node->first_test;
    for (int32_t at = 0; at < node->tests; at++, edge += 2)
        if (edge[0] == CQ_ANY_NAME || cq_glob_matches(matcher->programs + matcher->program_of[edge[0]], name, length))
            if (cq_reach(reached, edge[1]) != 0)
                return -1;
    const int32_t *keyed = matcher->lengths + 2 * (int64_t)node->first_length;
    for (int32_t at = 0; at < node->lengths; at++, keyed += 2) {
        int64_t key_length = keyed[0] == CQ_LITERAL ? length : keyed[1];
        if (key_length > length)
            continue;
        const unsigned char *key = keyed[0] == CQ_SUFFIX ? name + length - key_length : name;
        if (cq_follow_keys(matcher, number, keyed[0], key, key_length, name, length, reached) != 0)
            return -1;
    }
    return 0;
}

static inline uint64_t cq_set_hash(const int32_t *nodes, int32_t count)
{
    uint64_t hash = (uint64_t)count;
    for (int32_t at = 0; at < count; at++)
        hash = cq_mix(hash, (uint64_t)(uint32_t)nodes[at]);
    return hash ^ (hash >> 32);
}

/* The place of a set's step, or of the free one where it would be. */
static inline int64_t cq_place_of_set(const cq_matcher *matcher, const int32_t *nodes, int32_t count)
{
    uint64_t slot = cq_set_hash(nodes, count) & matcher->step_mask;
    for (; matcher->steps[slot].count >= 0; slot = (slot + 1) & matcher->step_mask)
        if (matcher->steps[slot].count == count &&
            (count == 0 ||
             memcmp(matcher->sets + matcher->steps[slot].first, nodes, sizeof(int32_t) * (size_t)count) == 0))
            break;
    return (int64_t)slot;
}

/* Where the next part of a name leads from a state: the step; or CQ_NO_STEP, where that of `reached` is to be learned;
 * or CQ_BEYOND, where nothing is known of the state or the set is too large. */
static inline int64_t cq_step(
    cq_matcher *matcher, int64_t state, const unsigned char *name, int64_t length, cq_reached *reached)
{
    if (state >= matcher->state_count || matcher->states[state].count < 0)
        return CQ_BEYOND;
    cq_state *here = &matcher->states[state];
    if (here->only >= 0)
        return here->only;
    reached->count = 0;
    for (int32_t at = 0; at < here->count; at++)
        if (cq_follow(matcher, matcher->sets[here->first + at], name, length, reached) != 0)
            return CQ_BEYOND;
    int64_t place = cq_place_of_set(matcher, reached->nodes, reached->count);
    if (matcher->steps[place].count < 0)
        return CQ_NO_STEP;
    if (here->is_uniform)
        here->only = (int32_t)place;
    return place;
}

/* --- learning ---------------------------------------------------------------------------------------------------- */

/* Keep a set of nodes; its place, or -1 where there is no memory. */
static inline int64_t cq_keep_set(cq_matcher *matcher, const int32_t *nodes, int32_t count)
{
    if (matcher->set_size + count > matcher->set_room) {
        int64_t room = 2 * (matcher->set_size + count) + 64;
        int32_t *sets = room > INT32_MAX ? NULL : realloc(matcher->sets, sizeof(int32_t) * (size_t)room);
        if (sets == NULL)
            return -1;
        matcher->sets = sets;
        matcher->set_room = room;
    }
    int64_t place = matcher->set_size;
    if (count > 0)
        if (count > 0)
            memcpy(matcher->sets + place, nodes, sizeof(int32_t) * (size_t)count);
    matcher->set_size += count;
    return place;
}

/* Have twice as many places for steps; -1 where there is no memory. What states know of places is forgotten. */
static inline int cq_grow_steps(cq_matcher *matcher)
{
    uint64_t count = matcher->steps == NULL ? 64 : 2 * (matcher->step_mask + 1), old_count = count / 2;
    cq_set *steps = malloc(sizeof(cq_set) * count), *old = matcher->steps;
    if (steps == NULL)
        return -1;
    for (uint64_t at = 0; at < count; at++)
        steps[at].count = -1;
    matcher->steps = steps;
    matcher->step_mask = count - 1;
    for (uint64_t at = 0; old != NULL && at < old_count; at++)
        if (old[at].count >= 0)
            steps[cq_place_of_set(matcher, matcher->sets + old[at].first, old[at].count)] = old[at];
    free(old);
    for (int64_t state = 0; state < matcher->state_count; state++)
        matcher->states[state].only = -1;
    return 0;
}

/* Have entries for the states up to this one; -1 where there is no memory. */
static inline int cq_cover_states(cq_matcher *matcher, int64_t state)
{
    if (state < matcher->state_count)
        return 0;
    int64_t count = 2 * state + 16;
    cq_state *states = realloc(matcher->states, sizeof(cq_state) * (size_t)count);
    if (states == NULL)
        return -1;
    for (int64_t at = matcher->state_count; at < count; at++)
        states[at] = (cq_state){0, -1, -1, 0};
    matcher->states = states;
    matcher->state_count = count;
    return 0;
}

/* Whether a node's edges are taken by any name. */
static inline int cq_is_indifferent(const cq_matcher *matcher, int32_t number)
{
    const cq_node *node = &matcher->nodes[number];
    if (node->lengths > 0)
        return 0;
    for (int32_t at = 0; at < node->tests; at++)
        if (matcher->edges[2 * (node->first_test + at)] != CQ_ANY_NAME)
            return 0;
    return 1;
}

/* Note which nodes are alive in a state; -1 where there is no memory. */
static inline int cq_learn_state(cq_matcher *matcher, int64_t state, const int32_t *nodes, int32_t count)
{
    if (cq_cover_states(matcher, state) != 0)
        return -1;
    if (matcher->states[state].count >= 0)
        return 0;
    int64_t first = cq_keep_set(matcher, nodes, count);
    if (first < 0)
        return -1;
    int is_uniform = 1;
    for (int32_t at = 0; at < count; at++)
        is_uniform &= cq_is_indifferent(matcher, nodes[at]);
    matcher->states[state] = (cq_state){(int32_t)first, count, -1, is_uniform};
    return 0;
}

/* Note the step of a set of nodes; -1 where there is no memory. */
static inline int cq_learn_step(cq_matcher *matcher, const int32_t *nodes, int32_t count, cq_found found)
{
    if (2 * (matcher->step_count + 1) > matcher->step_mask + 1 && cq_grow_steps(matcher) != 0)
        return -1;
    int64_t place = cq_place_of_set(matcher, nodes, count);
    if (matcher->steps[place].count >= 0)
        return 0;
    int64_t first = cq_keep_set(matcher, nodes, count);
    if (first < 0)
        return -1;
    matcher->steps[place] = (cq_set){(int32_t)first, count, found};
    matcher->step_count++;
    return 0;
}

static inline void cq_put_key(cq_matcher *matcher, const cq_key *key)
{
    uint64_t slot = cq_key_hash(key->node, key->kind, matcher->texts + key->text, key->length) & matcher->key_mask;
    while (matcher->keys[slot].node >= 0)
        slot = (slot + 1) & matcher->key_mask;
    matcher->keys[slot] = *key;
}

static inline void cq_free_matcher(cq_matcher *matcher)
{
    free(matcher->programs);
    free(matcher->program_of);
    free(matcher->nodes);
    free(matcher->edges);
    free(matcher->lengths);
    free(matcher->keys);
    free(matcher->texts);
    free(matcher->sets);
    free(matcher->steps);
    free(matcher->states);
    memset(matcher, 0, sizeof(*matcher));
}

#endif
