# The request log and the error log: a line of JSON a request, made of what is known when it has ended.
#
# What is the same each time is made once: of a request that is asked for again, of a list of headers. The rest is a few
# numbers. Per request, where there is such a log.


cdef class RequestLog:
    """Puts requests into a RecordFile. `convert` makes another format of a JSON line (bytes, without its end)."""
    cdef RecordFile file
    cdef object convert
    cdef bint with_body
    cdef uint64_t seed
    cdef uint64_t threshold        # of 2^64: how many are logged
    cdef bint takes_all
    cdef public int64_t t0_ns      # when the test began
    cdef int64_t offset_ns         # wall clock - monotonic clock, as it was at `offset_until_ns` - 1 s
    cdef int64_t offset_until_ns
    cdef JsonText scratch

    def __init__(self, RecordFile file not None, *, t0_ns=0, with_body=False, sample=1.0, seed=0, convert=None):
        """`sample` is the fraction of requests to log, drawn by the seed, the user's number and its requests so far."""
        self.file, self.t0_ns, self.with_body, self.seed, self.convert = file, t0_ns, with_body, seed, convert
        self.takes_all = sample >= 1
        self.threshold = 0 if self.takes_all else <uint64_t>(<double>sample * 18446744073709551615.0)

    def __dealloc__(self):
        free(self.scratch.data)

    cdef bint takes(self, Client client) noexcept:
        """Whether the next request of this user is in the sample: the same again with the same seed."""
        client.drawn += 1
        return self.takes_all or client_mix(client_mix(self.seed ^ client_mix(client.number)) + client.drawn) < self.threshold

    cdef int put(self, Response response, bint is_update) except -1:
        """Log a request that has ended; again, as an update, when it is judged otherwise later."""
        cdef Prepared prepared = response.prepared
        cdef HeaderList headers = prepared.headers
        cdef JsonText* text = self.begin()
        if text == NULL:
            return 0
        self.put_moment(text, response.started_ns, response.client.number)
        jsontext_bytes(text, requestlog_known(prepared))
        jsontext_put(text, b',"headers":', 11)
        jsontext_bytes(text, requestlog_headers(response.client.header_list() if headers is None else headers))
        jsontext_put(text, b',"body":', 8)
        self.put_body(text, prepared)
        jsontext_put(text, b',"final_url":', 13)
        jsontext_bytes(text, requestlog_url(response.location))
        self.put_result(text, response.hops is not None, response.elapsed_ns, response.first_byte_ns, response.status)
        return self.put_verdict(text, response.fault, is_update)

    cdef int put_other(self, Client client, str kind, str name, double seconds, object error) except -1:
        """Log what a load test records itself."""
        cdef JsonText* text
        cdef int64_t took_ns = <int64_t>(seconds * 1e9)
        if not self.takes(client):
            return 0
        text = self.begin()
        if text == NULL:
            return 0
        self.put_moment(text, clock_ns() - took_ns, client.number)
        jsontext_bytes(text, client.scope_in_use.logged_as())
        jsontext_put(text, b',"name":', 8)
        jsontext_str(text, name)
        jsontext_put(text, b',"method":', 10)
        jsontext_str(text, kind)
        jsontext_bytes(text, b',"url":"","headers":{},"body":"","final_url":""')
        self.put_result(text, False, took_ns, 0, 0)
        return self.put_verdict(text, None if error is None else str(error) or type(error).__name__, False)

    cdef JsonText* begin(self) except? NULL:
        """Return where the next line goes; NULL when it is lost."""
        if not self.file.begin():
            return NULL
        if self.convert is None:
            return &self.file.text
        self.scratch.length = 0
        return &self.scratch

    cdef int put_moment(self, JsonText* text, int64_t began_ns, int64_t number) except -1:
        """When it began: by the wall clock in seconds, since the test began in us; and whose it is."""
        if began_ns >= self.offset_until_ns:       # the wall clock may be set
            self.offset_ns = arena_now_ns() - clock_ns()
            self.offset_until_ns = began_ns + 1_000_000_000
        jsontext_put(text, b'{"time":', 8)
        jsontext_micros(text, (began_ns + self.offset_ns) // 1000)
        jsontext_put(text, b',"elapsed_us":', 14)
        jsontext_number(text, max(began_ns - self.t0_ns, 0) // 1000)
        jsontext_put(text, b',"user":', 8)
        return jsontext_number(text, number)

    cdef int put_body(self, JsonText* text, Prepared prepared) except -1:
        """The body that was sent first, where it is wanted; null for one that was streamed."""
        if prepared.stream_source is not None:
            return jsontext_put(text, b"null", 4)
        if not self.with_body or prepared.body is None:
            return jsontext_put(text, b'""', 2)
        return jsontext_string(text, <const unsigned char*>PyBytes_AS_STRING(prepared.body), PyBytes_GET_SIZE(prepared.body))

    cdef int put_result(self, JsonText* text, bint redirected, int64_t elapsed_ns, int64_t first_byte_ns, int status) except -1:
        if redirected:
            jsontext_put(text, b',"redirected":true,"response_time_us":', 38)
        else:
            jsontext_put(text, b',"redirected":false,"response_time_us":', 39)
        jsontext_number(text, (elapsed_ns + 500) // 1000)
        jsontext_put(text, b',"first_byte_us":', 17)
        jsontext_number(text, (first_byte_ns + 500) // 1000)
        jsontext_put(text, b',"status":', 10)
        return jsontext_number(text, status)

    cdef int put_verdict(self, JsonText* text, str fault, bint is_update) except -1:
        if fault is None:
            jsontext_put(text, b',"success":true,"error":""', 26)
        else:
            jsontext_put(text, b',"success":false,"error":', 25)
            jsontext_str(text, fault)
        if is_update:
            jsontext_put(text, b',"update":true}', 15)
        else:
            jsontext_put(text, b',"update":false}', 16)
        if self.convert is not None:
            self.file.write(self.convert(text.data[:text.length]))
            return 0
        jsontext_put(text, b"\n", 1)
        return self.file.added()


cdef bytes requestlog_known(Prepared prepared):
    """Return what is known of a request before it is made: class, task, name, method, URL."""
    cdef JsonText text
    if prepared.logged is None:
        memset(&text, 0, sizeof(text))
        try:
            jsontext_bytes(&text, prepared.scope.logged_as())
            jsontext_put(&text, b',"name":', 8)
            jsontext_str(&text, prepared.name)
            jsontext_put(&text, b',"method":', 10)
            jsontext_str(&text, prepared.method)
            jsontext_put(&text, b',"url":', 7)
            jsontext_bytes(&text, requestlog_url(prepared.url))
            prepared.logged = text.data[:text.length]
        finally:
            free(text.data)
    return prepared.logged


cdef bytes requestlog_url(Url url):
    """Return a URL as a JSON string."""
    if url.logged is None:
        url.logged = requestlog_string(url.text)
    return url.logged


cdef bytes requestlog_headers(HeaderList headers):
    """Return the headers of class, user and request as an object."""
    if headers.logged is None:
        headers.logged = b"{" + b",".join([
            requestlog_string(name) + b":" + requestlog_string(header_value(value))
            for name, value in headers.fields.values() if value is not None]) + b"}"
    return headers.logged


cdef bytes requestlog_string(object found):
    """Return a str or bytes as a JSON string."""
    cdef JsonText text
    cdef bytes data
    memset(&text, 0, sizeof(text))
    try:
        if isinstance(found, bytes):
            data = found
            jsontext_string(&text, <const unsigned char*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        else:
            jsontext_str(&text, found)
        return text.data[:text.length]
    finally:
        free(text.data)
