# What a load test calls: one user's requests, cookies, headers and connections.
from cpython.dict cimport PyDict_GetItemWithError

cdef frozenset CLIENT_OPTIONS = frozenset((
    "name", "params", "headers", "json", "data", "files", "auth", "timeout", "follow_redirects", "allow_redirects",
    "expect", "stream", "http_version",
))
cdef int CLIENT_MOST_LINKS = 32                 # idle connections of one user, to different hosts
cdef tuple CLIENT_WITH_BODY = ("POST", "PUT", "PATCH")
cdef int CLIENT_MOST_PREPARED = 10_000          # a task: URLs made at random must not fill the memory
cdef object client_template = client_re.compile(r"\{(\w+)\}")


cdef class Scope:
    """What the requests of one task have in common: their name, if the task has one, and what is prepared for them."""
    cdef readonly object name                   # str, or None: requests are named by their path
    cdef readonly str label                     # the user class and the task, as the logs have them
    cdef readonly str task
    cdef dict gets                              # url -> Prepared, for a plain get()
    cdef dict others                            # (method, url) -> Prepared
    cdef bytes logged

    def __init__(self, name=None, str label="", str task=""):
        self.name, self.label, self.task, self.gets, self.others = name, label, task, {}, {}

    cdef bytes logged_as(self):
        """Return what a line of JSON says of it."""
        if self.logged is None:
            self.logged = b',"user_class":' + requestlog_string(self.label) + b',"task":' + requestlog_string(self.task)
        return self.logged

    cdef int keep(self, str method, object url, Prepared prepared) except -1:
        if len(self.gets) + len(self.others) > CLIENT_MOST_PREPARED:
            self.gets, self.others = {}, {}
        if method == "GET":
            self.gets[url] = prepared
        else:
            self.others[method, url] = prepared
        return 0


cdef class Site:
    """What the users of one class start from."""
    cdef Url base
    cdef HeaderList headers
    cdef int64_t timeout_ns

    @staticmethod
    cdef Site of(type cls, Settings settings):
        cdef Site self = Site.__new__(Site)
        host = settings.base or getattr(cls, "default_host", None)
        self.base = Url.parse(host) if host else None
        self.headers = HeaderList.of({"user-agent": ("User-Agent", settings.user_agent)}).with_fields(
            getattr(cls, "default_headers", {})).with_fields(settings.headers)
        self.timeout_ns = client_nanoseconds(settings.timeout)
        return self


cdef class Client:
    """An HTTP client of one user: its cookies, headers and connections are its own.

    Every method returns at once, with the request on its way; awaiting what it returns gives the Response.
    """
    cdef Pump pump
    cdef Site site
    cdef Url base
    cdef Scope scope_in_use
    cdef Cookies jar
    cdef UserHeaders own_headers
    cdef CURLSH* share
    cdef list links                # open connections of the fast lane, the user's own; None before the first
    cdef Request newest            # of the requests under way
    cdef int active                # how many they are
    cdef int queued                # of them, not on the wire yet
    cdef int refusals              # connections refused since the last answer
    cdef public int64_t number     # of the user, from 1 over the whole test; 0 outside of one
    cdef public bint is_stopped    # it leaves after its present task
    cdef public double task_began  # on the monotonic clock
    cdef uint32_t drawn            # requests that were drawn for the request log or not
    cdef uint64_t luck             # state of the user's chances: 8 bytes, where random.Random has 2,500
    cdef bytes source              # where it connects from; None: as the kernel chooses
    cdef bint keeps_sessions       # the share keeps TLS sessions
    cdef bint is_hurried           # its pauses end at once

    def __cinit__(self, *args, **kwargs):
        if pump_current is None:
            raise RuntimeError("a user can be made only inside an engine: run the load test with `gaggle FILE`")
        self.pump = pump_current
        self.site = self.pump.site_of(type(self))
        self.base = self.site.base
        self.scope_in_use = self.pump.no_scope
        self.source = self.pump.next_source()

    def __dealloc__(self):
        if self.share != NULL:
            curl_share_cleanup(self.share)

    def get(self, url, **options):
        return self.open("GET", url, options)

    def head(self, url, **options):
        return self.open("HEAD", url, options)

    def options(self, url, **options):
        return self.open("OPTIONS", url, options)

    def delete(self, url, **options):
        return self.open("DELETE", url, options)

    def post(self, url, data=None, json=None, **options):
        return self.open_with_body("POST", url, data, json, options)

    def put(self, url, data=None, json=None, **options):
        return self.open_with_body("PUT", url, data, json, options)

    def patch(self, url, data=None, json=None, **options):
        return self.open_with_body("PATCH", url, data, json, options)

    def request(self, method, url, **options):
        return self.open(client_method(method), url, options)

    @property
    def client(self):
        """The user itself: where Locust has `self.client.get`, it works here too."""
        return self

    @property
    def cookies(self):
        if self.jar is None:
            self.jar = Cookies()
        return self.jar

    @property
    def headers(self):
        """Sent with every request of this user; starts as those of its class."""
        if self.own_headers is None:
            self.own_headers = UserHeaders.__new__(UserHeaders)
            self.own_headers.list = self.site.headers
        return self.own_headers

    @property
    def host(self):
        """The URL that this user's paths are joined to; None when there is none."""
        return None if self.base is None else self.base.text

    @host.setter
    def host(self, url):
        self.base = Url.parse(url)

    @property
    def scope(self):
        """What names the requests now: set by the engine around each task."""
        return self.scope_in_use

    @scope.setter
    def scope(self, Scope scope):
        self.scope_in_use = scope

    @property
    def in_flight(self):
        """How many requests of this user are under way."""
        return self.active

    def wait_time(self):
        """Return the seconds to wait after each task. Replace it by `between(1, 3)`, or by a method of your own."""
        return 0.0

    def pause(self, double seconds):
        """Return an awaitable that ends after `seconds`, or at once when the engine stops waiting, or this user."""
        cdef Wait wait = self.pump.wait_until(0 if self.is_hurried else clock_ns() + client_nanoseconds(seconds))
        wait.client = self
        return wait

    def hurry(self):
        """End this user's pauses now, and those that begin later at once: it is to leave."""
        self.is_hurried = True
        self.pump.end_waits(self)

    def record(self, str kind, str name, double seconds, error=None):
        """Count something that is not HTTP, like a request: `kind` stands where the method does."""
        Tally(self.pump.arena, KIND_REQUEST, kind, name).record(seconds, error)
        self.pump.log_other(self, kind, name, seconds, error)

    def count(self, name, double amount=1):
        """Add `amount` (at least 0) to a count of the load test's own: `self.count("cart items", 3)`."""
        self.pump.meters.count(name, amount)

    def gauge(self, name, double value):
        """Note what something that rises and falls is now: `self.gauge("queue length", 17)`."""
        self.pump.meters.gauge(name, value)

    def check(self, name, condition):
        """Count whether something is as it should be, and return it: `self.check("title is right", …)`."""
        cdef bint passed = condition
        self.pump.meters.check(name, passed)
        return passed

    def chance(self):
        """Return a number in [0, 1): this user's own luck, the same again with the same --seed."""
        return self.next_chance()

    cdef double next_chance(self) noexcept:
        self.luck += 0x9E3779B97F4A7C15ULL
        return <double>(client_mix(self.luck) >> 11) / 9007199254740992.0

    def seed_luck(self, uint64_t seed, uint64_t number):
        """Begin the user's own sequence of chances."""
        self.luck = client_mix(seed ^ client_mix(number))

    def cut_streams(self):
        """Break off streams that were not read to their end."""
        cdef Request request = self.newest, older
        while request is not None:
            older = request.older
            if request.prepared.stream:
                request.cut()
            request = older

    def forget(self):
        """Become a new visitor: no cookies, no connections, no requests under way."""
        cdef Request request
        while self.newest is not None:
            request = self.newest  # nobody else may hold it
            request.cancel()
            request.cut()
        for link in list(self.links or ()):
            (<Link>link).close()
        if self.jar is not None:
            self.jar.clear()
        if self.share != NULL:
            curl_share_cleanup(self.share)
            self.share = NULL
            self.keeps_sessions = False

    cdef int stick(self, Request request) except -1:
        """A redirect has led to another host: the user's paths are joined to that one from now on."""
        cdef Url base = self.base
        if base is request.prepared.base and base is not None and request.prepared.url.origin == base.origin != request.url.origin:
            self.base = self.pump.base_at(request.url.origin)
        return 0

    cdef Request open(self, str method, object url, dict options):
        cdef Request request = Request.__new__(Request)
        request.prepared = self.prepare(method, url, options) if options else self.recall(method, url)
        request.client, request.pump = self, self.pump
        request.begin()
        return request

    cdef Request open_with_body(self, str method, object url, object data, object json, dict options):
        if data is not None:
            options["data"] = data
        if json is not None:
            options["json"] = json
        return self.open(method, url, options)

    cdef Prepared recall(self, str method, object url):
        """Return what was prepared when the same was asked for before."""
        cdef Scope scope = self.scope_in_use
        cdef PyObject* found = NULL
        cdef Prepared prepared
        if not isinstance(url, str):
            return self.prepare(method, url, {})       # which refuses it by name
        if method == "GET":
            found = PyDict_GetItemWithError(scope.gets, url)
        else:
            found = PyDict_GetItemWithError(scope.others, (method, url))
        if found != NULL:
            prepared = <Prepared>found
            if prepared.base is self.base and (prepared.headers is None or prepared.headers_from is self.header_list()):
                return prepared
        prepared = self.prepare(method, url, {})
        scope.keep(method, url, prepared)
        return prepared

    cdef Prepared prepare(self, str method, object url, dict options):
        """Work out all that can be known of a request. Raises TypeError and ValueError for what cannot be sent."""
        cdef Prepared made = Prepared.__new__(Prepared)
        cdef dict fields = {key: value for key, value in options.items() if key not in CLIENT_OPTIONS}
        cdef str target = client_fill(method, url, fields)
        cdef str secret
        made.method, made.base, made.scope = method, self.base, self.scope_in_use
        made.url = Url.parse(target) if self.base is None else self.base.join(target)
        made.name = self.name_for(options.get("name"), url if fields else None, made.url)
        if options.get("params"):
            made.url = client_with_params(made.url, options["params"])
        made.url_text = made.url.text.encode()
        made.slot = self.pump.arena.slot(KIND_REQUEST, method, made.name)
        made.follow = client_follows(options)
        made.expect, made.stream = client_expected(options.get("expect")), bool(options.get("stream", False))
        made.http_version = self.pump.settings.version_for(options.get("http_version"), made.url.secure)
        made.timeout_ns = self.site.timeout_ns if options.get("timeout") is None else client_timeout(options["timeout"])
        made.headers_from = self.header_list()
        self.add_body(made, options)
        self.add_headers(made, options)
        return made

    cdef str name_for(self, object name, object template, Url url):
        """A request is named by its name=, its task, its template, its path (of another host: with that host)."""
        if name is not None:
            return str(name)
        if self.scope_in_use.name is not None:
            return self.scope_in_use.name
        if template is not None:
            return template
        return url.path if self.base is not None and url.origin == self.base.origin else url.origin + url.path

    cdef int add_body(self, Prepared made, dict options) except -1:
        cdef str content_type
        made.body, content_type, made.stream_source = client_body(options)
        has_body = made.body is not None or made.stream_source is not None
        if has_body and made.method == "HEAD":
            raise ValueError("a HEAD cannot have a body")
        if made.stream_source is not None:
            made.verb = VERB_UPLOAD
            made.headers = self.header_list().with_one("Transfer-Encoding", "chunked")
        elif has_body or made.method in CLIENT_WITH_BODY:
            made.verb, made.body = VERB_POST, made.body or b""
        else:
            made.verb = VERB_HEAD if made.method == "HEAD" else VERB_GET
        # libcurl has a type of its own for what it posts: None takes that away. What the user's headers say stands.
        if made.verb >= VERB_POST and (options.get("files") is not None or "content-type" not in made.headers_from.fields):
            made.headers = self.headers_of(made).with_one("Content-Type", content_type)
        if made.method != ("GET", "HEAD", "POST", "POST")[made.verb]:
            made.custom = made.method.encode("ascii")
        return 0

    cdef int add_headers(self, Prepared made, dict options) except -1:
        cdef dict fields = client_fields(options.get("headers"))
        auth = options.get("auth")
        if auth is None and made.url.userinfo:
            auth = tuple(made.url.userinfo.partition(":")[::2])
        if auth is not None:
            fields["Authorization"] = client_authorization(auth)
        if fields:
            made.headers = self.headers_of(made).with_fields(fields)
        return 0

    cdef HeaderList headers_of(self, Prepared made):
        return self.header_list() if made.headers is None else made.headers

    cdef inline HeaderList header_list(self):
        return self.site.headers if self.own_headers is None else self.own_headers.list

    cdef bytes cookie_for(self, Url url):
        return None if self.jar is None else self.jar.header(url.host, url.path, url.secure)

    cdef int keep_cookies(self, Response response) except -1:
        cdef Url url = response.location
        cdef Cookies jar = self.cookies
        for line in (<Headers>response.headers).raw_all("set-cookie"):
            jar.store(line, url.host, url.path, url.secure)
        return 0

    cdef CURLSH* share_for(self, Url url) except NULL:
        """Return the user's own pool of connections, made when it is first needed."""
        if self.share == NULL:
            self.share = curl_share_init()
            if self.share == NULL:
                raise MemoryError
            curl_share_setopt(self.share, CURLSHOPT_SHARE, <int>CURL_LOCK_DATA_CONNECT)
        if url.secure and not self.keeps_sessions and self.pump.settings.tls_resume:
            # Refused while a request uses the share: then with the next one.
            self.keeps_sessions = curl_share_setopt(self.share, CURLSHOPT_SHARE, <int>CURL_LOCK_DATA_SSL_SESSION) == 0
        return self.share

    cdef Link free_link(self, Url url):
        """Return an open connection to the host of `url` that nobody uses and that is not too old; else None."""
        cdef double most = self.pump.settings.max_connection_age
        cdef int64_t oldest_ns = clock_ns() - client_nanoseconds(most) if most else 0
        cdef Link link
        if self.links is None:
            return None
        for link in self.links:
            if link.request is None and link.origin == url.origin and link.is_usable(oldest_ns):
                return link
        return None

    cdef Link new_link(self, Url url):
        """Return a connection to be opened; the oldest idle one makes room for it when there are too many."""
        cdef Link link
        if self.links is None:
            self.links = []
        if len(self.links) >= CLIENT_MOST_LINKS:
            for link in list(self.links):
                if link.request is None:
                    link.close()
                    break
        link = Link.make(self.pump, self, url)
        self.links.append(link)
        return link

    cdef void drop_link(self, Link link) noexcept:
        if self.links is not None and link in self.links:
            self.links.remove(link)

    cdef int64_t back_off(self) noexcept:
        """Return how long to wait after a connection was refused: a server that is not there must not be hammered."""
        cdef int64_t pause_ns = REQUEST_BACKOFF_NS << min(self.refusals, 10)
        self.refusals += 1
        return min(pause_ns, REQUEST_BACKOFF_MOST_NS)

    cdef void link(self, Request request) noexcept:
        request.older = self.newest
        if self.newest is not None:
            self.newest.newer = request
        self.newest = request
        request.is_linked = True
        self.active += 1

    cdef int unlink(self, Request request) except -1:
        if not request.is_linked:
            return 0
        request.is_linked = False
        if request.newer is None:
            self.newest = request.older
        else:
            request.newer.older = request.older
        if request.older is not None:
            request.older.newer = request.newer
        request.older = request.newer = None
        self.active -= 1
        return self.send_queued() if self.active >= REQUEST_MOST_TO_A_HOST else 0

    cdef int on_wire(self, Url url) noexcept:
        """Return how many requests to the host of `url` have a transfer."""
        cdef Request request = self.newest
        cdef int count = 0
        while request is not None:
            if request.exchange is not None and request.url.origin == url.origin:
                count += 1
            request = request.older
        return count

    cdef int send_queued(self) except -1:
        """Send what has waited longest for one of the six connections to its host."""
        cdef Request request = self.newest, oldest = None
        cdef str free = None, full = None      # origins: many that wait are for the same one
        while request is not None:
            if request.exchange is None and not (request.is_ended or request.is_waiting) and request.url.origin is not full:
                if request.url.origin is free or self.on_wire(request.url) < REQUEST_MOST_TO_A_HOST:
                    oldest, free = request, request.url.origin
                else:
                    full = request.url.origin
            request = request.older
        return 0 if oldest is None else oldest.send()


cdef inline uint64_t client_mix(uint64_t bits) noexcept nogil:
    """Scatter the bits: the finaliser of SplitMix64 (Steele, Lea, Flood 2014)."""
    bits = (bits ^ (bits >> 30)) * <uint64_t>0xBF58476D1CE4E5B9ULL
    bits = (bits ^ (bits >> 27)) * <uint64_t>0x94D049BB133111EBULL
    return bits ^ (bits >> 31)
