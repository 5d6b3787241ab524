# The codec of answers alone, as a Python object: for tests. Engines use the functions of http1.pxi.

cdef class AnswerParser:
    """Bytes in, what was understood out."""
    cdef Http1 parser
    cdef Inbound inbound

    def __init__(self, is_head=False, body_limit=1 << 20):
        http1_begin(&self.parser, is_head)
        self.inbound.body_limit = body_limit
        self.inbound.flags = INBOUND_STATUS_LINE

    def __dealloc__(self):
        free(self.inbound.data)

    def feed(self, const unsigned char[::1] data not None):
        """Return (result, bytes used): result 0 asks for more, 1 is a complete answer, below 0 is minus a CURLcode."""
        cdef size_t used = 0
        cdef int result
        if data.shape[0] == 0:
            return 0, 0
        result = http1_feed(&self.parser, &self.inbound, <const char*>&data[0], data.shape[0], &used)
        return result, used

    def eof(self):
        """As `feed`, for the end of the connection."""
        return http1_eof(&self.parser)

    @property
    def status(self):
        return self.parser.status

    @property
    def keeps(self):
        return bool(http1_keeps(&self.parser))

    @property
    def head(self):
        """Status line and header lines of the final answer, once they are whole."""
        return self.inbound.data[:self.inbound.head_length] if self.inbound.head_length else b""

    @property
    def fields(self):
        return Headers(self.inbound.data[self.inbound.status_length:self.inbound.head_length] if self.inbound.head_length else b"")

    @property
    def body(self):
        return self.inbound.data[self.inbound.head_length:self.inbound.length] if self.inbound.head_length else b""

    @property
    def dropped(self):
        return self.inbound.dropped
