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
    HTTP1_TRAILER                  # in a trailer field, or in the empty line that ends them
    HTTP1_TRAILER_FEED             # at the line feed of a trailer field
    HTTP1_LAST_FEED                # at the very last one
    HTTP1_DONE

cdef enum:
    HTTP1_MORE = 0                 # what the functions return: more bytes are needed,
    HTTP1_COMPLETE = 1             # the answer is complete, or a CURLcode, negative:
    HTTP1_NOT_HTTP = -8
    HTTP1_CUT_SHORT = -18
    HTTP1_NO_MEMORY = -27
    HTTP1_NOTHING = -52
    HTTP1_BAD_BYTES = -56
    HTTP1_BAD_ENCODING = -61
    HTTP1_TOO_MANY = -100
    HTTP1_MOST_HEAD = 307_200      # bytes of all heads, and trailers: MAX_HTTP_RESP_HEADER_SIZE
    HTTP1_MOST_LINE = 102_399      # bytes of a field: CURL_MAX_HTTP_HEADER, less its NUL
    HTTP1_MOST_FIELDS = 5_000      # of all heads, and trailers: MAX_HTTP_RESP_HEADER_COUNT
    HTTP1_MOST_TRAILER = 4_093     # bytes of a field without its line end: DYN_H1_TRAILER, less CR, LF and NUL
    HTTP1_MOST_HEX = 17            # CHUNK_MAXNUM_LEN, and one

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
    bint is_coded                  # it has a Transfer-Encoding that is not chunked: its length says nothing
    bint is_folded                 # a field of this head goes on over more than one line
    bint closes                    # the connection ends with this answer
    bint has_bytes                 # anything at all has come
    int lines                      # of this head, so far
    int fields                     # of all heads, and trailers
    int hex_digits
    int64_t left                   # bytes of the body, or of the chunk, still to come
    size_t start                   # of the field that is being read: its offset in the head
    size_t part                    # of its present line, where it is folded
    size_t seen                    # of the head: there is no line end before this offset but those that were handled
    size_t taken                   # bytes of the lines that were read, 1xx answers and trailers included
    size_t trailer                 # bytes of the trailer field that is being read
    bint trailer_colon             # what was seen in it
    bint trailer_nul
    uint64_t location              # the first place that it points to, as a hash
    uint64_t body_bytes            # as sent, without the framing of chunks


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


cdef inline bint http1_same(const char* text, size_t size, const char* word, size_t length) noexcept nogil:
    """Whether `text` is `word` (lower case), in any case."""
    return size == length and strncasecmp(text, word, length) == 0


cdef inline const char* http1_skip(const char* at, const char* end) noexcept nogil:
    """Return where the white space at `at` ends."""
    while at < end and http1_is_space(at[0]):
        at += 1
    return at


cdef inline size_t http1_trim(const char* at, const char* end) noexcept nogil:
    """Return the size of the text without the white space at its end."""
    while end > at and http1_is_space((end - 1)[0]):
        end -= 1
    return end - at


cdef const char* http1_element(const char** at, const char* end, size_t* size) noexcept nogil:
    """Cut the next element off a list with commas; NULL after the last. Empty ones do not count (RFC 9110, 5.6.1)."""
    cdef const char* start
    cdef const char* comma
    while at[0] < end:
        start = http1_skip(at[0], end)
        comma = <const char*>memchr(start, c',', end - start)
        at[0] = comma + 1 if comma != NULL else end
        size[0] = http1_trim(start, comma if comma != NULL else end)
        if size[0]:
            return start
    return NULL


# The head.


cdef int http1_status_line(Http1* parser, const char* line, size_t size) noexcept nogil:
    """Read `HTTP/1.x NNN`; what follows the number is a reason, or nothing. HTTP/1.0 closes unless it says otherwise."""
    if size < 12 or memcmp(line, b"HTTP/1.", 7) != 0 or not (line[7] == c'0' or line[7] == c'1') or not http1_is_blank(line[8]):
        return HTTP1_NOT_HTTP
    if not (http1_is_digit(line[9]) and http1_is_digit(line[10]) and http1_is_digit(line[11])):
        return HTTP1_NOT_HTTP
    parser.minor = line[7] - c'0'
    parser.status = (line[9] - c'0') * 100 + (line[10] - c'0') * 10 + line[11] - c'0'
    if parser.minor == 0:
        parser.closes = True
    return HTTP1_MORE


cdef inline bint http1_is_bodyless(Http1* parser) noexcept nogil:
    """Whether an answer of this status has no body, whatever its fields say (RFC 9112, 6.3)."""
    return parser.status < 200 or parser.status == 204 or parser.status == 304


cdef int http1_length(Http1* parser, const char* value, const char* end) noexcept nogil:
    """Read a Content-Length: digits, or a list of them that all say the same. One beyond 63 bits says nothing."""
    cdef int64_t length
    cdef int digit
    while True:
        value = http1_skip(value, end)
        if value == end or not http1_is_digit(value[0]):
            return HTTP1_NOT_HTTP
        length = 0
        while value < end and http1_is_digit(value[0]):
            digit = value[0] - c'0'
            if length > (HTTP1_BIGGEST - digit) // 10:
                parser.closes = True
                return HTTP1_MORE
            length = length * 10 + digit
            value += 1
        if parser.left != HTTP1_UNKNOWN and parser.left != length:
            return HTTP1_NOT_HTTP
        parser.left = length
        value = http1_skip(value, end)
        if value == end:
            return HTTP1_MORE
        if value[0] != c',':
            return HTTP1_NOT_HTTP
        value += 1


cdef int http1_codings(Http1* parser, const char* value, const char* end) noexcept nogil:
    """Read a Transfer-Encoding: nothing but chunked was asked for, and it must be the last. Without it the close ends the body."""
    cdef size_t size
    cdef const char* coding
    cdef bint is_last = False
    while True:
        coding = http1_element(&value, end, &size)
        if coding == NULL:
            break
        if http1_same(coding, size, b"chunked", 7):
            parser.is_chunked = is_last = True
        elif is_last or not http1_same(coding, size, b"identity", 8):
            return HTTP1_BAD_ENCODING
    if not parser.is_chunked:
        parser.is_coded = parser.closes = True
    return HTTP1_MORE


cdef bint http1_says(const char* value, const char* end, const char* word, size_t length) noexcept nogil:
    """Whether an element of the list is `word` (lower case), perhaps with more words behind it."""
    cdef size_t size
    cdef const char* element
    while True:
        element = http1_element(&value, end, &size)
        if element == NULL:
            return False
        if size == length or size > length and http1_is_space(element[length]):
            if strncasecmp(element, word, length) == 0:
                return True


cdef void http1_connection(Http1* parser, const char* value, const char* end) noexcept nogil:
    if http1_says(value, end, b"close", 5):
        parser.closes = True
    elif parser.minor == 0 and http1_says(value, end, b"keep-alive", 10):
        parser.closes = False


cdef int http1_location(Http1* parser, const char* value, const char* end) noexcept nogil:
    """Refuse a second, different Location: one of them is not the server's own. White space makes no difference."""
    cdef uint64_t hashed = 0xCBF29CE484222325ULL                # FNV-1a
    value = http1_skip(value, end)
    if value == end:
        return HTTP1_MORE
    while value < end:
        if not http1_is_space(value[0]):
            hashed = (hashed ^ <unsigned char>value[0]) * <uint64_t>0x100000001B3ULL
        value += 1
    if parser.location and parser.location != hashed:
        return HTTP1_NOT_HTTP
    parser.location = hashed
    return HTTP1_MORE


cdef int http1_field(Http1* parser, Inbound* inbound, const char* line, size_t size) noexcept nogil:
    """Read one field, its folds in it, without its line end."""
    cdef const char* value = <const char*>memchr(line, c':', size)
    cdef const char* end = line + size
    cdef size_t name = value - line
    if value == NULL:
        return HTTP1_NOT_HTTP
    value += 1
    if http1_same(line, name, b"content-length", 14):
        return HTTP1_MORE if parser.is_coded or http1_is_bodyless(parser) else http1_length(parser, value, end)
    if http1_same(line, name, b"transfer-encoding", 17):
        return HTTP1_MORE if parser.is_head or http1_is_bodyless(parser) else http1_codings(parser, value, end)
    if http1_same(line, name, b"connection", 10):
        http1_connection(parser, value, end)
    elif http1_same(line, name, b"content-encoding", 16):
        inbound.flags |= INBOUND_ENCODED
    else:
        inbound_note(inbound, line, size)
        if http1_same(line, name, b"location", 8):
            return http1_location(parser, value, end)
    return HTTP1_MORE


cdef int http1_line(Http1* parser, Inbound* inbound, const char* line, size_t size) noexcept nogil:
    """Read the status line or a field, without its line end."""
    cdef int result
    parser.lines += 1
    if parser.lines == 1:
        inbound.flags &= INBOUND_STREAM
        return http1_status_line(parser, line, size)
    result = http1_field(parser, inbound, line, size)
    return result if result < 0 else http1_count_field(parser)


cdef inline int http1_count_field(Http1* parser) noexcept nogil:
    parser.fields += 1
    return HTTP1_MORE if parser.fields <= HTTP1_MOST_FIELDS else HTTP1_TOO_MANY


cdef inline bint http1_is_clean(const char* line, size_t size) noexcept nogil:
    return memchr(line, 0, size) == NULL and memchr(line, c'\r', size) == NULL


cdef Py_ssize_t http1_head(Http1* parser, Inbound* inbound, const char* data, size_t size) noexcept nogil:
    """Read lines of a head that begins at `data`. Returns its length once it is whole, HTTP1_MORE, or an error.

    Call it again with the same beginning and more behind it: what was read is not read again. A line has no NUL, and no
    CR but before its LF.
    """
    cdef size_t end, bare
    cdef const char* found
    cdef int result
    if parser.lines == 0 and memcmp(data, b"HTTP/", min(size, <size_t>5)):
        return HTTP1_NOT_HTTP
    while True:
        found = <const char*>memchr(data + parser.seen, c'\n', size - parser.seen)
        end = found - data + 1 if found != NULL else size
        if end - parser.start > HTTP1_MOST_LINE:
            return HTTP1_TOO_MANY
        if found == NULL:
            parser.seen = size
            return HTTP1_MORE
        bare = end - 2 if end - parser.part > 1 and data[end - 2] == c'\r' else end - 1
        if not http1_is_clean(data + parser.part, bare - parser.part):
            return HTTP1_NOT_HTTP
        if parser.lines and bare > parser.start:
            if end == size:
                parser.seen = end - 1
                return HTTP1_MORE  # it may be folded
            if http1_is_blank(data[end]):
                parser.part = parser.seen = end
                parser.is_folded = True
                continue
        if bare > parser.start or parser.lines == 0:
            result = http1_line(parser, inbound, data + parser.start, bare - parser.start)
            if result < 0:
                return result
            if parser.lines == 1:
                inbound.status_length = end
        parser.taken += end - parser.start
        if parser.taken > HTTP1_MOST_HEAD:
            return HTTP1_BAD_BYTES
        if bare == parser.start:
            return end
        parser.start = parser.part = parser.seen = end


cdef void http1_unfold(Inbound* inbound) noexcept nogil:
    """Make one line of every folded field: a space stands for its line end and the blanks around it, as in libcurl."""
    cdef char* data = inbound.data
    cdef size_t i = inbound.status_length, out = inbound.status_length
    while i < inbound.length:
        if http1_is_blank(data[i]) and data[out - 1] == c'\n' and out > inbound.status_length:
            out -= 2 if data[out - 2] == c'\r' else 1
            while http1_is_blank(data[out - 1]):
                out -= 1
            while http1_is_blank(data[i + 1]):
                i += 1
            data[i] = c' '
        data[out] = data[i]
        out += 1
        i += 1
    inbound.length = out


cdef void http1_frame(Http1* parser, Inbound* inbound) noexcept nogil:
    """Decide how the body ends. A Transfer-Encoding wins over a Content-Length (RFC 9112, 6.3)."""
    if parser.is_head or parser.status == 204 or parser.status == 304:
        parser.state = HTTP1_DONE
    elif parser.is_chunked:
        parser.state = HTTP1_CHUNK_SIZE
    elif parser.left == HTTP1_UNKNOWN or parser.is_coded:
        parser.state = HTTP1_TO_CLOSE
    else:
        parser.state = HTTP1_LENGTH if parser.left else HTTP1_DONE
    if parser.state == HTTP1_DONE:
        inbound.flags &= ~<unsigned int>INBOUND_ENCODED


cdef inline bint http1_keeps(Http1* parser) noexcept nogil:
    """Whether the connection may serve another request after this complete answer."""
    return parser.state == HTTP1_DONE and not parser.closes


cdef int http1_feed(Http1* parser, Inbound* inbound, const char* data, size_t size, size_t* used) noexcept nogil:
    """Take bytes as they come, in any pieces. `used` says how many belonged to this answer: all, unless it is complete."""
    cdef int result
    used[0] = 0
    while parser.state == HTTP1_HEAD:
        if used[0] == size:
            return HTTP1_MORE
        parser.has_bytes = True
        result = http1_take_head(parser, inbound, data + used[0], size - used[0], used)
        if result == HTTP1_COMPLETE:
            result = http1_end_head(parser, inbound)
        if result < 0:
            inbound_restart(inbound)
            return result
    return http1_body(parser, inbound, data, size, used)


cdef int http1_take_head(Http1* parser, Inbound* inbound, const char* data, size_t size, size_t* used) noexcept nogil:
    """Take as much of `data` as belongs to the head, and add that to `used`."""
    cdef size_t before = inbound.length    # a part of the head that is here already: put what came behind it
    cdef Py_ssize_t head
    if before:
        if not inbound_append(inbound, data, size):
            return HTTP1_NO_MEMORY
        head = http1_head(parser, inbound, inbound.data, inbound.length)
    else:
        head = http1_head(parser, inbound, data, size)
    if head < 0:
        return <int>head
    if head:
        size = head - before
    used[0] += size
    if before:
        inbound.length = before + size
    elif not http1_keep_head(parser, inbound, data, size):
        return HTTP1_NO_MEMORY
    return HTTP1_COMPLETE if head else HTTP1_MORE


cdef bint http1_keep_head(Http1* parser, Inbound* inbound, const char* data, size_t size) noexcept nogil:
    """Copy the head; where the length of the body is known, make room for it at once. False without memory."""
    cdef size_t body = 0
    if parser.left > 0 and not parser.is_chunked:
        body = <size_t>min(parser.left, <int64_t>inbound.body_limit, <int64_t>INBOUND_KEPT)
    return inbound_reserve(inbound, size + body) and inbound_append(inbound, data, size)


cdef int http1_end_head(Http1* parser, Inbound* inbound) noexcept nogil:
    """A head is whole. After a 1xx another one follows."""
    if parser.status < 100:
        return HTTP1_NOT_HTTP
    if parser.status >= 200 or parser.status == 101:
        if parser.is_folded:
            http1_unfold(inbound)
        inbound.head_length = inbound.length
        inbound.first_byte_ns = clock_ns()
        inbound.flags |= INBOUND_HEAD
        http1_frame(parser, inbound)
    else:
        parser.lines, parser.is_folded = 0, False
        parser.start = parser.part = parser.seen = 0
        inbound_restart(inbound)
    return HTTP1_MORE


# The body.


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
    elif parser.state == HTTP1_CHUNK_END:
        if byte == c'\n':
            parser.state, parser.hex_digits = HTTP1_CHUNK_SIZE, 0
        elif byte != c'\r':
            return HTTP1_BAD_BYTES
    elif parser.state == HTTP1_TRAILER:
        return http1_trailer(parser, byte)
    elif byte != c'\n':
        return HTTP1_BAD_BYTES
    else:
        parser.state = HTTP1_DONE if parser.state == HTTP1_LAST_FEED else HTTP1_TRAILER
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
    if http1_is_digit(byte):
        return byte - c'0'
    byte |= 32
    return byte - c'a' + 10 if c'a' <= byte <= c'f' else -1


cdef int http1_trailer(Http1* parser, char byte) noexcept nogil:
    """Pass over trailer fields, which must look like fields; an empty line ends them. Either CR or LF ends a line."""
    cdef int result
    if byte != c'\r' and byte != c'\n':
        parser.trailer += 1
        parser.trailer_colon = parser.trailer_colon or byte == c':'
        parser.trailer_nul = parser.trailer_nul or byte == 0
        return 1 if parser.trailer <= HTTP1_MOST_TRAILER else HTTP1_TOO_MANY
    if parser.trailer == 0:
        parser.state = HTTP1_DONE if byte == c'\n' else HTTP1_LAST_FEED
        return 1
    if parser.trailer_nul or not parser.trailer_colon:
        return HTTP1_NOT_HTTP
    result = http1_count_field(parser)
    if result < 0:
        return result
    parser.taken += parser.trailer + 2
    if parser.taken > HTTP1_MOST_HEAD:
        return HTTP1_BAD_BYTES
    parser.trailer, parser.trailer_colon = 0, False
    parser.state = HTTP1_TRAILER if byte == c'\n' else HTTP1_TRAILER_FEED
    return 1


# The end.


cdef int http1_eof(Http1* parser) noexcept nogil:
    """The connection has ended: was that the end of the answer? A 1xx is none, nor is a part of a status line."""
    if parser.state == HTTP1_TO_CLOSE:
        parser.state, parser.closes = HTTP1_DONE, True
        return HTTP1_COMPLETE
    return HTTP1_CUT_SHORT if parser.lines or parser.state != HTTP1_HEAD else HTTP1_NOTHING
