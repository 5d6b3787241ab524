# HTTP/1.1 answers, from bytes to an Inbound. No I/O. By RFC 9112; where it leaves a choice, as libcurl decides
# (lib/http.c and lib/http_chunks.c of curl 8.23), because the libcurl lane must give the same results.

cdef enum Http1State:
    HTTP1_HEAD
    HTTP1_LENGTH                   # the body has a known length
    HTTP1_TO_CLOSE                 # the body ends with the connection
    HTTP1_CHUNK_SIZE
    HTTP1_CHUNK_LINE               # the rest of the line with the size
    HTTP1_CHUNK_DATA
    HTTP1_CHUNK_END                # the line end after the data
    HTTP1_TRAILER                  # at the start of a trailer line
    HTTP1_TRAILER_LINE             # inside one
    HTTP1_DONE

cdef enum:
    HTTP1_MORE = 0                 # what the functions return: more bytes are needed,
    HTTP1_COMPLETE = 1             # the answer is complete, or a CURLcode, negative:
    HTTP1_NOT_HTTP = -8
    HTTP1_CUT_SHORT = -18
    HTTP1_NO_MEMORY = -27
    HTTP1_NOTHING = -52
    HTTP1_BAD_BYTES = -56
    HTTP1_MOST_HEAD = 307_200      # MAX_HTTP_RESP_HEADER_SIZE
    HTTP1_MOST_LINES = 5_000       # MAX_HTTP_RESP_HEADER_COUNT
    HTTP1_TOO_MANY = -100
    HTTP1_MOST_HEX = 16            # CHUNK_MAXNUM_LEN

cdef extern from *:
    """
    #define HTTP1_UNKNOWN (-1LL)
    #define HTTP1_BIGGEST 0x7FFFFFFFFFFFFFFFLL
    """
    int64_t HTTP1_UNKNOWN, HTTP1_BIGGEST


cdef struct Http1:
    Http1State state
    int status
    int minor                      # of HTTP/1.x
    bint is_head                   # the answer to a HEAD: no body, whatever it says
    bint is_chunked
    bint says_close
    bint says_keep
    bint is_overflown              # a Content-Length beyond 63 bits: only the close can end such a body
    int lines
    int hex_digits
    int64_t left                   # bytes of the body, or of the chunk, still to come
    size_t scanned                 # of the head: lines before this offset are done
    size_t taken                   # bytes of heads of this answer, 1xx included
    uint64_t body_bytes            # as sent, without the framing of chunks
    bint has_bytes                 # anything at all has come


cdef void http1_begin(Http1* parser, bint is_head) noexcept nogil:
    memset(parser, 0, sizeof(Http1))
    parser.is_head = is_head
    parser.left = HTTP1_UNKNOWN


cdef inline bint http1_is_blank(char byte) noexcept nogil:
    return byte == c' ' or byte == c'\t'


cdef inline bint http1_is_space(char byte) noexcept nogil:
    """A blank, or the line end of a folded value."""
    return http1_is_blank(byte) or byte == c'\r' or byte == c'\n'


cdef inline bint http1_is_digit(char byte) noexcept nogil:
    return c'0' <= byte <= c'9'


cdef int http1_status_line(Http1* parser, const char* line, size_t size) noexcept nogil:
    """Read `HTTP/1.x NNN`; what follows the number is a reason, or nothing."""
    if size < 12 or memcmp(line, b"HTTP/1.", 7) != 0 or not (line[7] == c'0' or line[7] == c'1') or not http1_is_blank(line[8]):
        return HTTP1_NOT_HTTP
    if not (http1_is_digit(line[9]) and http1_is_digit(line[10]) and http1_is_digit(line[11])):
        return HTTP1_NOT_HTTP
    parser.minor = line[7] - c'0'
    parser.status = (line[9] - c'0') * 100 + (line[10] - c'0') * 10 + line[11] - c'0'
    return HTTP1_MORE if parser.status >= 100 else HTTP1_NOT_HTTP


cdef int http1_length(Http1* parser, const char* value, const char* end) noexcept nogil:
    """Read a Content-Length: digits, or a list of them that all say the same."""
    cdef int64_t length
    while True:
        while value < end and http1_is_space(value[0]):
            value += 1
        if value == end or not http1_is_digit(value[0]):
            return HTTP1_NOT_HTTP
        length = 0
        while value < end and http1_is_digit(value[0]):
            if length > (HTTP1_BIGGEST - 9) // 10:
                parser.is_overflown = True
                return HTTP1_MORE
            length = length * 10 + value[0] - c'0'
            value += 1
        if parser.left != HTTP1_UNKNOWN and parser.left != length:
            return HTTP1_NOT_HTTP
        parser.left = length
        while value < end and http1_is_space(value[0]):
            value += 1
        if value == end:
            return HTTP1_MORE
        if value[0] != c',':
            return HTTP1_NOT_HTTP
        value += 1


cdef bint http1_says(const char* value, const char* end, const char* word, size_t size) noexcept nogil:
    """Whether `word` (lower case) stands somewhere in the value, in any case."""
    while value + size <= end:
        if strncasecmp(value, word, size) == 0:
            return True
        value += 1
    return False


cdef int http1_field(Http1* parser, Inbound* inbound, const char* line, size_t size) noexcept nogil:
    """Read one header line, folded lines joined to it, without its line end."""
    cdef const char* colon = <const char*>memchr(line, c':', size)
    cdef const char* end = line + size
    cdef size_t name
    if colon == NULL:
        return HTTP1_NOT_HTTP
    name = colon - line
    colon += 1
    if name == 14 and strncasecmp(line, b"content-length", 14) == 0:
        return http1_length(parser, colon, end)
    if name == 17 and strncasecmp(line, b"transfer-encoding", 17) == 0:
        parser.is_chunked = parser.is_chunked or http1_says(colon, end, b"chunked", 7)
    elif name == 10 and strncasecmp(line, b"connection", 10) == 0:
        parser.says_close = parser.says_close or http1_says(colon, end, b"close", 5)
        parser.says_keep = parser.says_keep or http1_says(colon, end, b"keep-alive", 10)
    elif name == 16 and strncasecmp(line, b"content-encoding", 16) == 0:
        inbound.flags |= INBOUND_ENCODED
    else:
        inbound_note(inbound, line, size)
    return HTTP1_MORE


cdef int http1_line(Http1* parser, Inbound* inbound, const char* line, size_t size) noexcept nogil:
    """Read one whole line of the head without its line end. No NUL, and no CR but before a LF."""
    parser.lines += 1
    if parser.lines == 1:
        inbound.flags &= INBOUND_STREAM
        return http1_status_line(parser, line, size)
    if parser.lines > HTTP1_MOST_LINES:
        return HTTP1_TOO_MANY
    return http1_field(parser, inbound, line, size)


cdef bint http1_is_clean(const char* line, size_t size) noexcept nogil:
    return memchr(line, 0, size) == NULL and memchr(line, c'\r', size) == NULL


cdef Py_ssize_t http1_head(Http1* parser, Inbound* inbound, const char* data, size_t size) noexcept nogil:
    """Read lines of a head that begins at `data`. Returns its length once it is whole, HTTP1_MORE, or an error.

    Call it again with the same beginning and more behind it: lines that were read are not read twice.
    """
    cdef size_t start = parser.scanned, end, bare
    cdef const char* found
    cdef int result
    if size >= 1 and memcmp(data, b"HTTP/", min(size, <size_t>5)):
        return HTTP1_NOT_HTTP
    while True:
        end = start
        while True:                # a line goes on where the next one begins with a blank
            found = <const char*>memchr(data + end, c'\n', size - end)
            if found == NULL:
                return HTTP1_MORE if size <= HTTP1_MOST_HEAD else HTTP1_BAD_BYTES
            end = found - data
            bare = end - 1 if end > start and data[end - 1] == c'\r' else end
            if not http1_is_clean(data + start, bare - start) and not http1_is_folded(data + start, bare - start):
                return HTTP1_NOT_HTTP
            end += 1
            if bare == start or parser.lines == 0:
                break
            if end == size:
                return HTTP1_MORE  # it may be folded
            if not http1_is_blank(data[end]):
                break
        if bare == start and parser.lines:
            parser.taken += end
            return end if end <= HTTP1_MOST_HEAD else HTTP1_BAD_BYTES
        result = http1_line(parser, inbound, data + start, bare - start)
        if result < 0:
            return result
        if parser.lines == 1:
            inbound.status_length = end
        start = parser.scanned = end


cdef bint http1_is_folded(const char* line, size_t size) noexcept nogil:
    """Whether what is not clean in the line are line ends, each with a blank behind it."""
    cdef size_t i
    for i in range(size):
        if line[i] == 0 or line[i] == c'\r' and (i + 1 == size or line[i + 1] != c'\n'):
            return False
    return memchr(line, c'\n', size) != NULL


cdef void http1_frame(Http1* parser, Inbound* inbound) noexcept nogil:
    """Decide how the body ends. A Transfer-Encoding wins over a Content-Length (RFC 9112, 6.3)."""
    if parser.is_head or parser.status == 204 or parser.status == 304:
        parser.state = HTTP1_DONE
    elif parser.is_chunked:
        parser.state = HTTP1_CHUNK_SIZE
    elif parser.left == 0 and not parser.is_overflown:
        parser.state = HTTP1_DONE
    elif parser.left > 0 and not parser.is_overflown and parser.status != 101:
        parser.state = HTTP1_LENGTH
    else:
        parser.state = HTTP1_TO_CLOSE
    if parser.state == HTTP1_DONE:
        inbound.flags &= ~<unsigned int>INBOUND_ENCODED


cdef inline bint http1_keeps(Http1* parser) noexcept nogil:
    """Whether the connection may serve another request after this complete answer."""
    if parser.state != HTTP1_DONE or parser.says_close or parser.is_overflown:
        return False
    return parser.minor == 1 or parser.says_keep


cdef int http1_feed(Http1* parser, Inbound* inbound, const char* data, size_t size, size_t* used) noexcept nogil:
    """Take bytes as they come, in any pieces. `used` says how many belonged to this answer: all, unless it is complete."""
    cdef Py_ssize_t head
    cdef size_t extra
    cdef int result
    used[0] = 0
    while parser.state == HTTP1_HEAD:
        if used[0] == size:
            return HTTP1_MORE
        parser.has_bytes = True
        if inbound.length:         # a part of the head is here: put what came behind it
            if not inbound_append(inbound, data + used[0], size - used[0]):
                return HTTP1_NO_MEMORY
            head = http1_head(parser, inbound, inbound.data, inbound.length)
            extra = inbound.length - head if head > 0 else 0
            inbound.length -= extra
        else:
            head = http1_head(parser, inbound, data + used[0], size - used[0])
            extra = size - used[0] - head if head > 0 else 0
            result = http1_keep_head(parser, inbound, data + used[0], size - used[0] - extra, extra)
            if result < 0:
                return result
        if head < 0:
            return <int>head
        used[0] = size - extra
        if head == HTTP1_MORE:
            return HTTP1_MORE
        http1_end_head(parser, inbound)
    return http1_body(parser, inbound, data, size, used)


cdef int http1_keep_head(Http1* parser, Inbound* inbound, const char* data, size_t size, size_t extra) noexcept nogil:
    """Copy the head; where the length of the body is known, make room for it at once."""
    cdef size_t body = extra
    if parser.left > 0 and not parser.is_chunked:
        body = max(extra, <size_t>min(parser.left, <int64_t>inbound.body_limit, <int64_t>INBOUND_KEPT))
    if not inbound_reserve(inbound, size + body):
        return HTTP1_NO_MEMORY
    return HTTP1_MORE if inbound_append(inbound, data, size) else HTTP1_NO_MEMORY


cdef void http1_end_head(Http1* parser, Inbound* inbound) noexcept nogil:
    """A head is whole. After a 1xx another one follows."""
    cdef size_t taken = parser.taken
    if parser.status >= 200 or parser.status == 101:
        inbound.head_length = inbound.length
        inbound.first_byte_ns = clock_ns()
        http1_frame(parser, inbound)
        return
    http1_begin(parser, parser.is_head)
    parser.taken, parser.has_bytes = taken, True
    inbound_restart(inbound)


cdef int http1_body(Http1* parser, Inbound* inbound, const char* data, size_t size, size_t* used) noexcept nogil:
    """Take the body from `used` on."""
    cdef size_t piece
    cdef int result
    while parser.state != HTTP1_DONE and used[0] < size:
        if parser.state == HTTP1_LENGTH or parser.state == HTTP1_CHUNK_DATA or parser.state == HTTP1_TO_CLOSE:
            piece = size - used[0]
            if parser.state != HTTP1_TO_CLOSE:
                piece = min(piece, <size_t>parser.left)
                parser.left -= piece
            parser.body_bytes += piece
            if not inbound_body(inbound, data + used[0], piece):
                return HTTP1_NO_MEMORY
            used[0] += piece
            if parser.left == 0 and parser.state != HTTP1_TO_CLOSE:
                parser.state = HTTP1_DONE if parser.state == HTTP1_LENGTH else HTTP1_CHUNK_END
        else:
            result = http1_chunk_byte(parser, data[used[0]])
            if result < 0:
                return result
            used[0] += result
    return HTTP1_COMPLETE if parser.state == HTTP1_DONE else HTTP1_MORE


cdef int http1_chunk_byte(Http1* parser, char byte) noexcept nogil:
    """Take one byte of what frames the chunks. Returns 1, 0 where the byte is for the next state, or an error."""
    if parser.state == HTTP1_CHUNK_SIZE:
        return http1_chunk_size(parser, byte)
    if parser.state == HTTP1_CHUNK_LINE:
        if byte == c'\n':          # an extension before it is nobody's business
            parser.state = HTTP1_CHUNK_DATA if parser.left else HTTP1_TRAILER
            parser.hex_digits = 0
    elif parser.state == HTTP1_CHUNK_END:
        if byte == c'\n':
            parser.state, parser.left, parser.hex_digits = HTTP1_CHUNK_SIZE, 0, 0
        elif byte != c'\r':
            return HTTP1_BAD_BYTES
    else:
        return http1_trailer(parser, byte)
    return 1


cdef int http1_chunk_size(Http1* parser, char byte) noexcept nogil:
    cdef int digit = http1_hex(byte)
    if digit < 0:
        if parser.hex_digits == 0:
            return HTTP1_BAD_BYTES
        parser.state = HTTP1_CHUNK_LINE
        return 0
    if parser.hex_digits == 0:
        parser.left = 0
    if parser.hex_digits >= HTTP1_MOST_HEX or parser.left > HTTP1_BIGGEST >> 4:
        return HTTP1_BAD_BYTES
    parser.left = parser.left << 4 | digit
    parser.hex_digits += 1
    return 1


cdef int http1_hex(char byte) noexcept nogil:
    if c'0' <= byte <= c'9':
        return byte - c'0'
    byte |= 32
    return byte - c'a' + 10 if c'a' <= byte <= c'f' else -1


cdef int http1_trailer(Http1* parser, char byte) noexcept nogil:
    """Pass over trailer fields: an empty line ends them. `lines` counts bytes, so that they cannot go on for ever."""
    parser.lines += 1
    if parser.lines > HTTP1_MOST_HEAD:
        return HTTP1_BAD_BYTES
    if byte == c'\n':
        parser.state = HTTP1_DONE if parser.state == HTTP1_TRAILER else HTTP1_TRAILER
    elif byte != c'\r':
        parser.state = HTTP1_TRAILER_LINE
    return 1


cdef int http1_eof(Http1* parser) noexcept nogil:
    """The connection has ended: was that the end of the answer?"""
    if parser.state == HTTP1_TO_CLOSE:
        parser.state = HTTP1_DONE
        return HTTP1_COMPLETE
    return HTTP1_CUT_SHORT if parser.has_bytes else HTTP1_NOTHING


cdef class AnswerParser:
    """The codec for tests and fuzzers: bytes in, what was understood out. Engines use the functions above."""
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
