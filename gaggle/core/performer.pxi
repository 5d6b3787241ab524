# A user at its tasks: each is called, taken to its end and counted, pass after pass. Per task.
cdef extern from "Python.h":
    bint PyCoro_CheckExact(object)
    PySendResult PyIter_Send(object, object, PyObject**) except PYGEN_ERROR

# A task that fails without having waited for anything would spin: this keeps it to 20 a second.
cdef double PERFORMER_STUMBLE = 0.05
cdef double PERFORMER_NO_PAUSE = -1


cdef class Relay(Promise):
    """What asyncio's task waits for while the pump itself goes on with a performer. Settled when the task has to look."""
    cdef Performer performer

    def cancel(self, msg=None):
        """The task is being cancelled. False: it has to throw its CancelledError itself."""
        return self.performer.cut_short()


cdef class Performer:
    """A user and its tasks: await `perform(duty)` for one of them, `work()` for pass after pass until the end.

    A subclass has what is done now and then: `judge` (a task has raised), `wait_failed`, and for the logs `log` and
    `log_pass`. What a task awaits of the pump's own is handed to it from there, in the name of asyncio's task, which
    sleeps on and hears only of what else is awaited, and of the end: its step costs more than ours.
    """
    cdef readonly object office                 # the engine's, see life.py
    cdef readonly object roster
    cdef readonly Client user
    cdef public object task                     # asyncio's, in which all this runs
    cdef public bint is_resting                 # between two tasks
    cdef readonly int64_t passes                # that were completed
    cdef Pump pump
    cdef Tally row                              # of the passes
    cdef tuple cards                            # the Duties of one pass
    cdef list hand                              # of them, what is left to draw from; None where they are not shuffled
    cdef Py_ssize_t left                        # how many that are
    cdef int64_t iterations                     # passes after which the user leaves; 0: it stays
    cdef bint is_shuffled
    cdef bint has_log
    cdef bint has_pass_log
    cdef bint is_working                        # another task follows
    cdef bint is_in_pass
    cdef int64_t pass_began_ns
    cdef Duty duty                              # the present task
    cdef int64_t began_ns
    cdef unsigned long turns                    # of the pump, when it began
    cdef bint has_succeeded
    cdef object steps                           # what is taken to its end: the task's coroutine, or a pause
    cdef bint is_done                           # there is nothing more to do
    cdef Promise awaited                        # by whose end the pump wakes us
    cdef Relay relay                            # what asyncio's task awaits meanwhile
    cdef bint is_cut                            # it was cancelled, and has to throw that itself
    cdef bint has_news                          # for it: what to wait for instead, the end, an error
    cdef object news
    cdef object error

    def __init__(self, office, roster, Client user not None):
        self.office, self.roster, self.user, self.pump = office, roster, user, office.pump
        self.iterations = office.iterations
        self.has_log, self.has_pass_log = office.records.task is not None, office.records.passed is not None
        self.row, self.cards, self.is_shuffled = roster.passes, roster.cards, roster.is_shuffled

    @property
    def is_over(self):
        """Whether the end has come: the engine's, or this user's."""
        return self.has_to_leave()

    cdef inline bint has_to_leave(self) noexcept:
        return self.pump.no_more_waiting or self.user.is_stopped or 0 < self.iterations <= self.passes

    def perform(self, Duty duty not None):
        """Return an awaitable that runs one task and counts it. It gives False when the task raised."""
        self.is_working = self.is_done = False
        self.begin(duty, clock_ns())
        return self

    def work(self):
        """Return an awaitable that does pass after pass until the end."""
        self.is_working = True
        self.is_done = not self.begin_next()
        return self

    # A task, from one to the next.

    cdef int begin(self, Duty duty, int64_t now_ns) except -1:
        self.duty, self.user.scope_in_use = duty, duty.scope
        self.turns, self.began_ns, self.user.task_began = self.pump.turns, now_ns, now_ns / 1e9
        return duty.begin()

    cdef bint begin_next(self) except -1:
        """Begin the next task, in a new pass where there is none left. Returns False when the end has come instead."""
        cdef int64_t now_ns = clock_ns()
        if self.is_in_pass and not self.left:
            now_ns = self.complete(now_ns)
        if self.has_to_leave():
            self.cut_pass()
            return False
        if not self.is_in_pass:
            self.begin_pass(now_ns)
        self.begin(self.draw(), now_ns)
        return True

    cdef int begin_pass(self, int64_t now_ns) except -1:
        self.is_in_pass, self.left, self.pass_began_ns = True, len(self.cards), now_ns
        if self.is_shuffled:
            self.hand = list(self.cards)
        return self.row.start()

    cdef Duty draw(self):
        """Take a card."""
        cdef Py_ssize_t count = self.left
        self.left -= 1
        if not self.is_shuffled:
            return <Duty>self.cards[len(self.cards) - count]
        return <Duty>self.hand.pop(<Py_ssize_t>(self.user.next_chance() * count))

    cdef int64_t complete(self, int64_t now_ns) except -1:
        """Count a pass that has come to its end. Returns the time: what has to be done then may have taken some."""
        cdef bint forgets = self.user.session == "pass"
        self.is_in_pass = False
        self.passes += 1
        self.row.finish(self.pass_began_ns, now_ns, None)
        if self.has_pass_log:
            self.log_pass(self.pass_began_ns)
        if forgets:
            self.user.forget()
        return clock_ns() if forgets or self.has_pass_log else now_ns

    cdef int cut_pass(self) except -1:
        if self.is_in_pass:
            self.is_in_pass = False
            self.row.cut()
        return 0

    cdef int ended(self) except -1:
        """The present task has ended well."""
        if self.user.active:
            self.user.cut_streams()
        self.has_succeeded = True
        self.duty.end(self.began_ns)
        if self.has_log:
            self.log(self.duty, self.began_ns, "")
        return 0

    cdef int raised(self, object error) except -1:
        """The present task has raised. What is not its own failure is raised again."""
        try:
            verdict = self.judge(self.duty, self.began_ns, error)
        finally:
            if self.user.active:
                self.user.cut_streams()
        if verdict is None:
            raise error
        self.has_succeeded = verdict
        return self.ended() if verdict else 0

    cpdef double pause_after(self, bint succeeded, unsigned long turns) except? -2:
        """Return the seconds to wait after a task that began at this turn of the pump; below 0: no wait at all.

        Who has waited for nothing in it lets the others go on.
        """
        cdef double seconds
        try:
            seconds = float(self.user.wait_time())
            if not seconds >= 0:
                raise ValueError(f"wait_time must be 0 or more, got {seconds:g}")
        except Exception as error:
            seconds = 1
            self.wait_failed(error)
        if seconds > 0:
            return seconds
        if self.pump.turns != turns:
            return PERFORMER_NO_PAUSE
        return 0 if succeeded else PERFORMER_STUMBLE

    # Steps.

    cdef object advance(self, object sent, object thrown):
        """Take steps until something has to be waited for, and return that; None, with `is_done`, at the end."""
        cdef PyObject* found = NULL
        try:
            while not self.is_done:
                if self.step(sent, thrown, &found):
                    value = <object>found
                    Py_DECREF(value)
                    return value
                sent = thrown = None
                self.is_done = not (self.is_working and self.follow())
        except promise_cancelled:
            self.cut_pass()
            raise

    cdef bint step(self, object sent, object thrown, PyObject** found) except -1:
        """Go on with the task or the pause. Returns whether it waits, in `found` for what."""
        cdef bint waits = False
        try:
            if self.steps is None:
                self.steps = performer_steps(self.duty.function(self.user))
            if thrown is not None:
                waits = performer_throw(self.steps, thrown, found)
            else:
                waits = PyIter_Send(self.steps, sent, found) == PYGEN_NEXT
            if not waits:
                Py_DECREF(<object>found[0])
        except BaseException as error:
            self.steps = None
            if self.is_resting:
                self.is_resting = False
                raise
            self.raised(error)
        else:
            if not waits:
                self.steps = None
                if not self.is_resting:
                    self.ended()
        return waits

    cdef bint follow(self) except -1:
        """Begin what comes after a task, or after the pause: returns whether something does."""
        cdef double seconds = PERFORMER_NO_PAUSE
        if not self.is_resting:
            seconds = self.pause_after(self.has_succeeded, self.turns)
        self.is_resting = seconds >= 0
        if self.is_resting:
            self.steps = performer_steps(self.user.pause(seconds))
            return True
        return self.begin_next()

    # As asyncio's task sees it.

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.send(None)

    def send(self, value):
        if not self.has_news:
            self.news = self.advance(value, None)
        return self.tell()

    def throw(self, kind, value=None, traceback=None):
        thrown = kind if value is None else value
        if self.is_done:
            raise thrown
        # What the task has not waited for yet it would cancel, and then wait for.
        if self.error is None and (self.news is None or not self.news.cancel()):
            self.news = self.advance(None, thrown)
        return self.tell()

    def close(self):
        self.relay = None
        if self.steps is not None:
            self.steps.close()
        if self.user.active:
            self.user.cut_streams()

    cdef object tell(self):
        """Return what asyncio's task has to wait for. Raises what the end is for it."""
        cdef object news = self.news
        cdef object error = self.error
        self.has_news = False
        self.news = self.error = None
        if error is not None:
            raise error
        if self.is_done:
            raise StopIteration(self.has_succeeded)
        if not self.takes(news):
            return news
        self.relay = Relay.__new__(Relay)
        self.relay.performer, self.relay.pump, self.relay._asyncio_future_blocking = self, self.pump, True
        return self.relay

    # As the pump sees it.

    cdef bint takes(self, object news) except -1:
        """Have the pump wake us, where that is who ends what is awaited, and nobody else awaits it."""
        cdef Promise promise
        if self.is_cut or self.task is None or not isinstance(news, Promise):
            return False
        promise = <Promise>news
        if promise.is_done or promise.callback is not None or promise.pump is not self.pump:
            return False
        promise._asyncio_future_blocking = False
        promise.callback, self.awaited, self.news = self, promise, None
        return True

    cdef int woken(self) except -1:
        """What we await has come: go on with the task, and let asyncio's look where it has to."""
        cdef Relay relay = self.relay
        self.awaited = None
        if relay is None or not self.is_cut and self.run(relay.context):
            return 0
        self.relay, self.is_cut = None, False
        return relay.settle(None)

    cdef bint run(self, object context) except -1:
        """Take steps as asyncio's task would. Returns False when there is news for it."""
        PyContext_Enter(context)
        try:
            performer_enter_task(self.pump.loop, self.task)
            try:
                self.news = self.advance(None, None)
            except BaseException as error:
                self.error = error
            finally:
                performer_leave_task(self.pump.loop, self.task)
        finally:
            PyContext_Exit(context)
        self.has_news = self.is_done or self.error is not None or not self.takes(self.news)
        return not self.has_news

    cdef bint cut_short(self) except -1:
        """Cancel what is awaited. Returns False when that is too late, or nothing is: in the middle of a step."""
        self.is_cut = self.awaited is None or not self.awaited.cancel()
        return not self.is_cut


cdef object performer_steps(object awaitable):
    """Return what takes an awaitable to its end, step by step."""
    return awaitable if PyCoro_CheckExact(awaitable) or isinstance(awaitable, Promise) else performer_await(awaitable)


async def performer_await(awaitable):
    return await awaitable


cdef bint performer_throw(object steps, object thrown, PyObject** found) except -1:
    """Throw into a coroutine. Returns whether it waits again, in `found` for what; else that is its value."""
    cdef bint waits = True
    try:
        value = steps.throw(thrown)
    except StopIteration as end:
        value, waits = end.value, False
    Py_INCREF(value)
    found[0] = <PyObject*>value
    return waits


cdef object performer_enter_task, performer_leave_task
from asyncio.tasks import _enter_task as performer_enter_task, _leave_task as performer_leave_task
