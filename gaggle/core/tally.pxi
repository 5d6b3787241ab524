# Counting what is not a request: tasks, passes, and what a load test records itself.
from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject
from libc.math cimport floor


cdef class Tally:
    """One row of the arena, for Python code: `begin`, then one of `end` and `cut`."""
    cdef Arena arena
    cdef int slot

    def __init__(self, Arena arena, int kind, str label, str name):
        self.arena, self.slot = arena, arena.slot(kind, label, name)

    def begin(self):
        """Count a start; return the moment, in ns of the monotonic clock."""
        self.start()
        return clock_ns()

    def end(self, int64_t began_ns, error=None):
        """Count an end and the time since `began_ns`; with `error` (a text) it is a failure."""
        self.finish(began_ns, clock_ns(), error)

    def cut(self):
        """Count an end that came from outside: neither success nor failure."""
        self.arena.at(self.slot).counts[UNFINISHED] += 1

    def record(self, double seconds, error=None):
        """Count something that has been and took so long. Raises ValueError for a time that is none."""
        if not 0 <= seconds < 1e9:
            raise ValueError(f"a time must be a number of seconds, at least 0, got {seconds!r}")
        self.start()
        self.add(<int64_t>(seconds * 1e6 + 0.5), error)

    cdef int start(self) except -1:
        self.arena.at(self.slot).counts[STARTED] += 1
        return 0

    cdef int finish(self, int64_t began_ns, int64_t now_ns, object error) except -1:
        return self.add((now_ns - began_ns + 500) // 1000, error)

    cdef int add(self, int64_t us, object error) except -1:
        cdef Slot* slot = self.arena.at(self.slot)
        slot_time(slot, self.arena.header, us)
        slot.counts[ANSWERED] += 1
        if error is not None:
            slot.counts[FAILED] += 1
            self.arena.error(self.slot, str(error) or type(error).__name__)
        return 0


cdef double METER_LARGEST = 1e15               # of one value, either way: doubles still tell it from the next million
cdef int64_t METER_FULL = 4_000_000_000_000_000_000     # a sum that has come so far stands still: it must not wrap


cdef class Meters:
    """What a load test counts itself, by name: counts, gauges and checks. The three are apart, whatever their names."""
    cdef Arena arena
    cdef dict counts, gauges, checks       # name -> slot, of those that have one of their own

    def __init__(self, Arena arena not None):
        self.arena, self.counts, self.gauges, self.checks = arena, {}, {}, {}

    cpdef int count(self, object name, double amount) except -1:
        """Add to a count. Raises ValueError for what is below 0, not finite or beyond 1e15 (as `gauge` does)."""
        if not 0 <= amount <= METER_LARGEST:
            raise ValueError(f"count({name!r}): {meter_wrong(amount)}; counts only grow: use gauge() for what also falls")
        cdef Slot* slot = self.slot(KIND_COUNT, self.counts, name)
        meter_add(slot, amount)
        slot.counts[ANSWERED] += 1
        return 0

    cpdef int gauge(self, object name, double value) except -1:
        """Take a value of something that rises and falls."""
        if not -METER_LARGEST <= value <= METER_LARGEST:
            raise ValueError(f"gauge({name!r}): {meter_wrong(value)}")
        cdef Slot* slot = self.slot(KIND_GAUGE, self.gauges, name)
        cdef uint64_t epoch = self.arena.header.epoch
        meter_add(slot, value)
        if slot.epoch != epoch:
            slot.lowest = slot.highest = value
            arena_publish_epoch(&slot.epoch, epoch)
        elif value < slot.lowest:
            slot.lowest = value
        elif value > slot.highest:
            slot.highest = value
        slot.last, slot.last_ns = value, arena_now_ns()
        slot.counts[ANSWERED] += 1
        return 0

    cpdef int check(self, object name, bint passed) except -1:
        """Count a check that passed or failed."""
        cdef Slot* slot = self.slot(KIND_CHECK, self.checks, name)
        slot.counts[FAILED] += not passed
        slot.counts[ANSWERED] += 1
        return 0

    cdef Slot* slot(self, int kind, dict known, object name) except NULL:
        cdef PyObject* found = PyDict_GetItemWithError(known, name) if isinstance(name, str) else NULL
        cdef int index = <int><object>found if found != NULL else self.new_slot(kind, known, name)
        return self.arena.at(index)

    cdef int new_slot(self, int kind, dict known, object name) except -1:
        if not isinstance(name, str):
            raise TypeError(f"the name of a count, gauge or check must be a str, got {name!r}")
        cdef int index = self.arena.slot(kind, "", f"{name}")      # f"": an enum's name is its value
        if index < ARENA_SLOTS and len(known) < ARENA_SLOTS:       # names that are cut may be the same one
            known[name] = index
        return index


cdef inline void meter_add(Slot* slot, double value) noexcept nogil:
    cdef double whole = floor(value)
    if -METER_FULL < slot.whole < METER_FULL:
        slot.whole += <int64_t>whole
        slot.millionths += <uint64_t>((value - whole) * 1e6 + 0.5)


cdef str meter_wrong(double value):
    return f"a value must be a number up to {METER_LARGEST:g}, and 0 or more for a count, got {value!r}"
