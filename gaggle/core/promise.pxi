# What a user awaits: stands in for an asyncio.Future, and wakes its task straight from the pump.
cdef extern from "Python.h":
    int PyContext_Enter(object) except -1
    int PyContext_Exit(object) except -1
    void PyErr_SetObject(object, object)
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT
    ctypedef struct PromiseAsync "PyAsyncMethods":
        PySendResult (*am_send)(PyObject*, PyObject*, PyObject**) except PYGEN_ERROR
    ctypedef struct PromiseType "PyTypeObject":
        PyObject* (*tp_iternext)(PyObject*) except? NULL
        PromiseAsync* tp_as_async


cdef class Pump
cdef class Throttle
cdef class Client
cdef class Request
cdef class Response
cdef class Exchange
cdef class Link
cdef class Scope
cdef class Phases
cdef class Performer
cdef class RequestLog


cdef class Promise(Timer):
    """A result that the pump will deliver.

    Duck-types asyncio.Future (`_asyncio_future_blocking`, as asyncio.isfuture asks) and a coroutine (so that
    `create_task(self.get("/"))` works). Callbacks run directly when the pump settles it, not in the loop's next turn.
    """
    cdef Pump pump
    cdef object value
    cdef object callback           # nearly always one: the wake-up of the waiting task, or the Performer that waits
    cdef object context
    cdef list more                 # further (callback, context) pairs
    cdef bint is_done
    cdef bint is_cancelled
    cdef bint is_asked             # somebody has wanted to know what it comes to
    cdef public bint _asyncio_future_blocking

    def __init__(self):
        raise TypeError("a Promise is what the pump gives out")

    cdef int settle(self, object value) except -1:
        """Deliver `value` and wake who waits. Only from the pump: never inside a callback of libcurl."""
        self.value = value
        self.is_done = True
        return self.wake()

    cdef int settle_later(self, object value) except -1:
        """As `settle`, for a caller that may run inside a task: who waits is woken in the loop's next turn."""
        self.value = value
        self.is_done = True
        if self.callback is not None:
            self.pump.loop.call_soon(self.wake_later)
        return 0

    cdef int wake(self) except -1:
        cdef object callback = self.callback
        cdef object context = self.context
        cdef list more
        if callback is None:
            return 0
        self.callback = self.context = None
        if isinstance(callback, Performer):
            (<Performer>callback).woken()
        else:
            self.call(callback, context)
        if self.more is not None:
            more, self.more = self.more, None
            for callback, context in more:
                self.call(callback, context)
        return 0

    cdef int call(self, object callback, object context) except -1:
        """Run `callback` in its context. SystemExit and KeyboardInterrupt end the loop, as in asyncio."""
        PyContext_Enter(context)
        try:
            callback(self)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            message = f"Exception in callback {callback!r}"
            self.pump.loop.call_exception_handler({"message": message, "exception": error, "future": self})
        finally:
            PyContext_Exit(context)
        return 0

    cdef int abort(self) except -1:
        """Give up what was under way, because the promise is being cancelled."""
        return 0

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def send(self, value):
        return next(self)

    def throw(self, kind, value=None, traceback=None):
        self.cancel()
        raise kind if value is None else value

    def close(self):
        self.cancel()

    def get_loop(self):
        return self.pump.loop

    def done(self):
        return self.is_done

    def cancelled(self):
        return self.is_cancelled

    def result(self):
        """Return what was delivered; raises CancelledError after a cancel, InvalidStateError before the end."""
        self.is_asked = True
        if self.is_cancelled:
            raise promise_cancelled()
        if not self.is_done:
            raise promise_invalid_state("the result is not there yet")
        return self.delivered()

    cdef object delivered(self):
        """Return what was delivered, as who awaits it sees it."""
        return self.value

    def exception(self):
        if self.is_cancelled:
            raise promise_cancelled()
        if not self.is_done:
            raise promise_invalid_state("the result is not there yet")
        return None

    def _make_cancelled_error(self):
        """What asyncio.gather raises for a request of its that was cancelled."""
        return promise_cancelled()

    @property
    def _cancel_message(self):
        """What asyncio.gather(return_exceptions=True) asks for then."""
        return None

    def add_done_callback(self, callback, *, context=None):
        self.is_asked = True
        if context is None:
            context = promise_copy_context()
        if self.is_done:
            self.pump.loop.call_soon(callback, self, context=context)
        elif self.callback is None:
            self.callback, self.context = callback, context
        else:
            if self.more is None:
                self.more = []
            self.more.append((callback, context))

    def remove_done_callback(self, callback):
        cdef list kept = [] if self.callback is None else [(self.callback, self.context)]
        kept += self.more or []
        count = len(kept)
        kept = [pair for pair in kept if pair[0] != callback]
        self.callback, self.context = kept[0] if kept else (None, None)
        self.more = kept[1:] or None
        return count - len(kept)

    def cancel(self, msg=None):
        """Abort what is under way. The waiting task gets its CancelledError in the loop's next turn."""
        self.is_asked = True
        if self.is_done:
            return False
        self.is_done = self.is_cancelled = True
        self.abort()
        if self.callback is not None:
            self.pump.loop.call_soon(self.wake_later)
        return True

    def wake_later(self):
        self.wake()


cdef PySendResult promise_send(PyObject* itself, PyObject* sent, PyObject** found) except PYGEN_ERROR:
    """`am_send`, by which Python 3.11 goes on with who awaits a promise: its end is a value, and no StopIteration."""
    cdef Promise self = <Promise>itself
    cdef bint is_done = self.is_done
    self.is_asked = True
    if is_done and self.is_cancelled:
        raise promise_cancelled()
    if not is_done:
        self._asyncio_future_blocking = True
    value = self.delivered() if is_done else self
    Py_INCREF(value)
    found[0] = <PyObject*>value
    return PYGEN_RETURN if is_done else PYGEN_NEXT


cdef PyObject* promise_next(PyObject* itself) except? NULL:
    """`tp_iternext`, as newer Pythons go on. The StopIteration has no traceback: to make one costs more than all else."""
    cdef PyObject* found = NULL
    if promise_send(itself, NULL, &found) == PYGEN_NEXT:
        return found
    value = <object>found
    Py_DECREF(value)               # it is held by `value`
    if isinstance(value, (tuple, BaseException)):
        raise StopIteration(value)
    PyErr_SetObject(StopIteration, value)
    return NULL


cdef int promise_quicken(type cls) except -1:
    """Let a class of promises be an iterator, and be awaited, by these two. Cython has no way to say so."""
    (<PromiseType*>cls).tp_as_async.am_send = promise_send
    (<PromiseType*>cls).tp_iternext = promise_next
    return 0


cdef class Wait(Promise):
    """A pause, exact to some tens of microseconds. Ends early when the pump, or its user, is told to stop waiting."""
    cdef Client client             # whose it is; None: the engine's own

    cdef int fire(self) except -1:
        return self.settle(None)

    cdef int abort(self) except -1:
        self.pump.timers.drop(self)
        return 0


promise_quicken(Promise)
promise_quicken(Wait)


from asyncio import CancelledError as promise_cancelled, InvalidStateError as promise_invalid_state
from contextvars import copy_context as promise_copy_context
