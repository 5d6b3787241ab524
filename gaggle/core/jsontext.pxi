# JSON, written into memory that grows: what a line of a log is made of. Per request, where there is a request log.
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_1BYTE_DATA
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove


cdef struct JsonText:
    char* data
    size_t length
    size_t capacity


cdef inline int jsontext_room(JsonText* text, size_t size) except -1:
    """Make room for `size` more bytes. Raises MemoryError."""
    cdef size_t capacity
    cdef char* grown
    if text.length + size <= text.capacity:
        return 0
    capacity = text.capacity if text.capacity else 4096
    while capacity < text.length + size:
        capacity *= 2
    grown = <char*>realloc(text.data, capacity)
    if grown == NULL:
        raise MemoryError
    text.data, text.capacity = grown, capacity
    return 0


cdef inline int jsontext_put(JsonText* text, const char* data, size_t size) except -1:
    """Add bytes as they are."""
    jsontext_room(text, size)
    memcpy(text.data + text.length, data, size)
    text.length += size
    return 0


cdef inline int jsontext_bytes(JsonText* text, bytes data) except -1:
    return jsontext_put(text, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))


cdef extern from *:
    """
    static const char jsontext_pairs[] =
        "00010203040506070809" "10111213141516171819" "20212223242526272829" "30313233343536373839"
        "40414243444546474849" "50515253545556575859" "60616263646566676869" "70717273747576777879"
        "80818283848586878889" "90919293949596979899";
    """
    const char* jsontext_pairs


cdef int jsontext_number(JsonText* text, int64_t number) except -1:
    """Add a whole number."""
    cdef char digits[22]
    cdef int at = 22
    cdef uint64_t rest = <uint64_t>(-number) if number < 0 else <uint64_t>number
    while rest >= 10:
        at -= 2
        memcpy(digits + at, jsontext_pairs + 2 * (rest % 100), 2)
        rest //= 100
    if rest or at == 22:
        at -= 1
        digits[at] = c'0' + <char>rest
    if number < 0:
        at -= 1
        digits[at] = c'-'
    return jsontext_put(text, digits + at, 22 - at)


cdef int jsontext_micros(JsonText* text, int64_t us) except -1:
    """Add a moment of so many microseconds, at least 0, in seconds: "12.000345"."""
    cdef char digits[7]
    cdef int64_t rest = us % 1_000_000
    jsontext_number(text, us // 1_000_000)
    digits[0] = c'.'
    memcpy(digits + 1, jsontext_pairs + 2 * (rest // 10_000), 2)
    memcpy(digits + 3, jsontext_pairs + 2 * (rest // 100 % 100), 2)
    memcpy(digits + 5, jsontext_pairs + 2 * (rest % 100), 2)
    return jsontext_put(text, digits, 7)


cdef unsigned char jsontext_plain_byte[256]        # 1: stands for itself in a string

cdef void jsontext_fill():
    cdef int i
    for i in range(0x20, 0x7F):
        jsontext_plain_byte[i] = i != c'"' and i != c'\\'

jsontext_fill()


cdef int jsontext_string(JsonText* text, const unsigned char* data, size_t size) except -1:
    """Add a string with its quotes. Bytes that are no UTF-8 become U+FFFD; what ends a line for somebody is escaped."""
    cdef size_t i = 0, begun = 0, length
    jsontext_room(text, size + 2)
    jsontext_put(text, b'"', 1)
    while i < size:
        if jsontext_plain_byte[data[i]]:
            i += 1
            continue
        jsontext_put(text, <const char*>data + begun, i - begun)
        length = jsontext_sequence(data + i, size - i)
        if length > 1 and not jsontext_ends_line(data + i):
            jsontext_put(text, <const char*>data + i, length)
        elif length:
            jsontext_escape(text, data + i)
        else:
            jsontext_put(text, b"\\ufffd", 6)
        i += length if length else 1
        begun = i
    jsontext_put(text, <const char*>data + begun, size - begun)
    return jsontext_put(text, b'"', 1)


cdef size_t jsontext_sequence(const unsigned char* at, size_t left) noexcept nogil:
    """Return how many bytes the character at `at` has; 0 when it is no UTF-8 (RFC 3629: none too long, no surrogates)."""
    cdef unsigned char first = at[0]
    if first < 0x80:
        return 1
    if first < 0xC2 or left < 2 or at[1] & 0xC0 != 0x80:
        return 0
    if first < 0xE0:
        return 2
    if left < 3 or at[2] & 0xC0 != 0x80:
        return 0
    if first < 0xF0:
        return 0 if first == 0xE0 and at[1] < 0xA0 or first == 0xED and at[1] > 0x9F else 3
    if first > 0xF4 or left < 4 or at[3] & 0xC0 != 0x80:
        return 0
    return 0 if first == 0xF0 and at[1] < 0x90 or first == 0xF4 and at[1] > 0x8F else 4


cdef inline bint jsontext_ends_line(const unsigned char* at) noexcept nogil:
    """Whether it is U+0085, U+2028 or U+2029: Python's splitlines and JavaScript take them for ends of lines."""
    return at[0] == 0xC2 and at[1] == 0x85 or at[0] == 0xE2 and at[1] == 0x80 and (at[2] == 0xA8 or at[2] == 0xA9)


cdef int jsontext_escape(JsonText* text, const unsigned char* at) except -1:
    """Add a character that must not stand for itself."""
    cdef const char* digits = "0123456789abcdef"
    cdef char code[6]
    cdef unsigned int value = at[0]
    if value == c'"' or value == c'\\':
        code[0], code[1] = c'\\', at[0]
        return jsontext_put(text, code, 2)
    if value == 0xC2:
        value = 0x85
    elif value == 0xE2:
        value = 0x2000 + (at[2] & 0x3F)
    code[0], code[1] = c'\\', c'u'
    code[2], code[3], code[4], code[5] = digits[value >> 12], digits[value >> 8 & 15], digits[value >> 4 & 15], digits[value & 15]
    return jsontext_put(text, code, 6)


cdef int jsontext_str(JsonText* text, str found) except -1:
    """Add a str with its quotes; lone surrogates become U+FFFD."""
    cdef bytes encoded
    if found.isascii():
        return jsontext_string(text, PyUnicode_1BYTE_DATA(found), len(found))
    encoded = found.encode("utf-8", "surrogatepass")
    return jsontext_string(text, <const unsigned char*>PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded))
