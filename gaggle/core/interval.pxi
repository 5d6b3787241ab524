# The interval: what requests counted in one stretch of time, of each name and of all of them, from packed snapshots.
#
# Per delta. A manager has a few open at once, of as many names as there are. What it needs stays its own when it is
# emptied: memory that is new each second costs more than all that is done in it.

cdef enum:
    INTERVAL_ROOM = 16_384     # bytes of times that wait: what a hundred workers send of a name in a second

cdef enum:
    INTERVAL_COUNT, INTERVAL_FAILURES, INTERVAL_IN, INTERVAL_OUT, INTERVAL_SUMS


cdef inline void interval_add(int64_t* sums, const int64_t* counts) noexcept:
    # Add to the sums what the counters of a row say.
    sums[INTERVAL_COUNT] = total_sum(sums[INTERVAL_COUNT], counts[ANSWERED] + counts[BROKEN])
    sums[INTERVAL_FAILURES] = total_sum(sums[INTERVAL_FAILURES], counts[FAILED] - counts[FORGIVEN])
    sums[INTERVAL_IN] = total_sum(sums[INTERVAL_IN], counts[BYTES_IN])
    sums[INTERVAL_OUT] = total_sum(sums[INTERVAL_OUT], counts[BYTES_OUT])


cdef tuple interval_take(int64_t* sums):
    # What they are; they begin anew.
    taken = sums[INTERVAL_COUNT], sums[INTERVAL_FAILURES], sums[INTERVAL_IN], sums[INTERVAL_OUT]
    memset(sums, 0, INTERVAL_SUMS * sizeof(int64_t))
    return taken


@cython.no_gc
cdef class IntervalRow(LazyHistogram):
    """One name, and its times."""

    cdef tuple words                     # kind, label, name
    cdef int64_t sums[INTERVAL_SUMS]

    def __cinit__(self, tuple words not None):
        self.words, self.most = words, INTERVAL_ROOM

    cdef int count(self, const int64_t* counts, const PackedTimes* times) except -1:
        interval_add(self.sums, counts)
        return self.add(times)

    cdef tuple take(self, Histogram times):
        # What it counted; its times are put into a histogram that is empty.
        self.pour(times)
        if self.sum.total:
            times.merge(self.sum)
            self.sum = Histogram()
        return (*self.words[1:], *interval_take(self.sums), times.encode() if times.total else b"")


cdef class Interval:
    """What requests counted in one stretch of time, of each name and of all together; a Total adds to it."""

    cdef dict table                      # TotalRow -> IntervalRow
    cdef int64_t sums[INTERVAL_SUMS]
    cdef LazyHistogram late

    def __cinit__(self):
        self.table, self.late = {}, LazyHistogram()

    cdef int add(self, object key, tuple words, const int64_t* counts, const PackedTimes* times) except -1:
        cdef IntervalRow row
        found = self.table.get(key)
        if found is None:
            found = self.table[key] = IntervalRow(words)
        row = found
        row.count(counts, times)
        interval_add(self.sums, counts)
        return 0

    def take(self):
        """Return what was counted, and begin anew: of all requests together, and of each.

        (count, failures, bytes_in, bytes_out, times, lag), and a list with (label, name, count, failures, bytes_in,
        bytes_out, times) a request, times encoded or b"". One of two Totals' rows may be there twice: they add up. One
        that counted earlier may be there with nothing.
        """
        cdef IntervalRow row
        cdef Histogram one = Histogram(), times = Histogram()
        cdef list rows = []
        for row in self.table.values():
            rows.append(row.take(one))
            if one.total <= HISTOGRAM_MOST - times.total:
                times.merge(one)
            one.wipe()
        times.settle()
        late, self.late = self.late.settled(), LazyHistogram()
        return (*interval_take(self.sums), times, late), rows
