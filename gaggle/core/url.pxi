# Absolute http(s) URLs: parsing, joining with a reference (RFC 3986) and percent-encoding as browsers do (WHATWG URL).
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_1BYTE_DATA, PyUnicode_1BYTE_KIND, PyUnicode_DecodeASCII, PyUnicode_KIND

import re as url_re
import socket as url_socket
from urllib.parse import unquote as url_unquote

# What may stand unencoded in a path or a query. "%" is there because what is already encoded stays as it is.
cdef bytes url_TARGET = b"!$%&'()*+,-./0123456789:;=?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]_abcdefghijklmnopqrstuvwxyz~"
# What may stand unencoded in a name or value of a form (WHATWG URL section 5.2); the space becomes "+" afterwards.
cdef bytes url_FORM = b" *-._0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
cdef frozenset url_HOST = frozenset("-._~0123456789abcdefghijklmnopqrstuvwxyz")   # as libcurl
cdef dict url_PORTS = {"http": 80, "https": 443}

# scheme, authority, path, query; the fragment is left out. RFC 3986 appendix B.
cdef object url_split = url_re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?").match
cdef object url_control = url_re.compile("[\\x00-\\x1f\\x7f]").search

cdef unsigned char url_target_byte[256]
cdef unsigned char url_form_byte[256]

cdef void url_fill(unsigned char* table, bytes plain):
    cdef unsigned char c
    for c in plain:
        table[c] = 1

url_fill(url_target_byte, url_TARGET)
url_fill(url_form_byte, url_FORM)


cdef str url_escape(bytes data, const unsigned char* plain):
    """Return `data` as ASCII text in which every byte that is not in the table `plain` is written %XX."""
    cdef const unsigned char* source = <const unsigned char*>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data), i, length = 0
    cdef bytes escaped = PyBytes_FromStringAndSize(NULL, size * 3)
    cdef char* out = PyBytes_AS_STRING(escaped)
    cdef const char* digits = "0123456789ABCDEF"
    for i in range(size):
        if plain[source[i]]:
            out[length] = source[i]
            length += 1
        else:
            out[length], out[length + 1], out[length + 2] = b"%", digits[source[i] >> 4], digits[source[i] & 15]
            length += 3
    return PyUnicode_DecodeASCII(out, length, NULL)


cdef str url_encode(str text):
    """Return a path or query with what it may not contain percent-encoded; most come back as they are."""
    if text.isascii() and url_plain(PyUnicode_1BYTE_DATA(text), len(text)):
        return text
    return url_escape(url_utf8(text), url_target_byte)


cdef bint url_plain(const unsigned char* at, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        if not url_target_byte[at[i]]:
            return False
    return True


cdef bytes url_utf8(str text):
    """Return `text` in UTF-8; bytes that Python could not decode and kept as "surrogates" are those bytes again."""
    return text.encode("utf-8", "surrogateescape")


cdef str url_form(object text):
    """Return one name or value as it stands in a form: a space is "+"."""
    cdef bytes data = text if isinstance(text, bytes) else url_utf8(url_exact(str(text)))
    return url_escape(data, url_form_byte).replace(" ", "+")


cdef str url_exact(object text):
    """Return the str that `text` is or is derived from, as what lxml and enum hand out. Raises TypeError."""
    if not isinstance(text, str):
        raise TypeError(f"a URL is a str, not {type(text).__name__}")
    return str.__str__(text)


cdef str url_clean(str text):
    """Return `text` without the spaces around it. Raises ValueError when it holds control characters."""
    found = url_control(text)
    if found is not None:
        raise url_error(text, f"it has a control character ({found.group()!r})")
    return text.strip(" ")


cdef object url_error(str text, str reason):
    return ValueError(f"{text[:200]!r} is not a URL to request: {reason}")


cdef str url_without_dots(str path):
    """Return an absolute path without its "." and ".." segments (RFC 3986 section 5.2.4). "%2e" is not a dot."""
    cdef list kept = []
    cdef str segment = ""
    if "/." not in path:
        return path
    for segment in path.split("/")[1:]:
        if segment == "..":
            kept and kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segment == "." or segment == "..":
        kept.append("")
    return "/" + "/".join(kept)


cdef int url_port(str text, str scheme, str url) except -1:
    """Return the port in `text`, which may be empty. Raises ValueError."""
    if not text:
        return url_PORTS[scheme]
    cdef str digits = text.lstrip("0")
    if not (text.isascii() and text.isdecimal()) or len(digits) > 5 or not 0 < int(digits or "0") < 65536:
        raise url_error(url, f"the port must be a number from 1 to 65535, not {text[:20]!r}")
    return int(digits)


cdef str url_host(str host, str url):
    """Return a host name or an address in brackets, lower case and in ASCII. Raises ValueError."""
    if host[:1] == "[":
        return url_ipv6(host, url)
    if not host:
        raise url_error(url, "it has no host")
    host = host.lower() if host.isascii() else url_idna(host, url)
    if not url_HOST.issuperset(host):
        raise url_error(url, f"the host {host!r} has a character that no host name has")
    if len(host) > 254:
        raise url_error(url, "the host is longer than the 253 characters that DNS allows")
    return host


cdef str url_idna(str host, str url):
    import idna
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except UnicodeError as error:
        raise url_error(url, f"the host {host!r} is no international name: {error}") from None


cdef str url_ipv6(str host, str url):
    try:
        url_socket.inet_pton(url_socket.AF_INET6, host.removeprefix("[").removesuffix("]"))
    except OSError:
        raise url_error(url, f"{host!r} is no IPv6 address") from None
    return host.lower()


cdef list url_pairs(object params):
    """Return the (name, value) pairs in `params`, a pair for each item of a list, none for None, "true" for True."""
    cdef list pairs = []
    for name, value in (params.items() if hasattr(params, "items") else params):
        for item in (value if isinstance(value, (list, tuple)) else (value,)):
            if item is not None:
                pairs.append((name, str(item).lower() if isinstance(item, bool) else item))
    return pairs


cdef str url_query(object params):
    """Return `params` as a query: a text is taken as one already."""
    if isinstance(params, str):
        return url_encode(url_clean(url_exact(params)))
    return "&".join([url_form(name) + "=" + url_form(value) for name, value in url_pairs(params)])


@cython.final
@cython.freelist(64)
@cython.auto_pickle(False)
cdef class Url:
    """An absolute http or https URL that can be requested as it stands; it never changes. Made by `parse` and `join`.

    host: lower case, ASCII, IPv6 in brackets. target: path and query, what the request line says. origin and text have
    the port only where it is not the scheme's own, and never the userinfo: that is "", "user" or "user:password",
    decoded. There is no fragment: no server ever sees it.
    """
    cdef readonly str scheme
    cdef readonly str host
    cdef readonly int port
    cdef readonly bint secure
    cdef readonly str userinfo
    cdef readonly str origin
    cdef readonly str path
    cdef readonly str target
    cdef readonly str text
    cdef bytes logged              # as the request log has it

    def __init__(self):
        raise TypeError("a Url is made by Url.parse(text)")

    @staticmethod
    def parse(text):
        """Return the URL in `text`. Raises ValueError with a reason for a person.

        Spaces around it are dropped; inside path and query, what may not stand there is percent-encoded, a backslash
        too: it never counts as a slash.
        """
        return Url.of(url_exact(text))

    @staticmethod
    cdef Url of(str text):
        cdef Url url = Url.__new__(Url)
        cdef str scheme, authority, path, query
        scheme, authority, path, query = url_split(url_clean(text)).groups()
        url.set_scheme(scheme, text)
        url.set_authority(authority or "", text)
        url.set_target(url_without_dots(url_encode(path)), query)
        return url

    cdef int set_scheme(self, str scheme, str text) except -1:
        if scheme is None:
            raise url_error(text, "it has no scheme: write http:// or https:// in front")
        self.scheme = scheme.lower()
        if self.scheme not in url_PORTS:
            raise url_error(text, f"its scheme is {scheme!r}, not http or https")
        self.secure = self.scheme == "https"
        return 0

    cdef int set_authority(self, str authority, str text) except -1:
        """Set userinfo, host, port and origin (RFC 3986 section 3.2). As in browsers the last "@" ends the userinfo."""
        cdef str user, host, port, rest
        user, _, rest = authority.rpartition("@")
        cdef Py_ssize_t bracket = rest.rfind("]") + 1
        host, _, port = rest[bracket:].partition(":")
        self.userinfo = url_unquote(user) if user else ""
        self.host = url_host(rest[:bracket] + host, text)
        self.port = url_port(port, self.scheme, text)
        self.origin = f"{self.scheme}://{self.host}"
        if self.port != <int>url_PORTS[self.scheme]:
            self.origin = f"{self.origin}:{self.port}"
        return 0

    cdef int set_target(self, str path, str query) except -1:
        """Set path, target and text; `path` is encoded, `query` is not and may be None."""
        self.path = path or "/"
        self.target = self.path if query is None else self.path + "?" + url_encode(query)
        self.text = self.origin + self.target
        return 0

    cdef Url twin(self):
        """Return a URL with the same origin and no target yet."""
        cdef Url url = Url.__new__(Url)
        url.scheme, url.host, url.port, url.secure = self.scheme, self.host, self.port, self.secure
        url.userinfo, url.origin = self.userinfo, self.origin
        return url

    cpdef Url join(self, reference):
        """Return what `reference` means here (RFC 3986 section 5.2). Raises ValueError as `parse` does. Per request."""
        cdef str text = reference if type(reference) is str else url_exact(reference)
        cdef Url url = self.join_plain(text)
        if url is None and not self.userinfo and text.startswith(self.origin):     # most redirects
            url = self.join_plain(text[len(self.origin):])
        return self.join_any(text) if url is None else url

    cdef Url join_plain(self, str reference):
        """Return the answer for an absolute path that is sent as it is written, None for anything else."""
        cdef Py_ssize_t size = len(reference), i, mark = 0
        cdef const unsigned char* at
        cdef Url url
        if size == 0 or PyUnicode_KIND(reference) != PyUnicode_1BYTE_KIND:
            return None
        at = PyUnicode_1BYTE_DATA(reference)
        if at[0] != b"/" or at[1] == b"/":
            return None
        for i in range(size):
            if not url_target_byte[at[i]] or (at[i] == b"." and at[i - 1] == b"/"):
                return None
            if at[i] == b"?" and mark == 0:
                mark = i
        url = self.twin()
        url.target = reference
        url.path = reference[:mark] if mark else reference
        url.text = self.origin + reference
        return url

    cdef Url join_any(self, str reference):
        cdef str scheme, authority, path, query
        scheme, authority, path, query = url_split(url_clean(reference)).groups()
        if scheme is not None and (authority is not None or scheme.lower() != self.scheme):
            return Url.of(reference)
        if authority is not None:
            return Url.of(self.scheme + ":" + reference.strip(" "))
        return self.join_path(url_encode(path), query)

    cdef Url join_path(self, str path, str query):
        cdef Url url
        if not path and query is None:
            return self
        if not path:
            path = self.path
        elif path[0] != "/":
            path = self.path[:self.path.rfind("/") + 1] + path
        url = self.twin()
        url.set_target(url_without_dots(path), query)
        return url

    def with_params(self, params):
        """Return this URL with `params` appended to its query.

        params: a mapping or (name, value) pairs, or a query as text. A list or tuple repeats its name, None leaves it
        out (as requests), True is "true" (as httpx).
        """
        cdef str query = url_query(params)
        cdef Url url
        if not query:
            return self
        url = self.twin()
        url.path = self.path
        url.target = self.target + self.query_glue() + query
        url.text = self.origin + url.target
        return url

    cdef str query_glue(self):
        if len(self.target) == len(self.path):
            return "?"
        return "" if self.target.endswith(("?", "&")) else "&"

    def __eq__(self, other):
        if isinstance(other, Url):
            return self.text == (<Url>other).text and self.userinfo == (<Url>other).userinfo
        return self.text == other if isinstance(other, str) else NotImplemented

    def __hash__(self):
        return hash(self.text)

    def __str__(self):
        return self.text

    def __repr__(self):
        return f"Url({self.text!r})"
