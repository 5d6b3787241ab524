# One request of a user, from the call to its last byte, over as many hops as it takes.
cdef enum:
    REQUEST_MOST_TO_A_HOST = 6     # connections that a user opens to one host, as browsers do
    REQUEST_MOST_HOPS = 10

cdef int64_t REQUEST_BACKOFF_NS = 50_000_000            # after the first refused connection; doubles
cdef int64_t REQUEST_BACKOFF_MOST_NS = 2_000_000_000

# Why a request failed, by CURLcode (curl/curl.h). What is not here is named by libcurl.
cdef dict REQUEST_ERRORS = {
    1: "answer is not HTTP",
    3: "malformed URL",
    5: "proxy name not found",
    6: "name not found",
    7: "cannot connect",
    8: "answer is not HTTP",
    16: "HTTP/2 error",
    18: "answer cut short",
    23: "bad content encoding",    # bytes behind its end
    26: "the source of the body failed",
    42: "the source of the body failed",
    28: "connect timeout",
    45: "cannot connect from the source address",
    35: "TLS handshake failed",
    43: "answer is not HTTP",      # a trailer that is no field
    47: "too many redirects",
    52: "closed without an answer",
    55: "send failed",
    56: "connection lost",
    58: "client certificate cannot be used",
    59: "no such cipher",
    60: "certificate refused",
    61: "bad content encoding",
    65: "streamed body cannot be sent again",
    77: "CA file cannot be read",
    92: "HTTP/2 stream error",
    95: "HTTP/3 error",
    96: "HTTP/3 cannot connect",
    100: "too many header fields",
}
cdef frozenset REQUEST_CONNECT_ERRORS = frozenset((3, 5, 6, 7, 28, 35, 45, 58, 59, 60, 77, 96))
cdef tuple REQUEST_BODY_FIELDS = ("content-type", "content-length", "content-encoding", "transfer-encoding")
cdef tuple REQUEST_SECRET_FIELDS = ("authorization", "cookie", "proxy-authorization")


cdef class Request(Promise):
    """One request under way; awaiting it gives its Response. A Promise, whose timer is its time-out."""
    cdef Client client
    cdef Prepared prepared
    cdef Response response
    cdef Exchange exchange         # where it is on the wire; None while it is queued, or over
    cdef Url url                   # of this hop
    cdef bytes url_text
    cdef HeaderList headers
    cdef bytes body
    cdef bytes custom
    cdef bytes cookie              # that was sent with this hop
    cdef Phases phases             # of this hop, where they are kept
    cdef Upload upload
    cdef Piece reader              # who waits for the next piece of a stream
    cdef list hops
    cdef int verb
    cdef int resends
    cdef int64_t started_ns
    cdef int64_t first_byte_ns
    cdef Request older             # the user's requests under way, newest first
    cdef Request newer
    cdef bint is_linked
    cdef bint is_waiting           # for the throttle: it has not begun, and counts for nothing yet
    cdef bint is_delayed           # counted; the answer is handed over when the timer fires
    cdef bint is_ended             # the stream has had its last byte

    def __dealloc__(self):
        if self.started_ns and not self.is_asked:
            self.forgotten()

    cdef void forgotten(self) noexcept:
        """Nobody has ever awaited it: very likely for want of the word."""
        if self.pump.on_forgotten is not None and not self.pump.no_more_waiting:
            what = f"{self.prepared.method} {self.prepared.name}"
            self.pump.on_forgotten(f"{what} was asked for and never awaited: write `await` before it")

    cdef int begin(self) except -1:
        """Start now, or when the throttle lets it."""
        cdef Prepared prepared = self.prepared
        if prepared.stream_source is not None:
            self.upload = Upload.of(prepared.stream_source)
            self.upload.begin(self.pump.loop)
        self.url = prepared.url
        self.client.link(self)
        return self.start() if self.pump.gate.admits(self) else 0

    cdef int start(self) except -1:
        """Count it, start its clock, and put it on the wire, unless six to that host are there already."""
        cdef Prepared prepared = self.prepared
        clock_check_lease(self.pump.arena.header.lease_until_ns)
        self.started_ns = clock_ns()
        self.pump.arena.at(prepared.slot).counts[STARTED] += 1
        self.url_text, self.verb = prepared.url_text, prepared.verb
        self.body, self.custom = prepared.body, prepared.custom
        self.headers = prepared.headers if prepared.headers is not None else self.client.header_list()
        self.pump.timers.set_after(self, self.started_ns, prepared.timeout_ns)
        if self.client.active <= REQUEST_MOST_TO_A_HOST or self.client.on_wire(self.url) < REQUEST_MOST_TO_A_HOST:
            self.send()
        return 0

    cdef int send(self) except -1:
        """Put this hop on the wire, in the lane that can do it."""
        if self.pump.keeps_sent:
            self.phases = Phases.__new__(Phases)
        if self.pump.settings.is_fast_for(self):
            return self.send_fast()
        return self.send_libcurl()

    cdef int send_libcurl(self) except -1:
        cdef list idle = self.pump.idle
        cdef Transfer transfer = <Transfer>idle.pop() if idle else Transfer.make(self.pump)
        self.exchange = transfer
        if self.prepared.stream:
            self.pump.streams.append(self)
        return transfer.start(self)

    cdef int send_fast(self) except -1:
        """On a connection of the user's that is free, else on a new one."""
        cdef Link link = self.client.free_link(self.url)
        if link is not None:
            self.exchange = link
            return link.begin(self)
        link = self.client.new_link(self.url)
        self.exchange = link
        return link.dial(self)

    cdef int send_again(self) except -1:
        """The connection was closed before it could carry the request: put it on another one."""
        self.count_hop()
        if self.exchange.bytes_out():              # else the connection had ended before: nothing was sent
            self.pump.arena.at(self.prepared.slot).counts[RESENT] += 1
        self.leave()
        self.resends += 1
        return self.send_fast()

    cdef tuple sent_now(self):
        """Return what this hop has sent: (method, URL, head, body or None)."""
        cdef bytes head = request_head(self).partition(b"\r\n")[2]
        if self.cookie is not None:
            head += b"Cookie: " + self.cookie + b"\r\n"
        return self.method_now().decode(), self.url.text, head, self.body

    cdef bytes method_now(self):
        """Return the method of this hop."""
        return self.custom if self.custom is not None else REQUEST_METHODS[self.verb]

    cdef bytes wire(self):
        """Return the head of the request up to its cookies. Made once for all that ask for the same."""
        cdef Prepared prepared = self.prepared
        if prepared.wire_url is not self.url_text or prepared.wire_headers is not self.headers:
            prepared.wire_url, prepared.wire_headers = self.url_text, self.headers
            prepared.wire = request_head(self)
        return prepared.wire

    cdef int fire(self) except -1:
        """The timer: the request has taken too long, or its late hand-over is due."""
        if self.is_delayed:
            return self.deliver()
        return self.fail("timeout")

    cdef int leave(self) except -1:
        """Get off the wire, if it is on it."""
        cdef Exchange exchange = self.exchange
        if exchange is not None:
            self.exchange = None
            exchange.leave()
        if self.prepared.stream and self in self.pump.streams:
            self.pump.streams.remove(self)
        return 0

    cdef int arrived(self) except -1:
        """The answer of this hop is complete. Runs outside of libcurl's callbacks."""
        cdef Response response
        self.count_hop()
        response = self.take_rest() if self.prepared.stream else self.take_response()
        self.leave()
        self.client.refusals = 0
        if self.prepared.follow and not self.is_done and self.redirected(response):
            return 0
        return self.succeed(response)

    cdef Response take_response(self):
        """Make the Response of this hop and keep its cookies."""
        cdef Inbound* inbound = &self.exchange.inbound
        cdef unsigned int flags = inbound.flags
        cdef Response response
        self.first_byte_ns = inbound.first_byte_ns
        if self.phases is not None:
            self.phases.take_answer(inbound.first_byte_ns)
        response = Response.of(self, inbound)
        if flags & INBOUND_SET_COOKIE:
            self.client.keep_cookies(response)
        return response

    cdef int count_hop(self) except -1:
        """Count what went over the wire. Not more than once a hop."""
        cdef uint64_t* counts = self.pump.arena.at(self.prepared.slot).counts
        counts[BYTES_OUT] += self.exchange.bytes_out()
        counts[BYTES_IN] += self.exchange.bytes_in()
        return 0

    cdef bint redirected(self, Response response) except -1:
        """Go to where the response points, if it does. Rules of the fetch standard for 301, 302, 303, 307 and 308."""
        cdef str failure = None
        cdef Url target = None
        if not request_redirects(response.status) or "location" not in response.headers:
            return False
        self.hops = [response] if self.hops is None else self.hops + [response]
        if len(self.hops) > REQUEST_MOST_HOPS:
            failure = REQUEST_ERRORS[47]
        elif self.upload is not None and not self.becomes_get(response.status):
            failure = REQUEST_ERRORS[65]
        else:
            try:
                target = self.url.join(response.headers["location"])
            except ValueError as error:
                failure = f"bad redirect: {error}"
        if failure is None:
            self.hop(response.status, target)
        else:
            self.fail(failure)
        return True

    cdef bint becomes_get(self, int status) except -1:
        return status == 303 and self.verb != VERB_HEAD or status in (301, 302) and self.prepared.method == "POST"

    cdef int hop(self, int status, Url target) except -1:
        """Go on at `target`, or wait there for one of the six connections; one has become free where we were."""
        self.pump.arena.at(self.prepared.slot).counts[HOPS] += 1
        if self.becomes_get(status):
            if self.upload is not None:
                self.upload.end()
            self.verb, self.custom, self.body, self.upload = VERB_GET, None, None, None
            self.headers = self.headers.without(REQUEST_BODY_FIELDS)
        if target.origin != self.url.origin:
            self.headers = self.headers.without(REQUEST_SECRET_FIELDS)
        self.url, self.url_text, self.response = target, target.text.encode(), None
        if self.client.active <= REQUEST_MOST_TO_A_HOST:
            return self.send()
        if self.client.on_wire(target) < REQUEST_MOST_TO_A_HOST:
            self.send()
        return self.client.send_queued()

    cdef int succeed(self, Response response) except -1:
        """A complete answer has come: count it, whether it is a failure or not."""
        cdef Slot* slot = self.pump.arena.at(self.prepared.slot)
        self.close_books(response, slot)
        self.claim(response)
        slot.counts[ANSWERED] += 1
        slot_status(slot, response.status)
        if self.hops is not None and self.pump.settings.sticky:
            self.client.stick(self)
        self.judge(response)
        return self.finish(response)

    cdef int judge(self, Response response) except -1:
        """Count an unexpected status as a failure."""
        cdef object expect = self.prepared.expect
        if response.is_judged:
            return 0
        response.is_judged = True
        if expect is None:
            expected = response.status < 400
        else:
            expected = response.status == expect if isinstance(expect, int) else response.status in expect
        if not expected:
            response.fail(f"{response.status} {response.reason}".strip())
        return 0

    cdef int fail(self, str reason, bint refused=False) except -1:
        """No complete answer came, and none will."""
        cdef Response response = self.response
        cdef Slot* slot = self.pump.arena.at(self.prepared.slot)
        cdef int64_t pause_ns = 0
        if self.exchange is not None:
            self.count_hop()
            if self.prepared.stream and self.exchange.inbound.flags & INBOUND_BODY and not self.is_at_redirect():
                response = self.take_rest()
        self.leave()
        if response is None:
            response = Response.of(self, NULL)
        response.error = reason
        self.close_books(response, slot)
        self.claim(response)
        slot.counts[BROKEN] += 1
        response.fail(reason)
        if refused:
            pause_ns = self.client.back_off()
        return self.finish(response, pause_ns)

    cdef void close_books(self, Response response, Slot* slot) noexcept:
        """Take the time. It is the generator's own: from the call to now, with all that lay between."""
        cdef int64_t now = clock_ns()
        cdef Header* header = self.pump.arena.header
        response.hops = self.hops
        response.elapsed_ns = now - self.started_ns
        slot_time(slot, header, (response.elapsed_ns + 500) // 1000)
        if self.first_byte_ns > self.started_ns:
            response.first_byte_ns = self.first_byte_ns - self.started_ns
            slot_first_byte(slot, (response.first_byte_ns + 500) // 1000)
        header_lag(header, min(now - self.pump.returned_ns + self.pump.held_ns, response.elapsed_ns) // 1000)
        header.turn_started_ns = now

    cdef inline void claim(self, Response response) noexcept:
        """Let the logs find whose response it is."""
        if self.pump.is_watched:
            response.client, response.started_ns = self.client, self.started_ns

    cdef int finish(self, Response response, int64_t pause_ns=0) except -1:
        """Hand the response over, now or after a pause."""
        self.pump.timers.drop(self)
        self.end()
        self.response = response
        self.pump.show(response)
        if self.pump.is_watched:
            self.pump.log(response)
        if pause_ns:
            self.is_delayed = True
            self.pump.timers.set(self, clock_ns() + pause_ns)
            return 0
        return self.deliver()

    cdef int deliver(self) except -1:
        cdef Response response = self.response
        cdef Piece reader = self.reader
        self.response = self.reader = response.request = None
        if not self.is_done:
            return self.settle(response)
        if reader is not None:
            reader.settle(response.last_piece())
        return 0

    cdef int end(self) except -1:
        """Leave the lists; let the next one in the queue go."""
        if self.upload is not None:
            self.upload.end()
        self.is_ended = True
        self.client.unlink(self)
        return 0

    cdef int abort(self) except -1:
        """The awaiting task was cancelled: neither success nor failure."""
        if self.is_delayed:
            self.pump.timers.drop(self)
            return 0
        return self.cut()

    cdef int cut(self) except -1:
        """Break off what is under way and count it as unfinished. Nothing happens to what has ended."""
        cdef Piece reader = self.reader
        if self.is_ended:
            return 0
        self.pump.timers.drop(self)
        if self.exchange is not None:
            self.count_hop()
        self.leave()
        if self.is_waiting:
            self.pump.gate.forget(self)
        else:
            self.pump.arena.at(self.prepared.slot).counts[UNFINISHED] += 1
        self.end()
        if self.response is not None:
            self.response.request = self.response = None
        if reader is not None:
            self.reader = None
            reader.settle_later(None)
        return 0

    # A stream: the Response is handed over with the head; pieces follow as they are asked for.

    cdef int advance(self) except -1:
        """See whether the stream has something for its reader. Per turn, only while there are streams."""
        cdef Piece reader = self.reader
        if self.exchange is None or not self.exchange.inbound.flags & (INBOUND_HEAD | INBOUND_BODY):
            return 0
        if self.response is None:
            return self.begin_stream()
        if reader is not None and (piece := self.take_piece()):
            self.reader = None
            return reader.settle(piece)
        return 0

    cdef int begin_stream(self) except -1:
        """Hand the Response over, unless it is a redirect that will be followed."""
        cdef Response response
        if self.is_at_redirect():
            if inbound_buffered(&self.exchange.inbound) >= INBOUND_STREAM_ROOM:
                self.make_room()   # nobody will read it
            return 0
        response = self.take_response()
        self.response, response.request, response.hops = response, self, self.hops
        self.claim(response)
        response.first_byte_ns = self.first_byte_ns - self.started_ns
        self.judge(response)
        return self.settle(response)

    cdef bint is_at_redirect(self) noexcept:
        """Whether what comes is a redirect that will be followed."""
        cdef Inbound* inbound = &self.exchange.inbound
        return self.prepared.follow and inbound.flags & INBOUND_LOCATION and request_redirects(response_status(inbound))

    cdef Response take_rest(self):
        """Return the stream's Response with what its reader has not had yet. At the end, good or bad."""
        cdef Inbound* inbound = &self.exchange.inbound
        cdef bytes rest = inbound.data[inbound.head_length:inbound.length]
        cdef Response response = self.response if self.response is not None else self.take_response()
        response.content_bytes = rest
        return response

    cdef bint give(self, Piece piece) except -1:
        """Deliver the next piece into `piece`, now or when it comes. Returns False when nothing more will come."""
        if self.exchange is None:
            return False
        if self.reader is not None:
            raise RuntimeError("a stream is read by one task at a time")
        if found := self.take_piece():
            piece.value, piece.is_done = found, True
        else:
            self.reader, piece.request = piece, self
        return True

    cdef bytes take_piece(self):
        """Take what has come, decoded, and let the brake go. b"" when that is not a byte yet."""
        cdef Inbound* inbound = &self.exchange.inbound
        cdef bytes piece = self.response.decode_piece(b"")
        if piece or not inbound_buffered(inbound):
            return piece
        piece = inbound.data[inbound.head_length:inbound.length]
        self.make_room()
        return self.response.decode_piece(piece)

    cdef int make_room(self) except -1:
        """Drop what has come of the body, and let the server go on if it had to wait."""
        cdef Inbound* inbound = &self.exchange.inbound
        inbound.length = inbound.head_length
        if inbound.flags & INBOUND_PAUSED:
            inbound.flags &= ~<unsigned int>INBOUND_PAUSED
            self.exchange.resume()
        return 0


promise_quicken(Request)


cdef inline bint request_redirects(int status) noexcept nogil:
    """Whether a status asks to go on at its Location (fetch standard, 2.2.3)."""
    return 301 <= status <= 303 or status == 307 or status == 308


cdef bytes request_head(Request request):
    """Return request line and header lines, without the empty line that ends them."""
    cdef Url url = request.url
    cdef bytes head = request.method_now() + b" " + url.target.encode() + b" HTTP/1.1\r\n"
    head += request.headers.block(url.origin.partition("//")[2].encode())
    if request.verb == VERB_POST and "content-length" not in request.headers.fields:
        head += b"Content-Length: %d\r\n" % len(request.body)
    return head


cdef tuple REQUEST_METHODS = (b"GET", b"HEAD", b"POST", b"POST")       # of libcurl's verbs, by number

from os import strerror as request_strerror
