# The cookies of one user: RFC 6265, with what all browsers and libcurl took over from its successor (draft "6265bis").
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.math cimport INFINITY, NAN, isnan
from libc.stdint cimport int64_t
from libc.string cimport memchr, memcmp, memcpy, strlen
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

cdef enum:
    COOKIES_BYTES = 4096           # RFC 6265 section 6.1: name and value of one cookie
    COOKIES_ATTRIBUTE_BYTES = 1024
    COOKIES_A_DOMAIN = 50
    COOKIES_A_JAR = 3000
    COOKIES_SUFFIXES = 1000        # answers about public suffixes that are remembered

cdef frozenset cookies_TRUSTED = frozenset(("localhost", "127.0.0.1", "[::1]"))   # no wire to listen on: as https
cdef const char* cookies_MONTHS = "janfebmaraprmayjunjulaugsepoctnovdec"

cdef object cookies_suffix_list = None
cdef dict cookies_suffixes = {}
cdef double cookies_shift_s = 0


def cookies_shift_clock(double seconds):
    """Let all jars believe that it is `seconds` later. For tests."""
    global cookies_shift_s
    cookies_shift_s = seconds


cdef inline double cookies_now() noexcept:
    """Return the unix time in seconds. About 25 ns."""
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return now.tv_sec + now.tv_nsec * 1e-9 + cookies_shift_s


cdef struct CookieText:            # a part of a Set-Cookie line
    const char* data
    Py_ssize_t size


cdef CookieText cookies_cut(CookieText* rest, char mark) noexcept nogil:
    """Cut off `rest` what stands before its first `mark`, and the mark; return it without the white space around it."""
    cdef const char* found = <const char*>memchr(rest.data, mark, rest.size)
    cdef CookieText text = CookieText(rest.data, rest.size if found == NULL else found - rest.data)
    cdef Py_ssize_t used = text.size + (found != NULL)
    rest.data, rest.size = rest.data + used, rest.size - used
    return cookies_trim(text)


cdef CookieText cookies_trim(CookieText text) noexcept nogil:
    while text.size and (text.data[0] == b" " or text.data[0] == b"\t"):
        text.data, text.size = text.data + 1, text.size - 1
    while text.size and (text.data[text.size - 1] == b" " or text.data[text.size - 1] == b"\t"):
        text.size -= 1
    return text


cdef bint cookies_has_control(CookieText text) noexcept nogil:
    """Return whether a control character other than the tab is in `text`."""
    cdef Py_ssize_t i
    cdef unsigned char c
    for i in range(text.size):
        c = text.data[i]
        if c < 32 and c != 9 or c == 127:
            return True
    return False


cdef int cookies_number(CookieText text, int most) noexcept nogil:
    """Return the number at the start of `text`; -1 unless it has 1 to `most` digits."""
    cdef int number = 0, size = 0
    while size < text.size and b"0" <= text.data[size] <= b"9":
        if size == most:
            return -1
        number = number * 10 + text.data[size] - 48
        size += 1
    return number if size else -1


# Domains and paths: RFC 6265 sections 5.1.3, 5.1.4 and 5.3 step 5.

cdef bint cookies_is_address(str host):
    """Return whether `host` is an IP address, which has no subdomains; a last label of digits can be nothing else."""
    return host.startswith("[") or host.rpartition(".")[2].isdecimal()


cdef inline bint cookies_within(str host, str domain):
    """Return whether `host` is a subdomain of `domain`."""
    return len(host) > len(domain) and host.endswith(domain) and host[len(host) - len(domain) - 1] == u"."


cdef inline bint cookies_related(str one, str other):
    return one == other or cookies_within(one, other) or cookies_within(other, one)


cdef bint cookies_is_suffix(str domain):
    """Return whether `domain` is a public suffix: under it live hosts of different owners, so no cookie may span it."""
    cdef object known
    if "." not in domain:
        return True
    known = cookies_suffixes.get(domain)
    if known is None:
        if len(cookies_suffixes) >= COOKIES_SUFFIXES:
            cookies_suffixes.clear()
        known = cookies_suffixes[domain] = cookies_load_suffixes().is_public(domain)
    return known


cdef object cookies_load_suffixes():
    global cookies_suffix_list
    if cookies_suffix_list is None:
        import publicsuffixlist
        cookies_suffix_list = publicsuffixlist.PublicSuffixList()
    return cookies_suffix_list


cdef str cookies_default_path(str path):
    cdef Py_ssize_t end = path.rfind("/")
    return path[:end] if end > 0 else "/"


cdef inline bint cookies_path_matches(str path, str prefix):
    """Return whether a cookie with the path `prefix` goes to `path` (RFC 6265 section 5.1.4)."""
    cdef Py_ssize_t size = len(prefix)
    if size == 1:
        return True
    return path.startswith(prefix) and (len(path) == size or prefix.endswith("/") or path[size] == u"/")


cdef inline bint cookies_trusted(str host, bint secure):
    return secure or host in cookies_TRUSTED


@cython.final
@cython.no_gc
@cython.auto_pickle(False)
cdef class Cookie:
    """One cookie as it is kept. `domain` is "" for one that goes to every host; `expires` is a unix time or None."""
    cdef bytes pair                # b"name=value": what is sent, byte for byte what came
    cdef Py_ssize_t name_size
    cdef readonly str domain
    cdef readonly str path
    cdef double until              # unix time, INFINITY: as long as the jar
    cdef readonly bint secure
    cdef readonly bint http_only
    cdef readonly bint host_only
    cdef bint aged                 # `until` comes from Max-Age, which beats Expires
    cdef bint rooted               # the path was given, not the default

    def __cinit__(self):
        self.pair = b""
        self.domain = self.path = ""
        self.until = INFINITY

    def __init__(self):
        raise TypeError("a Cookie is made by Cookies.set(name, value)")

    @staticmethod
    cdef Cookie of(CookieText name, CookieText value):
        cdef Cookie cookie = Cookie.__new__(Cookie)
        cookie.pair = PyBytes_FromStringAndSize(NULL, name.size + 1 + value.size)
        cdef char* pair = PyBytes_AS_STRING(cookie.pair)
        memcpy(pair, name.data, name.size)
        pair[name.size] = b"="
        memcpy(pair + name.size + 1, value.data, value.size)
        cookie.name_size = name.size
        return cookie

    @property
    def name(self):
        return headers_text(PyBytes_AS_STRING(self.pair), self.name_size)

    @property
    def value(self):
        cdef Py_ssize_t start = self.name_size + 1
        return headers_text(PyBytes_AS_STRING(self.pair) + start, PyBytes_GET_SIZE(self.pair) - start)

    @property
    def expires(self):
        return None if self.until == INFINITY else self.until

    cdef inline bint same_name(self, Cookie other) noexcept:
        return self.name_size == other.name_size and not memcmp(
            PyBytes_AS_STRING(self.pair), PyBytes_AS_STRING(other.pair), self.name_size)

    cdef inline bint same(self, Cookie other):
        """Return whether one replaces the other: they agree in name, domain, kind of domain and path (6265bis 5.7)."""
        return (self.same_name(other) and self.host_only == other.host_only and self.domain == other.domain
                and self.path == other.path)

    cdef inline bint goes_to(self, str host):
        if self.domain == host or not self.domain:
            return True
        return not self.host_only and cookies_within(host, self.domain)

    cdef bint settle(self, str host, str path, bint secure):
        """Give the cookie its final domain and path; False when `host` may not set it (RFC 6265 section 5.3)."""
        cdef bint spans = bool(self.domain)
        if not self.settle_domain(host):
            return False
        if self.secure and not secure:
            return False
        if not self.keeps_prefix(spans):
            return False
        self.path = self.path or cookies_default_path(path)
        return True

    cdef bint settle_domain(self, str host):
        if not self.domain or self.domain == host and (cookies_is_address(host) or cookies_is_suffix(host)):
            self.domain, self.host_only = host, True
            return True
        if self.domain == host:
            return True
        return cookies_within(host, self.domain) and not cookies_is_address(host) and not cookies_is_suffix(self.domain)

    cdef bint keeps_prefix(self, bint spans):
        """Return whether the cookie is what a name like __Secure-x or __Host-x promises."""
        cdef bytes name
        if not self.pair.startswith(b"__"):
            return True
        name = self.pair[:self.name_size].lower()
        if name.startswith(b"__secure-"):
            return self.secure
        return not name.startswith(b"__host-") or (self.secure and not spans and self.rooted and self.path == "/")

    def __repr__(self):
        return f"Cookie({self.name!r}, {self.value!r}, domain={self.domain!r}, path={self.path!r})"


# The attributes of a Set-Cookie line: RFC 6265 section 5.2.1 to 5.2.6. The last one of a kind that makes sense counts.

ctypedef int (*CookieTake)(Cookie cookie, CookieText value, double now) except -1


cdef struct CookieAttribute:
    const char* name
    CookieTake take


cdef int cookies_take_expires(Cookie cookie, CookieText value, double now) except -1:
    cdef double until = cookies_date(value)
    if not cookie.aged and not isnan(until):
        cookie.until = until
    return 0


cdef int cookies_take_max_age(Cookie cookie, CookieText value, double now) except -1:
    cdef Py_ssize_t i, start = value.size > 0 and value.data[0] == b"-"
    cdef double age = 0
    for i in range(start, value.size):
        if not b"0" <= value.data[i] <= b"9":
            return 0
        age = age * 10 + value.data[i] - 48
    if value.size > start:
        cookie.aged = True
        cookie.until = 0 if start else now + age
    return 0


cdef int cookies_take_domain(Cookie cookie, CookieText value, double now) except -1:
    cdef str domain = headers_text(value.data, value.size).removeprefix(".")
    cookie.domain = domain.lower() or cookie.domain
    return 0


cdef int cookies_take_path(Cookie cookie, CookieText value, double now) except -1:
    cookie.rooted = value.size > 0 and value.data[0] == b"/"
    cookie.path = "" if not cookie.rooted else "/" if value.size == 1 else headers_text(value.data, value.size)
    return 0


cdef int cookies_take_secure(Cookie cookie, CookieText value, double now) except -1:
    cookie.secure = True
    return 0


cdef int cookies_take_http_only(Cookie cookie, CookieText value, double now) except -1:
    cookie.http_only = True
    return 0


cdef CookieAttribute cookies_ATTRIBUTES[6]
cookies_ATTRIBUTES[0].name, cookies_ATTRIBUTES[0].take = "expires", cookies_take_expires
cookies_ATTRIBUTES[1].name, cookies_ATTRIBUTES[1].take = "max-age", cookies_take_max_age
cookies_ATTRIBUTES[2].name, cookies_ATTRIBUTES[2].take = "domain", cookies_take_domain
cookies_ATTRIBUTES[3].name, cookies_ATTRIBUTES[3].take = "path", cookies_take_path
cookies_ATTRIBUTES[4].name, cookies_ATTRIBUTES[4].take = "secure", cookies_take_secure
cookies_ATTRIBUTES[5].name, cookies_ATTRIBUTES[5].take = "httponly", cookies_take_http_only


cdef int cookies_take(Cookie cookie, CookieText name, CookieText value, double now) except -1:
    """Let `cookie` take one attribute; an unknown one is ignored, and one that is too long (6265bis 5.6)."""
    cdef int i
    if value.size > COOKIES_ATTRIBUTE_BYTES:
        return 0
    for i in range(6):
        if (<size_t>name.size == strlen(cookies_ATTRIBUTES[i].name)
                and headers_same(name.data, cookies_ATTRIBUTES[i].name, name.size)):
            return cookies_ATTRIBUTES[i].take(cookie, value, now)
    return 0


cdef Cookie cookies_parse(bytes line, double now):
    """Return the cookie in one Set-Cookie value as it was written (RFC 6265 section 5.2), None if that is none."""
    cdef CookieText rest = CookieText(PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line))
    cdef bint spoilt = cookies_has_control(rest)
    cdef CookieText value = cookies_cut(&rest, b";")
    cdef bint named = memchr(value.data, b"=", value.size) != NULL
    cdef CookieText name = cookies_cut(&value, b"=")
    cdef Cookie cookie
    value = cookies_trim(value)
    if spoilt or not named or not name.size or name.size + value.size > COOKIES_BYTES:
        return None
    cookie = Cookie.of(name, value)
    while rest.size:
        value = cookies_cut(&rest, b";")
        name = cookies_cut(&value, b"=")
        cookies_take(cookie, name, cookies_trim(value), now)
    return cookie


@cython.final
@cython.no_gc
@cython.auto_pickle(False)
cdef class Cookies:
    """The cookies of one user, a mapping from names to values, and `for cookie in cookies` gives each Cookie.

    They are kept in one list in the order of their creation: a user has few, and a scan of few is faster and smaller
    than an index. The value of the last Cookie header is kept as long as it is right.
    """
    cdef list kept                 # of Cookie; None in a jar that never had one
    cdef bytes sent                # the answer to the last question, None: no cookie
    cdef str sent_host             # the question; None: there is no answer to reuse
    cdef str sent_path             # None: the answer holds for every path
    cdef double sent_until         # unix time at which the first cookie of the answer expires
    cdef bint sent_secure

    cdef void store(self, bytes line, str host, str path, bint secure):
        """Take one Set-Cookie value that came from `host` for the request path `path`. Never raises. Per response."""
        cdef double now = cookies_now()
        cdef Cookie cookie = cookies_parse(line, now)
        secure = cookies_trusted(host, secure)
        if cookie is not None and cookie.settle(host, path, secure) and (secure or not self.shadows(cookie, now)):
            self.keep(cookie, now)

    cdef bint shadows(self, Cookie cookie, double now):
        """Return whether a cookie from http would hide a Secure one: 6265bis 5.7, "leave secure cookies alone"."""
        cdef Cookie old
        for old in self.kept or ():
            if (old.secure and old.until > now and old.same_name(cookie) and cookies_related(old.domain, cookie.domain)
                    and cookies_path_matches(cookie.path, old.path)):
                return True
        return False

    cdef int keep(self, Cookie cookie, double now) except -1:
        """Put `cookie` in the place of the one it replaces, else at the end; one that is over only removes that one."""
        cdef Py_ssize_t place = self.place(cookie)
        cdef bint over = cookie.until <= now
        self.sent_host = None
        if place < 0 and not over:
            self.append(cookie, now)
        elif place >= 0 and over:
            del self.kept[place]
        elif place >= 0:
            self.kept[place] = cookie
        return 0

    cdef Py_ssize_t place(self, Cookie cookie):
        cdef Py_ssize_t i
        if self.kept is not None:
            for i in range(len(self.kept)):
                if cookie.same(<Cookie>self.kept[i]):
                    return i
        return -1

    cdef int append(self, Cookie cookie, double now) except -1:
        if self.kept is None:
            self.kept = []
        if len(self.kept) >= COOKIES_A_DOMAIN:
            self.make_room(cookie.domain, now)
        self.kept.append(cookie)
        return 0

    cdef int make_room(self, str domain, double now) except -1:
        """Evict for one more of `domain`: what is over, its oldest, the oldest of all (RFC 6265 section 5.3)."""
        cdef Cookie cookie
        self.drop_expired(now)
        cdef list same = [i for i, cookie in enumerate(self.kept) if cookie.domain == domain]
        if len(same) >= COOKIES_A_DOMAIN:
            del self.kept[<Py_ssize_t>same[0]]
        if len(self.kept) >= COOKIES_A_JAR:
            del self.kept[0]
        return 0

    cdef list alive(self):
        """Return the cookies that are not over, oldest first; the others are dropped."""
        if self.kept is None:
            return []
        self.drop_expired(cookies_now())
        return self.kept

    cdef int drop_expired(self, double now) except -1:
        cdef Cookie cookie
        self.kept = [cookie for cookie in self.kept if cookie.until > now]
        return 0

    cdef bytes header(self, str host, str path, bint secure):
        """Return the value of the Cookie header (RFC 6265 section 5.4), None without one. Per request."""
        if self.kept is None:
            return None
        if (self.sent_host == host and self.sent_secure == secure and (self.sent_path is None or self.sent_path == path)
                and (self.sent_until == INFINITY or cookies_now() < self.sent_until)):
            return self.sent
        return self.collect(host, path, secure)

    cdef bytes collect(self, str host, str path, bint secure):
        """Make the header's value and remember it, for every path if no cookie of this host asks for one."""
        cdef double until = INFINITY
        cdef bint rooted = True
        cdef list found = []
        cdef Cookie cookie
        cdef bint trusted = cookies_trusted(host, secure)
        for cookie in self.alive():
            if not cookie.goes_to(host) or (cookie.secure and not trusted):
                continue
            until = min(until, cookie.until)
            rooted = rooted and cookie.path == "/"
            if cookies_path_matches(path, cookie.path):
                cookies_insert(found, cookie)
        self.sent = cookies_join(found)
        self.sent_host, self.sent_secure, self.sent_until = host, secure, until
        self.sent_path = None if rooted else path
        return self.sent

    def set(self, name, value, str domain not None="", str path not None="/", bint secure=False,
            expires=None):
        """Put in a cookie by hand, for `domain` and its subdomains; "" is every host that the user visits.

        expires: unix time, None: as long as the jar. Raises ValueError when a cookie cannot hold `name` or `value`, and
        when the path does not start with a slash.
        """
        cdef Cookie cookie = cookies_parse(f"{name}={value}".encode(), 0)
        if cookie is None or cookie.name != name or cookie.value != value:
            raise ValueError(f"no cookie can have the name {name!r} and the value {value!r}")
        if not path.startswith("/"):
            raise ValueError(f"the path of a cookie starts with a slash, not as {path!r}")
        cookie.domain, cookie.path, cookie.secure = domain.removeprefix(".").lower(), path, secure
        cookie.host_only = bool(domain) and cookies_is_address(domain)
        cookie.until = INFINITY if expires is None else expires
        self.keep(cookie, cookies_now())

    def delete(self, name):
        """Take out all cookies called `name`, whatever their domain and path."""
        cdef Cookie cookie
        self.sent_host = None
        if self.kept is not None:
            self.kept = [cookie for cookie in self.kept if cookie.name != name]

    def clear(self):
        self.kept = self.sent_host = self.sent = None

    def get(self, name, default=None):
        """Return the value of the cookie `name`, of the one created last if there are several."""
        cdef Cookie cookie
        cdef object found = default
        for cookie in self.alive():
            if cookie.name == name:
                found = cookie.value
        return found

    def __getitem__(self, name):
        cdef object found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __setitem__(self, name, value):
        self.set(name, value)

    def __delitem__(self, name):
        if name not in self:
            raise KeyError(name)
        self.delete(name)

    def __contains__(self, name):
        return self.get(name) is not None

    def keys(self):
        cdef Cookie cookie
        return list(dict.fromkeys([cookie.name for cookie in self.alive()]))

    def items(self):
        return [(name, self[name]) for name in self.keys()]

    def __iter__(self):
        return iter(list(self.alive()))

    def __len__(self):
        return len(self.alive())

    def __bool__(self):
        return len(self.alive()) > 0

    def __repr__(self):
        return f"Cookies({list(self)!r})"

    def store_line(self, bytes line not None, str host not None, str path not None="/", bint secure=False):
        """Take one Set-Cookie value as if `host` had answered a request for `path` with it."""
        self.store(line, host, path, secure)

    def header_for(self, str host not None, str path not None="/", bint secure=False):
        """Return what a request to `host` for `path` would carry in its Cookie header, None without a cookie."""
        return self.header(host, path, secure)


cdef int cookies_insert(list found, Cookie cookie) except -1:
    """Put `cookie` where it is sent: longer paths first, then earlier ones, and it is the latest."""
    cdef Py_ssize_t place = len(found)
    while place and len((<Cookie>found[place - 1]).path) < len(cookie.path):
        place -= 1
    found.insert(place, cookie)
    return 0


cdef bytes cookies_join(list found):
    """Return "a=1; b=2" of the cookies, None of none."""
    cdef Cookie cookie
    if len(found) == 1:
        return (<Cookie>found[0]).pair
    return b"; ".join([cookie.pair for cookie in found]) if found else None
