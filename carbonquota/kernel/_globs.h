/* Globs as programs: whether a name's part is matched, in time bounded by their lengths, over UTF-8.
 *
 * Theory of operation. A glob is one or more alternatives, each a sequence of elements: a character, any character, a
 * class of them, a run. Only a run can be taken in more than one way, and of several runs only the last one needs to
 * be tried again: what stands before it is matched as early as can be, which leaves the most for the rest.
 */
#ifndef CARBONQUOTA_GLOBS_H
#define CARBONQUOTA_GLOBS_H

#include <stdint.h>

/* Elements of a program; a code point stands for itself. */
enum {
    CQ_ANY_CHARACTER = -1,
    CQ_ANY_RUN = -2,
    CQ_OR = -3,  /* an alternative ends, another begins */
    CQ_END = -4, /* the last one ends */
    CQ_CLASS = -5, /* behind it: whether it is negated, how many ranges, and of each the first and last code point */
};

/* The character at a place before `end`, in a text that is UTF-8; moves the place behind it. */
static inline int32_t cq_take_character(const unsigned char **text, const unsigned char *end)
{
    const unsigned char *at = *text;
    int32_t code = *at++;
    if (code >= 0xC0) {
        code &= code >= 0xF0 ? 0x07 : code >= 0xE0 ? 0x0F : 0x1F;
        while (at < end && (*at & 0xC0) == 0x80)
            code = code << 6 | (*at++ & 0x3F);
    }
    *text = at;
    return code;
}

static inline int cq_is_end(int32_t element) { return element == CQ_OR || element == CQ_END; }

static inline const int32_t *cq_next_element(const int32_t *element)
{
    return element + (*element == CQ_CLASS ? 3 + 2 * element[2] : 1);
}

static inline int cq_is_in_class(const int32_t *element, int32_t code)
{
    const int32_t *range = element + 3, *end = range + 2 * element[2];
    for (; range < end; range += 2)
        if (range[0] <= code && code <= range[1])
            return !element[1];
    return element[1];
}

/* Whether an element that is no run takes this character. */
static inline int cq_takes(const int32_t *element, int32_t code)
{
    if (*element == CQ_CLASS)
        return cq_is_in_class(element, code);
    return *element == code || *element == CQ_ANY_CHARACTER;
}

static inline int cq_alternative_matches(const int32_t *element, const unsigned char *text, const unsigned char *end)
{
    const int32_t *after_run = NULL;
    const unsigned char *rest = NULL; /* where what is after the run was tried to begin */
    for (;;) {
        if (*element == CQ_ANY_RUN) {
            after_run = ++element;
            rest = text;
            if (cq_is_end(*element))
                return 1;
            continue;
        }
        if (text == end)
            return cq_is_end(*element); /* what is left of a name gets only shorter */
        const unsigned char *next = text;
        int32_t code = cq_take_character(&next, end);
        if (!cq_is_end(*element) && cq_takes(element, code)) {
            element = cq_next_element(element);
            text = next;
            continue;
        }
        if (after_run == NULL)
            return 0;
        cq_take_character(&rest, end);
        text = rest;
        element = after_run;
    }
}

/* Whether a glob matches a part of a name. */
static inline int cq_glob_matches(const int32_t *program, const unsigned char *text, int64_t length)
{
    const unsigned char *end = text + length;
    for (;;) {
        if (cq_alternative_matches(program, text, end))
            return 1;
        while (!cq_is_end(*program))
            program = cq_next_element(program);
        if (*program++ == CQ_END)
            return 0;
    }
}

#endif
