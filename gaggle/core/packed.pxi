# A packed snapshot, taken apart where it lies. What it looks like stands in packing.py, which makes them.
#
# Per delta, in a manager: thousands a second. So nothing is made of it but the keys by which rows are found; all that is
# in it is checked here, so that what is added afterwards is added whole.

cdef extern from *:
    """
    #define PACKED_MOST (1LL << 52)                   /* of any number: 140 years in us */
    """
    const int64_t PACKED_MOST

cdef int64_t TOTAL_MOST = <int64_t>1 << 62      # of any sum

cdef inline int64_t total_sum(int64_t a, int64_t b) noexcept:
    # No sum leaves the range: a worker that says nonsense for long must not make it wrap around.
    return min(max(a + b, -TOTAL_MOST), TOTAL_MOST)


cdef enum:
    PACKED_HEAD = 15                    # bytes: magic, version, how many numbers, bytes of the texts
    PACKED_VERSION = 2
    PACKED_FIRST = 9                    # numbers: rows, errors, lag; running, started, exited; names, errors lost; meters
    PACKED_ROW = 3 + COUNTS + 2 + 1 + 2 # kind, label, name; counters; minimum, maximum; statuses; two histograms
    PACKED_ERROR = 7                    # kind, label, name, text; count; first, last
    PACKED_METER = 14                   # kind, name; samples, failed; whole, millionths; has ends; three doubles; last_us
    PACKED_FEW = 16                     # statuses that are compared with each other; more are put into a set
    PACKED_KEY = 9                      # bytes of a key before its texts

cdef struct PackedTimes:
    # A histogram in the bytes, checked. Of an empty one only `total` is set.
    uint64_t total
    const uint8_t* at
    const uint8_t* end
    uint64_t touched[HISTOGRAM_WORDS]


cdef class Packed:
    """One packed snapshot. Whoever takes its parts takes them in their order, and then calls `end`."""

    cdef bytes data
    cdef const uint8_t* text              # where the next text begins
    cdef const uint8_t* texts_end
    cdef const uint8_t* histogram
    cdef const uint8_t* histograms_end
    cdef int64_t* numbers
    cdef Py_ssize_t number_count
    cdef Py_ssize_t at                    # of the next number

    def __cinit__(self, bytes data not None):
        cdef const uint8_t* first = <const uint8_t*>PyBytes_AS_STRING(data)
        cdef Py_ssize_t length = PyBytes_GET_SIZE(data)
        self.data = data
        if length < PACKED_HEAD:
            raise ValueError(f"not a packed snapshot: {length} bytes are too few")
        if memcmp(first, b"gaggle", 6):
            raise ValueError(f"not a packed snapshot: it starts with {data[:6]!r}")
        if first[6] != PACKED_VERSION:
            raise ValueError(f"a packed snapshot of version {first[6]}, this is version {PACKED_VERSION}")
        self.histograms_end = first + length
        self.text = self.read_numbers(first + PACKED_HEAD, histogram_big(data, 7))
        if histogram_big(data, 11) > <uint64_t>(self.histograms_end - self.text):
            raise packed_torn()
        self.texts_end = self.histogram = self.text + histogram_big(data, 11)

    def __dealloc__(self):
        free(self.numbers)

    cdef const uint8_t* read_numbers(self, const uint8_t* at, Py_ssize_t count) except NULL:
        # All of them; returns where they end.
        cdef Py_ssize_t i
        if count > self.histograms_end - at:
            raise ValueError(f"{count} numbers cannot be in {self.histograms_end - at} bytes")
        self.numbers = <int64_t*>malloc((count + 1) * sizeof(int64_t))
        if self.numbers is NULL:
            raise MemoryError()
        for i in range(count):
            at = histogram_take(at, self.histograms_end, &self.numbers[i])
            if at is NULL:
                raise ValueError("a number is cut off or overlong")
        self.number_count = count
        return at

    cdef const int64_t* take(self, int64_t count, int64_t least) except NULL:
        # The next `count` numbers, none of them below `least`.
        return self.take_up_to(PACKED_MOST, count, least)

    cdef const int64_t* take_up_to(self, int64_t most, int64_t count, int64_t least) except NULL:
        cdef const int64_t* taken = self.numbers + self.at
        cdef int64_t i
        cdef bint is_fine = count <= self.number_count - self.at
        if is_fine:
            for i in range(count):
                is_fine &= least <= taken[i] <= most
        if not is_fine:
            raise ValueError("a packed snapshot with numbers that are missing or out of range")
        self.at += count
        return taken

    cdef bytes key(self, const int64_t* sizes, int texts):
        # The next `texts` texts behind their kind (sizes[0]) and sizes: as bytes, that no other row has.
        cdef int64_t size = 0
        cdef int i
        if sizes[0] > KIND_USER:
            raise ValueError(f"a packed snapshot with a row of kind {sizes[0]}")
        for i in range(1, texts + 1):
            if sizes[i] > self.texts_end - self.text:    # so that no sum overflows
                raise packed_torn()
            size += sizes[i]
        if size > self.texts_end - self.text:
            raise packed_torn()
        cdef bytes key = packed_key(sizes, self.text, size)
        self.text += size
        return key

    cdef str words(self, int64_t size):
        # The next text.
        if size > self.texts_end - self.text:
            raise packed_torn()
        found = (<const char*>self.text)[:size].decode()
        self.text += size
        return found

    cdef tuple meter(self):
        # The next meter: its kind and name, and what Meter in meters.py has.
        cdef const int64_t* head = self.take(4, 0)
        cdef int64_t whole = self.take_up_to(TOTAL_MOST, 1, -TOTAL_MOST)[0]
        cdef int64_t millionths = self.take_up_to(999_999, 1, 0)[0]
        cdef bint has_ends = self.take_up_to(1, 1, 0)[0]
        if not KIND_COUNT <= head[0] <= KIND_CHECK:
            raise ValueError(f"a packed snapshot with a meter of kind {head[0]}")
        low, high, last = self.number(), self.number(), self.number()
        last_us = self.take(1, 0)[0]
        ends = (low, high) if has_ends else (None, None)
        key = head[0], self.words(head[1])
        return key, (head[2], head[3], <object>whole * 1_000_000 + millionths, *ends, last, last_us)

    cdef object number(self):
        # The next two numbers, the halves of a finite double.
        cdef const int64_t* halves = self.take_up_to(0xFFFFFFFF, 2, 0)
        cdef uint64_t both = <uint64_t>halves[0] << 32 | <uint64_t>halves[1]
        cdef double value
        memcpy(&value, &both, sizeof(value))
        if value - value != 0:
            raise ValueError("a packed snapshot with a value that is no number")
        return value

    cdef int statuses(self, const int64_t* pairs, int64_t count) except -1:
        # Check `count` pairs of a code and how often it was seen.
        cdef int64_t i, j
        cdef bint is_fine = count <= 0x10000
        for i in range(count if is_fine else 0):
            is_fine &= pairs[2 * i] <= 0xFFFF and pairs[2 * i + 1] > 0
        if is_fine and count > PACKED_FEW:
            is_fine = len({pairs[2 * i] for i in range(count)}) == count
        elif is_fine:
            for i in range(count):
                for j in range(i):
                    is_fine &= pairs[2 * i] != pairs[2 * j]
        if not is_fine:
            raise ValueError("a packed snapshot with statuses that cannot be")
        return 0

    cdef int times(self, int64_t length, PackedTimes* found) except -1:
        # The next histogram; one of no bytes is empty.
        cdef const char* wrong
        found.total = 0
        if length == 0:
            return 0
        if length > self.histograms_end - self.histogram:
            raise packed_torn()
        if not histogram_fits(self.histogram, length):
            raise ValueError("a packed snapshot with a histogram that is not like ours")
        found.at, found.end = self.histogram + HISTOGRAM_HEADER, self.histogram + length
        self.histogram = found.end
        wrong = histogram_scan(found.at, found.end, found.touched, &found.total)
        if wrong is not NULL:
            raise ValueError(f"not an encoded histogram: {wrong.decode()}")
        if not 0 < found.total <= <uint64_t>PACKED_MOST:
            raise ValueError("a packed snapshot with a histogram that is empty or out of range")
        return 0

    cdef int end(self) except -1:
        # Nothing may be left.
        if self.at != self.number_count or self.text != self.texts_end or self.histogram != self.histograms_end:
            raise packed_torn()
        return 0


cdef object packed_twice():
    return ValueError("a packed snapshot with the same row twice")


cdef object packed_torn():
    return ValueError("a packed snapshot whose parts are longer or shorter than announced")


cdef bytes packed_key(const int64_t* sizes, const uint8_t* texts, Py_ssize_t size):
    # Kind (sizes[0]) and the sizes of label and name, of which the text of an error, if any, is the rest.
    cdef bytes key = PyBytes_FromStringAndSize(NULL, PACKED_KEY + size)
    cdef char* at = PyBytes_AS_STRING(key)
    cdef uint32_t label = <uint32_t>sizes[1], name = <uint32_t>sizes[2]
    at[0] = <char>sizes[0]
    memcpy(at + 1, &label, 4)
    memcpy(at + 5, &name, 4)
    memcpy(at + PACKED_KEY, texts, size)
    return key


cdef tuple packed_words(bytes key):
    # (kind, label, name, text) of a key; without a text it is "". Raises ValueError for what is not UTF-8.
    cdef const char* at = PyBytes_AS_STRING(key)
    cdef uint32_t label, name
    memcpy(&label, at + 1, 4)
    memcpy(&name, at + 5, 4)
    cdef Py_ssize_t name_at = PACKED_KEY + label, text_at = PACKED_KEY + label + name
    return at[0], key[PACKED_KEY:name_at].decode(), key[name_at:text_at].decode(), key[text_at:].decode()
