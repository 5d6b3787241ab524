# The policy of a run: what every request of an engine has in common.


cdef class Settings:
    """Set once, before the first request. `base` is the URL that paths are joined to; times are in seconds.

    `cacert` is the path of the CA file; `proxy` is a URL, "env" for the environment's, "" for none;
    `http_version` is "1.1", "2" or "3"; `max_body` is in bytes; `max_connection_age` 0 means without limit.
    `headers` (name -> value, None takes one away) go with every request; `sources` are addresses or interfaces to
    connect from, users take turns; `resolve` and `connect_to` have the entries of CURLOPT_RESOLVE and CURLOPT_CONNECT_TO;
    `tls_version` is "1.2", "1.3" or "" for what both sides can.
    """
    cdef readonly object base      # str, or None when the user classes have hosts of their own
    cdef readonly double timeout
    cdef readonly double connect_timeout
    cdef readonly size_t max_body
    cdef readonly str cacert
    cdef readonly bint verify
    cdef readonly str proxy
    cdef readonly bint keepalive
    cdef readonly double max_connection_age
    cdef readonly bint tls_resume
    cdef readonly str http_version
    cdef readonly str user_agent
    cdef readonly str lane
    cdef dict headers
    cdef bint sticky      # a redirect to another host moves the user there
    cdef tuple sources
    cdef tuple resolve
    cdef tuple connect_to
    cdef str cert         # path of the client certificate, and of its key
    cdef str key
    cdef str ciphers
    cdef str tls_version
    cdef dict lists_kept           # option -> Lines, while handles of libcurl have them
    cdef bint is_fast
    cdef bint tunnels              # plain HTTP may go through the proxy's tunnel: there is none, or it is a SOCKS proxy

    def __init__(self, *, base=None, timeout=60.0, connect_timeout=10.0, max_body=16 << 20, cacert="", verify=True,
                 proxy="", keepalive=True, max_connection_age=0.0, tls_resume=True, http_version="1.1",
                 user_agent="gaggle", lane="auto", headers=None, sticky=False, sources=(), resolve=(), connect_to=(),
                 cert="", key="", ciphers="", tls_version=""):
        self.base, self.timeout, self.connect_timeout = base, timeout, connect_timeout
        self.max_body, self.cacert, self.verify, self.proxy = max_body, cacert, verify, proxy
        self.keepalive, self.max_connection_age, self.tls_resume = keepalive, max_connection_age, tls_resume
        self.http_version, self.user_agent, self.lane = http_version, user_agent, lane
        self.headers, self.sticky, self.sources = dict(headers or {}), sticky, tuple(sources)
        self.resolve, self.connect_to, self.lists_kept = tuple(resolve), tuple(connect_to), {}
        self.cert, self.key, self.ciphers, self.tls_version = cert, key, ciphers, tls_version
        self.is_fast = lane != "libcurl"
        self.tunnels = not proxy or proxy.startswith("socks")

    cdef bint is_fast_for(self, Request request) noexcept:
        """Whether the fast lane can do this: HTTP/1.1, with a body that is there and is sent as it is, not by way of an HTTP
        proxy in the clear."""
        return (request.prepared.http_version == CURL_HTTP_VERSION_1_1 and request.verb != VERB_UPLOAD
                and not request.headers.needs_libcurl
                and (self.tunnels or request.url.secure) and self.is_fast)

    cdef list numbers(self):
        """Return (option, value) for the options of libcurl that are numbers."""
        return [
            (CURLOPT_NOSIGNAL, 1),
            (CURLOPT_FOLLOWLOCATION, 0),                    # redirects are ours: cookies and counts go with them
            (CURLOPT_PATH_AS_IS, 1),                        # so are dot segments
            (CURLOPT_BUFFERSIZE, 16_384),
            (CURLOPT_TCP_NODELAY, 1),
            (CURLOPT_PIPEWAIT, 1),
            (CURLOPT_SUPPRESS_CONNECT_HEADERS, 1),          # what a proxy says to a CONNECT is no answer
            (CURLOPT_DNS_CACHE_TIMEOUT, 60),
            (CURLOPT_DNS_SHUFFLE_ADDRESSES, 1),
            (CURLOPT_CONNECTTIMEOUT_MS, max(1, int(self.connect_timeout * 1000))),
            (CURLOPT_FORBID_REUSE, not self.keepalive),
            (CURLOPT_MAXLIFETIME_CONN, -int(-self.max_connection_age // 1)),       # whole seconds, and 0 is for ever
            (CURLOPT_SSL_SESSIONID_CACHE, self.tls_resume),
            (CURLOPT_SSL_VERIFYPEER, self.verify),
            (CURLOPT_SSL_VERIFYHOST, 2 if self.verify else 0),
            (CURLOPT_SSLVERSION, SETTINGS_TLS[self.tls_version] * 0x10001),
            (CURLOPT_CA_CACHE_TIMEOUT, 86_400),             # parsing the CA file costs 12 ms; only CAINFO is cached, a blob is not
        ]

    cdef list texts(self):
        """Return (option, value) for the options of libcurl that are text."""
        cdef list found = [(CURLOPT_ACCEPT_ENCODING, b"gzip, deflate, br")]
        if self.proxy != "env":
            found.append((CURLOPT_PROXY, self.proxy.encode()))     # "" also keeps libcurl from asking the environment
        if self.cacert:
            found.append((CURLOPT_CAINFO, self.cacert.encode()))
        if self.cert:
            found += [(CURLOPT_SSLCERT, self.cert.encode()), (CURLOPT_SSLKEY, (self.key or self.cert).encode())]
        for option, names in settings_ciphers(self.ciphers):
            found.append((option, names.encode()))
        return found

    cdef list lists(self):
        """Return (option, texts) for the options of libcurl that are lists."""
        cdef list found = [(CURLOPT_RESOLVE, self.resolve), (CURLOPT_CONNECT_TO, self.connect_to)]
        return [(option, texts) for option, texts in found if texts]

    cdef int version_for(self, object wanted, bint secure) except -1:
        """Return libcurl's number for an HTTP version; without TLS, 2 means prior knowledge."""
        cdef str version = str(wanted or self.http_version)
        if version == "1.1":
            return CURL_HTTP_VERSION_1_1
        if version in ("2", "2.0"):
            return CURL_HTTP_VERSION_2TLS if secure else CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE
        if version not in ("3", "3.0"):
            raise ValueError(f"http_version must be 1.1, 2 or 3, got {version!r}")
        if not transfer_has_http3():
            raise ValueError(f"libcurl {transfer_version()} was built without HTTP/3: pip install -U 'pycurl>=7.48'")
        if not secure:
            raise ValueError("HTTP/3 needs an https URL")
        return CURL_HTTP_VERSION_3


cdef dict SETTINGS_TLS = {"": 0, "1.2": CURL_SSLVERSION_TLSv1_2, "1.3": CURL_SSLVERSION_TLSv1_3}


cdef list settings_ciphers(str names):
    """Return (option, names) of a list with colons: those of TLS 1.3 have an option of their own."""
    cdef list newer = [name for name in names.split(":") if name.startswith("TLS_")]
    cdef list older = [name for name in names.split(":") if name and not name.startswith("TLS_")]
    return [(option, ":".join(found)) for option, found in ((CURLOPT_SSL_CIPHER_LIST, older), (CURLOPT_TLS13_CIPHERS, newer)) if found]
