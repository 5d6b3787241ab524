# Dates: RFC 6265 section 5.1.1 reads day, month, year and time in any order, so it reads RFC 1123, RFC 850 and asctime.

cdef struct CookieDate:
    int hour, minute, second       # hour is -1 until a time was found
    int day, month, year           # -1 until found


cdef inline bint cookies_in_date(unsigned char c) noexcept nogil:
    """Return whether `c` belongs to a token of a date; what does not stands between them."""
    return not (c == 9 or 32 <= c <= 47 or 59 <= c <= 64 or 91 <= c <= 96 or 123 <= c <= 126)


cdef bint cookies_time(CookieText token, CookieDate* date) noexcept nogil:
    """Take `token` as hour:minute:second if it is that."""
    cdef int hour, minute, second
    if token.size < 5 or not (token.data[1] == b":" or token.data[2] == b":"):
        return False
    hour, minute, second = cookies_clock_part(&token), cookies_clock_part(&token), cookies_number(token, 2)
    if hour < 0 or minute < 0 or second < 0:
        return False
    date.hour, date.minute, date.second = hour, minute, second
    return True


cdef int cookies_clock_part(CookieText* rest) noexcept nogil:
    """Cut off one or two digits and a colon and return the number, -1 if they are not there."""
    cdef Py_ssize_t digits = 1 if rest.size > 1 and rest.data[1] == b":" else 2
    cdef int number = cookies_number(CookieText(rest.data, digits), 2) if rest.size > digits else -1
    if number < 0 or rest.data[digits] != b":" or not b"0" <= rest.data[digits - 1] <= b"9":
        return -1
    rest.data, rest.size = rest.data + digits + 1, rest.size - digits - 1
    return number


cdef bint cookies_month(CookieText token, CookieDate* date) noexcept nogil:
    cdef int month
    for month in range(12):
        if token.size >= 3 and headers_same(token.data, cookies_MONTHS + 3 * month, 3):
            date.month = month + 1
            return True
    return False


cdef void cookies_year(CookieText token, CookieDate* date) noexcept nogil:
    cdef int year = cookies_number(token, 4)
    if year >= 0 and token.size >= 2 and b"0" <= token.data[1] <= b"9":
        date.year = year + (1900 if 70 <= year <= 99 else 2000 if year <= 69 else 0)


cdef void cookies_date_token(CookieText token, CookieDate* date) noexcept nogil:
    """Take `token` as the first of time, day, month and year that it can be and that is still missing."""
    cdef int day = cookies_number(token, 2)
    if date.hour < 0 and cookies_time(token, date):
        return
    if date.day < 0 and day >= 0:
        date.day = day
    elif (date.month >= 0 or not cookies_month(token, date)) and date.year < 0:
        cookies_year(token, date)


cdef double cookies_date(CookieText text) noexcept nogil:
    """Return the unix time of a date as servers write it, NAN if it is none."""
    cdef CookieDate date = CookieDate(-1, 0, 0, -1, -1, -1)
    cdef CookieText token
    cdef Py_ssize_t i = 0, start
    while i < text.size:
        start = i
        while i < text.size and cookies_in_date(text.data[i]):
            i += 1
        if i > start:
            cookies_date_token(CookieText(text.data + start, i - start), &date)
        i += 1
    return cookies_seconds(&date)


cdef double cookies_seconds(const CookieDate* date) noexcept nogil:
    """Return the unix time of `date`, NAN if there is no such moment or something is missing."""
    if not 0 <= date.hour <= 23 or date.minute > 59 or date.second > 59 or date.year < 1601 or date.month < 0:
        return NAN
    if not 1 <= date.day <= cookies_month_days(date.year, date.month):
        return NAN
    return cookies_days(date.year, date.month, date.day) * 86400.0 + date.hour * 3600 + date.minute * 60 + date.second


cdef int cookies_month_days(int year, int month) noexcept nogil:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


cdef int64_t cookies_days(int year, int month, int day) noexcept nogil:
    """Return the days from 1970-01-01, for years above 0: Howard Hinnant's days_from_civil."""
    cdef int64_t era_year = year - (month <= 2)
    cdef int64_t era = era_year // 400
    cdef int64_t year_of_era = era_year - era * 400
    cdef int64_t day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468
