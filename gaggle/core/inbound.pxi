# Where the bytes of an answer arrive, in both lanes. Plain C: filled without touching a Python object.
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcmp, memcpy

cdef extern from "strings.h" nogil:
    int strncasecmp(const char*, const char*, size_t)

cdef enum:
    INBOUND_STATUS_LINE = 1        # the next header line begins a response
    INBOUND_BODY = 2               # a byte of the body has come
    INBOUND_SET_COOKIE = 4
    INBOUND_LOCATION = 8
    INBOUND_STREAM = 16            # somebody takes the pieces as they come
    INBOUND_PAUSED = 32
    INBOUND_ENCODED = 64           # the body is as the server encoded it: decode it when somebody reads it
    INBOUND_REFUSED = 128          # the libcurl lane: what libcurl takes for a head is none
    INBOUND_HEAD = 256             # the head of the final answer is whole
    INBOUND_STREAM_ROOM = 262_144  # bytes kept ahead of a reader of a stream before the server has to wait
    INBOUND_KEPT = 65_536          # a larger buffer is given back after its response


cdef struct Inbound:
    char* data                     # status line, header lines, body
    size_t length
    size_t capacity
    size_t status_length           # of the status line with its line end
    size_t head_length             # of all of the head
    size_t body_limit
    uint64_t dropped               # bytes of the body beyond the limit
    int64_t first_byte_ns
    unsigned int flags
    long sent                      # libcurl's lane: bytes of the request that were out when it was put on a connection
    void* easy
    uint64_t* resent               # where libcurl's lane counts all but the first, as they happen: an engine may die


cdef int inbound_reserve(Inbound* inbound, size_t size) noexcept nogil:
    """Make room for `size` more bytes; returns 0 when there is no memory."""
    cdef size_t capacity = inbound.capacity if inbound.capacity else 512
    cdef char* grown
    while inbound.length + size > capacity:
        capacity *= 2
    if capacity != inbound.capacity:
        grown = <char*>realloc(inbound.data, capacity)
        if grown == NULL:
            return 0
        inbound.data, inbound.capacity = grown, capacity
    return 1


cdef int inbound_append(Inbound* inbound, const char* data, size_t size) noexcept nogil:
    """Add bytes, which must lie elsewhere; returns 0 when there is no memory."""
    if not inbound_reserve(inbound, size):
        return 0
    memcpy(inbound.data + inbound.length, data, size)
    inbound.length += size
    return 1


cdef inline size_t inbound_buffered(Inbound* inbound) noexcept nogil:
    """Return how many bytes of the body are here."""
    return inbound.length - inbound.head_length


cdef int inbound_body(Inbound* inbound, const char* data, size_t size) noexcept nogil:
    """Take bytes of the body: all of a stream's, else what the limit allows; the rest is counted only."""
    cdef size_t kept = inbound_buffered(inbound)
    cdef size_t room = size
    inbound.flags |= INBOUND_BODY
    if not inbound.flags & INBOUND_STREAM:
        room = min(size, inbound.body_limit - kept if inbound.body_limit > kept else 0)
    inbound.dropped += size - room
    return inbound_append(inbound, data, room) if room else 1


cdef void inbound_note(Inbound* inbound, const char* line, size_t size) noexcept nogil:
    """Remember of a header line what the client will have to look at."""
    if size > 11 and (line[0] | 32) == c's' and strncasecmp(line, b"set-cookie:", 11) == 0:
        inbound.flags |= INBOUND_SET_COOKIE
    elif size > 9 and (line[0] | 32) == c'l' and strncasecmp(line, b"location:", 9) == 0:
        inbound.flags |= INBOUND_LOCATION


cdef void inbound_restart(Inbound* inbound) noexcept nogil:
    """Forget what came: a 1xx answer, or what another connection began to send."""
    inbound.length = inbound.head_length = inbound.status_length = 0
    inbound.flags = (inbound.flags & INBOUND_STREAM) | INBOUND_STATUS_LINE


cdef void inbound_clear(Inbound* inbound) noexcept nogil:
    """Be ready for another request."""
    inbound.length = inbound.head_length = inbound.status_length = 0
    inbound.dropped, inbound.first_byte_ns, inbound.flags = 0, 0, 0
    if inbound.capacity > INBOUND_KEPT:
        free(inbound.data)
        inbound.data, inbound.capacity = NULL, 0
