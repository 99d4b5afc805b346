/* A keyed hash of 128 bits: SipHash (Aumasson, Bernstein, "SipHash: a fast short-input PRF") with one round a word and
 * three at the end. Keys come from the wire; who does not know the secret cannot make two of them clash. */
#ifndef CARBONQUOTA_LIMITS_HASH_H
#define CARBONQUOTA_LIMITS_HASH_H

#include <stdint.h>
#include <string.h>

typedef struct {
    uint64_t low, high;
} cl_digest;

static inline uint64_t cl_rotate(uint64_t word, int bits) { return word << bits | word >> (64 - bits); }

#define CL_ROUND(a, b, c, d)                                                                                           \
    do {                                                                                                               \
        a += b, b = cl_rotate(b, 13) ^ a, a = cl_rotate(a, 32);                                                        \
        c += d, d = cl_rotate(d, 16) ^ c;                                                                              \
        a += d, d = cl_rotate(d, 21) ^ a;                                                                              \
        c += b, b = cl_rotate(b, 17) ^ c, c = cl_rotate(c, 32);                                                        \
    } while (0)

static inline cl_digest cl_hash(const uint64_t secret[2], const unsigned char *text, int64_t length)
{
    uint64_t a = secret[0] ^ UINT64_C(0x736f6d6570736575), b = secret[1] ^ UINT64_C(0x646f72616e646f6d) ^ 0xee;
    uint64_t c = secret[0] ^ UINT64_C(0x6c7967656e657261), d = secret[1] ^ UINT64_C(0x7465646279746573);
    uint64_t word;
    int64_t at = 0;
    for (; at + 8 <= length; at += 8) {
        memcpy(&word, text + at, 8);
        d ^= word;
        CL_ROUND(a, b, c, d);
        a ^= word;
    }
    word = 0;
    if (length > at)
        memcpy(&word, text + at, (size_t)(length - at));
    word |= (uint64_t)length << 56;
    d ^= word;
    CL_ROUND(a, b, c, d);
    a ^= word;
    cl_digest digest;
    c ^= 0xee;
    for (int round = 0; round < 3; round++)
        CL_ROUND(a, b, c, d);
    digest.low = a ^ b ^ c ^ d;
    b ^= 0xdd;
    for (int round = 0; round < 3; round++)
        CL_ROUND(a, b, c, d);
    digest.high = a ^ b ^ c ^ d;
    return digest;
}

#endif
