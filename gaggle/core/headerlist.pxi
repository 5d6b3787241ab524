# The headers of requests: lists prepared once, and what one user changes of them.
import re as header_re
from collections.abc import MutableMapping as client_mapping

cdef class HeaderList:
    """Request headers, prepared once and used by many requests. Immutable."""
    cdef curl_slist* lines
    cdef dict fields               # lower-cased name -> (name, value)
    cdef dict derived              # what `with_fields` has made: (name, value) -> HeaderList
    cdef bytes text                # as the fast lane sends them
    cdef bytes logged              # as the request log has them
    cdef bint needs_libcurl        # they ask for what only libcurl does: a body in chunks, or one that waits for a 100

    def __dealloc__(self):
        if self.lines != NULL:
            curl_slist_free_all(self.lines)

    @staticmethod
    cdef HeaderList of(dict fields):
        cdef HeaderList made = HeaderList.__new__(HeaderList)
        made.fields = fields
        for name, value in fields.values():
            made.add(header_line(name, value))
        made.needs_libcurl = any([fields.get(name, ("", None))[1] is not None for name in ("expect", "transfer-encoding")])
        if "expect" not in fields:
            made.add(b"Expect:")   # without it a large upload waits a second for a 100 that few servers send
        return made

    cdef int add(self, bytes line) except -1:
        cdef curl_slist* lines = curl_slist_append(self.lines, line)
        if lines == NULL:
            raise MemoryError
        self.lines = lines
        return 0

    cdef bytes block(self, bytes host):
        """Return the lines as they go over the wire, with those that every request has, in libcurl's order."""
        cdef list lines
        if self.text is None:
            lines = [b"" if name in self.fields else line for name, line in HEADERS_OF_ALL]
            lines += [(name.encode() + b": " + header_value(value)).rstrip() + b"\r\n"
                      for key, (name, value) in self.fields.items()
                      if value is not None and key not in ("host", "transfer-encoding")]
            self.text = b"".join(lines)
        if "host" in self.fields:
            value = self.fields["host"][1]
            return self.text if value is None else b"Host: " + header_value(value) + b"\r\n" + self.text
        return b"Host: " + host + b"\r\n" + self.text

    cdef HeaderList with_fields(self, dict fields):
        """Return this list with `fields` (name -> value, None takes one away) put over it."""
        cdef dict merged = dict(self.fields)
        for name, value in fields.items():
            merged[name.lower()] = (name, value)
        return HeaderList.of(merged)

    cdef HeaderList with_one(self, str name, str value):
        """As `with_fields`, for what recurs: a content type, a length of life."""
        if self.derived is None or len(self.derived) > 100:
            self.derived = {}
        made = self.derived.get((name, value))
        if made is None:
            made = self.derived[name, value] = self.with_fields({name: value})
        return made

    cdef HeaderList without(self, tuple names):
        return HeaderList.of({key: pair for key, pair in self.fields.items() if key not in names})


cdef object header_token = header_re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch      # RFC 9110, 5.6.2


cdef tuple HEADERS_OF_ALL = (
    ("accept", b"Accept: */*\r\n"),
    ("accept-encoding", b"Accept-Encoding: gzip, deflate, br\r\n"),
)


cdef bytes header_line(object name, object value):
    """Return a line as libcurl takes it. Raises ValueError for what would break the request apart."""
    cdef bytes text
    if not isinstance(name, str) or not header_token(name):
        raise ValueError(f"the name of a header is letters, digits and hyphens, got {name!r}")
    if value is None:
        return f"{name}:".encode()                  # libcurl: leave it out
    text = header_value(value)
    if b"\r" in text or b"\n" in text or b"\0" in text:
        raise ValueError(f"a header must be one line of text, got {name!r}: {value!r}")
    if not text.strip():
        return f"{name};".encode()                  # libcurl: send it empty
    return name.encode() + b": " + text


cdef bytes header_value(object value):
    return value if isinstance(value, bytes) else str(value).encode()


cdef object header_required = object()


cdef class UserHeaders:
    """The headers that one user sends with every request; a mapping, names in any case."""
    cdef HeaderList list

    cdef int put(self, str name, object value) except -1:
        self.list = self.list.with_fields({name: value})
        return 0

    def __getitem__(self, name):
        return self.list.fields[name.lower()][1]

    def __setitem__(self, name, value):
        self.put(name, value)

    def __delitem__(self, name):
        if name.lower() not in self.list.fields:
            raise KeyError(name)
        self.list = self.list.without((name.lower(),))

    def __contains__(self, name):
        return name.lower() in self.list.fields

    def __iter__(self):
        return iter([name for name, _ in self.list.fields.values()])

    def __len__(self):
        return len(self.list.fields)

    def pop(self, key, default=header_required):
        found = self.get(key, default)
        if found is header_required:
            raise KeyError(key)
        self.list = self.list.without((key.lower(),))
        return found

    # What else a mapping can do is made of the above.
    get = client_mapping.get
    keys = client_mapping.keys
    values = client_mapping.values
    items = client_mapping.items
    popitem = client_mapping.popitem
    clear = client_mapping.clear
    update = client_mapping.update
    setdefault = client_mapping.setdefault

    def __repr__(self):
        return f"UserHeaders({dict(self.items())!r})"


client_mapping.register(UserHeaders)
