/* Namespaces: a table from a name to the row that its owner gives it, and from a row to all that is kept with it. */
#ifndef CARBONQUOTA_NAMES_H
#define CARBONQUOTA_NAMES_H

#include "_slots.h"

/* A text that is never changed, with its length before it. */
typedef struct {
    uint32_t length;
    unsigned char bytes[];
} cq_text;

static inline cq_text *cq_new_text(const unsigned char *bytes, int64_t length)
{
    cq_text *text = malloc(sizeof(cq_text) + (size_t)length);
    if (text == NULL)
        return NULL;
    text->length = (uint32_t)length;
    memcpy(text->bytes, bytes, (size_t)length);
    return text;
}

static inline size_t cq_text_size(const cq_text *text) { return sizeof(cq_text) + text->length; }

static inline int cq_equal(const unsigned char *one, const unsigned char *other, int64_t length)
{
    /* Names are short, and a call costs more than these few words; the last one may overlap the one before it. */
    if (length >= 8) {
        for (int64_t at = 0; at < length - 8; at += 8)
            if (cq_word(one + at) != cq_word(other + at))
                return 0;
        return cq_word(one + length - 8) == cq_word(other + length - 8);
    }
    if (length >= 4) {
        uint32_t words[4];
        memcpy(&words[0], one, 4);
        memcpy(&words[1], other, 4);
        memcpy(&words[2], one + length - 4, 4);
        memcpy(&words[3], other + length - 4, 4);
        return words[0] == words[1] && words[2] == words[3];
    }
    for (; length > 0; one++, other++, length--)
        if (*one != *other)
            return 0;
    return 1;
}

#define CQ_ELSEWHERE 255 /* stands for the length of a name that has a text of its own */
#define CQ_SHORT 32
#define CQ_LEVELS 4
#define CQ_SIZES_DIFFER 1
#define CQ_MOST_KEPT 60000 /* sizes that are kept with namespaces */

/* A namespace: its name, and what whoever decides keeps there to have it at hand. One cache line. */
typedef struct {
    cq_text *text; /* the name, where it is long, else NULL */
    uint8_t form; /* 0 where the row is not in use, one more than the length of `name`, or CQ_ELSEWHERE */
    uint8_t levels; /* of `chain`, or more where it does not fit */
    uint16_t size;   /* of each new metric below, above CQ_SIZES_DIFFER; 0 where it is not known whether it is one */
    uint32_t revision; /* `chain` and `size` are of this one */
    int32_t chain[CQ_LEVELS];
    unsigned char name[CQ_SHORT];
} cq_space;

/* The namespaces, by rows that the caller gives. */
typedef struct {
    cq_keys *keys;
    cq_epochs epochs;
    cq_slots slots;
    cq_column spaces;
    int64_t size; /* one more than the highest row ever given */
    uint64_t inserted, removed; /* grow with each name that comes, or goes */
} cq_names;

static inline cq_space *cq_space_at(const cq_names *names, int64_t row)
{
    return CQ_ENTRY(&names->spaces, cq_space, row);
}

/* Whether there ever was a name at a row; may be asked at any time. */
static inline int cq_has_space(const cq_names *names, int64_t row)
{
    return row >= 0 && row < __atomic_load_n(&names->size, __ATOMIC_ACQUIRE);
}

/* A namespace's name, and its length or -1 where the row is not in use. What is read while it is written may be wrong,
 * but lies where something may be read. */
static inline int64_t cq_called(const cq_space *space, const unsigned char **name)
{
    int64_t form = __atomic_load_n(&space->form, __ATOMIC_ACQUIRE);
    const cq_text *text = __atomic_load_n(&space->text, __ATOMIC_ACQUIRE);
    *name = text != NULL ? text->bytes : space->name;
    if (text != NULL)
        return text->length;
    return form <= CQ_SHORT + 1 ? form - 1 : -1;
}

static inline int64_t cq_find_name(cq_names *names, uint64_t hash, const unsigned char *name, int64_t length)
{
    cq_search search;
    const unsigned char *found;
    int64_t row = cq_first_candidate(cq_current(&names->slots), hash, &search);
    while (row >= 0 && !(cq_called(cq_space_at(names, row), &found) == length && cq_equal(found, name, length)))
        row = cq_next_candidate(&search);
    return row;
}

static inline int cq_insert_name(cq_names *names, uint64_t hash, const unsigned char *name, int64_t length, int64_t row)
{
    cq_text *text = NULL;
    if (length > CQ_SHORT && (text = cq_new_text(name, length)) == NULL)
        return -1;
    if (cq_cover(&names->spaces, row / CQ_ROWS(cq_space) + 1) != 0 || cq_reserve(&names->slots, &names->epochs, 1) < 0) {
        free(text);
        return -1;
    }
    cq_reclaim(&names->epochs);
    cq_space *space = cq_space_at(names, row);
    if (row >= names->size)
        __atomic_store_n(&names->size, row + 1, __ATOMIC_RELEASE);
    space->revision = 0;
    if (text == NULL)
        memcpy(space->name, name, (size_t)length);
    __atomic_store_n(&space->text, text, __ATOMIC_RELEASE);
    __atomic_store_n(&space->form, text == NULL ? (uint8_t)(length + 1) : CQ_ELSEWHERE, __ATOMIC_RELEASE);
    cq_insert(&names->slots, hash, row);
    __atomic_store_n(&names->inserted, names->inserted + 1, __ATOMIC_RELEASE);
    return 0;
}

static inline int cq_remove_name(cq_names *names, uint64_t hash, int64_t row)
{
    if (cq_make_room(&names->epochs, 1) != 0)
        return -1;
    __atomic_store_n(&names->removed, names->removed + 1, __ATOMIC_SEQ_CST);
    cq_remove(&names->slots, hash, row);
    cq_space *space = cq_space_at(names, row);
    cq_text *text = space->text;
    __atomic_store_n(&space->form, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&space->text, NULL, __ATOMIC_RELEASE);
    if (text != NULL)
        cq_retire(&names->epochs, text, cq_text_size(text));
    cq_reclaim(&names->epochs);
    return 0;
}

static inline void cq_make_names(cq_names *names, cq_keys *keys)
{
    memset(names, 0, sizeof(*names));
    names->keys = keys;
}

static inline void cq_free_names(cq_names *names)
{
    for (int64_t row = 0; row < names->size; row++)
        free(cq_space_at(names, row)->text);
    cq_free_column(&names->spaces);
    cq_free_slots(&names->slots);
    cq_free_epochs(&names->epochs);
}

#endif
