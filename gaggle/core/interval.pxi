# The interval: what requests counted in one stretch of time, of each name and of all of them, from packed snapshots.
#
# Per delta. A manager has a few open at once, of as many names as there are. In counters, the times of 1,000 names would
# take 20 MB, which are to be had anew each second; so they stay as they came, one after the other, until they are read.

cdef enum:
    INTERVAL_ROOM = 4_096      # bytes of times as they came; before there are more, they are made one

cdef enum:
    INTERVAL_COUNT, INTERVAL_FAILURES, INTERVAL_IN, INTERVAL_OUT, INTERVAL_SUMS


cdef inline void interval_add(int64_t* sums, const int64_t* counts) noexcept:
    # Add to the sums what the counters of a row say.
    sums[INTERVAL_COUNT] = total_sum(sums[INTERVAL_COUNT], counts[ANSWERED] + counts[BROKEN])
    sums[INTERVAL_FAILURES] = total_sum(sums[INTERVAL_FAILURES], counts[FAILED] - counts[FORGIVEN])
    sums[INTERVAL_IN] = total_sum(sums[INTERVAL_IN], counts[BYTES_IN])
    sums[INTERVAL_OUT] = total_sum(sums[INTERVAL_OUT], counts[BYTES_OUT])


cdef tuple interval_sums(const int64_t* sums):
    return sums[INTERVAL_COUNT], sums[INTERVAL_FAILURES], sums[INTERVAL_IN], sums[INTERVAL_OUT]


cdef class IntervalRow:
    """One name."""

    cdef tuple words                     # kind, label, name
    cdef int64_t sums[INTERVAL_SUMS]
    cdef uint64_t touched[HISTOGRAM_WORDS]
    cdef uint64_t total
    cdef uint8_t* encoded                # one after the other, each behind its length (Py_ssize_t)
    cdef Py_ssize_t used
    cdef Py_ssize_t room

    def __cinit__(self, tuple words not None):
        self.words = words

    def __dealloc__(self):
        free(self.encoded)

    cdef int add(self, const int64_t* counts, const PackedTimes* times) except -1:
        cdef int word
        interval_add(self.sums, counts)
        if 0 < times.total <= HISTOGRAM_MOST - self.total:
            self.keep(times.at, times.end - times.at)
            self.total += times.total
            for word in range(HISTOGRAM_WORDS):
                self.touched[word] |= times.touched[word]
        return 0

    cdef int keep(self, const uint8_t* at, Py_ssize_t size) except -1:
        cdef Py_ssize_t before = <Py_ssize_t>sizeof(size)
        if self.used + before + size > self.room and self.used and self.room >= INTERVAL_ROOM:
            self.fold()
        if self.used + before + size > self.room:
            self.grow(2 * (self.used + before + size))
        memcpy(self.encoded + self.used, &size, before)
        memcpy(self.encoded + self.used + before, at, size)
        self.used += before + size
        return 0

    cdef int grow(self, Py_ssize_t room) except -1:
        cdef uint8_t* larger = <uint8_t*>realloc(self.encoded, room)
        if larger is NULL:
            raise MemoryError()
        self.encoded, self.room = larger, room
        return 0

    cdef int fold(self) except -1:
        # Make one of the times that came: it is no longer than they are. Where that gains little, there is more room.
        cdef bytes one = self.times().encode()
        self.used = 0
        self.keep(<const uint8_t*>PyBytes_AS_STRING(one) + HISTOGRAM_HEADER, len(one) - HISTOGRAM_HEADER)
        return self.grow(2 * self.room) if 2 * self.used > self.room else 0

    cdef Histogram times(self):
        cdef Histogram made = Histogram()
        cdef const uint8_t* at = self.encoded
        cdef const uint8_t* end = self.encoded + self.used
        cdef Py_ssize_t size
        made.reserve(self.touched)
        while at != end:
            memcpy(&size, at, sizeof(size))
            at += sizeof(size)
            histogram_fill(at, at + size, made.touched, made.cells)
            at += size
        made.total = self.total
        return made

    cdef tuple read(self):
        times = self.times().encode() if self.total else b""
        return (*self.words[1:], *interval_sums(self.sums), times)


cdef class Interval:
    """What requests counted in one stretch of time, of each name and of all together; a Total adds to it."""

    cdef dict table                      # TotalRow -> IntervalRow
    cdef int64_t sums[INTERVAL_SUMS]
    cdef Histogram times
    cdef Histogram late

    def __cinit__(self):
        self.table, self.times, self.late = {}, Histogram(), Histogram()

    cdef int add(self, object key, tuple words, const int64_t* counts, const PackedTimes* times) except -1:
        cdef IntervalRow row
        found = self.table.get(key)
        if found is None:
            found = self.table[key] = IntervalRow(words)
        row = found
        row.add(counts, times)
        interval_add(self.sums, counts)
        packed_add(self.times, times)
        return 0

    def rows(self):
        """Return a tuple a request: (label, name, count, failures, bytes_in, bytes_out, times), times encoded or b"".

        One of two Totals' rows may be there twice: they add up.
        """
        cdef IntervalRow row
        return [row.read() for row in self.table.values()]

    def whole(self):
        """Return (count, failures, bytes_in, bytes_out, times, lag) of all requests together."""
        return (*interval_sums(self.sums), self.times.copy(), self.late.copy())
