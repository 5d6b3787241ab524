# Bodies as servers encode them. The libcurl lane has them decoded by libcurl; the fast lane decodes what is read.
import zlib as decoding_zlib


class DecodingError(ValueError):
    """The body is not what its Content-Encoding says."""


cdef class Inflater:
    """gzip and deflate, the latter also without its zlib header, as servers send it."""
    cdef object stream
    cdef bint is_fresh

    def __init__(self):
        self.stream, self.is_fresh = decoding_zlib.decompressobj(47), True

    def decode(self, data, most=0):
        """Return decoded bytes, `most` of them if it is not 0. Raises DecodingError."""
        try:
            found = self.stream.decompress(data, most)
        except decoding_zlib.error as error:
            if not self.is_fresh:
                raise DecodingError(str(error)) from None
            self.stream, self.is_fresh = decoding_zlib.decompressobj(-15), False
            return self.decode(data, most)
        self.is_fresh = False
        return found

    def rest(self, most=0):
        return self.decode(self.stream.unconsumed_tail, most) if self.stream.unconsumed_tail else b""

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


cdef class Decoder:
    """All encodings of one body, the last one applied taken off first."""
    cdef list steps

    def __init__(self, str encodings):
        self.steps = []
        for name in reversed(encodings.lower().split(",")):
            name = name.strip()
            if name in ("gzip", "x-gzip", "deflate"):
                self.steps.append(Inflater())
            elif name == "br":
                self.steps.append(Unbrotler())
            elif name not in ("", "identity", "none"):
                raise DecodingError(f"unknown content encoding {name}")

    def decode(self, data):
        """Return the decoded form of the next piece."""
        for step in self.steps:
            data = step.decode(data)
        return data

    def decode_all(self, data, most, is_cut=False):
        """Return (decoded bytes, at most `most`; how many were dropped beyond). Raises DecodingError.

        The dropped ones are counted, not kept: a small body may decode to a huge one. `is_cut` says that the end of
        `data` was not kept, so that it may end anywhere.
        """
        dropped = 0
        for step in self.steps:
            data, dropped = decoding_bounded(step, data, most, is_cut or dropped > 0)
        return data, dropped


cdef tuple decoding_bounded(object step, object data, Py_ssize_t most, bint is_cut):
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
    if not (step.is_whole or is_cut):
        raise DecodingError("the encoded body is cut short")
    return b"".join(pieces)[:most], max(0, counted - most)
