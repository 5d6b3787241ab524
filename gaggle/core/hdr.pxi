# A histogram as HdrHistogram's V2 bytes.
#
# Counts are written from index 0 up as ZigZag LEB128-64b9B (at most 9 bytes, the ninth with 8 bits; not
# protobuf's): a positive number is a count, a negative one a run of that many zeros, and a zero is itself.

# cookie, length of the counts, normalizing offset, digits, lowest, highest, ratio; big-endian
cdef object histogram_HEADER = struct.Struct(">iIiiqqd")
cdef bytes histogram_HEAD = histogram_HEADER.pack(HISTOGRAM_COOKIE, 0, 0, 3, 1, HISTOGRAM_HIGHEST, 1.0)


cdef inline uint8_t* histogram_put(uint8_t* at, int64_t value) noexcept nogil:
    cdef uint64_t rest = (<uint64_t>value << 1) ^ <uint64_t>(value >> 63)
    cdef int i
    for i in range(8):
        if rest < 128:
            break
        at[0] = <uint8_t>(rest | 128)
        at += 1
        rest >>= 7
    at[0] = <uint8_t>rest
    return at + 1


cdef inline const uint8_t* histogram_take(const uint8_t* at, const uint8_t* end, int64_t* value) noexcept nogil:
    # Read one number; NULL when it is cut off or longer than it need be. Nearly all have one byte.
    if at != end and at[0] < 128:
        value[0] = (at[0] >> 1) ^ -<int64_t>(at[0] & 1)
        return at + 1
    return histogram_take_long(at, end, value)


cdef const uint8_t* histogram_take_long(const uint8_t* at, const uint8_t* end, int64_t* value) noexcept nogil:
    cdef uint64_t rest = 0
    cdef int i
    for i in range(9):
        if at + i == end:
            return NULL
        rest |= <uint64_t>(at[i] & (127 if i < 8 else 255)) << (7 * i)
        if i == 8 or at[i] < 128:
            break
    if i > 0 and at[i] == 0:
        return NULL
    value[0] = <int64_t>((rest >> 1) ^ -(rest & 1))
    return at + i + 1


cdef uint8_t* histogram_write(uint8_t* at, const uint64_t* touched, const uint64_t* cells) noexcept nogil:
    cdef int word, i, index, next = 0
    cdef uint64_t bits
    for word in range(HISTOGRAM_WORDS):
        bits = touched[word]
        while bits:
            index = (word * 64 + histogram_lowest(bits)) * HISTOGRAM_CHUNK
            for i in range(HISTOGRAM_CHUNK):
                if cells[i]:
                    if index + i > next:
                        at = histogram_put(at, 0 if index + i - next == 1 else next - index - i)
                    at = histogram_put(at, <int64_t>cells[i])
                    next = index + i + 1
            cells += HISTOGRAM_CHUNK
            bits &= bits - 1
    return at


cdef const char* histogram_scan(
    const uint8_t* at, const uint8_t* end, uint64_t* touched, uint64_t* total
) noexcept nogil:
    # Check the counts and find the chunks they need and their sum. NULL, or what is wrong: nothing was added yet.
    cdef int64_t value
    cdef int word, index = 0
    for word in range(HISTOGRAM_WORDS):
        touched[word] = 0
    while at != end:
        at = histogram_take(at, end, &value)
        if at is NULL:
            return "a number is cut off or overlong"
        if value <= 0:
            if value < index - HISTOGRAM_LENGTH:
                return "zeros past the last counter"
            index += <int>-value if value else 1
        if index + (value > 0) > HISTOGRAM_LENGTH:
            return "counts past the last counter"
        if value > 0:
            if <uint64_t>value > HISTOGRAM_MOST - total[0]:
                return "the counts overflow"
            total[0] += <uint64_t>value
            touched[index >> 12] |= <uint64_t>1 << ((index >> 6) & 63)
            index += 1
    return NULL


cdef void histogram_fill(
    const uint8_t* at, const uint8_t* end, const uint64_t* touched, uint64_t* cells
) noexcept nogil:
    # Add the counts, which were checked, to `cells`, which have their chunks.
    cdef int64_t value = 0
    cdef int index = 0, chunk = -1
    cdef uint64_t* cell = cells
    while at != end:
        at = histogram_take(at, end, &value)
        if value <= 0:
            index += <int>-value if value else 1
            continue
        if index >> 6 != chunk:
            chunk = index >> 6
            cell = cells + histogram_rank(touched, chunk) * HISTOGRAM_CHUNK
        cell[index & 63] += <uint64_t>value
        index += 1


cdef bytes histogram_unwrap(bytes data):
    # Return the uncompressed form, its header checked. Raises ValueError.
    cdef Py_ssize_t length = len(data)
    if length >= 8 and histogram_big(data, 0) == HISTOGRAM_COOKIE_COMPRESSED:
        data = histogram_inflate(data)
        length = len(data)
    cdef const uint8_t* given = <const uint8_t*>PyBytes_AS_STRING(data)
    if histogram_fits(given, length):
        return data
    if length < HISTOGRAM_HEADER:
        raise ValueError(f"not an encoded histogram: {length} bytes are too few")
    if memcmp(given, PyBytes_AS_STRING(histogram_HEAD), 4):
        raise ValueError(f"not an encoded histogram: cookie {histogram_big(data, 0):#x}")
    if histogram_big(data, 4) != <uint64_t>(length - HISTOGRAM_HEADER):
        raise ValueError(f"not an encoded histogram: {length - HISTOGRAM_HEADER} bytes of counts, not as announced")
    raise ValueError(f"not a histogram like ours: {histogram_HEADER.unpack_from(data)}")


cdef bint histogram_fits(const uint8_t* given, Py_ssize_t length) noexcept:
    # Whether the uncompressed form of a histogram like ours can be in these bytes; its counts are not looked at.
    # Another highest value only means another number of counters; any other difference, other values for them.
    cdef const uint8_t* head = <const uint8_t*>PyBytes_AS_STRING(histogram_HEAD)
    if length < HISTOGRAM_HEADER or memcmp(given, head, 4):
        return False
    cdef uint64_t counts = <uint32_t>given[4] << 24 | <uint32_t>given[5] << 16 | <uint32_t>given[6] << 8 | given[7]
    return (
        counts == <uint64_t>(length - HISTOGRAM_HEADER)
        and memcmp(given + 8, head + 8, 16) == 0
        and memcmp(given + 32, head + 32, 8) == 0
    )


cdef inline uint32_t histogram_big(bytes data, int at) noexcept:
    # The big-endian number of 4 bytes at `at`.
    cdef const uint8_t* byte = <const uint8_t*>PyBytes_AS_STRING(data) + at
    return <uint32_t>byte[0] << 24 | <uint32_t>byte[1] << 16 | <uint32_t>byte[2] << 8 | byte[3]


cdef bytes histogram_inflate(bytes data):
    # Inflate no more than the longest histogram has: a few KB may announce gigabytes.
    most = HISTOGRAM_HEADER + HISTOGRAM_LENGTH * 9
    if histogram_big(data, 4) != <uint64_t>(len(data) - 8):
        raise ValueError("not an encoded histogram: wrong length of the compressed part")
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(data[8:], most + 1)
    except zlib.error as error:
        raise ValueError(f"not an encoded histogram: {error}") from None
    if not stream.eof or stream.unused_data or len(plain) > most:
        raise ValueError("not an encoded histogram: the compressed part does not end where it should")
    return plain


def pack_numbers(list numbers not None):
    """Return whole numbers (int64) as ZigZag LEB128-64b9B, 1 to 9 bytes each. Raises OverflowError beyond 64 bits."""
    cdef uint8_t* room = <uint8_t*>malloc(len(numbers) * 9 + 1)
    cdef uint8_t* at = room
    if room is NULL:
        raise MemoryError()
    try:
        for number in numbers:
            at = histogram_put(at, number)
        return PyBytes_FromStringAndSize(<char*>room, at - room)
    finally:
        free(room)


def unpack_numbers(bytes data not None, Py_ssize_t start, Py_ssize_t count):
    """Return (numbers, end): `count` numbers that pack_numbers wrote into `data` at `start`, and where they end.

    Raises ValueError when they are cut off, longer than they need be, or more than `data` can hold.
    """
    cdef const uint8_t* first = <const uint8_t*>PyBytes_AS_STRING(data)
    cdef const uint8_t* end = first + PyBytes_GET_SIZE(data)
    cdef const uint8_t* at = first + start
    cdef int64_t value = 0
    cdef Py_ssize_t i
    if not 0 <= start <= end - first or not 0 <= count <= end - at:
        raise ValueError(f"{count} numbers cannot be in {len(data) - start} bytes")
    numbers = []
    for i in range(count):
        at = histogram_take(at, end, &value)
        if at is NULL:
            raise ValueError("a number is cut off or overlong")
        numbers.append(value)
    return numbers, at - first
