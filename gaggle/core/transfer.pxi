# libcurl, taken from the pycurl wheel at run time, and one transfer on it. The libcurl lane.
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy
from posix.unistd cimport close as posix_close

from gaggle.core.libcurl cimport *

cdef extern from "dlfcn.h" nogil:
    void* dlopen(const char*, int)
    void* dlsym(void*, const char*)
    int RTLD_LAZY, RTLD_NOLOAD, RTLD_LOCAL

cdef extern from "strings.h" nogil:
    int strncasecmp(const char*, const char*, size_t)

cdef extern from "sys/socket.h" nogil:
    int SOCK_CLOEXEC
    int socket(int, int, int)

cdef easy_init_type curl_easy_init
cdef easy_cleanup_type curl_easy_cleanup
cdef easy_setopt_type curl_easy_setopt
cdef easy_getinfo_type curl_easy_getinfo
cdef easy_pause_type curl_easy_pause
cdef easy_strerror_type curl_easy_strerror
cdef multi_init_type curl_multi_init
cdef multi_cleanup_type curl_multi_cleanup
cdef multi_setopt_type curl_multi_setopt
cdef multi_handle_type curl_multi_add_handle
cdef multi_handle_type curl_multi_remove_handle
cdef multi_socket_action_type curl_multi_socket_action
cdef multi_info_read_type curl_multi_info_read
cdef share_init_type curl_share_init
cdef share_setopt_type curl_share_setopt
cdef share_cleanup_type curl_share_cleanup
cdef slist_append_type curl_slist_append
cdef slist_free_all_type curl_slist_free_all
cdef version_info_type curl_version_info

ctypedef long (*transfer_ctx_ctrl_type)(void*, int, long, void*) noexcept nogil
cdef transfer_ctx_ctrl_type transfer_ctx_ctrl = NULL


cdef void* transfer_symbol(void* library, const char* name) except NULL:
    cdef void* found = dlsym(library, name)
    if found == NULL:
        raise ImportError(f"the libcurl of pycurl {pycurl.version} has no {name.decode()}: pip install -U 'pycurl>=7.47'")
    return found


cdef int transfer_bind() except -1:
    """Find libcurl's functions in the library that pycurl has loaded: its handle's search includes what it depends on."""
    global curl_easy_init, curl_easy_cleanup, curl_easy_setopt, curl_easy_getinfo, curl_easy_pause, curl_easy_strerror
    global curl_multi_init, curl_multi_cleanup, curl_multi_setopt, curl_multi_add_handle, curl_multi_remove_handle
    global curl_multi_socket_action, curl_multi_info_read, curl_share_init, curl_share_setopt, curl_share_cleanup
    global curl_slist_append, curl_slist_free_all, curl_version_info, transfer_ctx_ctrl
    path = getattr(pycurl, "_pycurl", pycurl).__file__.encode()
    cdef void* library = dlopen(path, RTLD_NOLOAD | RTLD_LOCAL | RTLD_LAZY)
    if library == NULL:
        raise ImportError(f"cannot open the library of pycurl at {path.decode()}: reinstall pycurl")
    curl_version_info = <version_info_type>transfer_symbol(library, b"curl_version_info")
    if curl_version_info(0).version_num < LIBCURL_OLDEST:
        raise ImportError(f"libcurl {transfer_version()} of pycurl is too old, 8.21.0 is needed: pip install -U 'pycurl>=7.47'")
    curl_easy_init = <easy_init_type>transfer_symbol(library, b"curl_easy_init")
    curl_easy_cleanup = <easy_cleanup_type>transfer_symbol(library, b"curl_easy_cleanup")
    curl_easy_setopt = <easy_setopt_type>transfer_symbol(library, b"curl_easy_setopt")
    curl_easy_getinfo = <easy_getinfo_type>transfer_symbol(library, b"curl_easy_getinfo")
    curl_easy_pause = <easy_pause_type>transfer_symbol(library, b"curl_easy_pause")
    curl_easy_strerror = <easy_strerror_type>transfer_symbol(library, b"curl_easy_strerror")
    curl_multi_init = <multi_init_type>transfer_symbol(library, b"curl_multi_init")
    curl_multi_cleanup = <multi_cleanup_type>transfer_symbol(library, b"curl_multi_cleanup")
    curl_multi_setopt = <multi_setopt_type>transfer_symbol(library, b"curl_multi_setopt")
    curl_multi_add_handle = <multi_handle_type>transfer_symbol(library, b"curl_multi_add_handle")
    curl_multi_remove_handle = <multi_handle_type>transfer_symbol(library, b"curl_multi_remove_handle")
    curl_multi_socket_action = <multi_socket_action_type>transfer_symbol(library, b"curl_multi_socket_action")
    curl_multi_info_read = <multi_info_read_type>transfer_symbol(library, b"curl_multi_info_read")
    curl_share_init = <share_init_type>transfer_symbol(library, b"curl_share_init")
    curl_share_setopt = <share_setopt_type>transfer_symbol(library, b"curl_share_setopt")
    curl_share_cleanup = <share_cleanup_type>transfer_symbol(library, b"curl_share_cleanup")
    curl_slist_append = <slist_append_type>transfer_symbol(library, b"curl_slist_append")
    curl_slist_free_all = <slist_free_all_type>transfer_symbol(library, b"curl_slist_free_all")
    transfer_ctx_ctrl = <transfer_ctx_ctrl_type>dlsym(library, b"SSL_CTX_ctrl")     # absent without OpenSSL: then no tuning
    return 0


def transfer_version():
    """Return the version of the libcurl in use, like "8.23.0"."""
    return curl_version_info(0).version.decode()


# What libcurl's callbacks write into. Plain C: they run without touching a Python object.
cdef enum:
    INBOUND_STATUS_LINE = 1        # the next header line begins a response
    INBOUND_BODY = 2               # a byte of the body has come
    INBOUND_SET_COOKIE = 4
    INBOUND_LOCATION = 8
    INBOUND_STREAM = 16            # somebody takes the pieces as they come
    INBOUND_PAUSED = 32
    INBOUND_STREAM_ROOM = 262_144  # bytes kept ahead of a reader of a stream before the server has to wait


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
    int sends                      # times that a request was put on a connection


cdef int inbound_append(Inbound* inbound, const char* data, size_t size) noexcept nogil:
    """Add bytes; returns 0 when there is no memory."""
    cdef size_t capacity = inbound.capacity if inbound.capacity else 1024
    cdef char* grown
    while inbound.length + size > capacity:
        capacity *= 2
    if capacity != inbound.capacity:
        grown = <char*>realloc(inbound.data, capacity)
        if grown == NULL:
            return 0
        inbound.data, inbound.capacity = grown, capacity
    memcpy(inbound.data + inbound.length, data, size)
    inbound.length += size
    return 1


cdef size_t inbound_on_body(char* data, size_t size, size_t count, void* userdata) noexcept nogil:
    """CURLOPT_WRITEFUNCTION. Keeps what the limit allows; what is beyond is counted only."""
    cdef Inbound* inbound = <Inbound*>userdata
    cdef size_t kept = inbound.length - inbound.head_length, room
    size *= count
    inbound.flags |= INBOUND_BODY
    if inbound.flags & INBOUND_STREAM:
        if kept >= INBOUND_STREAM_ROOM:
            inbound.flags |= INBOUND_PAUSED
            return CURL_WRITEFUNC_PAUSE
        room = size
    else:
        room = inbound.body_limit - kept if inbound.body_limit > kept else 0
    if room > size:
        room = size
    inbound.dropped += size - room
    if room and not inbound_append(inbound, data, room):
        return CURL_WRITEFUNC_ERROR
    return size


cdef size_t inbound_on_header(char* data, size_t size, size_t count, void* userdata) noexcept nogil:
    """CURLOPT_HEADERFUNCTION, once a line. A status line starts over: what came before was a 1xx or a CONNECT."""
    cdef Inbound* inbound = <Inbound*>userdata
    size *= count
    if inbound.flags & INBOUND_BODY:
        return size                # a trailer
    if inbound.flags & INBOUND_STATUS_LINE:
        inbound.flags &= INBOUND_STREAM
        inbound.length = 0
        inbound.status_length = size
        inbound.first_byte_ns = clock_ns()
    elif size <= 2:
        inbound.flags |= INBOUND_STATUS_LINE
    elif size > 11 and (data[0] | 32) == c's' and strncasecmp(data, b"set-cookie:", 11) == 0:
        inbound.flags |= INBOUND_SET_COOKIE
    elif size > 9 and (data[0] | 32) == c'l' and strncasecmp(data, b"location:", 9) == 0:
        inbound.flags |= INBOUND_LOCATION
    if not inbound_append(inbound, data, size):
        return CURL_WRITEFUNC_ERROR
    inbound.head_length = inbound.length
    return size


cdef int inbound_on_send(void* userdata, char* ip, char* local_ip, int port, int local_port) noexcept nogil:
    """CURLOPT_PREREQFUNCTION: a request is about to be put on a connection; more than once when libcurl sends it again."""
    (<Inbound*>userdata).sends += 1
    return 0


cdef int transfer_on_ssl_context(CURL* easy, void* context, void* userdata) noexcept nogil:
    """CURLOPT_SSL_CTX_FUNCTION: idle TLS connections keep no buffers (65 KB a connection instead of about 100)."""
    transfer_ctx_ctrl(context, SSL_CTRL_MODE, SSL_MODE_RELEASE_BUFFERS, NULL)
    return 0


cdef int transfer_on_open(void* userdata, int purpose, curl_sockaddr* address) noexcept nogil:
    """CURLOPT_OPENSOCKETFUNCTION: only sockets made here may be left in epoll while they are idle."""
    cdef int descriptor = socket(address.family, address.socktype | SOCK_CLOEXEC, address.protocol)
    if descriptor >= 0:
        sockets_opened(descriptor)
    return descriptor


cdef int transfer_on_close(void* userdata, int descriptor) noexcept nogil:
    """CURLOPT_CLOSESOCKETFUNCTION."""
    sockets_closed(descriptor)
    return posix_close(descriptor)


cdef size_t transfer_on_read(char* data, size_t size, size_t count, void* userdata) noexcept:
    """CURLOPT_READFUNCTION: the next bytes of a streamed upload."""
    return (<Upload>userdata).take(data, size * count)


cdef class HeaderList:
    """Request headers, prepared once and used by many requests. Immutable."""
    cdef curl_slist* lines
    cdef dict fields               # lower-cased name -> (name, value)
    cdef dict derived              # what `with_fields` has made: (name, value) -> HeaderList

    def __dealloc__(self):
        if self.lines != NULL:
            curl_slist_free_all(self.lines)

    @staticmethod
    cdef HeaderList of(dict fields):
        cdef HeaderList made = HeaderList.__new__(HeaderList)
        made.fields = fields
        for name, value in fields.values():
            made.add(header_line(name, value))
        if "expect" not in fields:
            made.add(b"Expect:")   # without it a large upload waits a second for a 100 that few servers send
        return made

    cdef int add(self, bytes line) except -1:
        cdef curl_slist* lines = curl_slist_append(self.lines, line)
        if lines == NULL:
            raise MemoryError
        self.lines = lines
        return 0

    cdef HeaderList with_fields(self, dict fields):
        """Return this list with `fields` (name -> value, None takes one away) put over it."""
        cdef dict merged = dict(self.fields)
        for name, value in fields.items():
            merged[name.lower()] = (name, value)
        return HeaderList.of(merged)

    cdef HeaderList with_one(self, str name, str value):
        """As `with_fields`, for what recurs: a content type, a length of life."""
        if self.derived is None or len(self.derived) > 100:
            self.derived = {}
        made = self.derived.get((name, value))
        if made is None:
            made = self.derived[name, value] = self.with_fields({name: value})
        return made

    cdef HeaderList without(self, tuple names):
        return HeaderList.of({key: pair for key, pair in self.fields.items() if key not in names})


cdef bytes header_line(object name, object value):
    """Return a line as libcurl takes it. Raises ValueError for what would break the request apart."""
    cdef bytes line
    if value is None:
        line = f"{name}:".encode()                  # libcurl: leave it out
    elif str(value) == "":
        line = f"{name};".encode()                  # libcurl: send it empty
    else:
        line = f"{name}: {value}".encode()
    if b"\r" in line or b"\n" in line or b"\0" in line or not str(name).strip() or ":" in str(name):
        raise ValueError(f"a header must be one line of text, got {name!r}: {value!r}")
    return line


cdef enum Verb:
    VERB_GET, VERB_HEAD, VERB_POST, VERB_UPLOAD, VERB_NONE = 99


cdef class Transfer:
    """One easy handle. Idle ones wait in the pump's pool; options that stay the same are set once."""
    cdef CURL* easy
    cdef Inbound inbound
    cdef Pump pump
    cdef Request request           # whose it is now; None while idle
    cdef bytes url
    cdef bytes cookie
    cdef bytes body
    cdef bytes custom
    cdef HeaderList headers
    cdef Upload upload
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
        self.set_policy(pump.settings)
        return self

    def __dealloc__(self):
        if self.easy != NULL:
            curl_easy_cleanup(self.easy)
        free(self.inbound.data)

    cdef int set_callbacks(self) except -1:
        cdef CURL* easy = self.easy
        curl_easy_setopt(easy, CURLOPT_PRIVATE, <void*>self)
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, <void*>inbound_on_body)
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, <void*>&self.inbound)
        curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, <void*>inbound_on_header)
        curl_easy_setopt(easy, CURLOPT_HEADERDATA, <void*>&self.inbound)
        curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, <void*>inbound_on_send)
        curl_easy_setopt(easy, CURLOPT_PREREQDATA, <void*>&self.inbound)
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, <void*>transfer_on_open)
        curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, <void*>transfer_on_close)
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, <void*>transfer_on_read)
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, <void*>self.error)
        if transfer_ctx_ctrl != NULL:
            curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, <void*>transfer_on_ssl_context)
        return 0

    cdef int set_policy(self, Settings settings) except -1:
        """What holds for every request of the run."""
        cdef CURL* easy = self.easy
        for option, number in settings.numbers():
            curl_easy_setopt(easy, <int>option, <long>number)
        for option, text in settings.texts():
            curl_easy_setopt(easy, <int>option, PyBytes_AS_STRING(text))
        return 0

    cdef int start(self, Request request) except -1:
        """Put `request` on the wire. What differs from this handle's last request is set, the rest stands."""
        cdef CURL* easy = self.easy
        self.request = request
        self.inbound.flags = INBOUND_STATUS_LINE | (INBOUND_STREAM if request.prepared.stream else 0)
        self.inbound.body_limit = self.pump.settings.max_body
        if request.url_text is not self.url:
            self.url = request.url_text
            curl_easy_setopt(easy, CURLOPT_URL, PyBytes_AS_STRING(self.url))
        if request.headers is not self.headers:
            self.headers = request.headers
            curl_easy_setopt(easy, CURLOPT_HTTPHEADER, self.headers.lines)
        if request.prepared.http_version != self.http_version:
            self.http_version = request.prepared.http_version
            curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, <long>self.http_version)
        self.set_cookie(request.client.cookie_for(request.url))
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

    cdef Request stop(self):
        """Take the handle off the wire, give the request back. A connection in the middle of an exchange is closed."""
        cdef Request request = self.request
        curl_multi_remove_handle(self.pump.multi, self.easy)
        curl_easy_setopt(self.easy, CURLOPT_SHARE, NULL)
        if self.upload is not None:
            self.upload.easy = NULL
            self.upload = None
        self.body = None
        self.request = None
        return request

    cdef int release(self) except -1:
        """Go back to the pool, without a trace of the last response."""
        self.inbound.length = self.inbound.head_length = self.inbound.status_length = 0
        self.inbound.sends = 0
        self.inbound.dropped = 0
        self.inbound.first_byte_ns = 0
        if self.inbound.capacity > 65_536:
            free(self.inbound.data)
            self.inbound.data, self.inbound.capacity = NULL, 0
        self.pump.idle.append(self)
        return 0

    cdef inline long number(self, int info) noexcept:
        cdef long value = 0
        curl_easy_getinfo(self.easy, info, &value)
        return value

    cdef inline int64_t size(self, int info) noexcept:
        cdef int64_t value = 0
        curl_easy_getinfo(self.easy, info, &value)
        return value


import pycurl

transfer_bind()
