# The fast lane: a kept-alive HTTP/1.1 connection of one user. libcurl opens it (names, addresses, proxies, TLS); the
# exchange on it is ours, as libcurl's costs 14-20 us whatever one does around it.
from libc.errno cimport EAGAIN, ECONNRESET, EINTR, EPIPE, errno

cdef extern from "sys/socket.h" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len
    struct msghdr:
        iovec* msg_iov
        size_t msg_iovlen
    ssize_t sendmsg(int, const msghdr*, int)

cdef enum:
    LINK_BUFFER = 65_536
    LINK_TLS_PIECE = 16_384        # libcurl wants the same bytes again after CURLE_AGAIN, at least as many
    LINK_TLS_PIECES = 16           # that are sent in one turn
    LINK_MOST_RESENDS = 5          # CONN_MAX_RETRIES of libcurl
    CURLE_OK = 0
    CURLE_SEND_ERROR = 55
    CURLE_RECV_ERROR = 56
    CURLE_AGAIN = 81

cdef int64_t LINK_HELD_UP_NS = 10_000_000      # what was known so lately is not worth a system call

cdef char link_buffer[LINK_BUFFER]             # of the engine: what is received is looked at and copied at once
cdef int link_adopted = -1                     # the descriptor that libcurl must not close while it lets go of it


cdef class Dialer:
    """An easy handle that only connects. Plain connections leave it at once; a TLS connection keeps it for life."""
    cdef CURL* easy
    cdef bytes source              # as in Transfer
    cdef char error[256]

    @staticmethod
    cdef Dialer make(Settings settings):
        cdef Dialer self = Dialer.__new__(Dialer)
        self.easy = curl_easy_init()
        if self.easy == NULL:
            raise MemoryError
        transfer_set_policy(self.easy, settings)
        curl_easy_setopt(self.easy, CURLOPT_CONNECT_ONLY, <long>1)
        curl_easy_setopt(self.easy, CURLOPT_FORBID_REUSE, <long>0)      # it would close what it has just opened
        curl_easy_setopt(self.easy, CURLOPT_HTTP_VERSION, <long>CURL_HTTP_VERSION_1_1)     # or ALPN picks h2
        curl_easy_setopt(self.easy, CURLOPT_ERRORBUFFER, <void*>self.error)
        return self

    def __dealloc__(self):
        if self.easy != NULL:
            curl_easy_cleanup(self.easy)


cdef class Link(Exchange):
    """One connection, and the exchange on it."""
    cdef Client client             # whose pool it is in
    cdef Dialer dialer             # while it is being opened; with TLS, for life
    cdef str origin
    cdef int fd                    # -1 until it is open, and after its end
    cdef bint is_secure
    cdef bint is_reading           # epoll is asked for bytes
    cdef bint is_writing           # and for room to write
    cdef bint is_ending            # the server has sent its last byte
    cdef int uses                  # requests that it has served
    cdef int64_t opened_ns
    cdef int64_t answered_ns       # when the last answer began
    cdef Http1 parser
    cdef bytes head                # of the request, in three parts
    cdef bytes tail
    cdef bytes body
    cdef size_t sent               # bytes of the three that are out

    @staticmethod
    cdef Link make(Pump pump, Client client, Url url):
        cdef Link self = Link.__new__(Link)
        self.pump, self.client = pump, client
        self.origin, self.is_secure, self.fd = url.origin, url.secure, -1
        return self

    def __dealloc__(self):
        if self.fd >= 0 and not self.is_secure:
            sockets_closed(self.fd)
            posix_close(self.fd)

    # Opening.

    cdef int dial(self, Request request) except -1:
        """Let libcurl open the connection; `done` hears of it."""
        cdef list idle = self.pump.dialers
        cdef CURL* easy
        self.request = request
        self.dialer = <Dialer>idle.pop() if idle else Dialer.make(self.pump.settings)
        easy = self.dialer.easy
        curl_easy_setopt(easy, CURLOPT_PRIVATE, <void*>self)
        curl_easy_setopt(easy, CURLOPT_URL, PyBytes_AS_STRING(request.url_text))
        curl_easy_setopt(easy, CURLOPT_SHARE, request.client.share_for(request.url) if self.is_secure else NULL)
        if request.client.source is not self.dialer.source:
            self.dialer.source = request.client.source
            curl_easy_setopt(easy, CURLOPT_INTERFACE, PyBytes_AS_STRING(self.dialer.source))
        if curl_multi_add_handle(self.pump.multi, easy):
            raise RuntimeError("libcurl refused a handle")
        return 0

    cdef int done(self, int code) except -1:
        """libcurl has opened the connection, or could not."""
        cdef Request request = self.request
        cdef str failure
        if code:
            failure = transfer_explain(self.dialer.easy, code, self.dialer.error)
            return request.fail(failure, code in REQUEST_CONNECT_ERRORS)
        self.opened_ns = clock_ns()
        if request.phases is not None:
            request.phases.take_opening(self.dialer.easy)
        if self.is_secure:
            self.keep_handle()
        else:
            self.adopt()
        if self.fd < 0:            # libcurl has opened it, and closed it again
            return request.fail(REQUEST_ERRORS[7], True)
        sockets[self.fd].link = <PyObject*>self
        self.watch(True, False)
        return self.begin(request)

    cdef void adopt(self) noexcept:
        """Take the descriptor over: libcurl lets go of the connection without closing it, its handle is free again."""
        global link_adopted
        curl_easy_getinfo(self.dialer.easy, CURLINFO_ACTIVESOCKET, &self.fd)
        link_adopted = self.fd
        curl_multi_remove_handle(self.pump.multi, self.dialer.easy)
        link_adopted = -1
        self.release_dialer()

    cdef void keep_handle(self) noexcept:
        """With TLS the handle stays in the multi: taking it out would close the connection. The first recv attaches it."""
        cdef size_t count = 0
        curl_easy_getinfo(self.dialer.easy, CURLINFO_ACTIVESOCKET, &self.fd)
        curl_easy_recv(self.dialer.easy, link_buffer, 0, &count)

    cdef void release_dialer(self) noexcept:
        curl_easy_setopt(self.dialer.easy, CURLOPT_SHARE, NULL)
        self.pump.dialers.append(self.dialer)
        self.dialer = None

    cdef void watch(self, bint reading, bint writing) noexcept:
        """Tell epoll what to wait for, when that changes."""
        cdef uint32_t mask = (EPOLLIN | EPOLLRDHUP if reading else 0) | (EPOLLOUT if writing else 0)
        self.is_reading, self.is_writing = reading, writing
        if not sockets[self.fd].is_registered or sockets[self.fd].mask != mask:
            sockets_register(self.pump.epoll, self.fd, mask)

    # The exchange.

    cdef int begin(self, Request request) except -1:
        """Send the request. It is bytes that were prepared once; only a cookie differs from user to user."""
        cdef bytes cookie = request.client.cookie_for(request.url)
        if cookie is not None and "cookie" in request.headers.fields:
            cookie = None          # the load test has its own
        self.request, request.cookie = request, cookie
        if request.phases is not None:
            request.phases.began_ns = clock_ns()
        self.inbound.flags = INBOUND_STATUS_LINE | (INBOUND_STREAM if request.prepared.stream else 0)
        self.inbound.body_limit = self.pump.settings.max_body
        http1_begin(&self.parser, request.verb == VERB_HEAD or request.custom == b"HEAD")
        self.head, self.body, self.sent = request.wire(), request.body, 0
        self.tail = LINK_END if cookie is None else b"Cookie: " + cookie + b"\r\n\r\n"
        return self.push()

    cdef size_t left(self) noexcept:
        """Return how many bytes are still to be sent."""
        return PyBytes_GET_SIZE(self.head) + PyBytes_GET_SIZE(self.tail) + (PyBytes_GET_SIZE(self.body) if self.body is not None else 0) - self.sent

    cdef int push(self) except -1:
        """Send what the socket takes; between two pieces of a long body others have their turn, and an early answer is seen."""
        cdef int code = self.push_tls() if self.is_secure else self.push_plain()
        if code == CURLE_OK and self.request.phases is not None:
            self.request.phases.sent_all()
        if code == CURLE_AGAIN:
            self.watch(self.is_reading, True)
        elif code:
            return self.lost(code)
        elif self.is_writing:
            self.watch(self.is_reading, False)
        return 0

    cdef int push_plain(self) noexcept:
        cdef iovec parts[3]
        cdef msghdr message
        cdef ssize_t count
        memset(&message, 0, sizeof(message))
        message.msg_iov = parts
        message.msg_iovlen = self.gather(parts)
        count = sendmsg(self.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT)
        if count < 0:
            return CURLE_AGAIN if errno == EAGAIN or errno == EINTR else CURLE_SEND_ERROR
        self.sent += count
        return CURLE_AGAIN if self.left() else CURLE_OK

    cdef size_t gather(self, iovec* parts) noexcept:
        """Point at what of the three parts is not sent."""
        cdef size_t skip = self.sent, size, count = 0
        cdef bytes part
        for part in (self.head, self.tail, self.body):
            size = PyBytes_GET_SIZE(part) if part is not None else 0
            if size > skip:
                parts[count].iov_base = PyBytes_AS_STRING(part) + skip
                parts[count].iov_len = size - skip
                count += 1
            skip -= min(skip, size)
        return count

    cdef int push_tls(self) noexcept:
        """Through libcurl, from one piece of memory at a time."""
        cdef iovec parts[3]
        cdef size_t sent = 0
        cdef int code, piece
        if self.sent == 0:         # head and tail in one record
            self.head, self.tail = self.head + self.tail, b""
        for piece in range(LINK_TLS_PIECES):
            if not self.left():
                return CURLE_OK
            self.gather(parts)
            code = curl_easy_send(self.dialer.easy, parts[0].iov_base, min(parts[0].iov_len, <size_t>LINK_TLS_PIECE), &sent)
            if code:
                return code
            self.sent += sent
        return CURLE_AGAIN if self.left() else CURLE_OK

    cdef int happened(self, uint32_t events) except -1:
        """epoll has something for this connection. What has come goes first: it may make an end of what is being sent."""
        cdef Request request = self.request
        if request is None:
            return self.idle_event()
        if events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR):
            self.is_ending = True
        if events & ~<uint32_t>EPOLLOUT and self.is_reading:
            self.pull()
        elif events & ~<uint32_t>EPOLLOUT:
            sockets_unregister(self.pump.epoll, self.fd)   # an end that the reader of a stream will come to: see it then
        if events & EPOLLOUT and self.is_writing and self.request is request and self.fd >= 0:
            return self.push()
        return 0

    cdef int idle_event(self) except -1:
        """Nobody has asked for anything: it is the end of the connection, or, with TLS, a ticket."""
        cdef size_t count = 0
        if self.is_secure and curl_easy_recv(self.dialer.easy, link_buffer, LINK_BUFFER, &count) == CURLE_AGAIN:
            return 0
        self.close()
        return 0

    cdef int pull(self) except -1:
        """Receive what is there: one piece of a plain connection, whose event comes again; all that libcurl may hold of
        the answer on a TLS connection. The answer to a request that its task has just sent will have an event."""
        cdef Request request = self.request
        cdef Py_ssize_t count
        cdef int code
        while True:
            count = self.receive()
            if count > 0:
                code = self.take(count)
                if code < 0 or self.request is not request or not self.is_secure:
                    return 0
            elif count == 0:
                return self.ended()
            elif count == -CURLE_AGAIN:
                return 0
            else:
                return self.lost(CURLE_RECV_ERROR)
            if not self.is_reading:
                return 0

    cdef Py_ssize_t receive(self) noexcept:
        """Return how many bytes came into the buffer, 0 at the end, or minus a CURLcode."""
        cdef size_t count = 0
        cdef ssize_t received
        cdef int code
        if self.is_secure:
            code = curl_easy_recv(self.dialer.easy, link_buffer, LINK_BUFFER, &count)
            return -code if code else <Py_ssize_t>count
        received = recv(self.fd, link_buffer, LINK_BUFFER, MSG_DONTWAIT)
        if received >= 0:
            return received
        return -CURLE_AGAIN if errno == EAGAIN or errno == EINTR else -CURLE_RECV_ERROR

    cdef int take(self, size_t count) except? -2:
        """Give received bytes to the parser. Returns what it said."""
        cdef Request request = self.request    # which may go as soon as its task has run
        cdef size_t used = 0
        cdef int code = http1_feed(&self.parser, &self.inbound, link_buffer, count, &used)
        if code < 0:
            request.fail(REQUEST_ERRORS.get(-code) or curl_easy_strerror(-code).decode().lower())
        elif code == HTTP1_COMPLETE:
            if used < count:
                self.parser.closes = True              # bytes that nobody asked for: do not trust what comes next
            request.arrived()
        elif self.inbound.flags & INBOUND_STREAM and self.parser.state != HTTP1_HEAD:
            self.take_stream()
        return code

    cdef int take_stream(self) except -1:
        """Let the reader have what came; while it is far behind, let the server wait."""
        cdef Request request = self.request
        request.advance()
        if self.request is not None and inbound_buffered(&self.inbound) >= INBOUND_STREAM_ROOM:
            self.inbound.flags |= INBOUND_PAUSED
            self.watch(False, self.is_writing)
        return 0

    cdef int resume(self) except -1:
        self.watch(True, self.is_writing)
        if self.is_secure:         # libcurl may have bytes that epoll does not know of
            self.pump.loop.call_soon(self.pull_again)
        return 0

    def pull_again(self):
        if self.request is not None and self.fd >= 0:
            self.pull()

    cdef int ended(self) except -1:
        """The server has closed the connection: an end, a cut, or a race that it won on a connection used before."""
        cdef Request request = self.request
        cdef int code = http1_eof(&self.parser)
        if code == HTTP1_COMPLETE:
            return request.arrived()
        return self.broken(-code)

    cdef int lost(self, int code) except -1:
        """Sending or receiving failed. An answer that was sent before that may still be there to read."""
        if code == CURLE_SEND_ERROR and not self.is_secure and self.sent:
            self.watch(True, False)
            if self.rescue():
                return 0
        return self.broken(code)

    cdef bint rescue(self) except -1:
        """Read an answer that came before the server refused the rest of the request."""
        cdef Py_ssize_t count = self.receive()
        if count <= 0:
            return False
        self.take(count)
        return True

    cdef int broken(self, int code) except -1:
        """Send again what a connection used before has lost without a byte of an answer, as libcurl does; else fail."""
        cdef Request request = self.request
        if self.uses and not self.parser.has_bytes and request.resends < LINK_MOST_RESENDS:
            return request.send_again()
        return request.fail(REQUEST_ERRORS[code])

    # The end.

    cdef int leave(self) except -1:
        """The request is done with the connection: keep it for the next one if that is allowed and safe."""
        cdef bint keeps = (self.fd >= 0 and not self.is_ending and http1_keeps(&self.parser) and self.left() == 0
                           and self.pump.settings.keepalive)
        self.request = None
        self.head = self.tail = self.body = None
        if not keeps:
            self.close()
            return 0
        self.uses += 1
        self.client.refusals = 0
        if not self.is_reading or self.is_writing:
            self.watch(True, False)
        self.answered_ns = self.inbound.first_byte_ns
        inbound_clear(&self.inbound)
        return 0

    cdef bint is_usable(self, int64_t oldest_ns) noexcept:
        return self.request is None and self.fd >= 0 and self.opened_ns >= oldest_ns and not self.is_stale()

    cdef bint is_stale(self) noexcept:
        """Whether something came while the loop was held up, so that epoll could not yet say so: no answer to what is asked next."""
        cdef size_t count = 0
        cdef char byte
        if clock_ns() - max(self.pump.returned_ns, self.answered_ns) < LINK_HELD_UP_NS:
            return False
        if self.is_secure:
            return curl_easy_recv(self.dialer.easy, link_buffer, LINK_BUFFER, &count) != CURLE_AGAIN
        return recv(self.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 or errno != EAGAIN

    cdef void close(self) noexcept:
        """End the connection, opened or not."""
        cdef int fd = self.fd
        if self.dialer is not None:
            if fd >= 0:
                sockets[fd].link = NULL
            self.fd = -1
            curl_multi_remove_handle(self.pump.multi, self.dialer.easy)
            self.release_dialer()
        elif fd >= 0:
            self.fd = -1
            sockets_closed(fd)
            posix_close(fd)
        if self.client is not None:
            self.client.drop_link(self)

    cdef uint64_t bytes_in(self) except? 0:
        return self.parser.taken + self.parser.body_bytes

    cdef uint64_t bytes_out(self) except? 0:
        return self.sent


cdef bytes LINK_END = b"\r\n"
