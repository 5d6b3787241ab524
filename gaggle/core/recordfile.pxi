# A file that several engines append whole records to, each out of a buffer of its own, without waiting for anybody.
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, EPIPE, errno

import os as recordfile_os
import stat as recordfile_stat
from os import strerror as recordfile_strerror

cdef extern from "unistd.h" nogil:
    ssize_t recordfile_write "write"(int, const void*, size_t)
    ssize_t recordfile_read "pread"(int, void*, size_t, long)
    long recordfile_seek "lseek"(int, long, int)
    int recordfile_truncate "ftruncate"(int, long)
    int recordfile_sleep "usleep"(unsigned int)

cdef extern from "sys/file.h" nogil:
    int flock(int, int)
    enum: LOCK_EX, LOCK_NB, LOCK_UN

cdef enum:
    RECORDFILE_FLUSH = 65_536      # bytes that are worth a system call
    RECORDFILE_MOST = 16_777_216   # bytes that wait for a reader or a lock before records are dropped
    RECORDFILE_KEPT = 1_048_576    # a larger buffer is given back

cdef int64_t RECORDFILE_EVERY_NS = 1_000_000_000
cdef int64_t RECORDFILE_AGAIN_NS = 20_000_000
cdef int64_t RECORDFILE_STILL_NS = 5_000_000_000        # at the end: how long nothing may move
cdef int64_t RECORDFILE_LONGEST_NS = 20_000_000_000


@cython.final
cdef class RecordFile(Timer):
    """Records on their way into a file, which are written when they are many, and every second.

    The engines of a machine share the file by a lock that nobody waits for. What cannot be written (a full disk, a
    reader that has gone or is too slow) is counted in `lost`, and `trouble` says why; a file is cut back to whole records,
    also when it was another engine that was killed while it wrote.
    """
    cdef JsonText text
    cdef Timers timers
    cdef int fd
    cdef readonly str path
    cdef readonly uint64_t lost    # records
    cdef readonly str trouble      # why the first of them were; None
    cdef uint64_t records          # in the buffer
    cdef uint64_t records_due      # of them, those that are being written
    cdef size_t due                # bytes that are being written: all that there were when the lock was taken; 0: none
    cdef size_t sent               # of them, those that are out
    cdef size_t try_at             # length at which writing is worth a try
    cdef long end                  # of the file when the lock was taken
    cdef bint is_regular
    cdef bint has_lock             # may be locked at all: its description is our own

    def __init__(self, str path, Pump pump=None):
        """Open `path`, "-" for stdout; with a pump it is written every second. Raises OSError."""
        self.fd = -1
        self.path, self.timers, self.try_at = path, None if pump is None else pump.timers, RECORDFILE_FLUSH
        self.open_file()
        self.is_regular = recordfile_stat.S_ISREG(recordfile_os.fstat(self.fd).st_mode)

    def __dealloc__(self):
        free(self.text.data)
        if self.fd >= 0:
            posix_close(self.fd)

    cdef int open_file(self) except -1:
        """A description of our own can be locked and does not block; stdout's is shared when it is a file or a socket."""
        flags = recordfile_os.O_APPEND | recordfile_os.O_CREAT | recordfile_os.O_NONBLOCK
        flags |= recordfile_os.O_CLOEXEC | recordfile_os.O_NOCTTY
        self.has_lock = True
        if self.path != "-":
            self.fd = recordfile_os.open(self.path, flags | self.access(), 0o666)
            return 0
        kind = recordfile_os.fstat(1).st_mode
        if recordfile_stat.S_ISREG(kind) or recordfile_stat.S_ISSOCK(kind):
            self.has_lock = False
            self.fd = recordfile_os.dup(1)
        else:
            self.fd = recordfile_os.open("/proc/self/fd/1", flags & ~recordfile_os.O_CREAT | recordfile_os.O_WRONLY)
        return 0

    cdef int access(self) except -1:
        """A plain file is read as well, to see whether its last record is whole; a pipe so opened would not break."""
        is_plain = recordfile_os.path.isfile(self.path) and recordfile_os.access(self.path, recordfile_os.R_OK)
        return recordfile_os.O_RDWR if is_plain else recordfile_os.O_WRONLY

    def write(self, bytes record not None):
        """Add a whole record."""
        if self.begin():
            jsontext_bytes(&self.text, record)
            self.added()

    cdef bint begin(self) except -1:
        """Whether there is room for a record, which is then put into `text`; one without room is lost."""
        if self.fd < 0 or self.text.length >= RECORDFILE_MOST:
            self.lose(1, self.trouble or "what reads it is too slow")
            return False
        return True

    cdef int added(self) except -1:
        """A record is whole: write if there is much, else within a second."""
        self.records += 1
        if self.text.length >= self.try_at:
            return self.flush()
        if not self.place and self.timers is not None:
            self.timers.set(self, clock_ns() + RECORDFILE_EVERY_NS)
        return 0

    cdef int fire(self) except -1:
        self.flush()
        if self.text.length and not self.place:
            self.timers.set(self, clock_ns() + RECORDFILE_AGAIN_NS)
        return 0

    cpdef int flush(self) except -1:
        """Write what can be written now."""
        cdef ssize_t count
        while self.text.length and self.fd >= 0:
            if not self.due and not self.begin_writing():
                break
            with nogil:
                count = recordfile_write(self.fd, self.text.data + self.sent, self.due - self.sent)
            if count >= 0:
                self.sent += count
                if self.sent == self.due:
                    self.end_writing()
            elif errno == EAGAIN:
                break
            elif errno != EINTR:
                self.give_up(errno)
                break
        self.try_at = self.text.length + RECORDFILE_FLUSH
        if not self.text.length and self.place:
            self.timers.drop(self)
        return 0

    cdef bint begin_writing(self) noexcept:
        """Take the lock for all that is in the buffer now; False when another engine has it."""
        cdef bint is_alone = self.has_lock and not flock(self.fd, LOCK_EX | LOCK_NB)
        if self.has_lock and not is_alone and errno == EAGAIN:
            return False
        self.due, self.records_due, self.sent = self.text.length, self.records, 0
        if self.is_regular and self.has_lock:
            self.end = recordfile_seek(self.fd, 0, 2)
            if is_alone:           # not every file system has locks
                self.cut_back()
        return True

    cdef void cut_back(self) noexcept:
        """Take away the half record of an engine that was killed while it wrote: behind it, ours would be spoilt too."""
        cdef char last = 0
        cdef long end = self.end
        while end and recordfile_read(self.fd, &last, 1, end - 1) == 1 and last != c'\n':
            end -= 1
        if end < self.end and (last == c'\n' or not end):
            recordfile_truncate(self.fd, end)
            self.end = end

    cdef void end_writing(self) noexcept:
        """What was due is out, or lost: keep what was added meanwhile."""
        if self.has_lock:
            flock(self.fd, LOCK_UN)
        self.text.length -= self.due
        memmove(self.text.data, self.text.data + self.due, self.text.length)
        self.records -= self.records_due
        self.due = self.sent = 0
        if self.text.capacity > RECORDFILE_KEPT and not self.text.length:
            free(self.text.data)
            self.text.data, self.text.capacity = NULL, 0

    cdef int give_up(self, int number) except -1:
        """The records that were due cannot be written: leave none of them in half."""
        if self.is_regular and self.has_lock and self.sent:
            recordfile_truncate(self.fd, self.end)
        self.lose(self.records_due, recordfile_strerror(number))
        self.end_writing()
        if number == EPIPE:        # who reads it has gone for good
            posix_close(self.fd)
            self.fd = -1
            self.lose(self.records, self.trouble)
            self.records = self.text.length = 0
        return 0

    cdef int lose(self, uint64_t records, str why) except -1:
        self.lost += records
        if self.trouble is None and records:
            self.trouble = why
        return 0

    def close(self):
        """Write the rest, with some patience, and close the file. Nothing can be added any more."""
        cdef int64_t began_ns = clock_ns(), moved_ns = began_ns, now = began_ns
        cdef size_t left = 0
        while self.text.length and now - moved_ns < RECORDFILE_STILL_NS and now - began_ns < RECORDFILE_LONGEST_NS:
            self.flush()
            if self.text.length - self.sent != left:
                left, moved_ns = self.text.length - self.sent, now
            if left:
                with nogil:
                    recordfile_sleep(1_000)
            now = clock_ns()
        self.lose(self.records, self.trouble or "what reads it is too slow")
        self.records = self.text.length = 0
        if self.place:
            self.timers.drop(self)
        if self.fd >= 0:
            posix_close(self.fd)
            self.fd = -1
