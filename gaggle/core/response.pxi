# What came back: bytes first, Python objects when somebody asks for them.
import re as response_re

from gaggle.errors import RequestError

cdef object response_charset = response_re.compile(r"charset=[\"']?([\w.:-]+)", response_re.I)


cdef class Response:
    """The answer to a request, or the reason why there is none.

    `status` is 0 and `error` says why when no complete answer came. Nothing here raises because of a bad status:
    `raise_for_status()` does. `elapsed` and `first_byte` are seconds from the call, redirects included.
    """
    cdef char* data
    cdef size_t length
    cdef size_t status_length
    cdef size_t head_length
    cdef readonly int status
    cdef readonly object error     # str, or None
    cdef Prepared prepared
    cdef Pump pump
    cdef Request request           # only while the body is still coming in
    cdef Url location              # where the answer came from
    cdef list hops
    cdef int64_t elapsed_ns
    cdef int64_t first_byte_ns
    cdef readonly object fault     # why it counts as a failure; None for a success
    cdef bint is_judged            # success or failure has been decided
    cdef bint is_encoded           # the body is as the server encoded it
    cdef Decoder decoder           # of a stream
    cdef Headers fields
    cdef bytes content_bytes       # the body, once asked for; of a stream, what came behind the last piece, as it came
    # Where there are logs. Not the request itself: it holds its response, and only the collector would free the two.
    cdef Client client
    cdef int64_t started_ns
    cdef bint is_logged            # the logs have it: what changes from now on is an update
    cdef bint is_sampled           # the request log has it
    cdef readonly tuple sent       # (method, URL, head, body or None) of this hop, where it is kept: a debug log, a trace
    cdef Phases hop_phases         # the same
    cdef readonly uint64_t dropped # bytes of the body that were not kept (--max-body)

    def __init__(self):
        raise TypeError("a Response is what a request is answered with")

    def __dealloc__(self):
        free(self.data)

    @staticmethod
    cdef Response of(Request request, Inbound* inbound):
        """Make one of what an exchange has received; the bytes change hands, a stream's head is copied."""
        cdef Response self = Response.__new__(Response)
        self.pump, self.prepared, self.location = request.pump, request.prepared, request.url
        if request.pump.keeps_sent:
            self.sent, self.hop_phases = request.sent_now(), request.phases
        if inbound == NULL:
            return self
        self.status, self.is_encoded = response_status(inbound), inbound.flags & INBOUND_ENCODED
        self.status_length, self.head_length, self.dropped = inbound.status_length, inbound.head_length, inbound.dropped
        if request.prepared.stream:
            self.data = <char*>realloc(NULL, inbound.head_length + 1)
            memcpy(self.data, inbound.data, inbound.head_length)
            self.length = inbound.head_length
        else:
            self.data, self.length = inbound.data, inbound.length
            inbound.data = NULL
            inbound.capacity = 0
        return self

    @property
    def status_code(self):
        return self.status

    @property
    def reason(self):
        """The words after the status, "" when the server sent none."""
        return self.status_text().partition(" ")[2][3:].strip()

    @property
    def http_version(self):
        """"1.0", "1.1", "2"; "" without an answer."""
        return self.status_text().partition(" ")[0].partition("/")[2]

    cdef str status_text(self):
        """Return the status line, a space between version and number."""
        cdef bytes line = self.data[:self.status_length] if self.status_length else b""
        return line.decode("latin-1").replace("\t", " ").strip()

    @property
    def headers(self):
        if self.fields is None:
            self.fields = Headers.of(self.data[self.status_length:self.head_length] if self.head_length else b"")
        return self.fields

    @property
    def body(self):
        """The decoded body as bytes, up to --max-body of it."""
        if self.content_bytes is None:
            if self.prepared.stream:
                raise RuntimeError("the body of a stream is read with `async for piece in response` or `await response.read()`")
            self.content_bytes = self.data[self.head_length:self.length] if self.length > self.head_length else b""
            if self.is_encoded and self.content_bytes:
                self.decode_body()
        return self.content_bytes

    cdef int decode_body(self) except -1:
        """Decode the body, now that somebody reads it. One that cannot be decoded makes the request a failure."""
        try:
            self.content_bytes, dropped = Decoder(self.headers["content-encoding"]).decode_all(
                self.content_bytes, self.pump.settings.max_body)
            self.dropped += dropped
        except DecodingError as error:
            self.content_bytes = b""
            self.fail(f"{REQUEST_ERRORS[61]}: {error}")
        return 0

    cdef bytes decode_piece(self, bytes piece):
        """The same for a piece of a stream, as much of it as a reader gets at once. Without a piece: what is left."""
        if not self.is_encoded or self.decoder is None and not piece:
            return piece
        try:
            if self.decoder is None:
                self.decoder = Decoder(self.headers["content-encoding"])
            return self.decoder.decode(piece, INBOUND_STREAM_ROOM) if piece else self.decoder.rest(INBOUND_STREAM_ROOM)
        except DecodingError as error:
            self.fail(f"{REQUEST_ERRORS[61]}: {error}")
            return b""

    cdef bytes last_piece(self):
        """Return the next piece of a stream that has ended; b"" behind the last one."""
        cdef bytes piece = self.decode_piece(b"")
        if not piece and self.content_bytes:
            piece, self.content_bytes = self.content_bytes, None
            piece = self.decode_piece(piece)
        return piece

    @property
    def content(self):
        return self.body

    @property
    def text(self):
        """The body as str, by the charset of its Content-Type, else UTF-8; what does not decode becomes U+FFFD."""
        found = response_charset.search(self.headers.get("content-type", ""))
        try:
            return self.body.decode(found[1] if found else "utf-8", "replace")
        except (LookupError, UnicodeError):         # no codec of that name, or one that does not know how to replace
            return self.body.decode("utf-8", "replace")

    def json(self, **options):
        """Return the body parsed as JSON. Raises ValueError when it is not. With options: as json.loads has them."""
        return json_standard.loads(self.body, **options) if options else json_value(self.body)

    @property
    def url(self):
        """Where the answer came from, after redirects."""
        return self.location.text

    @property
    def method(self):
        return self.prepared.method

    @property
    def name(self):
        """The name under which the request is counted."""
        return self.prepared.name

    @property
    def history(self):
        """The redirects that led here, first one first, each a Response."""
        return [] if self.hops is None else list(self.hops)

    @property
    def elapsed(self):
        return self.elapsed_ns / 1e9

    @property
    def first_byte(self):
        """Seconds to the first byte of the answer; 0.0 when none came."""
        return self.first_byte_ns / 1e9

    @property
    def phases(self):
        """Seconds of this hop alone: dns, connect, tls, send, first_byte, last_byte; None unless they are kept."""
        return None if self.hop_phases is None else self.hop_phases.as_seconds()

    @property
    def user(self):
        """Whose request it was; None unless there is a log that needs it."""
        return self.client

    @property
    def task(self):
        """The task that asked."""
        return self.prepared.scope.task

    @property
    def ok(self):
        """Whether the request counts as a success."""
        return self.fault is None

    def raise_for_status(self):
        """Return the response; raise RequestError when it counts as a failure."""
        if self.fault is not None:
            raise RequestError(f"{self.prepared.method} {self.url}: {self.fault}", self)
        return self

    cpdef fail(self, reason="failed"):
        """Count the request as a failure, for this reason, whatever it was counted as before."""
        cdef Arena arena = self.pump.arena
        if self.fault is None:
            arena.at(self.prepared.slot).counts[FAILED] += 1
        else:
            arena.forgive(self.prepared.slot, self.fault)
        self.fault, self.is_judged = str(reason), True
        arena.error(self.prepared.slot, self.fault)
        self.pump.failed(self)

    def failure(self, reason="failed"):
        """As `fail`: the name that Locust gave it."""
        self.fail(reason)

    def succeed(self):
        """Count the request as a success, whatever it was counted as before."""
        cdef Arena arena = self.pump.arena
        self.is_judged = True
        if self.fault is not None:
            arena.at(self.prepared.slot).counts[FORGIVEN] += 1
            arena.forgive(self.prepared.slot, self.fault)
            self.fault = None
            self.pump.log_again(self)

    def success(self):
        """As `succeed`: the name that Locust gave it."""
        self.succeed()

    def __aiter__(self):
        return self

    def __anext__(self):
        """The next piece of a streamed body."""
        cdef Piece piece = Piece.__new__(Piece)
        piece.pump = self.pump
        if self.request is not None and self.request.give(piece):
            return piece
        if not self.prepared.stream:
            raise RuntimeError("the body is here already, as response.body: only a stream comes in pieces")
        piece.value, piece.is_done = self.last_piece(), True
        return piece

    async def read(self):
        """Return all of a streamed body, or what is left of it."""
        if self.prepared.stream:
            return b"".join([piece async for piece in self])
        return self.body

    async def aclose(self):
        """Stop a stream before its end: the connection is closed, the request counts as unfinished."""
        cdef Request request = self.request         # the last that holds it, it may be
        if request is not None:
            request.cut()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        await self.aclose()

    def __repr__(self):
        return f"<Response {self.prepared.method} {self.url} {self.status or self.error}>"


cdef int response_status(Inbound* inbound) noexcept nogil:
    """Return the number in the status line; 0 without one."""
    cdef size_t i = 0
    while i < inbound.status_length and not http1_is_blank(inbound.data[i]):
        i += 1
    if i + 4 > inbound.status_length:
        return 0
    return (inbound.data[i + 1] - c'0') * 100 + (inbound.data[i + 2] - c'0') * 10 + inbound.data[i + 3] - c'0'


cdef class Piece(Promise):
    """The next bytes of a streamed body. No bytes are its end, which the reader sees as StopAsyncIteration."""
    cdef Request request           # while it waits for them

    cdef int abort(self) except -1:
        """The reader was cancelled: what comes is for the next one."""
        if self.request is not None and self.request.reader is self:
            self.request.reader = None
        return 0

    cdef object delivered(self):
        if not self.value:
            raise StopAsyncIteration
        return self.value


promise_quicken(Piece)
