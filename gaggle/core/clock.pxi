# The clock. All times are CLOCK_MONOTONIC in nanoseconds.
from libc.stdint cimport int64_t
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
