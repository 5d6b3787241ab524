# The total: what many processes have counted, added up from their packed snapshots. A manager's arena, so to say.
#
# Per delta. With Python's own objects a delta of 1,000 names took 0.1 s; a manager has 100 of them a second. Here names
# are found by their bytes, counters are C's, and histograms are added up some at a time.

cdef enum:
    TOTAL_ROWS = 10_000        # names, more than twice what an engine may have; then one "(other)" row a kind
    TOTAL_ERRORS = 10_000      # distinct (row, text); then one "(other)"


@cython.no_gc
cdef class TotalRow:
    """One name."""

    cdef tuple words                     # kind, label, name
    cdef int64_t counts[COUNTS]
    cdef int64_t minimum_us
    cdef int64_t maximum_us
    cdef dict statuses
    cdef LazyHistogram times
    cdef LazyHistogram first_byte
    cdef uint64_t stamp                  # of the delta that it was last in
    cdef TotalRow other                  # counts in its place where there was no room for it

    def __cinit__(self, bytes key not None):
        self.words = packed_words(key)[:3]
        self.statuses = {}
        self.times, self.first_byte = LazyHistogram(), LazyHistogram()

    cdef int add(self, const int64_t* counts, const int64_t* pairs, const PackedTimes* times) except -1:
        # `counts` are followed by minimum, maximum and how many `pairs` there are; `times` by those of the first byte.
        cdef int64_t i, low = counts[COUNTS]
        for i in range(COUNTS):
            self.counts[i] = total_sum(self.counts[i], counts[i])
        self.minimum_us = min(self.minimum_us, low) or self.minimum_us or low
        self.maximum_us = max(self.maximum_us, counts[COUNTS + 1])
        for i in range(counts[COUNTS + 2]):
            code = pairs[2 * i]
            self.statuses[code] = self.statuses.get(code, 0) + pairs[2 * i + 1]
        self.times.add(times)
        self.first_byte.add(times + 1)
        return 0

    cdef tuple read(self):
        # As Arena.row does.
        cdef int i
        counts = tuple([self.counts[i] for i in range(COUNTS)])
        extremes = self.minimum_us, self.maximum_us
        times, first_byte = self.times.settled().copy(), self.first_byte.settled().copy()
        return (*self.words, counts, *extremes, dict(self.statuses), times, first_byte)


@cython.no_gc
cdef class TotalError:
    """One error of one name."""

    cdef bytes key
    cdef tuple words                     # kind, label, name, text
    cdef int64_t count
    cdef int64_t first_us
    cdef int64_t last_us
    cdef uint64_t stamp

    def __cinit__(self, bytes key not None):
        self.key, self.words = key, packed_words(key)
        self.first_us = PACKED_MOST

    cdef int add(self, const int64_t* numbers) except -1:
        self.count = total_sum(self.count, numbers[0])
        self.first_us, self.last_us = min(self.first_us, numbers[1]), max(self.last_us, numbers[2])
        return 0


cdef class Total:
    """The sum of packed snapshots. It is read as an arena is; what `add` refuses has changed nothing.

    After 10,000 names, and as many errors, what is new counts as "(other)".
    """

    cdef dict table                      # key -> TotalRow
    cdef dict mistakes                   # key -> TotalError
    cdef dict own                        # (kind, name) -> what Meter in meters.py has: few, so Python's
    cdef LazyHistogram late
    cdef uint64_t stamp                  # of the latest delta
    cdef readonly int64_t users_running
    cdef readonly int64_t users_started
    cdef readonly int64_t users_exited
    cdef readonly int64_t names_lost
    cdef readonly int64_t errors_lost

    def __cinit__(self):
        self.table, self.mistakes, self.own, self.late = {}, {}, {}, LazyHistogram()

    def add(self, bytes data not None, Interval interval=None):
        """Add a packed snapshot, and what requests counted to an interval; return how many have come to an end in it.

        Raises ValueError for anything but what `Snapshot.pack` of this version makes.
        """
        cdef Packed packed = Packed(data)
        cdef const int64_t* first = packed.take(3, 0)
        cdef int64_t rows = first[0], errors = first[1]
        packed.take(3, -PACKED_MOST)
        packed.take(3, 0)
        if rows > packed.number_count // PACKED_ROW:
            raise ValueError("a packed snapshot with numbers that are missing or out of range")
        cdef PackedTimes* times = <PackedTimes*>malloc((2 * rows + 1) * sizeof(PackedTimes))
        if times is NULL:
            raise MemoryError()
        try:
            return self.add_packed(packed, rows, errors, times, interval)
        finally:
            free(times)

    cdef int64_t add_packed(
        self, Packed packed, int64_t rows, int64_t errors, PackedTimes* times, Interval interval
    ) except -1:
        cdef dict fresh_rows = {}, fresh_errors = {}
        self.stamp += 1
        packed.times(packed.numbers[2], times)
        cdef list found = self.find_rows(packed, rows, times + 1, fresh_rows)
        cdef list found_errors = self.find_errors(packed, errors, fresh_errors)
        cdef list meters = [packed.meter() for i in range(packed.numbers[PACKED_FIRST - 1])]
        if len({key for key, _ in meters}) < len(meters):
            raise packed_twice()
        packed.end()
        # All was looked at, and nothing changed but stamps. Now it is added, and only memory can fail.
        self.late.add(times)
        if interval is not None:
            interval.late.add(times)
        self.add_gauges(packed.numbers + 3)
        self.admit_rows(fresh_rows)
        cdef int64_t requests = 0
        cdef const int64_t* rest = packed.numbers + PACKED_FIRST
        rest = total_add_rows(found, rest, times + 1, interval, &requests)
        self.add_errors(found_errors, rest)
        self.add_meters(meters)
        return requests

    # Finding.

    cdef list find_rows(self, Packed packed, int64_t count, PackedTimes* times, dict fresh):
        # The row of each row in `packed`, and its histograms. Rows that are not there yet are in `fresh` too.
        cdef const int64_t* numbers
        cdef const int64_t* last
        cdef list found = []
        cdef int64_t i
        for i in range(count):
            numbers = packed.take(PACKED_ROW, 0)
            last = numbers + PACKED_ROW - 3
            found.append(self.find_row(packed.key(numbers, 2), fresh))
            packed.statuses(packed.take(2 * last[0], 0), last[0])
            packed.times(last[1], &times[2 * i])
            packed.times(last[2], &times[2 * i + 1])
        return found

    cdef TotalRow find_row(self, bytes key, dict fresh):
        found = self.table.get(key)
        if found is None:
            found = fresh.get(key)
        cdef TotalRow row
        if found is None:
            row = fresh[key] = TotalRow(key)
        else:
            row = found
        if row.stamp == self.stamp:
            raise packed_twice()
        row.stamp = self.stamp
        return row

    cdef list find_errors(self, Packed packed, int64_t count, dict fresh):
        # The entry of each error in `packed`. Those that are not there yet are in `fresh` too.
        cdef const int64_t* sizes
        cdef list found = []
        cdef int64_t i
        for i in range(count):
            sizes = packed.take(4, 0)
            packed.take(1, -PACKED_MOST)
            packed.take(2, 0)
            found.append(self.find_error(packed.key(sizes, 3), fresh))
        return found

    cdef TotalError find_error(self, bytes key, dict fresh):
        found = self.mistakes.get(key)
        if found is None:
            found = fresh.get(key)
        cdef TotalError error
        if found is None:
            error = fresh[key] = TotalError(key)
        else:
            error = found
        if error.stamp == self.stamp:
            raise packed_twice()
        error.stamp = self.stamp
        return error

    # Adding.

    cdef int add_gauges(self, const int64_t* numbers) except -1:
        self.users_running = total_sum(self.users_running, numbers[0])
        self.users_started = total_sum(self.users_started, numbers[1])
        self.users_exited = total_sum(self.users_exited, numbers[2])
        self.names_lost = total_sum(self.names_lost, numbers[3])
        self.errors_lost = total_sum(self.errors_lost, numbers[4])
        return 0

    cdef int admit_rows(self, dict fresh) except -1:
        # New rows have their place as long as there are any; what comes then counts in another row.
        cdef TotalRow row
        for key, row in fresh.items():
            if len(self.table) < TOTAL_ROWS:
                self.table[key] = row
            else:
                row.other = self.other_row(key)
                self.names_lost += 1
        return 0

    cdef TotalRow other_row(self, bytes key):
        cdef bytes other = total_other(PyBytes_AS_STRING(key)[0], b"(other)")
        if other not in self.table:
            self.table[other] = TotalRow(other)
        return self.table[other]

    cdef int add_errors(self, list found, const int64_t* numbers) except -1:
        cdef TotalError error
        for error in found:
            if error.key not in self.mistakes and len(self.mistakes) >= TOTAL_ERRORS:
                error = self.other_error()
                self.errors_lost += 1
            error.add(numbers + 4)
            if error.count:
                self.mistakes[error.key] = error
            else:
                self.mistakes.pop(error.key, None)
            numbers += PACKED_ERROR
        return 0

    cdef TotalError other_error(self):
        cdef bytes key = total_other(KIND_REQUEST, b"(other)(other)")
        return self.mistakes.get(key) or TotalError(key)

    cdef int add_meters(self, list meters) except -1:
        for key, meter in meters:
            if key not in self.own and len(self.own) >= TOTAL_ROWS:
                key = key[0], "(other)"
                self.names_lost += 1
            self.own[key] = total_meter(self.own[key], meter) if key in self.own else meter
        return 0

    # Reading.

    def rows(self):
        """Return a tuple a row: (kind, label, name, counts, minimum_us, maximum_us, statuses, times, first_byte)."""
        cdef TotalRow row
        return [row.read() for row in self.table.values()]

    def errors(self):
        """Return (kind, label, name, text, count, first_ns, last_ns) for each error."""
        cdef TotalError error
        return [(*error.words, error.count, error.first_us * 1_000, error.last_us * 1_000)
                for error in self.mistakes.values()]

    def meters(self):
        """Return a tuple a count, gauge or check: as Arena.meters does."""
        return [(*key, *meter[:6], meter[6] * 1_000) for key, meter in self.own.items()]

    def lag(self):
        """Return the histogram of how late (us) engines handled what was due."""
        return self.late.settled().copy()


cdef const int64_t* total_add_rows(
    list rows, const int64_t* numbers, const PackedTimes* times, Interval interval, int64_t* requests
) except NULL:
    # Add to each row its numbers and histograms; return what comes after these numbers. Counts `requests` that ended.
    cdef TotalRow row
    for row in rows:
        if row.other is not None:
            row = row.other
        row.add(numbers + 3, numbers + PACKED_ROW, times)
        if numbers[0] == KIND_REQUEST:
            requests[0] = total_sum(requests[0], numbers[3 + ANSWERED] + numbers[3 + BROKEN])
            if interval is not None:
                interval.add(row, row.words, numbers + 3, times)
        times += 2
        numbers += PACKED_ROW + 2 * numbers[PACKED_ROW - 3]
    return numbers


cdef tuple total_meter(tuple a, tuple b):
    # As Meter adds: of two last values at the same moment the greater, whoever is asked first.
    last_us, last = max((a[6], a[5]), (b[6], b[5]))
    ends = total_end(min, a[3], b[3]), total_end(max, a[4], b[4])
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], *ends, last, last_us)


cdef object total_end(which, one, other):
    return other if one is None else one if other is None else which(one, other)


cdef bytes total_other(int kind, bytes texts):
    # The key of what has no place of its own: its name is "(other)", and so is the text of an error.
    cdef int64_t sizes[3]
    sizes[0], sizes[1], sizes[2] = kind, 0, 7
    return packed_key(sizes, <const uint8_t*>PyBytes_AS_STRING(texts), PyBytes_GET_SIZE(texts))
