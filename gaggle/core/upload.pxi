# A request body that is made while it is sent.


cdef class Upload:
    """Pieces of a body on their way from the load test to libcurl, with the brake on when the server is slower."""
    cdef CURL* easy                # while a transfer takes from here
    cdef object source             # an iterable or async iterable of bytes
    cdef object pieces             # collections.deque of bytes
    cdef object feeder             # the asyncio task that fills `pieces`
    cdef object room               # asyncio.Event: there is room again
    cdef object failure
    cdef Py_ssize_t offset         # into pieces[0]
    cdef Py_ssize_t buffered
    cdef bint is_complete
    cdef bint is_paused

    @staticmethod
    cdef Upload of(object source):
        cdef Upload self = Upload.__new__(Upload)
        self.source, self.pieces, self.room = source, upload_deque(), upload_event()
        return self

    cdef int begin(self, object loop) except -1:
        if self.feeder is not None:
            raise ValueError("a streamed body can be sent only once")
        self.feeder = loop.create_task(self.feed())
        return 0

    async def feed(self):
        """Fill the buffer as fast as the server empties it. An error in the source breaks the upload off."""
        try:
            async for piece in upload_pieces(self.source):
                await self.put(upload_bytes(piece))
            self.is_complete = True
        except Exception as error:
            self.failure = error
        self.resume()

    async def put(self, bytes piece):
        if not piece:
            return
        self.pieces.append(piece)
        self.buffered += len(piece)
        self.resume()
        while self.buffered > INBOUND_STREAM_ROOM:
            self.room.clear()
            await self.room.wait()

    cdef void resume(self) noexcept:
        if self.is_paused and self.easy != NULL:
            self.is_paused = False
            curl_easy_pause(self.easy, CURLPAUSE_CONT)

    cdef size_t take(self, char* data, size_t size) noexcept:
        """Copy the next bytes out; 0 is the end."""
        cdef bytes piece
        cdef Py_ssize_t count
        if not self.pieces:
            return self.starve()
        piece = self.pieces[0]
        count = min(<Py_ssize_t>size, PyBytes_GET_SIZE(piece) - self.offset)
        memcpy(data, PyBytes_AS_STRING(piece) + self.offset, count)
        self.offset += count
        self.buffered -= count
        if self.offset == PyBytes_GET_SIZE(piece):
            self.pieces.popleft()
            self.offset = 0
        if self.buffered <= INBOUND_STREAM_ROOM:
            self.room.set()
        return count

    cdef size_t starve(self) noexcept:
        if self.failure is not None:
            return CURL_READFUNC_ABORT
        if self.is_complete:
            return 0
        self.is_paused = True
        return CURL_READFUNC_PAUSE

    cdef void end(self) noexcept:
        if self.feeder is not None:
            self.feeder.cancel()


cdef bytes upload_bytes(object piece):
    """Return a piece as bytes. Raises TypeError: bytes(5) would be five zeros."""
    if not isinstance(piece, (bytes, bytearray, memoryview)):
        raise TypeError(f"a streamed body is made of bytes, not {type(piece).__name__}")
    return bytes(piece)


async def upload_pieces(source):
    """Yield the pieces of `source`: an async iterable, a file (64 KB at a time) or an iterable of bytes."""
    if hasattr(source, "__aiter__"):
        async for piece in source:
            yield piece
    elif hasattr(source, "read"):
        while piece := source.read(65_536):
            yield piece
    else:
        for piece in source:
            yield piece


from asyncio import Event as upload_event
from collections import deque as upload_deque
