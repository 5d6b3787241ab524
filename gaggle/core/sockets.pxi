# Which descriptors epoll watches, and for whom.
from libc.errno cimport EEXIST, ENOENT, errno
from libc.stdint cimport uint8_t, uint32_t
from posix.unistd cimport close as posix_close

cdef extern from "sys/socket.h" nogil:
    enum: MSG_PEEK, MSG_DONTWAIT, MSG_NOSIGNAL, SHUT_RDWR
    ssize_t recv(int, void*, size_t, int)
    int shutdown(int, int)

cdef extern from "sys/epoll.h" nogil:
    ctypedef union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int)
    int epoll_ctl(int, int, int, epoll_event*)
    int epoll_wait(int, epoll_event*, int, int)
    enum: EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLERR, EPOLLHUP, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, EPOLL_CLOEXEC

cdef extern from *:
    """
    #include <sys/epoll.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    #include <errno.h>
    #ifndef SYS_epoll_pwait2
    #define SYS_epoll_pwait2 441
    #endif
    /* glibc has it from 2.35 only; the kernel from 5.11. Without it, waiting is exact to a millisecond. */
    static int pump_epoll_wait(int epoll, struct epoll_event *events, int most, long long wait_ns)
    {
        static int missing = 0;
        struct { long long seconds, nanoseconds; } wait = { wait_ns / 1000000000, wait_ns % 1000000000 };
        if (!missing) {
            int count = (int)syscall(SYS_epoll_pwait2, epoll, events, most, &wait, NULL, 0);
            if (count >= 0 || (errno != ENOSYS && errno != EPERM)) return count;
            missing = 1;
        }
        return epoll_wait(epoll, events, most, (int)((wait_ns + 999999) / 1000000));
    }
    """
    int pump_epoll_wait(int, epoll_event*, int, long long) nogil


# What epoll knows of each descriptor that libcurl uses, by number. The kernel reuses numbers: every opening and closing
# begins a new generation, which epoll hands back with an event, so that an event of the last life is told apart.
cdef struct Socket:
    uint32_t generation
    uint32_t mask                  # as registered with epoll
    uint8_t is_ours                # made in transfer_on_open: its closing is seen, so it may stay registered while idle
    uint8_t is_datagram            # of HTTP/3
    uint8_t is_registered
    uint8_t is_wanted              # libcurl waits for it
    PyObject* link                 # the Link that owns it, which takes it out before it goes; NULL for libcurl's

cdef Socket* sockets = NULL
cdef int sockets_count = 0
cdef uint64_t SOCKETS_ASYNCIO = 0xFFFFFFFFFFFFFFFF       # the event of asyncio's own selector


cdef int sockets_reach(int descriptor) noexcept nogil:
    """Make room for `descriptor`; returns 0 when there is no memory."""
    global sockets, sockets_count
    cdef int count = sockets_count if sockets_count else 1024
    cdef Socket* grown
    if descriptor < sockets_count:
        return 1
    while count <= descriptor:
        count *= 2
    grown = <Socket*>realloc(sockets, count * sizeof(Socket))
    if grown == NULL:
        return 0
    memset(grown + sockets_count, 0, (count - sockets_count) * sizeof(Socket))
    sockets, sockets_count = grown, count
    return 1


cdef void sockets_opened(int descriptor, bint is_datagram) noexcept nogil:
    cdef Socket* entry
    if sockets_reach(descriptor):
        entry = &sockets[descriptor]
        entry.generation += 1
        entry.is_ours, entry.is_registered, entry.is_wanted, entry.mask, entry.link = 1, 0, 0, 0, NULL
        entry.is_datagram = is_datagram


cdef void sockets_closed(int descriptor) noexcept nogil:
    """Closing takes the registration out of epoll: only our notes have to follow."""
    cdef Socket* entry
    if descriptor < sockets_count:
        entry = &sockets[descriptor]
        entry.generation += 1
        entry.is_ours, entry.is_registered, entry.is_wanted, entry.mask, entry.link = 0, 0, 0, 0, NULL


cdef void sockets_register(int epoll, int descriptor, uint32_t mask) noexcept nogil:
    cdef Socket* entry = &sockets[descriptor]
    cdef epoll_event event
    cdef int operation = EPOLL_CTL_MOD if entry.is_registered else EPOLL_CTL_ADD
    event.events = mask
    event.data.u64 = <uint64_t>entry.generation << 32 | <uint32_t>descriptor
    if epoll_ctl(epoll, operation, descriptor, &event) and errno in (EEXIST, ENOENT):
        epoll_ctl(epoll, EPOLL_CTL_ADD if errno == ENOENT else EPOLL_CTL_MOD, descriptor, &event)
    entry.is_registered, entry.mask = 1, mask


cdef void sockets_unregister(int epoll, int descriptor) noexcept nogil:
    cdef epoll_event event
    epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, &event)
    sockets[descriptor].is_registered = 0
    sockets[descriptor].generation += 1


cdef int sockets_on_change(CURL* easy, int descriptor, int what, void* userdata, void* socket_data) noexcept nogil:
    """CURLMOPT_SOCKETFUNCTION. Lazy: our own idle sockets stay registered, which saves four epoll_ctl a request."""
    cdef int epoll = <int><long>userdata
    cdef Socket* entry
    cdef uint32_t mask
    if not sockets_reach(descriptor):
        return -1
    entry = &sockets[descriptor]
    if what == CURL_POLL_REMOVE:
        entry.is_wanted = 0
        if entry.is_registered and not entry.is_ours:
            sockets_unregister(epoll, descriptor)
        return 0
    entry.is_wanted = 1
    mask = (EPOLLIN if what & CURL_POLL_IN else 0) | (EPOLLOUT if what & CURL_POLL_OUT else 0)
    if not entry.is_registered or entry.mask != mask:
        sockets_register(epoll, descriptor, mask)
    return 0


cdef inline bint sockets_is_text(unsigned char byte) noexcept nogil:
    """Whether it cannot begin a record of TLS or a frame of HTTP/2."""
    return byte >= 32 or byte == c'\r' or byte == c'\n'


cdef void sockets_idle_event(int epoll, int descriptor, uint32_t events, bint may_be_paused) noexcept nogil:
    """Something came on a connection that nobody uses. If it is the end, answer it: no CLOSE_WAIT, no wake-ups.

    Bytes stay until libcurl reads them (a ticket of TLS, a ping of HTTP/2): behind them only the end is of interest. But
    a line of HTTP/1.1 would be taken for the next answer, as libcurl does not look at what is younger than a second; if
    it is not what a stream waits to be asked for. A datagram is for libcurl, when it looks again.
    """
    cdef unsigned char byte = 0
    if not sockets[descriptor].is_ours or sockets[descriptor].is_datagram:
        sockets_unregister(epoll, descriptor)
    elif events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR) or (
            recv(descriptor, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0 or sockets_is_text(byte) and not may_be_paused):
        sockets_unregister(epoll, descriptor)
        shutdown(descriptor, SHUT_RDWR)
    else:
        sockets_register(epoll, descriptor, EPOLLRDHUP)
