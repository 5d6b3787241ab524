# The heart of an engine: a selector for asyncio that runs epoll, libcurl and the timers until asyncio has something to do.
import selectors as pump_selectors

from cpython.exc cimport PyErr_CheckSignals

cdef int pump_on_timer(CURLM* multi, long wait_ms, void* userdata) noexcept nogil:
    """CURLMOPT_TIMERFUNCTION."""
    cdef int64_t* due = <int64_t*>userdata
    if wait_ms < 0:
        due[0] = CLOCK_NEVER
    elif wait_ms == 0:
        due[0] = 0
    else:
        due[0] = clock_ns() + <int64_t>wait_ms * 1_000_000
    return 0


cdef enum:
    PUMP_EVENTS = 256
    PUMP_LONGEST_NS = 500_000_000  # so that the heartbeat goes on
    PUMP_HELD_NS = 1_000_000       # a shorter wait is nothing to look into


cdef Pump pump_current = None


cdef class Pump:
    """One engine's events. Give it to asyncio.SelectorEventLoop as its selector, then call `attach(loop)`."""
    cdef readonly Arena arena
    cdef readonly Meters meters
    cdef readonly Settings settings
    cdef readonly object loop
    cdef readonly list hooks       # called with every Response
    cdef readonly Scope no_scope   # for requests outside of a task
    cdef readonly unsigned long turns
    cdef public object on_error    # called with an exception that a hook raised
    cdef public object on_forgotten                # called with what there is to say of a request that nobody awaited
    cdef object on_failure         # called with every Response that becomes a failure; None
    cdef RequestLog request_log
    cdef RequestLog error_log
    cdef bint keeps_sent           # Responses keep what was sent for them, and where the time went
    cdef bint is_watched           # any of these
    cdef public object on_wait     # called with a user whose request has to wait for the throttle; None: nobody minds
    cdef object asyncio_selector
    cdef object ready              # asyncio's queue of what can run
    cdef object scheduled          # asyncio's heap of timers
    cdef int epoll
    cdef CURLM* multi
    cdef int64_t multi_due_ns
    cdef int64_t returned_ns       # when epoll last returned
    cdef int64_t held_ns           # for so long what epoll has brought may have waited until we looked
    cdef Timers timers
    cdef list idle                 # Transfers without a request
    cdef list dialers              # Dialers without a connection
    cdef list streams              # Requests in libcurl's lane whose body is taken in pieces
    cdef dict sites
    cdef dict bases                # origin -> Url: where redirects have led users
    cdef list sources              # where users connect from
    cdef Py_ssize_t users_made
    cdef Throttle gate
    cdef bint no_more_waiting

    def __cinit__(self, *args, **kwargs):
        self.epoll = -1

    def __dealloc__(self):
        if self.multi != NULL:
            curl_multi_cleanup(self.multi)     # closes what is idle; calls back, so epoll is still there
        if self.epoll >= 0:
            posix_close(self.epoll)

    def __init__(self, Arena arena, Settings settings):
        global pump_current
        self.arena, self.meters, self.settings = arena, Meters(arena), settings
        self.timers, self.idle, self.dialers, self.streams, self.sites, self.hooks = Timers(), [], [], [], {}, []
        self.no_scope, self.bases, self.gate = Scope(), {}, Throttle.of(self)
        self.sources = [source.encode() for source in settings.sources]
        self.asyncio_selector = pump_selectors.EpollSelector()
        self.multi_due_ns = CLOCK_NEVER
        self.returned_ns = clock_ns()
        self.open_epoll()
        self.open_multi()
        pump_current = self

    cdef int open_epoll(self) except -1:
        cdef epoll_event event
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise OSError(errno, "epoll_create1")
        event.events = EPOLLIN
        event.data.u64 = SOCKETS_ASYNCIO
        if epoll_ctl(self.epoll, EPOLL_CTL_ADD, self.asyncio_selector.fileno(), &event):
            raise OSError(errno, "epoll_ctl")
        return 0

    cdef int open_multi(self) except -1:
        self.multi = curl_multi_init()
        if self.multi == NULL:
            raise MemoryError
        curl_multi_setopt(self.multi, CURLMOPT_SOCKETFUNCTION, <void*>sockets_on_change)
        curl_multi_setopt(self.multi, CURLMOPT_SOCKETDATA, <void*><long>self.epoll)
        curl_multi_setopt(self.multi, CURLMOPT_TIMERFUNCTION, <void*>pump_on_timer)
        curl_multi_setopt(self.multi, CURLMOPT_TIMERDATA, <void*>&self.multi_due_ns)
        curl_multi_setopt(self.multi, CURLMOPT_MAXCONNECTS, <long>32)      # counts a user's own pool
        return 0

    def attach(self, loop):
        """Tell the pump whose selector it is. asyncio's queue and heap are looked at to see whether it has work."""
        self.loop, self.ready = loop, loop._ready

    def wait_until_ns(self, int64_t due_ns):
        """Return an awaitable that ends at `due_ns` of the monotonic clock."""
        return self.wait_until(due_ns)

    def stop_waiting(self):
        """End every pause of a user now, and those that begin later at once."""
        self.no_more_waiting = True
        self.end_waits(None)

    def throttle(self, double per_second):
        """Let so many requests begin a second from now on, in the order in which they are asked for; 0: all at once."""
        self.gate.set_rate(per_second)

    def throttled(self):
        """Return the users whose requests wait for the throttle, each as often as it has such requests."""
        return [(<Request>request).client for request in self.gate.waiting]

    cdef int end_waits(self, Client client) except -1:
        """End the pauses of one user now; None: of all."""
        cdef Py_ssize_t place
        cdef list waiting = []
        for place in range(1, self.timers.count + 1):
            if isinstance(<object>self.timers.heap[place].timer, Wait):
                wait = <Wait>self.timers.heap[place].timer
                if client is None or (<Wait>wait).client is client:
                    waiting.append(wait)
        for wait in waiting:
            self.timers.set(<Wait>wait, 0)
        return 0

    cdef Wait wait_until(self, int64_t due_ns):
        cdef Wait wait = Wait.__new__(Wait)
        wait.pump = self
        self.timers.set(wait, 0 if self.no_more_waiting else due_ns)
        return wait

    cdef Site site_of(self, type cls):
        found = self.sites.get(cls)
        if found is None:
            found = self.sites[cls] = Site.of(cls, self.settings)
        return found

    cdef bytes next_source(self):
        """Return where the next user connects from: they take turns."""
        if not self.sources:
            return None
        self.users_made += 1
        return self.sources[(self.users_made - 1) % len(self.sources)]

    cdef Url base_at(self, str origin):
        """Return an origin as a base: the same object for all users, who share what is prepared for it."""
        cdef Url base = self.bases.get(origin)
        if base is None:
            if len(self.bases) > CLIENT_MOST_LINKS:
                self.bases.clear()
            base = self.bases[origin] = Url.parse(origin)
        return base

    cdef int show(self, Response response) except -1:
        """Let the load test's hooks see a response. Their errors are the load test's, not the request's."""
        for hook in self.hooks:
            self.call(hook, response)
        return 0

    cdef int call(self, object hook, Response response) except -1:
        try:
            hook(response)
        except KeyboardInterrupt:
            raise
        except BaseException as error:         # a CancelledError or SystemExit, too: somebody waits for the response
            if self.on_error is not None:
                self.on_error(hook, error)
        return 0

    def watch(self, RequestLog request_log=None, RequestLog error_log=None, on_failure=None, keeps_sent=False):
        """Log requests from now on; let Responses keep what was sent; call `on_failure` with each that fails."""
        self.request_log, self.error_log, self.on_failure, self.keeps_sent = request_log, error_log, on_failure, keeps_sent
        self.is_watched = keeps_sent or not (request_log is None and error_log is None and on_failure is None)

    cdef int log(self, Response response) except -1:
        """A request has ended. Per request, where there is a log."""
        response.is_logged = True
        if self.request_log is not None and self.request_log.takes(response.client):
            response.is_sampled = True
            self.request_log.put(response, False)
        if self.error_log is not None and response.fault is not None:
            self.error_log.put(response, False)
        return 0

    cdef int log_again(self, Response response) except -1:
        """A response that is logged has been judged otherwise."""
        if response.is_sampled:
            self.request_log.put(response, True)
        if response.is_logged and self.error_log is not None and response.fault is not None:
            self.error_log.put(response, True)
        return 0

    cdef int log_other(self, Client client, str kind, str name, double seconds, object error) except -1:
        """The load test has recorded something of its own."""
        if self.request_log is not None:
            self.request_log.put_other(client, kind, name, seconds, error)
        if self.error_log is not None and error is not None:
            self.error_log.put_other(client, kind, name, seconds, error)
        return 0

    cdef int failed(self, Response response) except -1:
        """A response counts as a failure now, or as another one."""
        if self.is_watched:
            self.log_again(response)
            if self.on_failure is not None:
                self.call(self.on_failure, response)
        return 0

    # The selector, as asyncio knows it.

    def register(self, fileobj, events, data=None):
        return self.asyncio_selector.register(fileobj, events, data)

    def unregister(self, fileobj):
        return self.asyncio_selector.unregister(fileobj)

    def modify(self, fileobj, events, data=None):
        return self.asyncio_selector.modify(fileobj, events, data)

    def get_map(self):
        return self.asyncio_selector.get_map()

    def get_key(self, fileobj):
        return self.asyncio_selector.get_key(fileobj)

    def close(self):
        """Let go of asyncio's side. The rest goes with the pump."""
        global pump_current
        if pump_current is self:
            pump_current = None
        self.asyncio_selector.close()

    def select(self, timeout=None):
        """Run the engine until asyncio has something to do or `timeout` seconds are over; return asyncio's events."""
        cdef int64_t now = clock_ns()
        cdef int64_t deadline = CLOCK_NEVER if timeout is None else now + client_nanoseconds(timeout)
        self.scheduled = self.loop._scheduled          # asyncio makes a new heap when many of its timers were cancelled
        cdef Py_ssize_t scheduled = len(self.scheduled)
        cdef bint asyncio_event = False
        while True:
            self.timers.fire_due(now)
            self.drive(CURL_SOCKET_TIMEOUT, 0, now)
            asyncio_event = self.turn(0 if self.has_work(scheduled) else deadline)
            now = self.returned_ns
            if asyncio_event or now >= deadline or self.has_work(scheduled):
                break
        return self.asyncio_selector.select(0) if asyncio_event else []

    cdef inline bint has_work(self, Py_ssize_t scheduled) except -1:
        """Whether asyncio has to run: something is ready, or a timer was added since it last looked."""
        return len(self.ready) > 0 or len(self.scheduled) != scheduled

    cdef bint turn(self, int64_t deadline) except -1:
        """Wait for events, handle them. Returns whether asyncio's selector has some."""
        cdef epoll_event events[PUMP_EVENTS]
        cdef bint asyncio_event = False
        cdef int count, i
        count = self.wait(events, deadline)
        for i in range(count):
            if events[i].data.u64 == SOCKETS_ASYNCIO:
                asyncio_event = True
            else:
                self.handle(events[i].events, events[i].data.u64)
        self.held_ns = 0
        return asyncio_event

    cdef int wait(self, epoll_event* events, int64_t deadline) except -1:
        """epoll_wait, until the earliest of all that is due. The GIL is let go only where it would sleep."""
        cdef Header* header = self.arena.header
        cdef int64_t due = min(deadline, self.multi_due_ns, self.timers.earliest())
        cdef int64_t now = clock_ns()
        cdef int64_t wait_ns = min(max(due - now, 0), PUMP_LONGEST_NS)
        cdef int count = 0
        self.held_ns = now - self.returned_ns
        if not wait_ns or self.held_ns > PUMP_HELD_NS:         # what came meanwhile has waited, what comes has not
            count = pump_epoll_wait(self.epoll, events, PUMP_EVENTS, 0)
        if wait_ns and not count:
            self.held_ns = header.turn_started_ns = 0
            with nogil:
                count = pump_epoll_wait(self.epoll, events, PUMP_EVENTS, wait_ns)
        clock_check_lease(header.lease_until_ns)
        self.returned_ns = header.heartbeat_ns = header.turn_started_ns = clock_ns()
        self.turns += 1
        if count < 0 and errno != EINTR:
            raise OSError(errno, "epoll_pwait2")
        PyErr_CheckSignals()
        return max(count, 0)

    cdef int handle(self, uint32_t events, uint64_t data) except -1:
        """One event of libcurl's: of a descriptor in use, of an idle one, or of one that has gone."""
        cdef int descriptor = <int>(data & 0xFFFFFFFF)
        cdef Socket* entry = &sockets[descriptor]
        cdef Link link
        if entry.generation != <uint32_t>(data >> 32):
            return 0
        if entry.link != NULL:
            link = <Link>entry.link
            link.happened(events)
            return self.drive(CURL_SOCKET_TIMEOUT, 0, 0)
        if not entry.is_wanted:
            sockets_idle_event(self.epoll, descriptor, events, len(self.streams) > 0)
            return 0
        return self.act(descriptor, (CURL_CSELECT_IN if events & EPOLLIN else 0)
                        | (CURL_CSELECT_OUT if events & EPOLLOUT else 0)
                        | (CURL_CSELECT_ERR if events & (EPOLLERR | EPOLLHUP) else 0))

    cdef int act(self, int descriptor, int events) except -1:
        """Let libcurl work, then hand out what is done, then send what the woken tasks asked for."""
        cdef int running
        curl_multi_socket_action(self.multi, descriptor, events, &running)
        self.reap()
        return self.drive(CURL_SOCKET_TIMEOUT, 0, 0)

    cdef int drive(self, int descriptor, int events, int64_t now) except -1:
        """Give libcurl its time-outs while they are due; a request that has just been added is one.

        No further than the first answers: a task that asks again for what fails at once would keep us here for ever.
        """
        cdef int running
        cdef int handed_out = 0
        while self.multi_due_ns <= now and not handed_out:
            self.multi_due_ns = CLOCK_NEVER
            curl_multi_socket_action(self.multi, descriptor, events, &running)
            handed_out = self.reap()
        return 0

    cdef int reap(self) except -1:
        """Hand out what libcurl has finished. Tasks run here and may ask for more; that is for the caller to send.

        Returns how many have finished.
        """
        cdef CURLMsg* message
        cdef int left, result, count = 0
        cdef void* found = NULL
        cdef Exchange exchange
        cdef Request request
        while True:
            message = curl_multi_info_read(self.multi, &left)
            if message == NULL:
                break
            if message.msg != CURLMSG_DONE:
                continue
            result = message.result
            curl_easy_getinfo(message.easy_handle, CURLINFO_PRIVATE, &found)
            exchange = <Exchange>found             # held: it may let go of itself
            count += 1
            exchange.done(result)
        if self.streams:
            for request in list(self.streams):
                request.advance()
        return count
