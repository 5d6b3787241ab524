# cython: language_level=3
"""The codec of HTTP/1.1 answers under fire: mutated answers, each read whole and in pieces, every piece between
guards, so that a sanitizer sees a read beyond it. A build of its own, from the same pieces as the core: see fuzzer.py.
"""
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint64_t
from libc.stdlib cimport malloc
from libc.string cimport memmove, memset

cdef extern from *:
    """
    #include <stdlib.h>
    #include <stdio.h>
    #include <unistd.h>

    /* Memory that runs out when the fuzzer wants it to, at the nth request from now. */
    static int fuzzed_scarce = 0;
    static void *fuzzed_realloc(void *old, size_t size)
    {
        return fuzzed_scarce && --fuzzed_scarce == 0 ? NULL : realloc(old, size);
    }
    #define realloc fuzzed_realloc

    /* What was being read when something went wrong: a sanitizer ends the process without a word about it. */
    static unsigned long long fuzzed_number = 0;
    static const char *fuzzed_data = NULL;
    static size_t fuzzed_size = 0;
    static void fuzzed_tell(void)
    {
        size_t i;
        fprintf(stderr, "case %llu, %zu bytes: b\\"", fuzzed_number, fuzzed_size);
        for (i = 0; i < fuzzed_size && i < 4000; i++) fprintf(stderr, "\\\\x%02x", (unsigned char)fuzzed_data[i]);
        fprintf(stderr, "\\"\\n");
    }
    static void fuzzed_on_alarm(int signal) { (void)signal; fuzzed_tell(); _exit(3); }
    #include <signal.h>
    #ifdef __SANITIZE_ADDRESS__
    #include <sanitizer/asan_interface.h>
    #else
    #define __asan_poison_memory_region(at, size)
    #define __asan_unpoison_memory_region(at, size)
    #define __sanitizer_set_death_callback(callback)
    #endif
    static void fuzzed_arm(void) { __sanitizer_set_death_callback(fuzzed_tell); signal(SIGALRM, fuzzed_on_alarm); }
    """
    int fuzzed_scarce
    unsigned long long fuzzed_number
    const char* fuzzed_data
    size_t fuzzed_size
    void fuzzed_arm() noexcept nogil
    void __asan_poison_memory_region(const void*, size_t) nogil
    void __asan_unpoison_memory_region(const void*, size_t) nogil
    unsigned int alarm(unsigned int) nogil

include "gaggle/core/clock.pxi"
include "gaggle/core/inbound.pxi"
include "gaggle/core/http1.pxi"

cdef enum:
    FUZZED_MOST = 1 << 20          # bytes of an answer: well beyond every limit
    FUZZED_GUARD = 64
    FUZZED_SECONDS = 10            # for 1,024 cases: who needs longer will never end


# Chance.


cdef struct Luck:
    uint64_t state


cdef inline uint64_t luck_bits(Luck* luck) noexcept nogil:
    """xorshift64* (Vigna 2016)."""
    luck.state ^= luck.state >> 12
    luck.state ^= luck.state << 25
    luck.state ^= luck.state >> 27
    return luck.state * <uint64_t>2685821657736338717ULL


cdef inline size_t luck_below(Luck* luck, size_t limit) noexcept nogil:
    return (luck_bits(luck) >> 11) % limit


cdef inline size_t luck_small(Luck* luck) noexcept nogil:
    """Return a size above 0, mostly a small one."""
    return 1 + luck_below(luck, <size_t>1 << luck_below(luck, 10))


# Making answers.


cdef struct Text:
    const char* data
    size_t size


cdef struct Draft:                 # the answer that is being made
    char* data
    size_t size


cdef void draft_replace(Draft* draft, size_t at, size_t old, const char* data, size_t size) noexcept nogil:
    """Put `data` for `old` bytes at `at`; nothing happens when it gets too long."""
    if draft.size - old + size > FUZZED_MOST:
        return
    memmove(draft.data + at + size, draft.data + at + old, draft.size - at - old)
    memcpy(draft.data + at, data, size)
    draft.size += size - old


cdef void draft_repeat(Draft* draft, size_t at, size_t size, size_t times) noexcept nogil:
    cdef size_t i
    if draft.size + size * times > FUZZED_MOST:
        return
    memmove(draft.data + at + size * times, draft.data + at, draft.size - at)
    for i in range(times):
        memcpy(draft.data + at + i * size, draft.data + at + size * times, size)
    draft.size += size * times


cdef void draft_mutate(Draft* draft, Luck* luck, const Text* seeds, size_t seed_count, const Text* words,
                       size_t word_count) noexcept nogil:
    """Change one thing."""
    cdef size_t at = luck_below(luck, draft.size + 1)
    cdef size_t size = min(luck_small(luck), draft.size - at)
    cdef size_t kind = luck_below(luck, 32)
    cdef const Text* other = &words[luck_below(luck, word_count)]
    if kind < 12:                                                  # a word, put in or over something
        draft_replace(draft, at, size if kind < 6 else 0, other.data, other.size)
    elif kind < 16:                                                # something is missing
        draft_replace(draft, at, size, b"", 0)
    elif kind < 20:                                                # a byte is another one
        if at < draft.size:
            draft.data[at] = <char>luck_bits(luck) if kind < 18 else draft.data[at] ^ (1 << luck_below(luck, 8))
    elif kind < 24:                                                # something comes again, now and then very often
        draft_repeat(draft, at, size, 1 if kind < 23 or luck_below(luck, 200) else luck_below(luck, 6_000))
    elif kind < 28:                                                # a part of another answer
        other = &seeds[luck_below(luck, seed_count)]
        if other.size:
            size = min(luck_small(luck), other.size)
            draft_replace(draft, at, 0, other.data + luck_below(luck, other.size - size + 1), size)
    elif kind < 30:                                                # another answer behind it
        other = &seeds[luck_below(luck, seed_count)]
        draft_replace(draft, draft.size, 0, other.data, other.size)
    else:                                                          # the end is missing
        draft.size = at


# Reading them.


cdef struct Verdict:               # all that a parser has to say of an answer
    int result
    int ends                       # what the end of the connection meant
    size_t used
    int status
    bint keeps
    unsigned int flags
    size_t status_length
    size_t head_length
    size_t length
    uint64_t hashed                # of head and body
    uint64_t dropped
    uint64_t body_bytes
    size_t taken


cdef char* fuzzed_fence = NULL      # FUZZED_GUARD bytes that must not be touched, a piece, and such bytes again


cdef int verdict_feed(Http1* parser, Inbound* inbound, const char* data, size_t size, size_t* used) noexcept nogil:
    """Feed a copy, before and behind which AddressSanitizer sees every access. (As malloc would do it, ten times faster.)"""
    cdef char* copy = fuzzed_fence + FUZZED_GUARD
    cdef int result
    __asan_unpoison_memory_region(copy, size)
    memcpy(copy, data, size)
    result = http1_feed(parser, inbound, copy, size, used)
    __asan_poison_memory_region(copy, size)
    return result


cdef const char* verdict_check(Http1* parser, Inbound* inbound, int result, size_t size, size_t used) noexcept nogil:
    """Return what is wrong after a piece; NULL when nothing is."""
    if result not in (HTTP1_MORE, HTTP1_COMPLETE, HTTP1_NOT_HTTP, HTTP1_BAD_BYTES, HTTP1_BAD_ENCODING, HTTP1_TOO_MANY,
                      HTTP1_NO_MEMORY):
        return b"an unknown result"
    if used > size or result == HTTP1_MORE and used != size:
        return b"used too much or too little"
    if inbound.length > inbound.capacity or inbound.head_length > inbound.length:
        return b"lengths that cannot be"
    if inbound.status_length > inbound.head_length and parser.state != HTTP1_HEAD and result >= 0:
        return b"a status line that is longer than the head"
    if (parser.state == HTTP1_DONE) != (result == HTTP1_COMPLETE):
        return b"not done, or not complete"
    if parser.state != HTTP1_HEAD and result >= 0 and inbound.length - inbound.head_length + inbound.dropped != parser.body_bytes:
        return b"bytes of the body were lost"
    if inbound.length - inbound.head_length > max(inbound.body_limit, inbound.length if parser.state == HTTP1_HEAD else 0):
        return b"more of the body was kept than may be"
    return NULL


cdef const char* verdict_of(Verdict* verdict, const char* data, size_t size, bint is_head, size_t body_limit, Luck* luck,
                            int cuts) noexcept nogil:
    """Read an answer: whole (`cuts` 0), byte by byte (1), or in pieces by chance. Returns what is wrong, or NULL."""
    cdef Http1 parser
    cdef Inbound inbound
    cdef size_t at = 0, piece, used, i
    cdef const char* wrong = NULL
    memset(verdict, 0, sizeof(Verdict))
    memset(&inbound, 0, sizeof(Inbound))
    inbound.body_limit, inbound.flags = body_limit, INBOUND_STATUS_LINE
    http1_begin(&parser, is_head)
    while at < size and verdict.result == HTTP1_MORE and wrong == NULL:
        piece = size - at if cuts == 0 else 1 if cuts == 1 else min(luck_small(luck), size - at)
        used = 0
        verdict.result = verdict_feed(&parser, &inbound, data + at, piece, &used)
        wrong = verdict_check(&parser, &inbound, verdict.result, piece, used)
        at += used
    verdict.ends = http1_eof(&parser) if verdict.result == HTTP1_MORE else 0
    if verdict.result >= 0:        # after an error nobody asks for more
        verdict.used, verdict.status, verdict.keeps = at, parser.status, http1_keeps(&parser)
        verdict.flags, verdict.taken, verdict.body_bytes = inbound.flags, parser.taken, parser.body_bytes
        if parser.state != HTTP1_HEAD:
            verdict.status_length, verdict.head_length = inbound.status_length, inbound.head_length
            verdict.length, verdict.dropped, verdict.hashed = inbound.length, inbound.dropped, 14695981039346656037ULL
            for i in range(inbound.length):
                verdict.hashed = (verdict.hashed ^ <unsigned char>inbound.data[i]) * <uint64_t>1099511628211ULL
    inbound_clear(&inbound)
    free(inbound.data)
    return wrong


cdef const char* verdict_wrong(const char* data, size_t size, Luck* luck) noexcept nogil:
    """Read an answer whole and in pieces; return what is wrong with the codec, or NULL."""
    cdef bint is_head = luck_below(luck, 8) == 0
    cdef size_t body_limit = luck_small(luck) if luck_below(luck, 4) == 0 else FUZZED_MOST
    cdef Verdict whole, other
    cdef const char* wrong = verdict_of(&whole, data, size, is_head, body_limit, luck, 0)
    cdef int cuts
    for cuts in range(1, 4):
        if cuts == 1 and size > 300:                               # every byte its own piece: that takes its time
            continue
        if wrong == NULL:
            wrong = verdict_of(&other, data, size, is_head, body_limit, luck, cuts)
        if wrong == NULL and memcmp(&whole, &other, sizeof(Verdict)):
            return b"pieces make a difference"
    if wrong == NULL and luck_below(luck, 16) == 0:
        fuzzed_set_scarce(1 + <int>luck_below(luck, 4))
        wrong = verdict_of(&other, data, size, is_head, body_limit, luck, 2)
        fuzzed_set_scarce(0)
    return wrong


cdef inline void fuzzed_set_scarce(int nth) noexcept nogil:
    global fuzzed_scarce
    fuzzed_scarce = nth


cdef void fuzzed_case(Draft* draft, uint64_t number, const Text* seeds, size_t seed_count, const Text* words,
                      size_t word_count, Luck* luck) noexcept nogil:
    """Make the answer of this number."""
    cdef const Text* seed = &seeds[luck_below(luck, seed_count)]
    cdef size_t i
    memcpy(draft.data, seed.data, seed.size)
    draft.size = seed.size
    for i in range(luck_below(luck, 7)):
        draft_mutate(draft, luck, seeds, seed_count, words, word_count)


def fuzz(list seeds not None, list words not None, uint64_t first, uint64_t count):
    """Try the cases `first` to `first + count`; each depends on its number alone. Raises AssertionError.

    `seeds` are whole answers, `words` are what may be put into them.
    """
    global fuzzed_number, fuzzed_data, fuzzed_size, fuzzed_fence
    cdef Text* texts = <Text*>malloc((len(seeds) + len(words)) * sizeof(Text))
    cdef size_t seed_count = len(seeds), word_count = len(words)
    cdef const char* wrong = NULL
    cdef Draft draft
    cdef Luck luck
    cdef uint64_t number
    for i, text in enumerate(seeds + words):
        texts[i].data, texts[i].size = <const char*>PyBytes_AS_STRING(text), len(text)
    draft.data = <char*>malloc(FUZZED_MOST)
    fuzzed_fence = <char*>malloc(FUZZED_MOST + 2 * FUZZED_GUARD)
    __asan_poison_memory_region(fuzzed_fence, FUZZED_MOST + 2 * FUZZED_GUARD)
    fuzzed_arm()
    with nogil:
        for number in range(first, first + count):
            if number % 1024 == 0 or number == first:
                alarm(FUZZED_SECONDS)
            luck.state = (number + 1) * <uint64_t>0x9E3779B97F4A7C15ULL
            fuzzed_case(&draft, number, texts, seed_count, texts + seed_count, word_count, &luck)
            fuzzed_number, fuzzed_data, fuzzed_size = number, draft.data, draft.size
            wrong = verdict_wrong(draft.data, draft.size, &luck)
            if wrong != NULL:
                break
        alarm(0)
    found = draft.data[:draft.size]
    free(draft.data)
    free(texts)
    __asan_unpoison_memory_region(fuzzed_fence, FUZZED_MOST + 2 * FUZZED_GUARD)
    free(fuzzed_fence)
    if wrong != NULL:
        raise AssertionError(f"{wrong.decode()}: case {number}, {len(found)} bytes: {found[:4000]!r}")
