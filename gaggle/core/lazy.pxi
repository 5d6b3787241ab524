# The lazy histogram: what many processes have measured, kept in the bytes in which it came until there is much of it.
#
# Per delta and name. The counters of 1,000 names take 40 MB: to go through them for each of a hundred deltas a second is
# to wait for memory. So the bytes are put one behind the other, and some dozens are added up at a time.

cimport cython

cdef enum:
    LAZY_ROOM = 4_096          # bytes that wait, before they are added up


@cython.no_gc
cdef class LazyHistogram:
    """A sum of encoded histograms, which were checked."""

    cdef Histogram sum
    cdef uint64_t touched[HISTOGRAM_WORDS]    # the chunks that what waits needs
    cdef uint64_t waiting                     # its counts
    cdef uint8_t* encoded                     # one after the other, each behind its length (Py_ssize_t)
    cdef Py_ssize_t used
    cdef Py_ssize_t room
    cdef Py_ssize_t most

    def __cinit__(self, *unused):
        self.sum, self.most = Histogram(), LAZY_ROOM

    def __dealloc__(self):
        free(self.encoded)

    cdef int add(self, const PackedTimes* times) except -1:
        # One that no more fits into is full, and stays so.
        cdef int word
        if not 0 < times.total <= HISTOGRAM_MOST - self.sum.total - self.waiting:
            return 0
        self.keep(times.at, times.end - times.at)
        self.waiting += times.total
        for word in range(HISTOGRAM_WORDS):
            self.touched[word] |= times.touched[word]
        return 0

    cdef int keep(self, const uint8_t* at, Py_ssize_t size) except -1:
        cdef Py_ssize_t needed = <Py_ssize_t>sizeof(size) + size
        if self.used + needed > self.most:
            self.settled()
        if self.used + needed > self.room:
            self.grow(max(self.used + needed, min(2 * (self.used + needed), self.most)))
        memcpy(self.encoded + self.used, &size, sizeof(size))
        memcpy(self.encoded + self.used + sizeof(size), at, size)
        self.used += needed
        return 0

    cdef int grow(self, Py_ssize_t room) except -1:
        cdef uint8_t* larger = <uint8_t*>realloc(self.encoded, room)
        if larger is NULL:
            raise MemoryError()
        self.encoded, self.room = larger, room
        return 0

    cdef int pour(self, Histogram into) except -1:
        # Add what waits to a histogram that has room for it.
        cdef const uint8_t* at = self.encoded
        cdef const uint8_t* end = self.encoded + self.used
        cdef Py_ssize_t size
        into.reserve(self.touched)
        while at != end:
            memcpy(&size, at, sizeof(size))
            at += sizeof(size)
            histogram_fill(at, at + size, into.touched, into.cells)
            at += size
        into.total += self.waiting
        self.used = self.waiting = 0
        memset(self.touched, 0, sizeof(self.touched))
        return 0

    cdef Histogram settled(self):
        # The sum, with nothing waiting. It stays our own: whoever keeps it takes a copy.
        self.pour(self.sum)
        return self.sum
