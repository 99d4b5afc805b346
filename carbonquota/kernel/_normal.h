/* The normal form of a metric's name, as `carbonquota.metric_name.normalize` defines it, for names that come as UTF-8.
 *
 * Theory of operation. Most names are plain: ASCII without tags and slashes, dots only between parts. `cq_is_plain_name`
 * proves that sixteen bytes at a time. Any other is written anew by `cq_normalize`: single dots between its parts, tags in
 * their order. Where a name is an error, in the OpenMetrics form, or has more tags than are sorted here, it says so, and
 * the caller asks Python, which has the reason.
 */
#ifndef CARBONQUOTA_NORMAL_H
#define CARBONQUOTA_NORMAL_H

#include "_text.h"

#define CQ_MOST_BYTES 4096 /* of a name as it came */
#define CQ_MOST_PARTS 255  /* between dots */
#define CQ_MOST_TAGS 64    /* that are sorted here */
#define CQ_NOT_NORMAL -1   /* stands for the length of a name that only Python can tell about */

/* --- plain names ------------------------------------------------------------------------------------------------- */

/* What was seen of a name so far. */
typedef struct {
    int64_t last_dot;
    int odd;     /* whether there was a byte that is in no plain name, or a dot after a dot */
    int after_a_dot;
} cq_plainness;

/* Look at up to sixteen bytes of a name, of which those at `dots` and `odd` (a bit each) are such. */
static inline void cq_note_plainness(cq_plainness *seen, int64_t at, int count, uint32_t dots, uint32_t odd)
{
    seen->odd |= odd != 0 || (dots & ((dots << 1) | (uint32_t)seen->after_a_dot)) != 0;
    seen->after_a_dot = (int)((dots >> (count - 1)) & 1);
    if (dots != 0)
        seen->last_dot = at + 31 - __builtin_clz(dots);
}

/* Braces and tildes have a meaning to carbon at some places; wherever they are, such a name is looked at closely. */
static inline int cq_is_odd_in_names(unsigned char byte)
{
    return byte <= 0x20 || byte >= '}' || byte == ';' || byte == '/';
}

static inline void cq_note_bytes(cq_plainness *seen, const unsigned char *name, int64_t at, int64_t end)
{
    for (; at < end; at++)
        cq_note_plainness(seen, at, 1, name[at] == '.', (uint32_t)cq_is_odd_in_names(name[at]));
}

#if CQ_SSE2
/* Which of sixteen bytes are in no plain name, and which are dots, a bit each. */
static inline uint32_t cq_odd_among(const unsigned char *text, uint32_t *dots)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)text);
    __m128i odd = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x21)); /* bytes from 0x80 on are negative */
    odd = _mm_or_si128(odd, _mm_cmpgt_epi8(bytes, _mm_set1_epi8('}' - 1)));
    odd = _mm_or_si128(odd, _mm_cmpeq_epi8(bytes, _mm_set1_epi8(';')));
    odd = _mm_or_si128(odd, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('/')));
    *dots = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('.')));
    return (uint32_t)_mm_movemask_epi8(odd);
}

/* What `cq_note_bytes` notes, for sixteen bytes from `from` on, of which the first `known` were looked at. */
static inline void cq_note_sixteen(cq_plainness *seen, const unsigned char *name, int64_t from, int known)
{
    uint32_t dots, odd = cq_odd_among(name + from, &dots);
    cq_note_plainness(seen, from + known, 16 - known, dots >> known, odd >> known);
}
#endif

static inline int64_t cq_count_dots(const unsigned char *name, int64_t length)
{
    int64_t dots = 0;
    for (int64_t at = 0; at < length; at++)
        dots += name[at] == '.';
    return dots;
}

/* Whether a name is in normal form beyond doubt: plain ASCII, no tags, single dots between its parts. Gives where its
 * last dot is, or -1 where there is none. */
static inline int cq_is_plain_name(const unsigned char *name, int64_t length, int64_t *last_dot)
{
    cq_plainness seen = {-1, 0, 1};
    int64_t at = 0;
    *last_dot = -1;
    if (length <= 0 || length > CQ_MOST_BYTES)
        return 0;
#if CQ_SSE2
    for (; at + 16 <= length; at += 16)
        cq_note_sixteen(&seen, name, at, 0);
    if (at > 0 && at < length) {
        /* The last sixteen overlap what was looked at, rather than what is behind the name. */
        cq_note_sixteen(&seen, name, length - 16, (int)(at - (length - 16)));
        at = length;
    }
#endif
    cq_note_bytes(&seen, name, at, length);
    *last_dot = seen.last_dot;
    if (seen.odd || seen.after_a_dot)
        return 0;
    return length < 2 * CQ_MOST_PARTS || cq_count_dots(name, length) < CQ_MOST_PARTS;
}

/* --- any name ---------------------------------------------------------------------------------------------------- */

/* How many bytes a character has that is not ASCII; 0 where the bytes are no UTF-8, or a control character. */
static inline int cq_wide_character(const unsigned char *text, int64_t left)
{
    unsigned char first = text[0];
    int size = first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
    if (size == 0 || size > left)
        return 0;
    for (int at = 1; at < size; at++)
        if ((text[at] & 0xC0) != 0x80)
            return 0;
    unsigned char second = text[1];
    int is_control = first == 0xC2 && second < 0xA0;
    int is_overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
    int is_surrogate = first == 0xED && second >= 0xA0;
    int is_past_the_last = first == 0xF4 && second >= 0x90;
    return is_control || is_overlong || is_surrogate || is_past_the_last ? 0 : size;
}

/* How many bytes at the beginning of a text are ASCII beyond the space, some of the last ones not counted. */
static inline int64_t cq_count_ascii(const unsigned char *text, int64_t length)
{
    int64_t at = 0;
#if CQ_SSE2
    for (; at + 16 <= length; at += 16) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(text + at));
        __m128i others = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
        others = _mm_or_si128(others, _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7F)));
        if (_mm_movemask_epi8(others) != 0)
            break;
    }
#endif
    (void)text;
    (void)length;
    return at;
}

/* Whether a text is UTF-8 without control characters. */
static inline int cq_is_printable(const unsigned char *text, int64_t length)
{
    for (int64_t at = cq_count_ascii(text, length); at < length;) {
        int size = 1;
        if (text[at] >= 0x80)
            size = cq_wide_character(text + at, length - at);
        else if (text[at] < 0x20 || text[at] == 0x7F)
            return 0;
        if (size == 0)
            return 0;
        at += size;
    }
    return 1;
}

/* Copy a few bytes: cheaper than a call, and nothing is touched behind them. */
static inline void cq_copy_few(unsigned char *to, const unsigned char *from, int64_t length)
{
    if (length > 16) {
        memcpy(to, from, (size_t)length);
    } else if (length >= 8) {
        uint64_t first = cq_word(from), last = cq_word(from + length - 8);
        memcpy(to, &first, 8);
        memcpy(to + length - 8, &last, 8);
    } else if (length >= 4) {
        uint32_t first, last;
        memcpy(&first, from, 4);
        memcpy(&last, from + length - 4, 4);
        memcpy(to, &first, 4);
        memcpy(to + length - 4, &last, 4);
    } else {
        for (int64_t at = 0; at < length; at++)
            to[at] = from[at];
    }
}

/* --- plain names but for their dots ------------------------------------------------------------------------------- */

#if CQ_SSE2
/* Write those of sixteen bytes that are not at `gone` (a bit each), nor among the first `known`; how many. */
static inline int64_t cq_write_others(unsigned char *to, const unsigned char *bytes, int known, uint32_t gone)
{
    int64_t written = 0;
    int start = known;
    for (; gone != 0; gone &= gone - 1) {
        int stop = cq_first_bit(gone);
        cq_copy_few(to + written, bytes + start, stop - start);
        written += stop - start;
        start = stop + 1;
    }
    cq_copy_few(to + written, bytes + start, 16 - start);
    return written + 16 - start;
}
#endif

/* Write a name that would be plain if it had single dots, and none at its ends, as that; its length, or CQ_NOT_NORMAL
 * where it is not such a name, or has to be looked at byte by byte. */
static inline int64_t cq_single_dots(const unsigned char *name, int64_t length, unsigned char *to)
{
#if CQ_SSE2
    cq_plainness seen = {-1, 0, 1};
    int64_t written = 0, at = 0;
    if (length < 16 || length >= 2 * CQ_MOST_PARTS)
        return CQ_NOT_NORMAL;
    while (at < length) {
        /* The last sixteen overlap what was looked at, rather than what is behind the name. */
        int64_t from = at + 16 <= length ? at : length - 16;
        int known = (int)(at - from);
        uint32_t dots, odd = cq_odd_among(name + from, &dots);
        uint32_t after = (dots << 1) | (known == 0 ? (uint32_t)seen.after_a_dot : 0);
        uint32_t gone = ((dots & after) >> known) << known;
        if (odd != 0)
            return CQ_NOT_NORMAL;
        if ((gone | (uint32_t)known) == 0) {
            _mm_storeu_si128((__m128i *)(to + written), _mm_loadu_si128((const __m128i *)(name + from)));
            written += 16;
        } else {
            written += cq_write_others(to + written, name + from, known, gone);
        }
        seen.after_a_dot = (int)(dots >> 15);
        at = from + 16;
    }
    written -= written > 0 && to[written - 1] == '.';
    return written > 0 ? written : CQ_NOT_NORMAL;
#else
    (void)name;
    (void)length;
    (void)to;
    return CQ_NOT_NORMAL;
#endif
}

static inline int cq_is_separator(unsigned char byte) { return byte == '.' || byte == '/'; }

/* The place of the next dot or slash from `at` on, or the length. */
static inline int64_t cq_next_separator_of_parts(const unsigned char *text, int64_t length, int64_t at)
{
#if CQ_SSE2
    for (; at + 16 <= length; at += 16) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(text + at));
        __m128i found = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('.'));
        found = _mm_or_si128(found, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('/')));
        int places = _mm_movemask_epi8(found);
        if (places != 0)
            return at + cq_first_bit((uint64_t)places);
    }
#endif
    while (at < length && !cq_is_separator(text[at]))
        at++;
    return at;
}

/* Write what is before the tags, with single dots between its parts; its length, or CQ_NOT_NORMAL where nothing is left
 * or it is too deep. Tildes in front go, too. */
static inline int64_t cq_normalize_path(const unsigned char *path, int64_t length, unsigned char *to)
{
    int64_t written = 0, parts = 0, start = 0;
    while (start < length && (path[start] == '~' || cq_is_separator(path[start])))
        start++;
    for (int64_t end; start < length; start = end + 1) {
        end = cq_next_separator_of_parts(path, length, start);
        if (end == start)
            continue;
        if (parts++ > 0)
            to[written++] = '.';
        cq_copy_few(to + written, path + start, end - start);
        written += end - start;
    }
    return parts == 0 || parts > CQ_MOST_PARTS ? CQ_NOT_NORMAL : written;
}

/* A tag: where it stands, how long it is, and how long its name. */
typedef struct {
    const unsigned char *text;
    int64_t length, name_length;
} cq_tag;

/* Read the tag that ends at `end`; whether it is one. */
CQ_INLINED int cq_read_tag(const unsigned char *text, const unsigned char *end, cq_tag *tag)
{
    const unsigned char *at = text;
    for (; at < end && *at != '='; at++)
        if (*at == '!' || *at == '^')
            return 0;
    tag->text = text;
    tag->length = end - text;
    tag->name_length = at - text;
    return at > text && end - at > 1 && at[1] != '~';
}

CQ_INLINED int cq_comes_before(const cq_tag *one, const cq_tag *other)
{
    int64_t shorter = one->length < other->length ? one->length : other->length;
    int order = memcmp(one->text, other->text, (size_t)shorter);
    return order < 0 || (order == 0 && one->length < other->length);
}

#if CQ_SSE2
/* Which of 64 bytes are in no plain name, a semicolon apart, or have a meaning in tags; a bit each. */
static inline uint64_t cq_odd_in_tags(const unsigned char *block)
{
    uint64_t bits = 0;
    for (int part = 0; part < 4; part++) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(block + 16 * part));
        __m128i odd = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x22)); /* up to the exclamation mark, and from 0x80 on */
        odd = _mm_or_si128(odd, _mm_cmpgt_epi8(bytes, _mm_set1_epi8('}' - 1)));
        odd = _mm_or_si128(odd, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('^')));
        odd = _mm_or_si128(odd, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('/')));
        bits |= (uint64_t)(uint32_t)_mm_movemask_epi8(odd) << (16 * part);
    }
    return bits;
}
#endif

/* Whether a short name with tags is in normal form beyond doubt: plain but for these, which are in order, each of another
 * name than the one before. Gives where the last dot before the tags is, or -1. Memory may be read up to `end`. */
static inline int cq_is_plain_with_tags(
    const unsigned char *name, int64_t length, const unsigned char *end, int64_t *last_dot)
{
#if CQ_SSE2
    cq_tag before = {NULL, 0, 0};
    if (length > CQ_BLOCK || end - name < CQ_BLOCK)
        return 0;
    uint64_t inside = cq_bits_below(length), semicolons = cq_places_of(name, ';') & inside;
    if (semicolons == 0 || (cq_odd_in_tags(name) & inside) != 0)
        return 0;
    int path = cq_first_bit(semicolons);
    uint64_t dots = cq_places_of(name, '.') & cq_bits_below(path);
    if (path == 0 || ((dots | UINT64_C(1) << path) & (dots << 1 | 1)) != 0)
        return 0;
    while (semicolons != 0) {
        cq_tag tag;
        int start = cq_first_bit(semicolons) + 1;
        semicolons &= semicolons - 1;
        if (!cq_read_tag(name + start, name + (semicolons == 0 ? length : cq_first_bit(semicolons)), &tag) ||
            (tag.name_length == 4 && memcmp(tag.text, "name", 4) == 0))
            return 0;
        if (before.text != NULL &&
            (!cq_comes_before(&before, &tag) || (tag.name_length == before.name_length &&
                                                 memcmp(tag.text, before.text, (size_t)tag.name_length) == 0)))
            return 0;
        before = tag;
    }
    *last_dot = dots == 0 ? -1 : cq_last_bit(dots);
    return 1;
#else
    (void)name;
    (void)length;
    (void)end;
    (void)last_dot;
    return 0;
#endif
}

/* Put a tag among others in their order, in place of one of that name; how many there are then. */
static inline int64_t cq_put_tag(cq_tag *tags, int64_t count, const cq_tag *tag)
{
    int64_t place = 0;
    for (int64_t at = 0; at < count; at++)
        if (tags[at].name_length == tag->name_length && memcmp(tags[at].text, tag->text, (size_t)tag->name_length) == 0) {
            memmove(&tags[at], &tags[at + 1], sizeof(*tags) * (size_t)(count - at - 1));
            count--;
            break;
        }
    for (place = count; place > 0 && cq_comes_before(tag, &tags[place - 1]); place--)
        tags[place] = tags[place - 1];
    tags[place] = *tag;
    return count + 1;
}

/* The metric's own name is what carbon has for the tag of this name. */
static inline int cq_is_called_name(const cq_tag *tag)
{
    return tag->name_length == 4 && memcmp(tag->text, "name", 4) == 0;
}

/* Whether `;name=` stands in a text. */
static inline int cq_names_metric(const unsigned char *text, const unsigned char *end)
{
    for (; text != NULL; text = memchr(text + 1, ';', (size_t)(end - text - 1)))
        if (end - text > 5 && memcmp(text, ";name=", 6) == 0)
            return 1;
    return 0;
}

/* Write tags in their order, of a repeated one the last, each behind a semicolon; their length or CQ_NOT_NORMAL. Where
 * carbon cannot read them, they are written as they are. `named` tells whether one is called `name`. */
static inline int64_t cq_normalize_tags(
    const unsigned char *text, const unsigned char *end, unsigned char *to, int *named)
{
    cq_tag tags[CQ_MOST_TAGS + 1], tag;
    int64_t count = 0, written = 0;
    for (const unsigned char *start = text; start <= end; start += tag.length + 1) {
        const unsigned char *stop = memchr(start, ';', (size_t)(end - start));
        if (count == CQ_MOST_TAGS)
            return CQ_NOT_NORMAL;
        if (!cq_read_tag(start, stop == NULL ? end : stop, &tag)) {
            *named = cq_names_metric(text - 1, end);
            memcpy(to, text - 1, (size_t)(end - text + 1));
            return end - text + 1;
        }
        *named |= cq_is_called_name(&tag);
        count = cq_put_tag(tags, count, &tag);
    }
    for (int64_t at = 0; at < count; at++) {
        if (cq_is_called_name(&tags[at]))
            continue;
        to[written++] = ';';
        cq_copy_few(to + written, tags[at].text, tags[at].length);
        written += tags[at].length;
    }
    return written;
}

/* Write the normal form of a name to where there is room for `length` bytes; its length, or CQ_NOT_NORMAL where the
 * name is an error or only Python can tell. `other_file` tells whether a store may keep this spelling in another file than
 * that of the normal form: `must_be_respelled`, which has the last word, says yes of no other. */
static inline int64_t cq_normalize(const unsigned char *name, int64_t length, unsigned char *to, int *other_file)
{
    if (length <= 0 || length > CQ_MOST_BYTES || !cq_is_printable(name, length))
        return CQ_NOT_NORMAL;
    if (name[length - 1] == '}' && length > 1 && name[length - 2] == '"')
        return CQ_NOT_NORMAL;
    const unsigned char *semicolon = memchr(name, ';', (size_t)length);
    int64_t came = semicolon == NULL ? length : semicolon - name, path = cq_normalize_path(name, came, to);
    *other_file = semicolon == NULL ? name[0] == '~' || cq_is_separator(name[0]) || cq_is_separator(name[length - 1])
                                    : path != came || memcmp(name, to, (size_t)path) != 0;
    if (path < 0 || semicolon == NULL)
        return path;
    int named = 0;
    int64_t tags = cq_normalize_tags(semicolon + 1, name + length, to + path, &named);
    *other_file |= named;
    return tags < 0 ? CQ_NOT_NORMAL : path + tags;
}

#endif
