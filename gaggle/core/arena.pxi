# The arena: the shared memory in which one engine counts. One process writes, others read at any time; no locks.
#
# It is a memfd of 1.5 GB of which only what was written exists: a header, a table of errors, a slot a (kind, name).
# Nothing here clears it or reads what was not written, because reading a page of a memfd makes it. Counters only grow.
# What has several words is written first and published last (a count of entries, an epoch), so a reader never meets
# half an entry, and a writer that is killed leaves everything that it had counted.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

import fcntl
import os

cdef extern from *:
    """
    #define arena_publish(where, value) __atomic_store_n((where), (value), __ATOMIC_RELEASE)
    #define arena_published(where) __atomic_load_n((where), __ATOMIC_ACQUIRE)
    """
    void arena_publish(uint32_t* where, uint32_t value) noexcept nogil
    void arena_publish_epoch "arena_publish"(uint64_t* where, uint64_t value) noexcept nogil
    uint32_t arena_published(const uint32_t* where) noexcept nogil
    uint64_t arena_published_word "arena_published"(const uint64_t* where) noexcept nogil

cdef extern from "string.h":
    size_t strnlen(const char* text, size_t most) noexcept nogil

cpdef enum:
    KIND_REQUEST = 0
    KIND_TASK = 1
    KIND_USER = 2
    KIND_COUNT = 3           # from here on a load test's own: counts, gauges, checks; no times
    KIND_GAUGE = 4
    KIND_CHECK = 5

cpdef enum:    # the counters of a slot, and the order of `counts` in rows()
    STARTED        # begun
    ANSWERED       # a complete final response arrived; a task: ended without having been cut
    BROKEN         # ended without a response: a transport error
    FAILED         # counted as a failure: bad status, fail(), broken, task raised
    FORGIVEN       # failures that succeed() took back
    UNFINISHED     # cut by the end of the test or cancelled: neither success nor failure
    HOPS           # redirect hops made
    RESENT         # requests sent again on a new connection
    BYTES_IN       # on the wire
    BYTES_OUT
    SUM_US         # of the times
    COUNTS         # how many counters there are

cpdef enum:
    ARENA_SLOTS = 4_000      # names an engine; then one "(other)" slot a kind
    ARENA_ERRORS = 1_000     # distinct (slot, text); then one "(other)" entry
    ARENA_STATUSES = 100     # distinct codes a slot; then one entry of code 0xFFFF
    ARENA_KINDS = 6

cdef enum:
    ARENA_TRIES = 50         # at reading a row; one takes a few microseconds, and no engine counts as fast in one row
    ARENA_VERSION = 2
    ARENA_PAGE = 4096
    ARENA_OTHER_STATUS = 0xFFFF

cdef uint64_t ARENA_MAGIC = 0x616E65726120676C    # "lg arena", as a little-endian reader of hex dumps sees it

cdef struct Slot:
    uint64_t counts[COUNTS]
    uint64_t epoch                            # of minimum_us and maximum_us
    uint64_t minimum_us
    uint64_t maximum_us
    uint32_t kind
    uint32_t status_count                     # published after its entry
    uint32_t has_first_byte                   # or the reader would touch the page of `first_byte` to see it empty
    uint32_t room
    int64_t whole                             # of a count or gauge: the sum of its values, each rounded down
    uint64_t millionths                       # and of what was above, so that sums are exact and merge exactly
    double lowest                             # of a gauge, in `epoch`
    double highest
    double last
    int64_t last_ns                           # CLOCK_REALTIME of the last value; 0: there is none
    uint64_t status_counts[ARENA_STATUSES + 1]
    uint16_t statuses[ARENA_STATUSES + 1]
    char label[64]                            # UTF-8, NUL at the end; request: method, task: user class, user: ""
    char name[256]
    uint8_t reserved[30]                      # fills 1,536 bytes: chunks of counters start at multiples of 512
    Buckets times
    Buckets first_byte

cdef struct Header:
    uint64_t magic
    uint32_t version
    uint32_t state
    uint64_t epoch                            # bumped by the reader; never 0, so that a new slot has none
    int64_t lease_until_ns                    # 0 is none
    int64_t heartbeat_ns
    int64_t turn_started_ns                   # CLOCK_MONOTONIC; 0 while idle in epoll
    int64_t users_running
    int64_t users_started
    int64_t users_exited
    uint32_t slot_count                       # published after the slot's kind, label and name
    uint32_t error_count                      # published after the error's slot and text
    uint32_t others                           # bit k: the "(other)" slot of kind k is in use
    uint32_t room
    uint64_t names_lost                       # look-ups of a name that found no slot left
    uint64_t errors_lost                      # errors that found no entry left
    uint8_t reserved[408]                     # up to 512 bytes
    Buckets lag

cdef struct ErrorEntry:
    uint64_t count
    uint64_t forgiven
    int64_t first_ns                          # CLOCK_REALTIME
    int64_t last_ns
    uint32_t slot
    uint32_t room
    char text[256]

if (sizeof(Buckets) | sizeof(Header) | sizeof(Slot)) % (HISTOGRAM_CHUNK * sizeof(uint64_t)):
    raise ImportError("the arena's chunks would cross pages: adjust `reserved`")


cdef inline size_t arena_pages(size_t size) noexcept nogil:
    return (size + ARENA_PAGE - 1) // ARENA_PAGE * ARENA_PAGE


cdef inline size_t arena_slots_at() noexcept nogil:
    # Header, errors, slots: each starts on a page of its own.
    return arena_pages(sizeof(Header)) + arena_pages((ARENA_ERRORS + 1) * sizeof(ErrorEntry))


cdef size_t ARENA_SIZE = arena_slots_at() + arena_pages(sizeof(Slot)) * (ARENA_SLOTS + ARENA_KINDS)


cdef inline void slot_time(Slot* slot, Header* header, int64_t us) noexcept nogil:
    # Per request: a time, at least 1 us (0 means "none" for the extremes).
    if us < 1:
        us = 1
    buckets_record(&slot.times, us)
    slot.counts[SUM_US] += <uint64_t>us
    if slot.epoch != header.epoch:
        slot.minimum_us = slot.maximum_us = <uint64_t>us
        arena_publish_epoch(&slot.epoch, header.epoch)
    elif <uint64_t>us < slot.minimum_us:
        slot.minimum_us = <uint64_t>us
    elif <uint64_t>us > slot.maximum_us:
        slot.maximum_us = <uint64_t>us


cdef inline void slot_first_byte(Slot* slot, int64_t us) noexcept nogil:
    # Per request.
    slot.has_first_byte = 1
    buckets_record(&slot.first_byte, 1 if us < 1 else us)


cdef inline void slot_status(Slot* slot, int status) noexcept nogil:
    # Per request: most slots only ever see one status, so the first entry is looked at first.
    cdef uint32_t i = 0
    while i < slot.status_count and slot.statuses[i] != <uint16_t>status:
        i += 1
    if i == slot.status_count:
        i = slot_new_status(slot, <uint16_t>status)
    slot.status_counts[i] += 1


cdef uint32_t slot_new_status(Slot* slot, uint16_t status) noexcept nogil:
    # Return the entry for a status that is not there yet.
    cdef uint32_t i = slot.status_count
    if i >= ARENA_STATUSES:
        i = ARENA_STATUSES
        status = ARENA_OTHER_STATUS
    if i == slot.status_count:
        slot.statuses[i] = status
        arena_publish(&slot.status_count, i + 1)
    return i


cdef inline void header_lag(Header* header, int64_t us) noexcept nogil:
    # Per event: how late it was handled.
    buckets_record(&header.lag, us)


cdef class Arena:
    """What one engine counts, shared with the processes that hold its memfd.

    `create` makes a new one, `attach` maps one by its descriptor. `fd` is -1 and everything raises ValueError once it
    is closed. Only one process may write counters; any may read, and set epoch, lease_until_ns and state.
    """

    cdef Header* header
    cdef readonly int fd
    cdef dict slots          # (kind, label, name) -> index; None until this process first looks one up
    cdef dict entries        # (slot, text) -> index of the error
    cdef list keys           # of the slots that were read: they never change

    def __cinit__(self):
        self.fd = -1
        self.keys = []

    def __dealloc__(self):
        if self.header is not NULL:
            munmap(self.header, ARENA_SIZE)
        if self.fd >= 0:
            os.close(self.fd)

    @staticmethod
    def create():
        """Return a new arena, all zero, in epoch 1. Its size is sealed. Raises OSError."""
        fd = os.memfd_create("gaggle-arena", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, ARENA_SIZE)
            # A reader must never meet SIGBUS because another process made the file shorter.
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            os.pwrite(fd, arena_MARK.pack(ARENA_MAGIC, ARENA_VERSION, 0, 1), 0)
            return Arena.attach(fd)
        except BaseException:
            os.close(fd)
            raise

    @staticmethod
    def attach(int fd):
        """Return the arena in the memfd `fd`, which then belongs to it. Raises ValueError when `fd` is none of ours."""
        cdef Arena made = Arena()
        arena_check(fd)
        cdef void* at = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
        if at == MAP_FAILED:
            raise OSError(f"cannot map the arena in descriptor {fd}: {ARENA_SIZE} bytes of address space are needed")
        made.header = <Header*>at
        made.fd = fd
        return made

    def close(self):
        """Unmap the arena and close its descriptor; a second time does nothing."""
        if self.header is not NULL:
            munmap(self.header, ARENA_SIZE)
            self.header = NULL
            self.slots = self.entries = None    # what they find is gone
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    cdef inline Slot* at(self, int index) noexcept nogil:
        return <Slot*>(<char*>self.header + arena_slots_at() + <size_t>index * arena_pages(sizeof(Slot)))

    cdef inline ErrorEntry* entry(self, int index) noexcept nogil:
        return <ErrorEntry*>(<char*>self.header + arena_pages(sizeof(Header))) + index

    cdef inline Header* opened(self) except NULL:
        if self.header is NULL:
            raise ValueError("the arena is closed")
        return self.header

    cdef Slot* checked(self, int index) except NULL:
        if not 0 <= index < <int>self.opened().slot_count and not ARENA_SLOTS <= index < ARENA_SLOTS + ARENA_KINDS:
            raise IndexError(f"no slot has the index {index}")
        return self.at(index)

    # What the engine writes.

    cpdef int slot(self, int kind, str label, str name) except -1:
        """Return the index of the slot of (kind, label, name), made if need be; when all are taken, "(other)"'s.

        A label is cut to 63 bytes of UTF-8, a name to 255. Raises ValueError for a kind that does not exist.
        """
        if self.slots is None:
            self.recall()
        found = self.slots.get((kind, label, name))
        return <int>found if found is not None else self.new_slot(kind, arena_text(label, 63), arena_text(name, 255))

    cdef int new_slot(self, int kind, bytes label, bytes name) except -1:
        cdef Header* header = self.opened()
        cdef Slot* slot
        cdef int index = header.slot_count
        if not 0 <= kind < ARENA_KINDS:
            raise ValueError(f"a slot's kind is 0 to {ARENA_KINDS - 1}, got {kind}")
        key = (kind, label.decode(), name.decode())
        found = self.slots.get(key)    # two long names may be the same once they are cut
        if found is not None:
            return found
        if index >= ARENA_SLOTS:
            return self.other_slot(kind)
        slot = self.at(index)
        slot_name(slot, kind, label, name)
        arena_publish(&header.slot_count, index + 1)
        self.slots[key] = index
        return index

    cdef int other_slot(self, int kind) noexcept:
        cdef int index = ARENA_SLOTS + kind
        if not self.header.others >> kind & 1:
            slot_name(self.at(index), kind, b"", b"(other)")
            arena_publish(&self.header.others, self.header.others | <uint32_t>1 << kind)
        self.header.names_lost += 1
        return index

    cpdef int error(self, int slot, str text) except -1:
        """Count one error of a slot, by its text, cut to 255 bytes of UTF-8; when all entries are taken, "(other)"."""
        cdef ErrorEntry* entry = self.entry(self.find_error(slot, text, True))
        cdef int64_t now = arena_now_ns()
        if entry.count == 0:
            entry.first_ns = now
        entry.last_ns = now
        entry.count += 1
        return 0

    cpdef int forgive(self, int slot, str text) except -1:
        """Take back one error that was counted with the same slot and text."""
        self.entry(self.find_error(slot, text, False)).forgiven += 1
        return 0

    cdef int find_error(self, int slot, str text, bint counting) except -1:
        # The index of the entry of (slot, text), made if need be; when all are taken, the last.
        if self.entries is None:
            self.recall_errors()
        found = self.entries.get((slot, text))
        return <int>found if found is not None else self.new_error(slot, arena_text(text, 255), counting)

    cdef int new_error(self, int slot, bytes text, bint counting) except -1:
        cdef int index = self.opened().error_count
        cdef ErrorEntry* entry
        self.checked(slot)
        key = (slot, text.decode())
        found = self.entries.get(key)
        if found is not None:
            return found
        if index >= ARENA_ERRORS:
            self.header.errors_lost += counting
            return ARENA_ERRORS
        entry = self.entry(index)
        entry.slot = slot
        memcpy(entry.text, <char*>text, len(text) + 1)
        arena_publish(&self.header.error_count, index + 1)
        self.entries[key] = index
        return index

    def count(self, int slot, int which, int64_t amount=1):
        """Add `amount` to one of a slot's counters (STARTED, ANSWERED, ...). Raises IndexError, ValueError below 0."""
        if not 0 <= which < COUNTS:
            raise IndexError(f"no counter has the index {which}")
        if amount < 0:
            raise ValueError(f"counters only grow, got {amount}")
        self.checked(slot).counts[which] += <uint64_t>amount

    def time(self, int slot, int64_t us):
        """Record a time (us) of a slot: histogram, sum, minimum and maximum."""
        slot_time(self.checked(slot), self.header, us)

    def first_byte(self, int slot, int64_t us):
        """Record a time to the first byte (us) of a slot."""
        slot_first_byte(self.checked(slot), us)

    def status(self, int slot, int status):
        """Count a status code of a slot."""
        slot_status(self.checked(slot), status)

    def late(self, int64_t us):
        """Record that something was handled `us` too late."""
        header_lag(self.opened(), us)

    # What the supervisor reads.

    def rows(self):
        """Return a tuple a slot: (kind, label, name, counts, minimum_us, maximum_us, statuses, times, first_byte).

        Per snapshot. `counts` is in the order of the enum; `statuses` maps a code to its count (0xFFFF: those after the
        100th); minimum_us and maximum_us are 0 when nothing was timed in this epoch. Used "(other)" slots come last.
        """
        return [self.row(index, key) for index, key in self.used() if key[0] < KIND_COUNT]

    def meters(self):
        """Return a tuple a count, gauge or check: what the load test counts itself. Per snapshot.

        (kind, name, samples, failed, sum_millionths, lowest, highest, last, last_ns): `failed` is of a check; lowest
        and highest are None where there was no value in this epoch. Used "(other)" slots come last.
        """
        return [self.meter(index, key) for index, key in self.used() if key[0] >= KIND_COUNT]

    cdef list used(self):
        # (index, key) of every slot in use.
        cdef Header* header = self.opened()
        cdef int index, count = min(<int>arena_published(&header.slot_count), ARENA_SLOTS)
        cdef uint32_t others = arena_published(&header.others)
        for index in range(len(self.keys), count):
            self.keys.append(slot_key(self.at(index)))
        found = list(enumerate(self.keys))
        for index in range(ARENA_KINDS):
            if others >> index & 1:
                found.append((ARENA_SLOTS + index, (index, "", "(other)")))
        return found

    cdef tuple meter(self, int index, tuple key):
        # As `row`: read again when a value came meanwhile.
        cdef Slot* slot = self.at(index)
        cdef int tries
        found = None
        for tries in range(ARENA_TRIES):
            before, found = found, slot_meter(slot, arena_published_word(&slot.epoch) == self.header.epoch)
            if found == before:
                break
        return key[0], key[2], *found

    cdef tuple row(self, int index, tuple key):
        # The writer does not wait: what changed while it was read is read again, so that counts and times agree.
        cdef Slot* slot = self.at(index)
        cdef bint fresh = arena_published_word(&slot.epoch) == self.header.epoch
        cdef Histogram times
        cdef tuple counts
        cdef int tries
        for tries in range(ARENA_TRIES):
            counts = slot_counts(slot)
            times = Histogram.from_buckets(&slot.times)
            first_byte = Histogram.from_buckets(&slot.first_byte) if slot.has_first_byte else Histogram()
            statuses = slot_statuses(slot)
            if times.total == counts[ANSWERED] + counts[BROKEN] and counts == slot_counts(slot):
                break
        return (
            *key,
            counts,
            slot.minimum_us if fresh else 0,
            slot.maximum_us if fresh else 0,
            statuses,
            times,
            first_byte,
        )

    def errors(self):
        """Return (kind, label, name, text, count, first_ns, last_ns) for each error that was not wholly forgiven."""
        cdef ErrorEntry* entry
        cdef int index, count = min(<int>arena_published(&self.opened().error_count), ARENA_ERRORS)
        found = []
        for index in range(count):
            entry = self.entry(index)
            if entry.count > entry.forgiven:
                key = slot_key(self.at(entry.slot))
                found.append((*key, arena_string(entry.text, sizeof(entry.text)), *arena_error_counts(entry)))
        entry = self.entry(ARENA_ERRORS)
        if self.header.errors_lost and entry.count > entry.forgiven:
            found.append((KIND_REQUEST, "", "(other)", "(other)", *arena_error_counts(entry)))
        return found

    def lag(self):
        """Return the histogram of how late (us) the engine handled what was due."""
        return Histogram.from_buckets(&self.opened().lag)

    cdef int recall(self) except -1:
        # An engine that takes over an arena goes on with the names that are in it.
        cdef int index
        self.slots = {}
        for index in range(<int>self.opened().slot_count):
            self.slots[slot_key(self.at(index))] = index
        return 0

    cdef int recall_errors(self) except -1:
        cdef int index
        cdef ErrorEntry* entry
        self.entries = {}
        for index in range(<int>self.opened().error_count):
            entry = self.entry(index)
            self.entries[entry.slot, arena_string(entry.text, sizeof(entry.text))] = index
        return 0

    @property
    def epoch(self):
        return self.opened().epoch

    @epoch.setter
    def epoch(self, uint64_t epoch):
        if epoch == 0:
            raise ValueError("an epoch is at least 1")
        arena_publish_epoch(&self.opened().epoch, epoch)

    @property
    def state(self):
        return self.opened().state

    @state.setter
    def state(self, uint32_t state):
        arena_publish(&self.opened().state, state)

    @property
    def lease_until_ns(self):
        return self.opened().lease_until_ns

    @lease_until_ns.setter
    def lease_until_ns(self, int64_t ns):
        self.opened().lease_until_ns = ns

    @property
    def heartbeat_ns(self):
        return self.opened().heartbeat_ns

    @heartbeat_ns.setter
    def heartbeat_ns(self, int64_t ns):
        self.opened().heartbeat_ns = ns

    @property
    def turn_started_ns(self):
        return self.opened().turn_started_ns

    @turn_started_ns.setter
    def turn_started_ns(self, int64_t ns):
        self.opened().turn_started_ns = ns

    @property
    def users_running(self):
        return self.opened().users_running

    @users_running.setter
    def users_running(self, int64_t users):
        self.opened().users_running = users

    @property
    def users_started(self):
        return self.opened().users_started

    @users_started.setter
    def users_started(self, int64_t users):
        self.opened().users_started = users

    @property
    def users_exited(self):
        return self.opened().users_exited

    @users_exited.setter
    def users_exited(self, int64_t users):
        self.opened().users_exited = users

    @property
    def names_lost(self):
        return self.opened().names_lost

    @property
    def errors_lost(self):
        return self.opened().errors_lost


# magic, version, state, epoch: the start of the header
cdef object arena_MARK = struct.Struct("=QIIQ")


cdef int arena_check(int fd) except -1:
    # Raises ValueError unless `fd` is an arena of this version: its size, then its first bytes, before it is mapped.
    if os.fstat(fd).st_size != ARENA_SIZE:
        raise ValueError(f"descriptor {fd} is no arena: its size is {os.fstat(fd).st_size}, not {ARENA_SIZE}")
    magic, version, _, _ = arena_MARK.unpack(os.pread(fd, arena_MARK.size, 0))
    if magic != ARENA_MAGIC:
        raise ValueError(f"descriptor {fd} is no arena: it starts with {magic:#x}")
    if version != ARENA_VERSION:
        raise ValueError(f"descriptor {fd} is an arena of version {version}, this is version {ARENA_VERSION}")
    return 0


cdef int64_t arena_now_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return <int64_t>now.tv_sec * 1_000_000_000 + now.tv_nsec


cdef bytes arena_text(str text, int most):
    # The UTF-8 of `text`, at most `most` bytes, whole characters, without NULs.
    cdef bytes data = text.replace("\0", " ").encode("utf-8", "replace")
    return data if len(data) <= most else data[:most].decode("utf-8", "ignore").encode()


cdef str arena_string(const char* text, size_t room):
    return text[:strnlen(text, room)].decode("utf-8", "replace")


cdef void slot_name(Slot* slot, int kind, bytes label, bytes name) noexcept:
    slot.kind = kind
    memcpy(slot.label, <char*>label, len(label) + 1)
    memcpy(slot.name, <char*>name, len(name) + 1)


cdef tuple slot_key(const Slot* slot):
    return slot.kind, arena_string(slot.label, sizeof(slot.label)), arena_string(slot.name, sizeof(slot.name))


cdef tuple slot_counts(const Slot* slot):
    # Backwards: what has started is read after what has ended, so a reader never sees more ends than starts.
    cdef uint64_t counts[COUNTS]
    cdef int i
    for i in range(COUNTS - 1, -1, -1):
        counts[i] = arena_published_word(&slot.counts[i])
    return tuple([counts[i] for i in range(COUNTS)])


cdef tuple slot_meter(const Slot* slot, bint fresh):
    # What is written last is read first: a sample that is seen is in the sum.
    samples, failed = arena_published_word(&slot.counts[ANSWERED]), arena_published_word(&slot.counts[FAILED])
    cdef object whole = slot.whole                # of Python: it is multiplied
    ends = (slot.lowest, slot.highest) if fresh else (None, None)
    return samples, failed, whole * 1_000_000 + slot.millionths, *ends, slot.last, slot.last_ns


cdef tuple arena_error_counts(const ErrorEntry* entry):
    return entry.count - entry.forgiven, entry.first_ns, entry.last_ns


cdef dict slot_statuses(const Slot* slot):
    cdef int i, count = min(<int>arena_published(&slot.status_count), ARENA_STATUSES + 1)
    return {slot.statuses[i]: slot.status_counts[i] for i in range(count)}
