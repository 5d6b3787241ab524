# libcurl as this project uses it: types and function signatures. No header of curl is needed to build: see binding.pxi.
# Source: include/curl/{curl,easy,multi}.h of curl 8.23. Every name here is part of libcurl's stable ABI.
from libc.stdint cimport int64_t

ctypedef void CURL
ctypedef void CURLM
ctypedef void CURLSH

cdef struct curl_slist:
    char* data
    curl_slist* next

cdef struct CURLMsg:
    int msg
    CURL* easy_handle
    int result                    # of `union { void *whatever; CURLcode result; }`: same place on every Linux ABI

cdef struct curl_sockaddr:
    int family
    int socktype
    int protocol
    unsigned int addrlen
    # struct sockaddr addr follows; nothing here looks at it

cdef struct curl_version_info_data:
    int age
    const char* version
    unsigned int version_num
    const char* host
    int features
    const char* ssl_version

ctypedef CURL* (*easy_init_type)() noexcept nogil
ctypedef void (*easy_cleanup_type)(CURL*) noexcept nogil
ctypedef int (*easy_setopt_type)(CURL*, int, ...) noexcept nogil
ctypedef int (*easy_getinfo_type)(CURL*, int, ...) noexcept nogil
ctypedef int (*easy_pause_type)(CURL*, int) noexcept nogil
ctypedef int (*easy_send_type)(CURL*, const void*, size_t, size_t*) noexcept nogil
ctypedef int (*easy_recv_type)(CURL*, void*, size_t, size_t*) noexcept nogil
ctypedef const char* (*easy_strerror_type)(int) noexcept nogil
ctypedef CURLM* (*multi_init_type)() noexcept nogil
ctypedef int (*multi_cleanup_type)(CURLM*) noexcept nogil
ctypedef int (*multi_setopt_type)(CURLM*, int, ...) noexcept nogil
ctypedef int (*multi_handle_type)(CURLM*, CURL*) noexcept nogil
ctypedef int (*multi_socket_action_type)(CURLM*, int, int, int*) noexcept nogil
ctypedef CURLMsg* (*multi_info_read_type)(CURLM*, int*) noexcept nogil
ctypedef CURLSH* (*share_init_type)() noexcept nogil
ctypedef int (*share_setopt_type)(CURLSH*, int, ...) noexcept nogil
ctypedef int (*share_cleanup_type)(CURLSH*) noexcept nogil
ctypedef curl_slist* (*slist_append_type)(curl_slist*, const char*) noexcept nogil
ctypedef void (*slist_free_all_type)(curl_slist*) noexcept nogil
ctypedef curl_version_info_data* (*version_info_type)(int) noexcept nogil
