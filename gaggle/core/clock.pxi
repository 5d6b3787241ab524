# The clock, and a heap of timers that are due by it. All times are CLOCK_MONOTONIC in nanoseconds.
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport int64_t
from libc.stdlib cimport free, realloc
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef int64_t CLOCK_NEVER = 0x7FFFFFFFFFFFFFFF


cdef inline int64_t clock_ns() noexcept nogil:
    """Return the monotonic clock in ns. Per request; about 25 ns."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1_000_000_000 + now.tv_nsec


cdef extern from "time.h" nogil:
    enum: CLOCK_BOOTTIME

cdef extern from "unistd.h" nogil:
    void _exit(int)

cdef enum:
    CLOCK_LAPSED = 75              # the exit code of an engine whose lease was over: EX_TEMPFAIL of sysexits.h


cdef inline void clock_check_lease(int64_t until_ns) noexcept nogil:
    """End the process when its lease is over: others may have its users by now, so not one byte more may be sent.

    What was counted is in the arena. CLOCK_BOOTTIME goes on while a machine sleeps. Per request, where there is a lease.
    """
    cdef timespec now
    if until_ns:
        clock_gettime(CLOCK_BOOTTIME, &now)
        if <int64_t>now.tv_sec * 1_000_000_000 + now.tv_nsec >= until_ns:
            _exit(CLOCK_LAPSED)


cdef class Timer:
    """Something that is due at a moment. Lives in at most one heap, which holds a reference while it is set."""
    cdef int64_t due_ns
    cdef Py_ssize_t place          # in the heap, counted from 1; 0 is "not set"

    cdef int fire(self) except -1:
        """Do what was due. The timer is out of its heap by then and may be set again."""
        return 0


cdef class Timers:
    """A binary heap of timers by due time. Setting and dropping cost a few comparisons: equal time-outs, set one after
    the other, land at the end and leave from there."""
    cdef PyObject** heap           # heap[1] is the earliest; heap[0] is not used
    cdef Py_ssize_t count
    cdef Py_ssize_t capacity
    cdef int64_t fired_ns          # the moment up to which `fire_due` has fired

    def __dealloc__(self):
        while self.count:
            self.drop(<Timer>self.heap[self.count])
        free(self.heap)

    cdef inline int64_t earliest(self) noexcept:
        """Return when the first timer is due, CLOCK_NEVER without one."""
        return (<Timer>self.heap[1]).due_ns if self.count else CLOCK_NEVER

    cdef int set(self, Timer timer, int64_t due_ns) except -1:
        """Make `timer` due at `due_ns`, whether it was set before or not."""
        if timer.place:
            self.drop(timer)
        if self.count + 2 > self.capacity:
            self.grow()
        timer.due_ns = max(due_ns, self.fired_ns + 1)
        Py_INCREF(timer)
        self.count += 1
        self.rise(<PyObject*>timer, self.count)
        return 0

    cdef void drop(self, Timer timer) noexcept:
        """Take `timer` out; nothing happens when it is not set."""
        cdef Py_ssize_t place = timer.place
        cdef PyObject* last
        if not place:
            return
        timer.place = 0
        last = self.heap[self.count]
        self.count -= 1
        if last != <PyObject*>timer:
            self.sink(last, place)
        Py_DECREF(timer)

    cdef int fire_due(self, int64_t now_ns) except -1:
        """Fire what is due at `now_ns`, earliest first. What is set meanwhile waits for the next call: or two timers that
        set each other would keep us here for ever."""
        cdef Timer timer
        self.fired_ns = now_ns
        while self.count and (<Timer>self.heap[1]).due_ns <= now_ns:
            timer = <Timer>self.heap[1]
            self.drop(timer)
            timer.fire()
        return 0

    cdef inline void put(self, PyObject* timer, Py_ssize_t place) noexcept:
        self.heap[place] = timer
        (<Timer>timer).place = place

    cdef void rise(self, PyObject* timer, Py_ssize_t place) noexcept:
        cdef int64_t due = (<Timer>timer).due_ns
        while place > 1 and (<Timer>self.heap[place >> 1]).due_ns > due:
            self.put(self.heap[place >> 1], place)
            place >>= 1
        self.put(timer, place)

    cdef void sink(self, PyObject* timer, Py_ssize_t place) noexcept:
        """Put `timer` at `place` or below; it may also have to rise, when it comes from another branch."""
        cdef int64_t due = (<Timer>timer).due_ns
        cdef Py_ssize_t child
        while place * 2 <= self.count:
            child = place * 2
            if child < self.count and (<Timer>self.heap[child + 1]).due_ns < (<Timer>self.heap[child]).due_ns:
                child += 1
            if (<Timer>self.heap[child]).due_ns >= due:
                break
            self.put(self.heap[child], place)
            place = child
        self.rise(timer, place)

    cdef int grow(self) except -1:
        cdef Py_ssize_t capacity = self.capacity * 2 if self.capacity else 64
        cdef PyObject** heap = <PyObject**>realloc(self.heap, capacity * sizeof(PyObject*))
        if heap == NULL:
            raise MemoryError
        self.heap, self.capacity = heap, capacity
        return 0
