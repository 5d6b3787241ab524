# The histogram: HdrHistogram's layout in microseconds, recording (per request), the value, and its V2 bytes.
#
# 1 us to 1 hour with 3 digits needs 2,048 sub-buckets and 23,552 counters. They are kept in chunks of 64, and a bitmap
# says which chunks were ever written: recording sets one bit, a reader looks nowhere else (reading untouched shared
# memory allocates it), and a Histogram with one slow outlier does not pay for the empty stretch before it.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

import struct
import zlib

cdef extern from *:
    """
    #define HISTOGRAM_HIGHEST 3600000000LL           /* us, one hour: what is above counts as this */
    #define HISTOGRAM_MOST 9223372036854775807ULL    /* counts in one histogram: Java readers have signed longs */
    #define histogram_zeros(word) __builtin_clzll(word)
    #define histogram_ones(word) __builtin_popcountll(word)
    #define histogram_lowest(word) __builtin_ctzll(word)
    """
    const int64_t HISTOGRAM_HIGHEST
    const uint64_t HISTOGRAM_MOST
    int histogram_zeros(uint64_t word) noexcept nogil
    int histogram_ones(uint64_t word) noexcept nogil
    int histogram_lowest(uint64_t word) noexcept nogil

cdef enum:
    HISTOGRAM_LENGTH = 23_552    # counters
    HISTOGRAM_CHUNK = 64         # counters a bit of `touched` stands for: 512 bytes, a whole part of a page
    HISTOGRAM_WORDS = 6          # words of `touched`: 368 chunks
    HISTOGRAM_HEADER = 40        # bytes before the counts in the V2 form
    HISTOGRAM_COOKIE = 0x1c849313
    HISTOGRAM_COOKIE_COMPRESSED = 0x1c849314

cdef struct Buckets:
    # Counts as they are recorded, for an arena. All-zero memory is an empty one. `room` aligns the counts to 512 bytes.
    uint64_t touched[HISTOGRAM_WORDS]
    uint64_t room[58]
    uint64_t counts[HISTOGRAM_LENGTH]


cdef inline int bucket_index(int64_t us) noexcept nogil:
    # The index of the counter for `us`, 0 up to the highest: (bucket + 1) * 1024 + (sub-bucket - 1024), put together.
    cdef int bucket = 53 - histogram_zeros(<uint64_t>us | 2047)
    return (bucket << 10) + <int>(us >> bucket)


cdef inline int64_t bucket_low(int index) noexcept nogil:
    # The lowest value (us) that counts at `index`.
    cdef int bucket = (index >> 10) - 1
    return index if bucket < 0 else <int64_t>((index & 1023) + 1024) << bucket


cdef inline int64_t bucket_size(int index) noexcept nogil:
    # How many values (us) count at `index`.
    cdef int bucket = (index >> 10) - 1
    return 1 if bucket < 0 else <int64_t>1 << bucket


cdef inline int64_t bucket_top(int index) noexcept nogil:
    # The highest value (us) that counts at `index`: HdrHistogram's highest equivalent value.
    return bucket_low(index) + bucket_size(index) - 1


cdef inline int64_t bucket_clamp(int64_t us) noexcept nogil:
    # `us` inside of what can be counted.
    return 0 if us < 0 else HISTOGRAM_HIGHEST if us > HISTOGRAM_HIGHEST else us


cdef inline void buckets_record(Buckets* buckets, int64_t us) noexcept nogil:
    # Per request. The bit comes first: a writer killed between the two has then counted nothing, and lost nothing.
    cdef int index = bucket_index(bucket_clamp(us))
    cdef uint64_t bit = <uint64_t>1 << ((index >> 6) & 63)
    if not buckets.touched[index >> 12] & bit:
        buckets.touched[index >> 12] |= bit
    buckets.counts[index] += 1


cdef class Histogram:
    """How often each latency (us) was seen: HdrHistogram from 1 us to 1 hour with 3 significant digits.

    A value: `a + b` and `a - b` are exact and new. It holds only the chunks of counters that are not all zero, so an
    empty one costs about 100 bytes. Negative latencies count as 0, those above an hour as one hour.
    """

    cdef uint64_t touched[HISTOGRAM_WORDS]    # the chunks that `cells` has; none of them is all zero
    cdef uint64_t* cells                      # 64 counters a chunk, in order
    cdef readonly uint64_t total              # the sum of all counters

    def __dealloc__(self):
        free(self.cells)

    @staticmethod
    cdef Histogram from_buckets(const Buckets* buckets):
        # Per snapshot: reads the touched chunks only, while another process may be writing them.
        cdef Histogram made = Histogram()
        cdef uint64_t touched[HISTOGRAM_WORDS]
        memcpy(touched, buckets.touched, sizeof(touched))    # once: the writer may set more bits meanwhile
        cdef int chunks = histogram_size(touched)
        if chunks:
            made.cells = <uint64_t*>malloc(chunks * HISTOGRAM_CHUNK * sizeof(uint64_t))
            if made.cells is NULL:
                raise MemoryError()
            made.total = histogram_copy(touched, buckets, made.touched, made.cells)
        return made

    @staticmethod
    def decode(bytes data):
        """Return the histogram in `data`, HdrHistogram V2, compressed or not, with 3 digits and 1 as its unit.

        Raises ValueError for anything that is not exactly one such histogram.
        """
        cdef Histogram made = Histogram()
        made.add_encoded(data)
        return made

    def record(self, int64_t us, int64_t count=1):
        """Count `us` as seen `count` times. Raises ValueError for a negative count or too many."""
        cdef uint64_t wanted[HISTOGRAM_WORDS]
        cdef int index = bucket_index(bucket_clamp(us))
        if count < 0:
            raise ValueError(f"a count cannot be negative, got {count}")
        histogram_check(self.total, count)
        if count:
            histogram_only(wanted, index >> 6)
            self.reserve(wanted)
            self.cells[histogram_rank(self.touched, index >> 6) * HISTOGRAM_CHUNK + (index & 63)] += count
            self.total += count

    def merge(self, Histogram other not None):
        """Add all of `other` to this histogram, in place. Raises ValueError for more than 2**63 - 1 counts."""
        histogram_check(self.total, other.total)
        self.reserve(other.touched)
        histogram_add(self.touched, self.cells, other.touched, other.cells)
        self.total += other.total

    def add_encoded(self, bytes data not None):
        """Add what `data` encodes, in place; `decode` says what it may be. After a ValueError nothing has changed."""
        cdef const uint8_t* at
        cdef const uint8_t* end
        cdef uint64_t wanted[HISTOGRAM_WORDS]
        cdef uint64_t total = 0
        data = histogram_unwrap(data)
        at = <const uint8_t*>PyBytes_AS_STRING(data) + HISTOGRAM_HEADER
        end = <const uint8_t*>PyBytes_AS_STRING(data) + PyBytes_GET_SIZE(data)
        cdef const char* wrong = histogram_scan(at, end, wanted, &total)
        if wrong is not NULL:
            raise ValueError(f"not an encoded histogram: {wrong.decode()}")
        histogram_check(self.total, total)
        self.add_counts(at, end, wanted, total)

    def encode(self):
        """Return the histogram as HdrHistogram V2 bytes, not compressed: 40 for an empty one, typically below 2,000."""
        cdef int chunks = histogram_size(self.touched)
        # At most 9 bytes a counter, and 3 for the gap before a chunk.
        cdef uint8_t* room = <uint8_t*>malloc(chunks * (HISTOGRAM_CHUNK * 9 + 3) + 1)
        if room is NULL:
            raise MemoryError()
        try:
            end = histogram_write(room, self.touched, self.cells)
            payload = PyBytes_FromStringAndSize(<char*>room, end - room)
        finally:
            free(room)
        return histogram_HEADER.pack(HISTOGRAM_COOKIE, len(payload), 0, 3, 1, HISTOGRAM_HIGHEST, 1.0) + payload

    def encode_compressed(self):
        """Return the histogram as HdrHistogram V2 bytes with zlib; in base64 (HISTF...) it is what .hlog files hold."""
        payload = zlib.compress(self.encode())
        return struct.pack(">iI", HISTOGRAM_COOKIE_COMPRESSED, len(payload)) + payload

    def percentile(self, double fraction):
        """Return the latency (us) that `fraction` of the counts did not exceed.

        `fraction` is above 0 and at most 1; an empty histogram returns 0. The answer is the top of its bucket, at most
        0.1 % above the true value. Raises ValueError outside the range. As hdr_value_at_percentile in HdrHistogram_c.
        """
        if not 0.0 < fraction <= 1.0:
            raise ValueError(f"a fraction must be above 0 and at most 1, got {fraction}")
        cdef uint64_t wanted = <uint64_t>(fraction * <double>self.total + 0.5)
        return self.top(min(max(wanted, <uint64_t>1), self.total))

    def mean(self):
        """Return the mean (us) of the middles of the buckets; 0.0 when empty."""
        return histogram_sum(self.touched, self.cells) / <double>self.total if self.total else 0.0

    def minimum(self):
        """Return the lowest value (us) of the lowest bucket that counted; 0 when empty."""
        cdef int index = histogram_find(self.touched, self.cells, 1)
        return 0 if index < 0 else bucket_low(index)

    def maximum(self):
        """Return the highest value (us) of the highest bucket that counted; 0 when empty."""
        return self.top(self.total)

    def count_above(self, int64_t us):
        """Return how many counts are certainly above `us`: those in buckets after the one that `us` is in."""
        cdef uint64_t upto = histogram_upto(self.touched, self.cells, bucket_index(bucket_clamp(us)))
        return self.total - upto

    def buckets(self):
        """Return an iterator of (top_us, count) over the buckets that counted, upwards."""
        cdef int word, chunk, i
        cdef uint64_t bits
        cdef uint64_t* cell = self.cells
        found = []
        for word in range(HISTOGRAM_WORDS):
            bits = self.touched[word]
            while bits:
                chunk = word * 64 + histogram_lowest(bits)
                for i in range(HISTOGRAM_CHUNK):
                    if cell[i]:
                        found.append((bucket_top(chunk * HISTOGRAM_CHUNK + i), cell[i]))
                cell += HISTOGRAM_CHUNK
                bits &= bits - 1
        return iter(found)

    def copy(self):
        """Return an equal histogram that shares nothing with this one."""
        cdef Histogram made = Histogram()
        made.merge(self)
        return made

    def __add__(self, other):
        if not isinstance(self, Histogram) or not isinstance(other, Histogram):
            return NotImplemented
        cdef Histogram made = Histogram()
        cdef Histogram left = self, right = other
        cdef uint64_t wanted[HISTOGRAM_WORDS]
        cdef int word
        for word in range(HISTOGRAM_WORDS):
            wanted[word] = left.touched[word] | right.touched[word]
        made.reserve(wanted)
        made.merge(left)
        made.merge(right)
        return made

    def __sub__(self, other):
        if not isinstance(self, Histogram) or not isinstance(other, Histogram):
            return NotImplemented
        cdef Histogram made = (<Histogram>self).copy()
        cdef Histogram less = other
        if not histogram_subtract(made.touched, made.cells, less.touched, less.cells):
            raise ValueError("cannot subtract a histogram that has counts which this one lacks")
        made.settle()
        return made

    def __eq__(self, other):
        if not isinstance(other, Histogram):
            return NotImplemented
        cdef Histogram a = self, b = other
        if a.total != b.total or memcmp(a.touched, b.touched, sizeof(a.touched)):
            return False
        cdef size_t size = histogram_size(a.touched) * HISTOGRAM_CHUNK * sizeof(uint64_t)
        return size == 0 or memcmp(a.cells, b.cells, size) == 0

    def __bool__(self):
        return self.total != 0

    def __sizeof__(self):
        return sizeof(HistogramShape) + histogram_size(self.touched) * HISTOGRAM_CHUNK * sizeof(uint64_t)

    def __repr__(self):
        return f"<Histogram of {self.total} counts, {self.minimum()} to {self.maximum()} us>"

    cdef int64_t top(self, uint64_t wanted) noexcept:
        # The top (us) of the bucket in which the count number `wanted` (from 1) is; 0 when empty.
        cdef int index = histogram_find(self.touched, self.cells, wanted) if wanted else -1
        return 0 if index < 0 else bucket_top(index)

    cdef int reserve(self, const uint64_t* wanted) except -1:
        # Make room, all zero, for the chunks in `wanted` that are not there yet.
        cdef uint64_t united[HISTOGRAM_WORDS]
        cdef uint64_t* fresh
        cdef int word
        cdef uint64_t missing = 0
        for word in range(HISTOGRAM_WORDS):
            united[word] = self.touched[word] | wanted[word]
            missing |= united[word] & ~self.touched[word]
        if missing:
            fresh = <uint64_t*>calloc(histogram_size(united), HISTOGRAM_CHUNK * sizeof(uint64_t))
            if fresh is NULL:
                raise MemoryError()
            histogram_add(united, fresh, self.touched, self.cells)
            free(self.cells)
            self.cells = fresh
            memcpy(self.touched, united, sizeof(united))
        return 0

    cdef int add_counts(
        self, const uint8_t* at, const uint8_t* end, const uint64_t* wanted, uint64_t total
    ) except -1:
        # Add encoded counts, which were checked: they need the chunks in `wanted`, and there is room for `total` more.
        self.reserve(wanted)
        histogram_fill(at, end, self.touched, self.cells)
        self.total += total
        return 0

    cdef void wipe(self) noexcept:
        # Count nothing, with the chunks that are there: for who fills it again, and settles it before others see it.
        if self.total:
            memset(self.cells, 0, histogram_size(self.touched) * HISTOGRAM_CHUNK * sizeof(uint64_t))
            self.total = 0

    cdef void settle(self) noexcept:
        # Drop the chunks that are all zero, and count what is left.
        cdef uint64_t* smaller
        cdef int before = histogram_size(self.touched)
        self.total = histogram_squeeze(self.touched, self.cells)
        cdef int chunks = histogram_size(self.touched)
        if chunks == before:
            return
        if chunks == 0:
            free(self.cells)
            self.cells = NULL
            return
        smaller = <uint64_t*>realloc(self.cells, chunks * HISTOGRAM_CHUNK * sizeof(uint64_t))
        if smaller is not NULL:
            self.cells = smaller


cdef struct HistogramShape:    # what an object takes, for __sizeof__: reference count, type, vtable, fields
    void* head[3]
    uint64_t touched[HISTOGRAM_WORDS]
    uint64_t* cells
    uint64_t total


cdef inline void histogram_only(uint64_t* touched, int chunk) noexcept nogil:
    cdef int word
    for word in range(HISTOGRAM_WORDS):
        touched[word] = 0
    touched[chunk >> 6] = <uint64_t>1 << (chunk & 63)


cdef inline int histogram_size(const uint64_t* touched) noexcept nogil:
    # How many chunks there are.
    cdef int word, size = 0
    for word in range(HISTOGRAM_WORDS):
        size += histogram_ones(touched[word])
    return size


cdef inline int histogram_rank(const uint64_t* touched, int chunk) noexcept nogil:
    # How many chunks come before `chunk`: its place in the cells.
    cdef int word, rank = 0
    for word in range(chunk >> 6):
        rank += histogram_ones(touched[word])
    return rank + histogram_ones(touched[chunk >> 6] & ((<uint64_t>1 << (chunk & 63)) - 1))


cdef int histogram_check(uint64_t total, uint64_t more) except -1:
    if more > HISTOGRAM_MOST - total:
        raise ValueError("a histogram cannot hold more than 2**63 - 1 counts")
    return 0


cdef uint64_t histogram_copy(
    const uint64_t* wanted, const Buckets* buckets, uint64_t* touched, uint64_t* cells
) noexcept nogil:
    # Copy the `wanted` chunks, mark in `touched` those that are not all zero, return the sum of all counters.
    cdef int word, chunk
    cdef uint64_t bits, inside, total = 0
    for word in range(HISTOGRAM_WORDS):
        bits = wanted[word]
        while bits:
            chunk = word * 64 + histogram_lowest(bits)
            memcpy(cells, &buckets.counts[chunk * HISTOGRAM_CHUNK], HISTOGRAM_CHUNK * sizeof(uint64_t))
            inside = histogram_inside(cells)
            if inside:
                touched[word] |= bits & -bits
                cells += HISTOGRAM_CHUNK
            total += inside
            bits &= bits - 1
    return total


cdef inline uint64_t histogram_inside(const uint64_t* cells) noexcept nogil:
    # The sum of a chunk. It cannot wrap around to 0: a histogram has at most 2**63 - 1 counts.
    cdef int i
    cdef uint64_t inside = 0
    for i in range(HISTOGRAM_CHUNK):
        inside += cells[i]
    return inside


cdef void histogram_add(
    const uint64_t* touched, uint64_t* cells, const uint64_t* also, const uint64_t* more
) noexcept nogil:
    # Add the chunks `more` (which are those in `also`) to `cells` (those in `touched`, among which all of `also`).
    cdef int word, i
    cdef uint64_t bits
    for word in range(HISTOGRAM_WORDS):
        bits = touched[word]
        while bits:
            if also[word] & bits & -bits:
                for i in range(HISTOGRAM_CHUNK):
                    cells[i] += more[i]
                more += HISTOGRAM_CHUNK
            cells += HISTOGRAM_CHUNK
            bits &= bits - 1


cdef bint histogram_subtract(
    const uint64_t* touched, uint64_t* cells, const uint64_t* also, const uint64_t* less
) noexcept nogil:
    # As histogram_add. False, with `cells` spoiled, when something is missing.
    cdef int word, i
    cdef uint64_t bits, missing = 0
    for word in range(HISTOGRAM_WORDS):
        missing |= also[word] & ~touched[word]
        bits = touched[word]
        while bits:
            if also[word] & bits & -bits:
                for i in range(HISTOGRAM_CHUNK):
                    missing |= cells[i] < less[i]
                    cells[i] -= less[i]
                less += HISTOGRAM_CHUNK
            cells += HISTOGRAM_CHUNK
            bits &= bits - 1
    return missing == 0


cdef uint64_t histogram_squeeze(uint64_t* touched, uint64_t* cells) noexcept nogil:
    # Move the chunks that are not all zero together, clear the bits of the others, return the sum of all counters.
    cdef int word
    cdef uint64_t bits, inside, total = 0
    cdef uint64_t* kept = cells
    for word in range(HISTOGRAM_WORDS):
        bits = touched[word]
        while bits:
            inside = histogram_inside(cells)
            if inside == 0:
                touched[word] &= ~(bits & -bits)
            else:
                if kept != cells:
                    memcpy(kept, cells, HISTOGRAM_CHUNK * sizeof(uint64_t))
                kept += HISTOGRAM_CHUNK
            total += inside
            cells += HISTOGRAM_CHUNK
            bits &= bits - 1
    return total


cdef int histogram_find(const uint64_t* touched, const uint64_t* cells, uint64_t wanted) noexcept nogil:
    # The index of the counter in which the count number `wanted` (from 1) is; -1 when there are fewer.
    cdef int word, i
    cdef uint64_t bits, inside, before = 0
    for word in range(HISTOGRAM_WORDS):
        bits = touched[word]
        while bits:
            inside = histogram_inside(cells)
            if before + inside >= wanted:
                return (word * 64 + histogram_lowest(bits)) * HISTOGRAM_CHUNK + histogram_reach(cells, wanted - before)
            before += inside
            cells += HISTOGRAM_CHUNK
            bits &= bits - 1
    return -1


cdef inline int histogram_reach(const uint64_t* cells, uint64_t wanted) noexcept nogil:
    # As histogram_find, in one chunk, which has enough.
    cdef int i = 0
    while cells[i] < wanted:
        wanted -= cells[i]
        i += 1
    return i


cdef double histogram_sum(const uint64_t* touched, const uint64_t* cells) noexcept nogil:
    # The sum (us) of all counts, each taken as the middle of its bucket (HdrHistogram's median equivalent value).
    cdef int word, i, index
    cdef uint64_t bits
    cdef double sum = 0.0
    for word in range(HISTOGRAM_WORDS):
        bits = touched[word]
        while bits:
            for i in range(HISTOGRAM_CHUNK):
                if cells[i]:
                    index = (word * 64 + histogram_lowest(bits)) * HISTOGRAM_CHUNK + i
                    sum += <double>cells[i] * <double>(bucket_low(index) + (bucket_size(index) >> 1))
            cells += HISTOGRAM_CHUNK
            bits &= bits - 1
    return sum


cdef uint64_t histogram_upto(const uint64_t* touched, const uint64_t* cells, int index) noexcept nogil:
    # The sum of the counters up to and with `index`.
    cdef int word, i, first
    cdef uint64_t bits, sum = 0
    for word in range(HISTOGRAM_WORDS):
        bits = touched[word]
        while bits:
            first = (word * 64 + histogram_lowest(bits)) * HISTOGRAM_CHUNK
            for i in range(HISTOGRAM_CHUNK):
                if first + i <= index:
                    sum += cells[i]
            cells += HISTOGRAM_CHUNK
            bits &= bits - 1
    return sum
