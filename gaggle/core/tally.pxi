# Counting what is not a request: tasks, passes, and what a load test records itself.


cdef class Tally:
    """One row of the arena, for Python code: `begin`, then one of `end` and `cut`."""
    cdef Arena arena
    cdef int slot

    def __init__(self, Arena arena, int kind, str label, str name):
        self.arena, self.slot = arena, arena.slot(kind, label, name)

    def begin(self):
        """Count a start; return the moment, in ns of the monotonic clock."""
        self.arena.at(self.slot).counts[STARTED] += 1
        return clock_ns()

    def end(self, int64_t began_ns, error=None):
        """Count an end and the time since `began_ns`; with `error` (a text) it is a failure."""
        self.add((clock_ns() - began_ns + 500) // 1000, error)

    def cut(self):
        """Count an end that came from outside: neither success nor failure."""
        self.arena.at(self.slot).counts[UNFINISHED] += 1

    def record(self, double seconds, error=None):
        """Count something that has been and took so long. Raises ValueError for a time that is none."""
        if not 0 <= seconds < 1e9:
            raise ValueError(f"a time must be a number of seconds, at least 0, got {seconds!r}")
        self.arena.at(self.slot).counts[STARTED] += 1
        self.add(<int64_t>(seconds * 1e6 + 0.5), error)

    cdef int add(self, int64_t us, object error) except -1:
        cdef Slot* slot = self.arena.at(self.slot)
        slot_time(slot, self.arena.header, us)
        slot.counts[ANSWERED] += 1
        if error is not None:
            slot.counts[FAILED] += 1
            self.arena.error(self.slot, str(error) or type(error).__name__)
        return 0
