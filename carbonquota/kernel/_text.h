/* Text at speed: where separators are, what is a plain number, and a keyed hash of names.
 *
 * Everything here reads bytes and returns numbers; it allocates nothing and knows no lines, metrics or rows. With SSE2
 * sixteen bytes are looked at in one step; CARBONQUOTA_PORTABLE, or another processor, takes the loops instead, which
 * answer the same.
 */
#ifndef CARBONQUOTA_TEXT_H
#define CARBONQUOTA_TEXT_H

#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(CARBONQUOTA_PORTABLE)
#include <emmintrin.h>
#define CQ_SSE2 1
#else
#define CQ_SSE2 0
#endif

/* What several call of which each has to have it inlined. */
#define CQ_INLINED static inline __attribute__((always_inline))

#define CQ_LITTLE_ENDIAN (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
#define CQ_BLOCK 64
#define CQ_LONGEST_NAME 16384 /* bytes: 4,096 characters of UTF-8 at most */

static inline void cq_prefetch(const void *address) { __builtin_prefetch(address); }

static inline int cq_first_bit(uint64_t bits) { return __builtin_ctzll(bits); }

/* The bytes up to the space among 64, a bit each: the only ones that can end a field. */
static inline uint64_t cq_separators(const unsigned char *block)
{
    uint64_t bits = 0;
#if CQ_SSE2
    const __m128i space = _mm_set1_epi8(0x20);
    for (int part = 0; part < 4; part++) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(block + 16 * part));
        __m128i small = _mm_cmpeq_epi8(_mm_min_epu8(bytes, space), bytes);
        bits |= (uint64_t)(uint32_t)_mm_movemask_epi8(small) << (16 * part);
    }
#else
    for (int at = 0; at < CQ_BLOCK; at++)
        bits |= (uint64_t)(block[at] <= 0x20) << at;
#endif
    return bits;
}

#if CQ_SSE2
/* Where one byte is among 64, a bit each. */
static inline uint64_t cq_places_of(const unsigned char *block, char byte)
{
    const __m128i wanted = _mm_set1_epi8(byte);
    uint64_t bits = 0;
    for (int part = 0; part < 4; part++) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(block + 16 * part));
        bits |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, wanted)) << (16 * part);
    }
    return bits;
}
#endif

/* The bits below one. */
static inline uint64_t cq_bits_below(int64_t bit) { return bit >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << bit) - 1; }

static inline int cq_last_bit(uint64_t bits) { return 63 - __builtin_clzll(bits); }

/* Whether a text is digits with at most one dot between, before or after them. */
static inline int cq_is_plain_number(const unsigned char *text, int64_t length, const unsigned char *end)
{
#if CQ_SSE2
    if (length <= 16 && end - text >= 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)text);
        __m128i values = _mm_sub_epi8(bytes, _mm_set1_epi8('0'));
        __m128i small = _mm_cmpeq_epi8(_mm_min_epu8(values, _mm_set1_epi8(9)), values);
        uint32_t inside = (1u << length) - 1;
        uint32_t digits = (uint32_t)_mm_movemask_epi8(small) & inside;
        uint32_t dots = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('.'))) & inside;
        return (digits | dots) == inside && (dots & (dots - 1)) == 0 && digits != 0;
    }
#endif
    (void)end;
    int64_t digits = 0, dots = 0;
    for (int64_t at = 0; at < length; at++) {
        if (text[at] >= '0' && text[at] <= '9')
            digits++;
        else if (text[at] == '.')
            dots++;
        else
            return 0;
    }
    return digits > 0 && dots <= 1;
}

/* What `float` makes of a field without white space: nothing, a number, an infinity, or NaN. */
enum { CQ_NO_NUMBER, CQ_FINITE, CQ_INFINITE, CQ_NAN, CQ_DOUBTFUL };

static inline int cq_is_word(const unsigned char *text, int64_t length, const char *word)
{
    for (int64_t at = 0; at < length; at++)
        if ((text[at] | 0x20) != (unsigned char)word[at])
            return 0;
    return word[length] == 0;
}

/* CQ_DOUBTFUL stands for a number that may be too large to be finite. */
static inline int cq_kind_of_number(const unsigned char *text, int64_t length)
{
    int64_t at = 0, digits = 0;
    if (length > 0 && (text[0] == '-' || text[0] == '+'))
        at = 1;
    if (length - at == 3 && cq_is_word(text + at, 3, "nan"))
        return CQ_NAN;
    if ((length - at == 3 && cq_is_word(text + at, 3, "inf")) ||
        (length - at == 8 && cq_is_word(text + at, 8, "infinity")))
        return CQ_INFINITE;
    for (; at < length && text[at] >= '0' && text[at] <= '9'; at++)
        digits++;
    if (at < length && text[at] == '.')
        for (at++; at < length && text[at] >= '0' && text[at] <= '9'; at++)
            digits++;
    if (digits == 0)
        return CQ_NO_NUMBER;
    if (at == length)
        return digits > 300 ? CQ_DOUBTFUL : CQ_FINITE;
    if ((text[at] | 0x20) != 'e')
        return CQ_NO_NUMBER;
    at++;
    if (at < length && (text[at] == '-' || text[at] == '+'))
        at++;
    if (at == length)
        return CQ_NO_NUMBER;
    for (; at < length; at++)
        if (text[at] < '0' || text[at] > '9')
            return CQ_NO_NUMBER;
    return CQ_DOUBTFUL;
}

/* A keyed hash: NH (Black, Halevi, Krawczyk, Krovetz, Rogaway, "UMAC: Fast and Secure Message Authentication") over
 * 64-bit words, and a keyed multiplication to mix its sum. Two names chosen without knowing the keys share an NH sum
 * with a chance of 2^-64, so nobody can make names pile up in one place. */
typedef struct {
    uint64_t words[CQ_LONGEST_NAME / 8 + 2];
    uint64_t finish[3];
} cq_keys;

typedef unsigned __int128 cq_wide;

static inline uint64_t cq_word(const unsigned char *text)
{
    uint64_t word;
    memcpy(&word, text, 8);
    return word;
}

/* The hash of a name of up to CQ_LONGEST_NAME bytes; `end` is where the memory that may be read ends. */
static inline uint64_t cq_hash(const cq_keys *keys, const unsigned char *name, int64_t length, const unsigned char *end)
{
    const uint64_t *key = keys->words;
    const unsigned char *text = name;
    cq_wide sum = 0;
    int64_t left = length;
    for (; left >= 16; left -= 16, text += 16, key += 2)
        sum += (cq_wide)(cq_word(text) + key[0]) * (cq_word(text + 8) + key[1]);
    if (left > 0) {
        uint64_t low, high;
        if (CQ_LITTLE_ENDIAN && end - text >= 16) {
            low = cq_word(text);
            high = cq_word(text + 8);
            if (left <= 8) {
                low &= ~UINT64_C(0) >> (64 - 8 * left);
                high = 0;
            } else {
                high &= ~UINT64_C(0) >> (128 - 8 * left);
            }
        } else {
            unsigned char padded[16] = {0};
            memcpy(padded, text, (size_t)left);
            low = cq_word(padded);
            high = cq_word(padded + 8);
        }
        sum += (cq_wide)(low + key[0]) * (high + key[1]);
    }
    uint64_t folded = (uint64_t)(sum >> 64) ^ keys->finish[0];
    cq_wide mixed = (cq_wide)((uint64_t)sum + keys->finish[1] * (uint64_t)length) * (folded | 1);
    uint64_t hash = (uint64_t)mixed ^ (uint64_t)(mixed >> 64);
    hash *= keys->finish[2] | 1;
    return hash ^ (hash >> 32);
}

/* The place of the last dot before a name's tags, or -1. */
static inline int64_t cq_last_dot(const unsigned char *name, int64_t length)
{
    int64_t dot = -1;
    for (int64_t at = 0; at < length && name[at] != ';'; at++)
        if (name[at] == '.')
            dot = at;
    return dot;
}

#endif
