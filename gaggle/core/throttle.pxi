# The throttle: lets requests begin at a rate, first come, first served.
from collections import OrderedDict as throttle_queue

# How much of the time that it came late it makes up for. In any five seconds that is less than one in a hundred too many.
cdef double THROTTLE_SLACK_NS = 45_000_000


cdef class Throttle(Timer):
    """A pacing clock, whose timer is due when the next request may begin. Time in which nobody waits is not made up for:
    there is no burst, at the start or later."""
    cdef Pump pump
    cdef double interval_ns        # between two requests; 0: no limit
    cdef double next_ns            # when the next one may begin
    cdef object waiting            # an ordered dict: Request -> None, the oldest first

    @staticmethod
    cdef Throttle of(Pump pump):
        cdef Throttle self = Throttle.__new__(Throttle)
        self.pump, self.waiting = pump, throttle_queue()
        return self

    cdef int set_rate(self, double per_second) except -1:
        """Let so many a second begin; 0: no limit. The next one keeps its distance from the last."""
        cdef double before = self.interval_ns
        self.interval_ns = 1e9 / per_second if per_second > 0 else 0
        self.next_ns = self.next_ns - before + self.interval_ns if before else <double>clock_ns()
        return self.arm()

    cdef bint admits(self, Request request) except -1:
        """Whether a request may begin now; else it is started when it may. Per request."""
        cdef double now
        if self.interval_ns == 0:
            return True
        if not self.waiting:
            now = clock_ns()
            if self.next_ns <= now:
                self.next_ns = now + self.interval_ns
                return True
        self.waiting[request] = None
        request.is_waiting = True
        self.arm()
        if self.pump.on_wait is not None:
            self.pump.on_wait(request.client)
        return False

    cdef int forget(self, Request request) except -1:
        """The request was given up before it began."""
        request.is_waiting = False
        del self.waiting[request]
        return self.arm()

    cdef int fire(self) except -1:
        """Start what is due."""
        cdef double now = clock_ns()
        cdef Request request
        while self.waiting and (self.next_ns <= now or self.interval_ns == 0):
            request = self.waiting.popitem(False)[0]
            self.next_ns = max(self.next_ns, now - THROTTLE_SLACK_NS) + self.interval_ns
            request.is_waiting = False
            request.start()
        return self.arm()

    cdef int arm(self) except -1:
        """Be due for the oldest that waits."""
        if not self.waiting:
            self.pump.timers.drop(self)
        elif not self.place or self.due_ns != <int64_t>self.next_ns:
            self.pump.timers.set(self, <int64_t>self.next_ns if self.interval_ns else 0)
        return 0
