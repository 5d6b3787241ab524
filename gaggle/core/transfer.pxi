# One transfer of libcurl's: the lane that can do everything, and the oracle of the other one.
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from posix.unistd cimport close as posix_close

cdef extern from "sys/socket.h" nogil:
    int SOCK_CLOEXEC
    int SOCK_DGRAM
    int socket(int, int, int)

cdef size_t inbound_on_body(char* data, size_t size, size_t count, void* userdata) noexcept nogil:
    """CURLOPT_WRITEFUNCTION. Keeps what the limit allows; what is beyond is counted only."""
    cdef Inbound* inbound = <Inbound*>userdata
    size *= count
    if inbound.flags & INBOUND_STREAM and inbound_buffered(inbound) >= INBOUND_STREAM_ROOM:
        inbound.flags |= INBOUND_PAUSED
        return CURL_WRITEFUNC_PAUSE
    return size if inbound_body(inbound, data, size) else CURL_WRITEFUNC_ERROR


cdef size_t inbound_on_header(char* data, size_t size, size_t count, void* userdata) noexcept nogil:
    """CURLOPT_HEADERFUNCTION, once a line. A status line starts over: what came before was a 1xx or a CONNECT."""
    cdef Inbound* inbound = <Inbound*>userdata
    cdef bint is_status = inbound.flags & INBOUND_STATUS_LINE
    size *= count
    if inbound.flags & INBOUND_BODY or size == 0 or data[size - 1] != c'\n':
        return size                # a trailer, or what is left of a head that was cut
    if is_status and (size < 5 or memcmp(data, b"HTTP/", 5)) and inbound.length:
        return size                # a trailer behind an empty body
    if inbound_is_odd(is_status, data, size):
        inbound.flags |= INBOUND_REFUSED
        return CURL_WRITEFUNC_ERROR
    if is_status:
        inbound_restart(inbound)
        inbound.flags &= INBOUND_STREAM
        inbound.status_length = size
        inbound.first_byte_ns = clock_ns()
    elif size <= 2:
        inbound.flags |= INBOUND_STATUS_LINE
    else:
        inbound_note(inbound, data, size)
    if not inbound_append(inbound, data, size):
        return CURL_WRITEFUNC_ERROR
    inbound.head_length = inbound.length
    if inbound.flags & INBOUND_STATUS_LINE and response_status(inbound) >= 200:
        inbound.flags |= INBOUND_HEAD
    return size


cdef inline bint inbound_is_odd(bint is_status, const char* line, size_t size) noexcept nogil:
    """Whether libcurl lets something pass that is no HTTP: `http/1.1`, or a CR that ends the head without a LF."""
    if is_status:
        return size < 5 or memcmp(line, b"HTTP/", 5)
    return size > 2 and line[0] == c'\r'


cdef int inbound_on_send(void* userdata, char* ip, char* local_ip, int port, int local_port) noexcept nogil:
    """CURLOPT_PREREQFUNCTION: a request is about to be put on a connection; more than once when libcurl sends it again."""
    cdef Inbound* inbound = <Inbound*>userdata
    cdef long sent = 0
    curl_easy_getinfo(inbound.easy, CURLINFO_REQUEST_SIZE, &sent)
    if sent > inbound.sent:        # else it has met a connection that had ended while it was idle
        inbound.resent[0] += 1
    inbound.sent = sent
    return 0


cdef int transfer_on_ssl_context(CURL* easy, void* context, void* userdata) noexcept nogil:
    """CURLOPT_SSL_CTX_FUNCTION: idle TLS connections keep no buffers (65 KB a connection instead of about 100)."""
    transfer_ctx_ctrl(context, SSL_CTRL_MODE, SSL_MODE_RELEASE_BUFFERS, NULL)
    return 0


cdef int transfer_on_open(void* userdata, int purpose, curl_sockaddr* address) noexcept nogil:
    """CURLOPT_OPENSOCKETFUNCTION: only sockets made here may be left in epoll while they are idle."""
    cdef int descriptor = socket(address.family, address.socktype | SOCK_CLOEXEC, address.protocol)
    if descriptor >= 0:
        sockets_opened(descriptor, address.socktype & SOCK_DGRAM != 0)
    return descriptor


cdef int transfer_on_close(void* userdata, int descriptor) noexcept nogil:
    """CURLOPT_CLOSESOCKETFUNCTION."""
    if descriptor == link_adopted:
        return 0                   # the fast lane has it now
    sockets_closed(descriptor)
    return posix_close(descriptor)


cdef size_t transfer_on_read(char* data, size_t size, size_t count, void* userdata) noexcept:
    """CURLOPT_READFUNCTION: the next bytes of a streamed upload."""
    return (<Upload>userdata).take(data, size * count)


cdef class Lines:
    """A list of texts as libcurl takes it: it does not copy the list, so handles that have it must not outlive it."""
    cdef curl_slist* first

    @staticmethod
    cdef Lines of(tuple texts):
        cdef Lines self = Lines.__new__(Lines)
        cdef curl_slist* longer
        for text in texts:
            longer = curl_slist_append(self.first, <bytes>text.encode())
            if longer == NULL:
                raise MemoryError
            self.first = longer
        return self

    def __dealloc__(self):
        curl_slist_free_all(self.first)


cdef int transfer_set_policy(CURL* easy, Settings settings) except -1:
    """Set on a handle what holds for every connection of the run."""
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, <void*>transfer_on_open)
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, <void*>transfer_on_close)
    if transfer_ctx_ctrl != NULL:
        curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, <void*>transfer_on_ssl_context)
    for option, number in settings.numbers():
        curl_easy_setopt(easy, <int>option, <long>number)
    for option, text in settings.texts():
        curl_easy_setopt(easy, <int>option, PyBytes_AS_STRING(text))
    for option, texts in settings.lists():
        if option not in settings.lists_kept:
            settings.lists_kept[option] = Lines.of(texts)
        curl_easy_setopt(easy, <int>option, (<Lines>settings.lists_kept[option]).first)
    return 0


cdef str transfer_explain(CURL* easy, int code, const char* detail):
    """Name a CURLcode. What libcurl says of it is added where it says more and does not vary from request to request."""
    cdef long number = 0
    cdef str named = REQUEST_ERRORS.get(code) or curl_easy_strerror(code).decode().lower()
    cdef str more = ""
    if code == 7:
        curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &number)
        if number:
            return f"{named}: the proxy answered {number}"
        curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &number)
        more = request_strerror(number).lower() if number else ""
    elif code in (35, 60):
        more = detail.decode("utf-8", "replace").strip()
    return f"{named}: {more}" if more else named


cdef enum Verb:
    VERB_GET, VERB_HEAD, VERB_POST, VERB_UPLOAD, VERB_NONE = 99


cdef class Exchange:
    """One hop of a request on the wire, in either lane: where its answer arrives, and how to let go of it."""
    cdef Inbound inbound
    cdef Pump pump
    cdef Request request           # whose it is now; None while idle

    def __dealloc__(self):
        free(self.inbound.data)

    cdef int done(self, int code) except -1:
        """libcurl has finished what its handle was asked to do, with this CURLcode. Runs after socket_action."""
        raise NotImplementedError

    cdef int leave(self) except -1:
        """Get off the wire, wherever it stands, and be free for others."""
        raise NotImplementedError

    cdef int resume(self) except -1:
        """Take more of a stream: its reader has caught up."""
        raise NotImplementedError

    cdef uint64_t bytes_in(self) except? 0:
        """Return the bytes of the answer as they were sent: heads and body."""
        raise NotImplementedError

    cdef uint64_t bytes_out(self) except? 0:
        raise NotImplementedError


cdef class Transfer(Exchange):
    """The libcurl lane: one easy handle. Idle ones wait in the pump's pool; options that stay the same are set once."""
    cdef CURL* easy
    cdef bytes url
    cdef bytes cookie
    cdef bytes body
    cdef bytes custom
    cdef HeaderList headers
    cdef Upload upload
    cdef bytes source              # where the handle connects from; None: as the kernel chooses
    cdef int verb
    cdef int http_version
    cdef char error[256]

    @staticmethod
    cdef Transfer make(Pump pump):
        cdef Transfer self = Transfer.__new__(Transfer)
        self.easy = curl_easy_init()
        if self.easy == NULL:
            raise MemoryError
        self.pump = pump
        self.verb = VERB_NONE
        self.set_callbacks()
        transfer_set_policy(self.easy, pump.settings)
        return self

    def __dealloc__(self):
        if self.easy != NULL:
            curl_easy_cleanup(self.easy)

    cdef int set_callbacks(self) except -1:
        cdef CURL* easy = self.easy
        curl_easy_setopt(easy, CURLOPT_PRIVATE, <void*>self)
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, <void*>inbound_on_body)
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, <void*>&self.inbound)
        curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, <void*>inbound_on_header)
        curl_easy_setopt(easy, CURLOPT_HEADERDATA, <void*>&self.inbound)
        curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, <void*>inbound_on_send)
        curl_easy_setopt(easy, CURLOPT_PREREQDATA, <void*>&self.inbound)
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, <void*>transfer_on_read)
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, <void*>self.error)
        return 0

    cdef int start(self, Request request) except -1:
        """Put `request` on the wire. What differs from this handle's last request is set, the rest stands."""
        cdef CURL* easy = self.easy
        self.request = request
        self.inbound.flags = INBOUND_STATUS_LINE | (INBOUND_STREAM if request.prepared.stream else 0)
        self.inbound.body_limit = self.pump.settings.max_body
        self.inbound.resent, self.inbound.easy, self.inbound.sent = &self.pump.arena.at(request.prepared.slot).counts[RESENT], easy, 0
        if request.url_text is not self.url:
            self.url = request.url_text
            curl_easy_setopt(easy, CURLOPT_URL, PyBytes_AS_STRING(self.url))
        if request.headers is not self.headers:
            self.headers = request.headers
            curl_easy_setopt(easy, CURLOPT_HTTPHEADER, self.headers.lines)
        if request.prepared.http_version != self.http_version:
            self.http_version = request.prepared.http_version
            curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, <long>self.http_version)
        if request.client.source is not self.source:
            self.source = request.client.source
            curl_easy_setopt(easy, CURLOPT_INTERFACE, PyBytes_AS_STRING(self.source))
        request.cookie = request.client.cookie_for(request.url)
        self.set_cookie(request.cookie)
        self.set_verb(request)
        curl_easy_setopt(easy, CURLOPT_SHARE, request.client.share_for(request.url))
        if curl_multi_add_handle(self.pump.multi, easy):
            raise RuntimeError("libcurl refused a handle")
        return 0

    cdef void set_cookie(self, bytes cookie) noexcept:
        if cookie is not self.cookie:
            self.cookie = cookie
            curl_easy_setopt(self.easy, CURLOPT_COOKIE, <char*>NULL if cookie is None else PyBytes_AS_STRING(cookie))

    cdef void set_verb(self, Request request) noexcept:
        """libcurl's order matters: HTTPGET undoes NOBODY, POST and UPLOAD; CUSTOMREQUEST only renames."""
        cdef CURL* easy = self.easy
        if request.verb != self.verb or self.verb >= VERB_POST:
            self.verb = request.verb
            curl_easy_setopt(easy, CURLOPT_HTTPGET, <long>1)
            if self.verb == VERB_HEAD:
                curl_easy_setopt(easy, CURLOPT_NOBODY, <long>1)
        if self.verb == VERB_POST:
            self.body = request.body
            curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, <int64_t>PyBytes_GET_SIZE(self.body))
            curl_easy_setopt(easy, CURLOPT_POSTFIELDS, PyBytes_AS_STRING(self.body))
        elif self.verb == VERB_UPLOAD:
            self.upload = request.upload
            self.upload.easy = easy
            curl_easy_setopt(easy, CURLOPT_POSTFIELDS, <char*>NULL)
            curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, <int64_t>-1)
            curl_easy_setopt(easy, CURLOPT_POST, <long>1)
            curl_easy_setopt(easy, CURLOPT_READDATA, <void*>self.upload)
        if request.custom is not self.custom:
            self.custom = request.custom
            curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, <char*>NULL if self.custom is None else PyBytes_AS_STRING(self.custom))

    cdef int done(self, int code) except -1:
        cdef Request request = self.request
        cdef str failure
        if request.phases is not None:
            request.phases.take_transfer(self.easy)
        if code in (0, 52) and not self.inbound.flags & (INBOUND_STATUS_LINE | INBOUND_BODY):
            code = 18              # libcurl is content with half a head
        if self.inbound.flags & INBOUND_REFUSED:
            code = 8
        if code == 0:
            return request.arrived()
        failure = transfer_explain(self.easy, code, self.error)
        if code == 42 and self.upload is not None and self.upload.failure is not None:
            failure = f"{failure}: {self.upload.failure!r}"
        return request.fail(failure, code in REQUEST_CONNECT_ERRORS)

    cdef int leave(self) except -1:
        """Take the handle off the wire; one in the middle of an exchange has its connection closed by that."""
        curl_multi_remove_handle(self.pump.multi, self.easy)
        curl_easy_setopt(self.easy, CURLOPT_SHARE, NULL)
        if self.upload is not None:
            self.upload.easy = NULL
        self.upload = self.body = self.request = None
        if self.inbound.length == 0 or self.inbound.flags & (INBOUND_STATUS_LINE | INBOUND_BODY):
            self.pump.idle.append(self)            # else half a head has come, whose fold libcurl would go on with
        inbound_clear(&self.inbound)
        return 0

    cdef int resume(self) except -1:
        curl_easy_pause(self.easy, CURLPAUSE_CONT)
        return 0

    cdef uint64_t bytes_in(self) except? 0:
        return self.number(CURLINFO_HEADER_SIZE) + self.size(CURLINFO_SIZE_DOWNLOAD_T)

    cdef uint64_t bytes_out(self) except? 0:
        return self.number(CURLINFO_REQUEST_SIZE)      # with its body

    cdef inline long number(self, int info) noexcept:
        cdef long value = 0
        curl_easy_getinfo(self.easy, info, &value)
        return value

    cdef inline int64_t size(self, int info) noexcept:
        cdef int64_t value = 0
        curl_easy_getinfo(self.easy, info, &value)
        return value
