# Bodies as servers encode them. The libcurl lane has them decoded by libcurl; the fast lane decodes what is read.
import zlib as decoding_zlib


class DecodingError(ValueError):
    """The body is not what its Content-Encoding says."""


cdef class Inflater:
    """gzip, or deflate, the latter also without its zlib header, as servers send it. As libcurl takes them."""
    cdef object stream
    cdef bint may_be_raw
    cdef int most_unused           # bytes that may stand behind the end

    def __init__(self, bint is_gzip):
        self.stream = decoding_zlib.decompressobj(47 if is_gzip else 15)       # 47: gzip or zlib, as the bytes say
        self.may_be_raw = not is_gzip

    def decode(self, data, most=0):
        """Return decoded bytes, `most` of them if it is not 0. Raises DecodingError."""
        try:
            found = self.stream.decompress(data, most)
        except decoding_zlib.error as error:
            if not self.may_be_raw:
                raise DecodingError(str(error)) from None
            self.stream, self.may_be_raw, self.most_unused = decoding_zlib.decompressobj(-15), False, 4
            return self.decode(data, most)
        self.may_be_raw = False
        if len(self.stream.unused_data) > self.most_unused:
            raise DecodingError("bytes behind the end")
        return found

    def rest(self, most=0):
        """What `most` kept back."""
        return b"" if self.stream.eof else self.decode(self.stream.unconsumed_tail, most)

    @property
    def is_whole(self):
        return self.stream.eof


cdef class Unbrotler:
    """br, by the package brotli, which is imported when a server uses it."""
    cdef object stream

    def __init__(self):
        import brotli
        self.stream = brotli.Decompressor()

    def decode(self, data, most=0):
        """As Inflater.decode."""
        try:
            return self.stream.process(data, output_buffer_limit=most) if most else self.stream.process(data)
        except Exception as error:             # brotli.error
            raise DecodingError(str(error)) from None

    def rest(self, most=0):
        return b"" if self.stream.is_finished() else self.decode(b"", most)

    @property
    def is_whole(self):
        return self.stream.is_finished()


cdef int DECODING_MOST_STEPS = 5                # MAX_ENCODE_STACK of libcurl


cdef class Decoder:
    """All encodings of one body, the last one applied taken off first."""
    cdef list steps

    def __init__(self, str encodings):
        cdef list names = [name.strip() for name in encodings.lower().split(",") if name.strip()]
        self.steps = []
        if len(names) > DECODING_MOST_STEPS:
            raise DecodingError(f"{len(names)} content encodings")
        for name in reversed(names):
            if name in ("gzip", "x-gzip", "deflate"):
                self.steps.append(Inflater(name != "deflate"))
            elif name == "br":
                self.steps.append(Unbrotler())
            elif name not in ("identity", "none"):
                raise DecodingError(f"unknown content encoding {name}")

    def decode(self, data, most):
        """Return the decoded form of the next piece, or about `most` bytes of it: then `rest` has more."""
        for step in self.steps:
            data = step.decode(data, most)
        return data

    def rest(self, most):
        """Return more of what was kept back, b"" when nothing was. Only then may the next piece be decoded."""
        data = b"more"
        while data:
            for place in reversed(range(len(self.steps))):
                data = self.steps[place].rest(most)
                if data:
                    break
            for step in self.steps[place + 1:] if data else ():
                data = step.decode(data, most)
            if data:
                return data
        return b""

    def decode_all(self, data, most):
        """Return (decoded bytes, at most `most`; how many were dropped beyond). Raises DecodingError.

        The dropped ones are counted, not kept: a small body may decode to a huge one. An end that is missing is not
        missed: libcurl and browsers take what has come.
        """
        dropped = 0
        for step in self.steps:
            data, dropped = decoding_bounded(step, data, most)
        return data, dropped


cdef tuple decoding_bounded(object step, object data, Py_ssize_t most):
    cdef bytes kept = step.decode(data, most + 1)
    cdef list pieces = [kept]
    cdef Py_ssize_t total = len(kept), counted = total
    while not step.is_whole:
        kept = step.rest(65_536)
        if not kept:
            break
        counted += len(kept)
        if total <= most:
            pieces.append(kept)
            total += len(kept)
    return b"".join(pieces)[:most], max(0, counted - most)
