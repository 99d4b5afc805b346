/* Lines: a buffer of carbon's plaintext protocol taken apart, and its metrics found, some dozens of lines at a time.
 *
 * Theory of operation. A line's first fields end at the separators that `cq_separators` marks, sixty-four bytes at a
 * time. Lines of the usual shape (`name value timestamp`, single spaces, plain decimals) are through with that; others
 * are split as `bytes.split` would. Then the metrics of a group are found side by side: each stage touches for the
 * whole group what the next one needs, so the waits for memory pass together. A name that is not found and may be
 * spelled otherwise than the table has it is looked for once more in its normal form, which is kept beside the text; where
 * most names of a group were, those of the next are looked for in normal form at once.
 * What is unclear, which the plain kernel's `parse` decides, is left to the caller as CQ_DOUBT.
 */
#ifndef CARBONQUOTA_LINES_H
#define CARBONQUOTA_LINES_H

#include "_normal.h"
#include "_series.h"

/* Where a row would stand. The first six are those of the plain kernel. */
enum {
    CQ_UNKNOWN = -1,
    CQ_BLANK = -2,
    CQ_FIELDS = -3,
    CQ_VALUE = -4,
    CQ_TIMESTAMP = -5,
    CQ_NAME = -6,
    CQ_MILLISECONDS = -7,
    CQ_TIME = -8,
    CQ_NO_FILE = -9,
    CQ_DOUBT = -100,
};

#define CQ_EARLIEST_MILLISECONDS INT64_C(100000000000) /* as the plain kernel has it */

/* Which timestamps a store has room for: all where `hold` is 0. */
typedef struct {
    int64_t earliest, latest;
    int hold;
    int first_two; /* ten digits that begin with less than these two are early enough beyond doubt */
} cq_times;

typedef struct {
    int64_t start; /* of the line and of its name, in the buffer; the next line's is where it ends */
    int64_t row; /* of its series, or why there is none */
    uint64_t hash; /* of its normal name, where there is a row or CQ_UNKNOWN */
    uint32_t name_length;
    uint32_t spelled; /* where among the batch's spellings the normal form is, or 0: the name as it came, if normal */
    uint32_t namespace_row; /* of its series, where there is one; of a new metric the nearest namespace above it */
    uint8_t odd; /* whether it may have to go on otherwise than it came: its blanks, or its name */
    uint8_t plain; /* whether the name of a new metric is known to be in normal form as it came */
    uint16_t unused;
    uint32_t path;          /* of a new metric in normal form: how long the name of its own namespace is */
    uint32_t known;         /* and that of the nearest namespace that is there */
} cq_line;

typedef struct {
    const unsigned char *text;
    int64_t length;
    cq_line *lines; /* one more than `count`: the last one starts where the buffer ends */
    int64_t count, room;
    int64_t doubts; /* lines that are CQ_DOUBT */
    int64_t unknown; /* lines that are CQ_UNKNOWN */
    int64_t odd; /* lines that are */
    cq_times times;
    unsigned char *spellings; /* normal forms, each behind its length (uint32), with CQ_BLOCK bytes after the last */
    int64_t spelled, spelling_room;
    int respells; /* whether most names of the last group had another normal form */
    uint32_t missing; /* how many namespaces the last new metric brings that was placed */
    uint64_t inserted, removed; /* namespaces when new metrics were placed: see `cq_names` */
    uint64_t known; /* series that had come when metrics were looked for: see `cq_series` */
} cq_batch;

/* A line's name in normal form, if it has one: see `cq_is_normal`. */
static inline const unsigned char *cq_name_of(const cq_batch *batch, const cq_line *line, int64_t *length)
{
    if (line->spelled == 0) {
        *length = line->name_length;
        return batch->text + line->start;
    }
    const unsigned char *spelling = batch->spellings + line->spelled;
    uint32_t size;
    memcpy(&size, spelling - sizeof(size), sizeof(size));
    *length = size;
    return spelling;
}

/* Where the memory ends that may be read from a name on. */
static inline const unsigned char *cq_end_of_names(const cq_batch *batch, const cq_line *line)
{
    return line->spelled == 0 ? batch->text + batch->length : batch->spellings + batch->spelled + CQ_BLOCK;
}

/* Whether `cq_name_of` gives the normal form of an unknown line's name; if not, only Python can tell about it. */
static inline int cq_is_normal(const cq_batch *batch, const cq_line *line)
{
    int64_t dot;
    return line->spelled != 0 || line->plain ||
           cq_is_plain_name(batch->text + line->start, line->name_length, &dot);
}

/* Where the separators are, in order. */
typedef struct {
    const unsigned char *text;
    int64_t length, block; /* `block` is where the marked 64 bytes begin */
    uint64_t marks;
} cq_cursor;

static inline uint64_t cq_marks(const unsigned char *text, int64_t length, int64_t block)
{
    if (length - block >= CQ_BLOCK)
        return cq_separators(text + block);
    unsigned char last[CQ_BLOCK];
    memset(last, 'x', sizeof(last));
    memcpy(last, text + block, (size_t)(length - block));
    return cq_separators(last);
}

/* The place of the next separator; the buffer's length where there is none. */
static inline int64_t cq_next_separator(cq_cursor *cursor)
{
    while (cursor->marks == 0) {
        cursor->block += CQ_BLOCK;
        if (cursor->block >= cursor->length)
            return cursor->length;
        cursor->marks = cq_marks(cursor->text, cursor->length, cursor->block);
    }
    int64_t place = cursor->block + cq_first_bit(cursor->marks);
    cursor->marks &= cursor->marks - 1;
    return place;
}

/* Go on behind this place, which the cursor may have passed or not reached. */
static inline void cq_move(cq_cursor *cursor, int64_t place)
{
    cursor->block = place & ~(int64_t)(CQ_BLOCK - 1);
    cursor->marks = 0;
    if (place < cursor->length) {
        cursor->marks = cq_marks(cursor->text, cursor->length, cursor->block);
        cursor->marks &= ~UINT64_C(0) << (place - cursor->block);
    } else {
        cursor->block = cursor->length;
    }
}

/* Where it does not fit, it is in any case too long. */
static inline uint32_t cq_length_of_name(int64_t length) { return length > UINT32_MAX ? UINT32_MAX : (uint32_t)length; }

static inline int cq_is_space(unsigned char byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

/* Whether a plain number is a time that there is room for: CQ_UNKNOWN if so, else why not, or CQ_DOUBT. */
static inline int64_t cq_time_at_length(const unsigned char *text, int64_t length, const cq_times *times)
{
    int64_t second = 0, at = 0;
    for (; at < length && text[at] != '.'; at++) {
        if (second > INT64_MAX / 100)
            return CQ_DOUBT;
        second = 10 * second + (text[at] - '0');
    }
    if (second >= times->earliest && second < times->latest)
        return CQ_UNKNOWN;
    if (at < length)
        return CQ_DOUBT; /* a fraction may be rounded up to the next second */
    if (second == times->latest)
        return CQ_UNKNOWN;
    return second >= CQ_EARLIEST_MILLISECONDS && second <= times->latest * 1000 + 999 ? CQ_MILLISECONDS : CQ_TIME;
}

static inline int64_t cq_time(const unsigned char *text, int64_t length, const cq_times *times)
{
    /* Nearly all have ten digits, and maybe a fraction. */
    if (!times->hold || (length >= 10 && (length == 10 || text[10] == '.') && text[0] > '0' && text[1] != '.' &&
                         10 * (text[0] - '0') + text[1] - '0' < times->first_two))
        return CQ_UNKNOWN;
    return cq_time_at_length(text, length, times);
}

/* A line of any shape, without its line feed: fills in the name's length, and `row` where it is no data point. */
static inline void cq_split(
    const unsigned char *text, int64_t start, int64_t end, const cq_times *times, cq_line *line)
{
    int64_t begins[3], ends[3], count = 0, at = start;
    for (;;) {
        while (at < end && cq_is_space(text[at]))
            at++;
        if (at == end)
            break;
        if (count == 3) {
            line->row = CQ_FIELDS;
            return;
        }
        begins[count] = at;
        while (at < end && !cq_is_space(text[at]))
            at++;
        ends[count++] = at;
    }
    if (count != 3) {
        line->row = count == 0 ? CQ_BLANK : CQ_FIELDS;
        return;
    }
    int value = cq_kind_of_number(text + begins[1], ends[1] - begins[1]);
    int timestamp = cq_kind_of_number(text + begins[2], ends[2] - begins[2]);
    if (value == CQ_NO_NUMBER || value == CQ_NAN)
        line->row = CQ_VALUE;
    else if (timestamp == CQ_DOUBTFUL || begins[0] != start)
        line->row = CQ_DOUBT;
    else if (timestamp != CQ_FINITE)
        line->row = CQ_TIMESTAMP;
    else if (times->hold && !cq_is_plain_number(text + begins[2], ends[2] - begins[2], text + ends[2]))
        line->row = ends[2] - begins[2] == 2 && memcmp(text + begins[2], "-1", 2) == 0 ? CQ_UNKNOWN : CQ_DOUBT;
    else
        line->row = cq_time(text + begins[2], ends[2] - begins[2], times);
    if (line->row != CQ_UNKNOWN)
        return;
    line->name_length = cq_length_of_name(ends[0] - begins[0]);
    int64_t rest = end - ends[2] - (end > ends[2] && text[end - 1] == '\r');
    line->odd = text[ends[0]] != ' ' || begins[1] - ends[0] != 1 || text[ends[1]] != ' ' ||
                begins[2] - ends[1] != 1 || rest != 0;
}

/* Read the line at the cursor; it is over at the returned place. */
static inline int64_t cq_read_line(cq_cursor *cursor, int64_t start, const cq_times *times, cq_line *line)
{
    const unsigned char *text = cursor->text, *end = text + cursor->length;
    line->start = start;
    line->row = CQ_UNKNOWN;
    line->name_length = 0;
    line->spelled = 0;
    line->odd = line->plain = 0;
    line->hash = 0;
    int64_t name_end = cq_next_separator(cursor);
    if (name_end < cursor->length && text[name_end] == ' ' && name_end > start) {
        int64_t value_end = cq_next_separator(cursor);
        if (value_end < cursor->length && text[value_end] == ' ') {
            int64_t line_end = cq_next_separator(cursor), over = line_end + 1;
            if (line_end < cursor->length && text[line_end] == '\r')
                over = cq_next_separator(cursor) == line_end + 1 ? line_end + 2 : 0;
            if (over > 0 && over <= cursor->length && text[over - 1] == '\n') {
                int64_t value = name_end + 1;
                value += text[value] == '-';
                if (value < value_end && cq_is_plain_number(text + value, value_end - value, end) &&
                    line_end - value_end <= 40 && line_end > value_end + 1 &&
                    cq_is_plain_number(text + value_end + 1, line_end - value_end - 1, end)) {
                    line->name_length = cq_length_of_name(name_end - start);
                    line->row = cq_time(text + value_end + 1, line_end - value_end - 1, times);
                    return over;
                }
            }
        }
    }
    const unsigned char *feed = memchr(text + start, '\n', (size_t)(cursor->length - start));
    int64_t over = feed == NULL ? cursor->length : feed - text;
    cq_split(text, start, over, times, line);
    over += feed != NULL;
    cq_move(cursor, over);
    return over;
}

static inline int cq_make_lines(cq_batch *batch, int64_t more)
{
    if (batch->count + more + 1 <= batch->room)
        return 0;
    int64_t room = batch->room == 0 ? batch->length / 48 + 2 * more + 1 : 2 * batch->room + more;
    cq_line *lines = realloc(batch->lines, sizeof(cq_line) * (size_t)room);
    if (lines == NULL)
        return -1;
    batch->lines = lines;
    batch->room = room;
    return 0;
}

#define CQ_GROUP 64

/* Find the series of lines that are CQ_UNKNOWN, as far as the table has them; `respelled` tells to ask for those alone
 * that have a spelling of their own. */
static inline void cq_find_group(const cq_series *series, cq_block *block, const cq_batch *batch, cq_line *lines,
                                 int64_t count, int respelled)
{
    cq_search searches[CQ_GROUP];
    int64_t rows[CQ_GROUP];
    for (int64_t at = 0; at < count; at++) {
        rows[at] = -1;
        if (lines[at].row != CQ_UNKNOWN || (respelled && lines[at].spelled == 0))
            continue;
        rows[at] = cq_first_candidate(block, lines[at].hash, &searches[at]);
        if (rows[at] >= 0)
            cq_prefetch(cq_record_at(series, rows[at]));
    }
    for (int64_t at = 0; at < count; at++) {
        if (rows[at] < 0)
            continue;
        uint32_t namespace_row = cq_namespace_of(cq_record_at(series, rows[at]));
        if (namespace_row != CQ_NO_NAMESPACE)
            cq_prefetch(cq_space_at(series->names, namespace_row));
    }
    for (int64_t at = 0; at < count; at++) {
        int64_t row = rows[at], length;
        if (row < 0)
            continue;
        const unsigned char *name = cq_name_of(batch, &lines[at], &length);
        while (row >= 0 && !cq_is_called(series, row, name, length))
            row = cq_next_candidate(&searches[at]);
        if (row >= 0) {
            lines[at].row = row;
            lines[at].namespace_row = cq_namespace_of(cq_record_at(series, row));
        }
    }
}

/* Have room for a normal form of so many bytes; -1 where there is no memory, or no number for its place. */
static inline int cq_make_spelling(cq_batch *batch, int64_t length)
{
    int64_t size = batch->spelled + (int64_t)sizeof(uint32_t) + length + CQ_BLOCK;
    if (size > UINT32_MAX)
        return -1;
    if (size <= batch->spelling_room)
        return 0;
    int64_t room = 2 * size + 64 * CQ_GROUP;
    unsigned char *spellings = realloc(batch->spellings, (size_t)room);
    if (spellings == NULL)
        return -1;
    /* A hash may look at a few bytes behind a name, and must be let. */
    memset(spellings + batch->spelling_room, 0, (size_t)(room - batch->spelling_room));
    batch->spellings = spellings;
    batch->spelling_room = room;
    return 0;
}

/* Put the normal form of a line's name beside the text, if it has one; whether it is another than what came. */
static inline int cq_respell(const cq_keys *keys, cq_batch *batch, cq_line *line)
{
    const unsigned char *name = batch->text + line->start;
    if (line->name_length == 0 || line->name_length > CQ_MOST_BYTES || cq_make_spelling(batch, line->name_length) != 0)
        return 0;
    unsigned char *spelling = batch->spellings + batch->spelled + sizeof(uint32_t);
    int64_t length = cq_single_dots(name, line->name_length, spelling);
    int other_file = name[0] == '.' || name[line->name_length - 1] == '.';
    if (length < 0)
        length = cq_normalize(name, line->name_length, spelling, &other_file);
    if (length < 0)
        return 0;
    uint32_t size = (uint32_t)length;
    memcpy(spelling - sizeof(size), &size, sizeof(size));
    line->spelled = (uint32_t)(spelling - batch->spellings);
    batch->spelled += (int64_t)sizeof(size) + length;
    if (length == line->name_length && memcmp(name, spelling, (size_t)length) == 0)
        return 0;
    line->odd |= (uint8_t)other_file;
    line->hash = cq_hash(keys, spelling, length, cq_end_of_names(batch, line));
    return 1;
}

/* How long the name of the namespace is that a name in normal form lies in: what is before its last dot, tags apart. */
static inline uint32_t cq_path_of(const unsigned char *name, int64_t length)
{
    const unsigned char *tags = memchr(name, ';', (size_t)length);
    int64_t at = tags == NULL ? length : tags - name;
    for (at--; at > 0 && name[at] != '.'; at--)
        ;
    return at > 0 ? (uint32_t)at : 0;
}

/* Have a line's name be in normal form, if it has one; whether that is another than came. */
static inline int cq_look_closer(const cq_keys *keys, cq_batch *batch, cq_line *line)
{
    int64_t dot;
    line->path = line->known = 0;
    const unsigned char *name = batch->text + line->start;
    /* Where most come in another spelling, these are not tried for a few that do not. */
    if (cq_is_plain_name(name, line->name_length, &dot) ||
        (!batch->respells && cq_is_plain_with_tags(name, line->name_length, batch->text + batch->length, &dot))) {
        line->path = dot > 0 ? (uint32_t)dot : 0;
        line->plain = 1;
        return 0;
    }
    return line->spelled == 0 && cq_respell(keys, batch, line);
}

/* Approach the bucket of a line's name: as it came, or in normal form where most names of the group before had to be
 * written anew, so that these are not looked for twice. */
static inline void cq_approach(const cq_series *series, cq_block *block, cq_batch *batch, cq_line *line)
{
    const cq_keys *keys = series->names->keys;
    if (!batch->respells || !cq_look_closer(keys, batch, line))
        line->hash = cq_hash(keys, batch->text + line->start, line->name_length, batch->text + batch->length);
    cq_prefetch(cq_bucket(block, line->hash));
}

/* Look closer at a group's lines that were not found: some came in another spelling. */
static inline void cq_find_respelled(
    const cq_series *series, cq_block *block, cq_batch *batch, cq_line *lines, int64_t count)
{
    int64_t some = 0, respelled = 0;
    for (int64_t at = 0; at < count; at++)
        if (lines[at].row == CQ_UNKNOWN && cq_look_closer(series->names->keys, batch, &lines[at])) {
            cq_prefetch(cq_bucket(block, lines[at].hash));
            some = 1;
        }
    if (some)
        cq_find_group(series, block, batch, lines, count, 1);
    for (int64_t at = 0; at < count && (some || batch->respells); at++)
        respelled += lines[at].spelled != 0;
    batch->respells = 4 * respelled >= 3 * count;
}

/* Count the lines that are not known yet, and the odd ones. */
static inline void cq_count_open(cq_batch *batch)
{
    batch->doubts = batch->unknown = batch->odd = 0;
    for (int64_t at = 0; at < batch->count; at++) {
        batch->odd += batch->lines[at].odd;
        batch->doubts += batch->lines[at].row == CQ_DOUBT;
        batch->unknown += batch->lines[at].row == CQ_UNKNOWN;
    }
}

/* How long a namespace's name is without its last part; 0 for the root. */
static inline uint32_t cq_path_above(const unsigned char *name, uint32_t path)
{
    while (path > 0 && name[--path] != '.')
        ;
    return path;
}

/* Where the parts of a name end that lead to a namespace: the dots among its first bytes, a bit each, if it has no more. */
typedef struct {
    const unsigned char *name;
    uint64_t dots;
    int all; /* whether these are all */
} cq_parts;

static inline cq_parts cq_parts_of(const unsigned char *name, uint32_t path, const unsigned char *end)
{
    cq_parts parts = {name, 0, 0};
#if CQ_SSE2
    if (path < CQ_BLOCK && end - name >= CQ_BLOCK) {
        parts.dots = cq_places_of(name, '.') & cq_bits_below(path);
        parts.all = 1;
    }
#endif
    (void)path;
    (void)end;
    return parts;
}

/* `cq_path_above` for the namespace that they lead to, or one above it. */
static inline uint32_t cq_next_above(const cq_parts *parts, uint32_t path)
{
    if (!parts->all)
        return cq_path_above(parts->name, path);
    uint64_t above = parts->dots & cq_bits_below(path);
    return above == 0 ? 0 : (uint32_t)cq_last_bit(above);
}

/* How long the name of the namespace below another is, on the way to the one of this path. */
static inline uint32_t cq_next_below(const cq_parts *parts, uint32_t above, uint32_t path)
{
    if (parts->all) {
        uint64_t below = parts->dots & ~cq_bits_below(above + 1);
        return below == 0 ? path : (uint32_t)cq_first_bit(below);
    }
    for (above++; above < path && parts->name[above] != '.'; above++)
        ;
    return above;
}

/* How many namespaces a new metric brings. */
static inline uint32_t cq_count_missing(const unsigned char *name, const cq_line *line)
{
    uint32_t missing = 0;
    for (uint32_t path = line->path; path > line->known; path = cq_path_above(name, path))
        missing++;
    return missing;
}

/* Where the search for a namespace goes on: at the first one asked for, above one that is not there, below one that is. */
enum { CQ_FIRST, CQ_ABOVE, CQ_BELOW };

/* Find the nearest namespaces above new metrics, of all in a group side by side. As new metrics mostly come in floods of
 * one shape, the first to be asked for is as far above as the last metric's was that was placed: from there on they are
 * sought upward to the root, which is always there, or downward to the metric. */
static inline void cq_place_group(cq_names *names, cq_batch *batch, cq_line *lines, int64_t count)
{
    cq_block *block = cq_current(&names->slots);
    uint8_t waiting[CQ_GROUP], ways[CQ_GROUP];
    uint32_t asked[CQ_GROUP];
    uint64_t hashes[CQ_GROUP];
    cq_search searches[CQ_GROUP];
    int64_t rows[CQ_GROUP], left = 0, last = -1, length;
    cq_parts parts[CQ_GROUP];
    for (int64_t at = 0; at < count; at++) {
        cq_line *line = &lines[at];
        if (line->row != CQ_UNKNOWN)
            continue;
        const unsigned char *name = cq_name_of(batch, line, &length);
        if (line->spelled != 0)
            line->path = cq_path_of(name, length);
        line->known = line->namespace_row = 0;
        if (line->path == 0)
            continue;
        uint32_t path = line->path;
        parts[at] = cq_parts_of(name, path, cq_end_of_names(batch, line));
        for (uint32_t missing = batch->missing; missing > 0 && path > 0; missing--)
            path = cq_next_above(&parts[at], path);
        ways[at] = path > 0 ? CQ_FIRST : CQ_BELOW;
        asked[at] = path > 0 ? path : cq_next_below(&parts[at], 0, line->path);
        waiting[left++] = (uint8_t)at;
        last = at;
    }
    while (left > 0) {
        int64_t still = 0;
        for (int64_t at = 0; at < left; at++) {
            const cq_line *line = &lines[waiting[at]];
            const unsigned char *name = cq_name_of(batch, line, &length);
            hashes[at] = cq_hash(names->keys, name, asked[waiting[at]], cq_end_of_names(batch, line));
            cq_prefetch(cq_bucket(block, hashes[at]));
        }
        for (int64_t at = 0; at < left; at++) {
            rows[at] = cq_first_candidate(block, hashes[at], &searches[at]);
            if (rows[at] >= 0)
                cq_prefetch(cq_space_at(names, rows[at]));
        }
        for (int64_t at = 0; at < left; at++) {
            int64_t place = waiting[at], row = rows[at];
            cq_line *line = &lines[place];
            const unsigned char *name = cq_name_of(batch, line, &length), *found;
            uint32_t path = asked[place];
            while (row >= 0 && !(cq_called(cq_space_at(names, row), &found) == path && cq_equal(found, name, path)))
                row = cq_next_candidate(&searches[at]);
            if (row >= 0) {
                line->known = path;
                line->namespace_row = (uint32_t)row;
                if (ways[place] == CQ_ABOVE || path == line->path)
                    continue;
                ways[place] = CQ_BELOW;
                asked[place] = cq_next_below(&parts[place], path, line->path);
            } else {
                if (ways[place] == CQ_BELOW || (path = cq_next_above(&parts[place], path)) == 0)
                    continue;
                ways[place] = CQ_ABOVE;
                asked[place] = path;
            }
            waiting[still++] = (uint8_t)place;
        }
        left = still;
    }
    if (last >= 0)
        batch->missing = cq_count_missing(cq_name_of(batch, &lines[last], &length), &lines[last]);
}

/* Have the nearest namespace above a new metric be right again, where some came or went since it was found; `hash` is that
 * of its own one's name. To be called by the one that may write. */
static inline void cq_place_again(cq_names *names, const cq_batch *batch, cq_line *line, uint64_t hash)
{
    int64_t length;
    const unsigned char *name = cq_name_of(batch, line, &length), *end = cq_end_of_names(batch, line);
    uint32_t least = line->known; /* this one is still there, if none went */
    if (batch->removed != names->removed)
        least = line->known = line->namespace_row = 0;
    else if (batch->inserted == names->inserted)
        return;
    for (uint32_t path = line->path; path > least; path = cq_path_above(name, path)) {
        if (path < line->path)
            hash = cq_hash(names->keys, name, path, end);
        int64_t row = cq_find_name(names, hash, name, path);
        if (row >= 0) {
            line->known = path;
            line->namespace_row = (uint32_t)row;
            return;
        }
    }
}

/* Note what has come and gone before metrics are looked for and new ones placed, so that what does later can be told. */
static inline void cq_note_moment(const cq_series *series, cq_batch *batch)
{
    batch->removed = __atomic_load_n(&series->names->removed, __ATOMIC_ACQUIRE);
    batch->inserted = __atomic_load_n(&series->names->inserted, __ATOMIC_ACQUIRE);
    batch->known = __atomic_load_n(&series->inserted, __ATOMIC_ACQUIRE);
}

/* Find a line's series that came after it was looked for; whether it did. To be called by the one that may write. */
static inline int cq_find_late(const cq_series *series, const cq_batch *batch, cq_line *line)
{
    int64_t length, row;
    if (batch->known == series->inserted)
        return 0;
    const unsigned char *name = cq_name_of(batch, line, &length);
    if ((row = cq_find_series(series, line->hash, name, length)) < 0)
        return 0;
    line->row = row;
    line->namespace_row = cq_record_at(series, row)->namespace_row;
    return 1;
}

/* Take a buffer apart and find its metrics; -1 where there is no memory. To be called between `cq_enter` and
 * `cq_leave`, or by the one that may write. */
static inline int cq_read(const cq_series *series, cq_batch *batch)
{
    cq_cursor cursor = {batch->text, batch->length, 0, 0};
    cq_block *block = cq_current(&series->slots);
    int64_t place = 0;
    cq_note_moment(series, batch);
    cq_move(&cursor, 0);
    while (place < batch->length) {
        if (cq_make_lines(batch, CQ_GROUP) != 0)
            return -1;
        cq_line *group = batch->lines + batch->count;
        int64_t count = 0;
        for (; count < CQ_GROUP && place < batch->length; count++) {
            cq_line *line = &group[count];
            place = cq_read_line(&cursor, place, &batch->times, line);
            if (line->row != CQ_UNKNOWN)
                continue;
            if (line->name_length > CQ_LONGEST_NAME) {
                line->row = CQ_DOUBT;
                continue;
            }
            cq_approach(series, block, batch, line);
        }
        cq_find_group(series, block, batch, group, count, 0);
        cq_find_respelled(series, block, batch, group, count);
        cq_place_group(series->names, batch, group, count);
        batch->count += count;
    }
    if (cq_make_lines(batch, 0) != 0)
        return -1;
    batch->lines[batch->count].start = batch->length;
    cq_count_open(batch);
    return 0;
}

/* Look for all metrics again, as series were removed since. */
static inline void cq_find_again(const cq_series *series, cq_batch *batch)
{
    cq_block *block = cq_current(&series->slots);
    cq_note_moment(series, batch);
    for (int64_t first = 0; first < batch->count; first += CQ_GROUP) {
        int64_t count = batch->count - first < CQ_GROUP ? batch->count - first : CQ_GROUP;
        for (int64_t at = first; at < first + count; at++) {
            if (batch->lines[at].row >= 0)
                batch->lines[at].row = CQ_UNKNOWN;
            if (batch->lines[at].row == CQ_UNKNOWN)
                cq_prefetch(cq_bucket(block, batch->lines[at].hash));
        }
        cq_find_group(series, block, batch, batch->lines + first, count, 0);
        cq_find_respelled(series, block, batch, batch->lines + first, count);
        cq_place_group(series->names, batch, batch->lines + first, count);
    }
    cq_count_open(batch);
}

/* Read names as the lines that they would be, one behind the other in the batch's text: where each starts is known. */
static inline int cq_read_names(const cq_series *series, cq_batch *batch)
{
    cq_block *block = cq_current(&series->slots);
    cq_note_moment(series, batch);
    for (int64_t first = 0; first < batch->count; first += CQ_GROUP) {
        int64_t count = batch->count - first < CQ_GROUP ? batch->count - first : CQ_GROUP;
        for (cq_line *line = batch->lines + first; line < batch->lines + first + count; line++) {
            line->spelled = 0;
            line->name_length = cq_length_of_name(line[1].start - line->start);
            if (line->row != CQ_UNKNOWN)
                continue;
            if (line->name_length > CQ_LONGEST_NAME) {
                line->row = CQ_DOUBT;
                continue;
            }
            cq_approach(series, block, batch, line);
        }
        cq_find_group(series, block, batch, batch->lines + first, count, 0);
        cq_find_respelled(series, block, batch, batch->lines + first, count);
        cq_place_group(series->names, batch, batch->lines + first, count);
    }
    cq_count_open(batch);
    return 0;
}

/* Read a timestamp of figures alone at the end of a line, in a text that ends with a null byte; whether it is one. */
static inline int cq_whole_second(const char *text, int64_t *second)
{
    int64_t found = 0, at = 0;
    for (; text[at] >= '0' && text[at] <= '9'; at++) {
        if (at == 15)
            return 0; /* a float rounds what is longer */
        found = 10 * found + (text[at] - '0');
    }
    *second = found;
    return at > 0 && (text[at] == '\n' || text[at] == '\r' || text[at] == '\0');
}

/* How long the text is without the lines at these places, which are in ascending order. */
static inline int64_t cq_size_without(const cq_batch *batch, const int64_t *places, int64_t count)
{
    int64_t size = batch->length;
    for (int64_t at = 0; at < count; at++)
        size -= batch->lines[places[at] + 1].start - batch->lines[places[at]].start;
    return size;
}

/* Write it, stretch by stretch. */
static inline void cq_write_without(const cq_batch *batch, const int64_t *places, int64_t count, unsigned char *to)
{
    int64_t start = 0;
    for (int64_t at = 0; at <= count; at++) {
        int64_t stop = at < count ? batch->lines[places[at]].start : batch->length;
        memcpy(to, batch->text + start, (size_t)(stop - start));
        to += stop - start;
        if (at < count)
            start = batch->lines[places[at] + 1].start;
    }
}

#endif
