# A duty: a task of the load test, and where it counts. Per task.

cdef class Duty:
    """A task with its row in the arena, shared by all users of a class in an engine."""
    cdef readonly object task                   # as the load test has it
    cdef object function
    cdef Scope scope
    cdef Tally tally                            # None: it has no row, unless it fails
    cdef tuple place                            # of the row

    def __init__(self, Arena arena not None, str label, task):
        self.task, self.function, self.scope = task, task.function, Scope(task.request_name, label, task.name)
        self.place = (arena, KIND_TASK, label, task.name)
        if task.has_row:
            self.tally = Tally(*self.place)

    cdef int begin(self) except -1:
        return 0 if self.tally is None else self.tally.start()

    cdef int end(self, int64_t began_ns) except -1:
        return 0 if self.tally is None else self.tally.finish(began_ns, clock_ns(), None)

    def cut(self):
        if self.tally is not None:
            self.tally.cut()

    def fail(self, int64_t began_ns, str error):
        """Count a failure, also where the task has no row of its own: then it gets one."""
        if self.tally is None:
            self.tally = Tally(*self.place)
            self.tally.start()
        self.tally.finish(began_ns, clock_ns(), error)
