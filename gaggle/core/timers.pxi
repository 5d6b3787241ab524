# What is due at a moment: in a heap, or, where many have the same delay, in line.
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdlib cimport free, realloc

cdef enum:
    TIMERS_LINES = 8               # delays that are in use at the same time; of more, the heap takes the rest

cdef struct TimerEntry:
    int64_t due_ns                 # the timer's own, so that it need not be fetched to compare
    PyObject* timer

cdef struct TimerLine:
    int64_t delay_ns
    PyObject* first
    PyObject* last


cdef class Timer:
    """Something that is due at a moment. Lives in at most one Timers, which holds a reference while it is set."""
    cdef int64_t due_ns
    cdef Py_ssize_t place          # in the heap, counted from 1; below 0: in a line, counted from -1; 0: not set
    cdef PyObject* before          # in that line
    cdef PyObject* after

    cdef int fire(self) except -1:
        """Do what was due. The timer is not set any more by then, and may be set again."""
        return 0


cdef class Timers:
    """Timers by due time. Those that are set for the same delay, as time-outs are, are due in the order in which they were
    set: to come and to leave touches only their neighbours, which have just been at work. The others are a binary heap."""
    cdef TimerEntry* heap          # heap[1] is the earliest; heap[0] is not used
    cdef Py_ssize_t count          # in the heap
    cdef Py_ssize_t capacity
    cdef TimerLine lines[TIMERS_LINES]
    cdef int line_count            # that have been used
    cdef int64_t fired_ns          # the moment up to which `fire_due` has fired

    def __dealloc__(self):
        cdef PyObject* left = self.next_due()
        while left != NULL:
            self.drop(<Timer>left)
            left = self.next_due()
        free(self.heap)

    cdef inline int64_t earliest(self) noexcept:
        """Return when the first timer is due, CLOCK_NEVER without one."""
        cdef PyObject* found = self.next_due()
        return (<Timer>found).due_ns if found != NULL else CLOCK_NEVER

    cdef PyObject* next_due(self) noexcept:
        """Return the timer that is due first; NULL without one."""
        cdef PyObject* found = self.heap[1].timer if self.count else NULL
        cdef PyObject* first
        cdef int i
        for i in range(self.line_count):
            first = self.lines[i].first
            if first != NULL and (found == NULL or (<Timer>first).due_ns < (<Timer>found).due_ns):
                found = first
        return found

    cdef int set(self, Timer timer, int64_t due_ns) except -1:
        """Make `timer` due at `due_ns`, whether it was set before or not."""
        self.drop(timer)
        if self.count + 2 > self.capacity:
            self.grow()
        timer.due_ns = max(due_ns, self.fired_ns + 1)
        Py_INCREF(timer)
        self.count += 1
        self.rise(TimerEntry(timer.due_ns, <PyObject*>timer), self.count)
        return 0

    cdef int set_after(self, Timer timer, int64_t now_ns, int64_t delay_ns) except -1:
        """The same, `delay_ns` after `now_ns`: for delays that many timers have in common."""
        cdef TimerLine* line
        self.drop(timer)
        line = self.line_for(delay_ns)
        if line == NULL:
            return self.set(timer, now_ns + delay_ns)
        timer.due_ns = max(now_ns + delay_ns, self.fired_ns + 1)
        if line.last != NULL:
            timer.due_ns = max(timer.due_ns, (<Timer>line.last).due_ns)
        Py_INCREF(timer)
        self.line_up(timer, line)
        return 0

    cdef void drop(self, Timer timer) noexcept:
        """Take `timer` out; nothing happens when it is not set."""
        cdef Py_ssize_t place = timer.place
        cdef TimerEntry last
        if not place:
            return
        timer.place = 0
        if place < 0:
            self.step_out(timer, &self.lines[-1 - place])
        else:
            last = self.heap[self.count]
            self.count -= 1
            if last.timer != <PyObject*>timer:
                self.sink(last, place)
        Py_DECREF(timer)

    cdef int fire_due(self, int64_t now_ns) except -1:
        """Fire what is due at `now_ns`, earliest first. What is set meanwhile waits for the next call: or two timers that
        set each other would keep us here for ever."""
        cdef PyObject* found = self.next_due()
        cdef Timer timer
        self.fired_ns = now_ns
        while found != NULL and (<Timer>found).due_ns <= now_ns:
            timer = <Timer>found
            self.drop(timer)
            timer.fire()
            found = self.next_due()
        return 0

    # A line.

    cdef TimerLine* line_for(self, int64_t delay_ns) noexcept:
        """Return the line of that delay, or an empty one for it; NULL when all are taken."""
        cdef TimerLine* empty = NULL
        cdef int i
        for i in range(self.line_count):
            if self.lines[i].delay_ns == delay_ns:
                return &self.lines[i]
            if self.lines[i].first == NULL:
                empty = &self.lines[i]
        if empty == NULL and self.line_count < TIMERS_LINES:
            empty = &self.lines[self.line_count]
            self.line_count += 1
        if empty != NULL:
            empty.delay_ns = delay_ns
        return empty

    cdef void line_up(self, Timer timer, TimerLine* line) noexcept:
        timer.place = -1 - (line - self.lines)
        timer.before, timer.after = line.last, NULL
        if line.last == NULL:
            line.first = <PyObject*>timer
        else:
            (<Timer>line.last).after = <PyObject*>timer
        line.last = <PyObject*>timer

    cdef void step_out(self, Timer timer, TimerLine* line) noexcept:
        if timer.before == NULL:
            line.first = timer.after
        else:
            (<Timer>timer.before).after = timer.after
        if timer.after == NULL:
            line.last = timer.before
        else:
            (<Timer>timer.after).before = timer.before

    # The heap.

    cdef inline void put(self, TimerEntry entry, Py_ssize_t place) noexcept:
        self.heap[place] = entry
        (<Timer>entry.timer).place = place

    cdef void rise(self, TimerEntry entry, Py_ssize_t place) noexcept:
        while place > 1 and self.heap[place >> 1].due_ns > entry.due_ns:
            self.put(self.heap[place >> 1], place)
            place >>= 1
        self.put(entry, place)

    cdef void sink(self, TimerEntry entry, Py_ssize_t place) noexcept:
        """Put `entry` at `place` or below; it may also have to rise, when it comes from another branch."""
        cdef Py_ssize_t child
        while place * 2 <= self.count:
            child = place * 2
            if child < self.count and self.heap[child + 1].due_ns < self.heap[child].due_ns:
                child += 1
            if self.heap[child].due_ns >= entry.due_ns:
                break
            self.put(self.heap[child], place)
            place = child
        self.rise(entry, place)

    cdef int grow(self) except -1:
        cdef Py_ssize_t capacity = self.capacity * 2 if self.capacity else 64
        cdef TimerEntry* heap = <TimerEntry*>realloc(self.heap, capacity * sizeof(TimerEntry))
        if heap == NULL:
            raise MemoryError
        self.heap, self.capacity = heap, capacity
        return 0
