# All that can be known of a request before it is made, worked out of what the load test said.
import re as client_re
from base64 import b64encode as client_b64encode
from urllib.parse import quote as client_quote

cdef class Prepared:
    """All that can be known of a request before it is made. Shared by every request that is the same."""
    cdef str method
    cdef str name
    cdef Url url
    cdef Url base                  # of the client it was made for
    cdef bytes url_text
    cdef bytes custom              # the method, where it is not libcurl's own for the verb
    cdef bytes body
    cdef HeaderList headers        # None: those of the user as they are at the time
    cdef HeaderList headers_from   # of the user it was made for: what `headers` was made of
    cdef object stream_source
    cdef object expect             # None, a status, or a container of statuses
    cdef Scope scope               # the task that asks
    cdef bytes logged              # what the request log says of every such request
    cdef bytes wire                # the head as the fast lane sends it, for these two:
    cdef bytes wire_url
    cdef HeaderList wire_headers
    cdef int slot
    cdef int verb
    cdef int http_version
    cdef int64_t timeout_ns
    cdef bint follow
    cdef bint stream


cdef int64_t client_nanoseconds(object seconds) except? -1:
    """Return a length of time, at least 0; more than 30 years are 30 years."""
    cdef double found = seconds
    return <int64_t>(min(found, 1e9) * 1e9) if found > 0 else 0


cdef int64_t client_timeout(object seconds) except -1:
    """Return a request's time-out in ns. Raises TypeError for what is no number, ValueError for none above 0."""
    cdef double found
    try:
        found = seconds
    except TypeError:
        raise TypeError(f"timeout must be a number of seconds, got {seconds!r}") from None
    if not found > 0:
        raise ValueError(f"timeout must be above 0 seconds, got {seconds!r}")
    return max(1, client_nanoseconds(found))


cdef str client_method(object method):
    """Return a method as it is sent. Raises TypeError for what is no text, ValueError for what is no method."""
    if not isinstance(method, str):
        raise TypeError(f"the method of a request is a str, not {type(method).__name__}")
    if not header_token(method):
        raise ValueError(f"{method!r} is not a method of HTTP")
    return method.upper()


cdef Url client_with_params(Url url, object params):
    try:
        return url.with_params(params)
    except (TypeError, ValueError):
        raise TypeError(f"params must be a mapping, pairs or a text, got {params!r}") from None


cdef dict client_fields(object headers):
    """Return the headers= of a request as a dict. Raises TypeError."""
    try:
        return dict(headers or {})
    except (TypeError, ValueError):
        raise TypeError(f"headers must be a mapping or pairs, got {headers!r}") from None


cdef object client_expected(object expect):
    """Return None, a status, or statuses. Raises TypeError: what is found out later would stop the whole engine."""
    if expect is None or isinstance(expect, (int, range)):
        return expect
    found = frozenset(expect) if hasattr(expect, "__iter__") else (None,)
    if not all([isinstance(status, int) for status in found]):
        raise TypeError(f"expect must be a status or several, got {expect!r}")
    return found


cdef bint client_follows(dict options) except -1:
    """Locust's allow_redirects means the same as follow_redirects."""
    follow = options.get("follow_redirects")
    return bool(options.get("allow_redirects", True) if follow is None else follow)


cdef str client_fill(str method, object url, dict fields):
    """Return the URL with its {fields} filled in, percent-encoded."""
    if not isinstance(url, str):
        raise TypeError(f"{method.lower()}() takes a URL as str, got {type(url).__name__}")
    if not fields:
        return url
    named = client_template.findall(url)
    unknown = [key for key in fields if key not in named]
    if unknown:
        raise TypeError(f"{method.lower()}() has no option {unknown[0]!r}, and {url!r} no field of that name")
    missing = [key for key in named if key not in fields]
    if missing:
        raise TypeError(f"{method.lower()}() needs {missing[0]}=, as {url!r} has a field of that name")
    return client_template.sub(lambda match: client_quote(str(fields[match[1]]), safe=""), url)


cdef tuple client_body(dict options):
    """Return (bytes or None, content type or None, streamed source or None) of json=, data= and files=."""
    data, content = options.get("data"), options.get("json")
    if content is not None and (data or options.get("files") is not None):
        raise TypeError("json= cannot be combined with data= or files=: a request has one body")
    if options.get("files") is not None:
        body, content_type = client_multipart(client_form(data or {}), options["files"])
        return body, content_type, None
    if content is not None:
        return json_bytes(content), "application/json", None
    if data is None:
        return None, None, None
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data), None, None
    if isinstance(data, str):
        return data.encode(), None, None
    if isinstance(data, (list, tuple)) and data and all(isinstance(piece, bytes) for piece in data):
        return b"".join(data), None, None
    if isinstance(data, (list, tuple)) or hasattr(data, "items"):
        return url_query(client_form(data)).encode(), "application/x-www-form-urlencoded", None
    if hasattr(data, "__aiter__") or hasattr(data, "__iter__") or hasattr(data, "read"):
        return None, None, data
    raise TypeError(f"data must be a dict, str, bytes, a file or an iterable of bytes, got {type(data).__name__}")


cdef list client_form(object data):
    """Return the fields of a form as pairs, as `params` are taken: None is left out, a list repeats its name."""
    try:
        return url_pairs(data if hasattr(data, "items") else list(data))
    except (TypeError, ValueError):
        raise TypeError(f"data must be a form (a mapping or pairs), text or bytes here, got {data!r}") from None


cdef tuple client_multipart(list form, object files):
    """Encode a form with files. A file is bytes, an open file, or (name, either of them[, content type])."""
    from urllib3.filepost import encode_multipart_formdata
    if not (hasattr(files, "items") or isinstance(files, (list, tuple))):
        raise TypeError(f"files must be a mapping or pairs, got {files!r}")
    fields = [(name, value if isinstance(value, bytes) else str(value)) for name, value in form]
    for field, entry in files.items() if hasattr(files, "items") else files:
        name, content, *kind = entry if isinstance(entry, tuple) else (getattr(entry, "name", field), entry)
        content = content.read() if hasattr(content, "read") else content
        fields.append((field, (str(name).rpartition("/")[2], content, *kind)))
    return encode_multipart_formdata(fields)


cdef str client_authorization(object auth):
    """("user", "password") is basic, a str is a bearer token."""
    if isinstance(auth, str):
        return f"Bearer {auth}"
    if not isinstance(auth, (tuple, list)) or len(auth) != 2:
        raise TypeError(f"auth must be (user, password) or a token, got {auth!r}")
    user, password = auth
    return "Basic " + client_b64encode(f"{user}:{password}".encode()).decode()
