# JSON as load tests send and read it: by msgspec, six to fifteen times as fast as the standard library. What it refuses
# goes to that one, which reads more (NaN, other encodings), and whose errors people know.
import json as json_standard

from msgspec import MsgspecError as json_error
from msgspec.json import Decoder as json_decoder, Encoder as json_encoder


class JsonRefusal(TypeError):
    """What has no form in JSON, in the words of the standard library."""


cdef dict json_kinds = {str: str.__str__, int: int.__int__, float: float.__float__}


def json_plain(value):
    """Return a value of a class derived from one of these as one of these. Raises JsonRefusal for all others."""
    if value is None or isinstance(value, bool):           # a key: only the standard library has a form for it
        raise TypeError
    for kind in json_kinds:
        if isinstance(value, kind):
            return json_kinds[kind](value)
    raise JsonRefusal(f"Object of type {type(value).__name__} is not JSON serializable")


cdef object json_encode = json_encoder(enc_hook=json_plain).encode
cdef object json_decode = json_decoder().decode


cdef bytes json_bytes(object value):
    """Return `value` in JSON. Raises TypeError for what has no form there, ValueError for what refers to itself."""
    try:
        if not isinstance(value, (set, frozenset)):        # nearly always a dict that lacks its colons
            return json_encode(value)
    except JsonRefusal:
        raise
    except (TypeError, RecursionError):
        pass
    return json_standard.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


cdef object json_value(bytes text):
    """Return what `text` says. Raises json.JSONDecodeError, a ValueError."""
    try:
        return json_decode(text)
    except (json_error, ValueError, RecursionError):
        return json_standard.loads(text)
