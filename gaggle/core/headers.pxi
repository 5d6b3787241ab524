# The header fields of one response: a mapping that is a view of the bytes that came (RFC 9110 and 9112, section 5).
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeLatin1, PyUnicode_DecodeUTF8
from libc.string cimport memchr

import collections.abc as headers_abc


cdef struct HeaderField:           # the field that a scan has come to
    const char* rest               # of the bytes, after this field
    const char* end
    const char* name               # of ASCII in every sane response; other bytes are read as in a value
    Py_ssize_t name_size
    const char* value              # without the white space around it; may hold folds
    Py_ssize_t value_size
    bint folded                    # the value goes on over more than one line


cdef inline bint headers_blank(char c) noexcept nogil:
    return c == b" " or c == b"\t" or c == b"\r" or c == b"\n"


cdef inline unsigned char headers_lower(unsigned char c) noexcept nogil:
    return c + 32 if 65 <= c <= 90 else c


cdef inline bint headers_same(const char* one, const char* other, Py_ssize_t size) noexcept nogil:
    """Return whether two names of `size` bytes are equal but for the case of ASCII letters."""
    cdef Py_ssize_t i
    for i in range(size):
        if headers_lower(one[i]) != headers_lower(other[i]):
            return False
    return True


cdef inline const char* headers_line_end(const char* at, const char* end) noexcept nogil:
    """Return where the line feed of the line at `at` is, or `end`."""
    cdef const char* feed = <const char*>memchr(at, b"\n", end - at)
    return end if feed == NULL else feed


cdef HeaderField headers_scan(bytes raw):
    """Return a scan that stands before the first field of `raw`, which has to stay alive meanwhile."""
    cdef const char* start = PyBytes_AS_STRING(raw)
    return HeaderField(start, start + PyBytes_GET_SIZE(raw), NULL, 0, NULL, 0, False)


cdef bint headers_next(HeaderField* field) noexcept nogil:
    """Go on to the next field; False after the last.

    Lines without a colon or without a name are passed over: a response is judged by what is in it, not refused here.
    """
    cdef const char* stop
    cdef const char* colon
    while field.rest < field.end:
        field.name = field.rest
        stop = headers_line_end(field.rest, field.end)
        colon = <const char*>memchr(field.name, b":", stop - field.name)
        field.folded = False
        while stop + 1 < field.end and (stop[1] == b" " or stop[1] == b"\t"):    # obs-fold, RFC 9112 section 5.2
            field.folded = True
            stop = headers_line_end(stop + 1, field.end)
        field.rest = stop + 1
        if colon != NULL and headers_split(field, colon, stop):
            return True
    return False


cdef inline bint headers_next_of(HeaderField* field, const char* name, Py_ssize_t size) noexcept nogil:
    """Go on to the next field that is called `name`; False if there is none."""
    while headers_next(field):
        if field.name_size == size and headers_same(field.name, name, size):
            return True
    return False


cdef inline bint headers_split(HeaderField* field, const char* colon, const char* stop) noexcept nogil:
    """Set the sizes of `field` from the places of its colon and its end; False when it has no name."""
    cdef const char* name_end = colon
    cdef const char* value = colon + 1
    while name_end > field.name and headers_blank((name_end - 1)[0]):
        name_end -= 1
    while value < stop and headers_blank(value[0]):
        value += 1
    while stop > value and headers_blank((stop - 1)[0]):
        stop -= 1
    field.name_size = name_end - field.name
    field.value, field.value_size = value, stop - value
    return field.name_size > 0 and not headers_blank(field.name[0])


cdef str headers_text(const char* data, Py_ssize_t size):
    """Return the bytes as text: UTF-8 if they are that, else Latin-1, which always works (as httpx)."""
    try:
        return PyUnicode_DecodeUTF8(data, size, NULL)
    except UnicodeDecodeError:
        return PyUnicode_DecodeLatin1(data, size, NULL)


cdef inline str headers_name(HeaderField* field):
    return headers_text(field.name, field.name_size)


cdef bytes headers_bytes(HeaderField* field):
    """Return the value as it came; of a folded one the lines with a space between them."""
    cdef bytes value = field.value[:field.value_size]
    return b" ".join([line.strip(b" \t\r") for line in value.split(b"\n")]) if field.folded else value


cdef str headers_value(HeaderField* field):
    cdef bytes unfolded
    if not field.folded:
        return headers_text(field.value, field.value_size)
    unfolded = headers_bytes(field)
    return headers_text(PyBytes_AS_STRING(unfolded), PyBytes_GET_SIZE(unfolded))


@cython.final
@cython.freelist(64)
@cython.auto_pickle(False)
cdef class Headers:
    """A response's header fields: a read-only mapping from names in any case to text, in the order of arrival.

    `raw` is what came: field lines that end with CRLF or LF, without the status line. Nothing is parsed before it is
    asked for, and then the bytes are scanned: for one or two look-ups a response that is cheaper than a dict.
    """
    cdef readonly bytes raw

    def __cinit__(self, bytes raw not None):
        self.raw = raw

    @staticmethod
    cdef Headers of(bytes raw):
        """Return the headers in `raw`. Per request."""
        return Headers.__new__(Headers, raw)

    cdef str find(self, name):
        """Return the value of `name`, several fields joined by a comma (RFC 9110 section 5.3), or None. Per request."""
        cdef Py_ssize_t size
        cdef const char* wanted = PyUnicode_AsUTF8AndSize(name, &size)
        cdef HeaderField field = headers_scan(self.raw)
        cdef str found = None
        while headers_next_of(&field, wanted, size):
            found = headers_value(&field) if found is None else found + ", " + headers_value(&field)
        return found

    cdef list raw_all(self, name):
        """Return the values of all fields called `name` as bytes: what a cookie jar takes. Per response with cookies."""
        cdef Py_ssize_t size
        cdef const char* wanted = PyUnicode_AsUTF8AndSize(name, &size)
        cdef HeaderField field = headers_scan(self.raw)
        cdef list found = []
        while headers_next_of(&field, wanted, size):
            found.append(headers_bytes(&field))
        return found

    def multi_items(self):
        """Return all (name, value) pairs in order, names as they came, repeated fields apart."""
        cdef HeaderField field = headers_scan(self.raw)
        cdef list pairs = []
        while headers_next(&field):
            pairs.append((headers_name(&field), headers_value(&field)))
        return pairs

    def get_all(self, name):
        """Return the values of all fields called `name`, in order: for Set-Cookie, which must not be joined."""
        cdef bytes value
        return [headers_text(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)) for value in self.raw_all(name)]

    def get(self, name, default=None):
        cdef str found = self.find(name)
        return default if found is None else found

    def __getitem__(self, name):
        cdef str found = self.find(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name):
        return isinstance(name, str) and self.find(name) is not None

    def __iter__(self):
        return iter(dict.fromkeys([name.lower() for name, _ in self.multi_items()]))

    def __len__(self):
        return len({name.lower() for name, _ in self.multi_items()})

    def keys(self):
        return headers_abc.KeysView(self)

    def values(self):
        return headers_abc.ValuesView(self)

    def items(self):
        return headers_abc.ItemsView(self)

    def __eq__(self, other):
        """Return whether a mapping has the same names, in any case, with the same values."""
        if not isinstance(other, headers_abc.Mapping):
            return NotImplemented
        return dict(self.items()) == {str(name).lower(): value for name, value in other.items()}

    def __repr__(self):
        return f"Headers({self.multi_items()!r})"


headers_abc.Mapping.register(Headers)
