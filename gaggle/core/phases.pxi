# Where the time of one hop went: name, connection, TLS, sending, waiting, receiving. Only where somebody reads it: a debug log, a trace.


cdef class Phases:
    """Lengths of time in us. On a connection that was open already the first three are 0."""
    cdef int64_t dns
    cdef int64_t connect
    cdef int64_t tls
    cdef int64_t send
    cdef int64_t first_byte        # from the last byte that was sent
    cdef int64_t last_byte         # from the first one that came
    cdef int64_t began_ns          # to be sent
    cdef int64_t sent_ns
    cdef bint is_whole             # libcurl has told of all of them

    cdef void take_opening(self, CURL* easy) noexcept:
        """The connection is open: what libcurl says of it."""
        cdef int64_t named = phases_info(easy, CURLINFO_NAMELOOKUP_TIME_T)
        cdef int64_t connected = phases_info(easy, CURLINFO_CONNECT_TIME_T)
        cdef int64_t secured = phases_info(easy, CURLINFO_APPCONNECT_TIME_T)
        self.dns, self.connect = named, max(connected - named, 0)
        self.tls = max(secured - connected, 0)

    cdef void take_transfer(self, CURL* easy) noexcept:
        """A transfer of libcurl's has ended: all comes from there."""
        cdef long opened = 0
        cdef int64_t begun = phases_info(easy, CURLINFO_PRETRANSFER_TIME_T)
        cdef int64_t sent = max(phases_info(easy, CURLINFO_POSTTRANSFER_TIME_T), begun)
        cdef int64_t came = max(phases_info(easy, CURLINFO_STARTTRANSFER_TIME_T), sent)
        curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &opened)
        if opened:
            self.take_opening(easy)
        self.send, self.first_byte = sent - begun, came - sent
        self.last_byte = max(phases_info(easy, CURLINFO_TOTAL_TIME_T) - came, 0)
        self.is_whole = True

    cdef void sent_all(self) noexcept:
        self.sent_ns = clock_ns()
        self.send = (self.sent_ns - self.began_ns) // 1000

    cdef void take_answer(self, int64_t first_byte_ns) noexcept:
        """The answer is complete, in the fast lane."""
        if self.is_whole or not first_byte_ns:
            return
        self.first_byte = max(first_byte_ns - (self.sent_ns if self.sent_ns else self.began_ns), 0) // 1000
        self.last_byte = (clock_ns() - first_byte_ns) // 1000

    cdef dict as_seconds(self):
        return {"dns": self.dns / 1e6, "connect": self.connect / 1e6, "tls": self.tls / 1e6, "send": self.send / 1e6,
                "first_byte": self.first_byte / 1e6, "last_byte": self.last_byte / 1e6}


cdef inline int64_t phases_info(CURL* easy, int info) noexcept:
    cdef int64_t value = 0
    curl_easy_getinfo(easy, info, &value)
    return value
