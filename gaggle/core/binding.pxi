# libcurl, taken at run time from where pycurl has it: its wheel bundles a current one. No headers, no link step.
import pycurl

from gaggle.core.libcurl cimport *

cdef extern from "dlfcn.h" nogil:
    void* dlopen(const char*, int)
    void* dlsym(void*, const char*)
    int RTLD_LAZY, RTLD_NOLOAD, RTLD_LOCAL

cdef easy_init_type curl_easy_init
cdef easy_cleanup_type curl_easy_cleanup
cdef easy_setopt_type curl_easy_setopt
cdef easy_getinfo_type curl_easy_getinfo
cdef easy_pause_type curl_easy_pause
cdef easy_strerror_type curl_easy_strerror
cdef easy_send_type curl_easy_send
cdef easy_recv_type curl_easy_recv
cdef multi_init_type curl_multi_init
cdef multi_cleanup_type curl_multi_cleanup
cdef multi_setopt_type curl_multi_setopt
cdef multi_handle_type curl_multi_add_handle
cdef multi_handle_type curl_multi_remove_handle
cdef multi_socket_action_type curl_multi_socket_action
cdef multi_info_read_type curl_multi_info_read
cdef share_init_type curl_share_init
cdef share_setopt_type curl_share_setopt
cdef share_cleanup_type curl_share_cleanup
cdef slist_append_type curl_slist_append
cdef slist_free_all_type curl_slist_free_all
cdef version_info_type curl_version_info

ctypedef long (*transfer_ctx_ctrl_type)(void*, int, long, void*) noexcept nogil
cdef transfer_ctx_ctrl_type transfer_ctx_ctrl = NULL


cdef void* transfer_symbol(void* library, const char* name) except NULL:
    cdef void* found = dlsym(library, name)
    if found == NULL:
        raise ImportError(f"the libcurl of pycurl {pycurl.version} has no {name.decode()}: pip install -U 'pycurl>=7.47'")
    return found


cdef int transfer_bind() except -1:
    """Find libcurl's functions in the library that pycurl has loaded: its handle's search includes what it depends on."""
    global curl_easy_init, curl_easy_cleanup, curl_easy_setopt, curl_easy_getinfo, curl_easy_pause, curl_easy_strerror
    global curl_easy_send, curl_easy_recv
    global curl_multi_init, curl_multi_cleanup, curl_multi_setopt, curl_multi_add_handle, curl_multi_remove_handle
    global curl_multi_socket_action, curl_multi_info_read, curl_share_init, curl_share_setopt, curl_share_cleanup
    global curl_slist_append, curl_slist_free_all, curl_version_info, transfer_ctx_ctrl
    path = getattr(pycurl, "_pycurl", pycurl).__file__.encode()
    cdef void* library = dlopen(path, RTLD_NOLOAD | RTLD_LOCAL | RTLD_LAZY)
    if library == NULL:
        raise ImportError(f"cannot open the library of pycurl at {path.decode()}: reinstall pycurl")
    curl_version_info = <version_info_type>transfer_symbol(library, b"curl_version_info")
    if curl_version_info(0).version_num < LIBCURL_OLDEST:
        raise ImportError(f"libcurl {transfer_version()} of pycurl is too old, 8.21.0 is needed: pip install -U 'pycurl>=7.47'")
    curl_easy_init = <easy_init_type>transfer_symbol(library, b"curl_easy_init")
    curl_easy_cleanup = <easy_cleanup_type>transfer_symbol(library, b"curl_easy_cleanup")
    curl_easy_setopt = <easy_setopt_type>transfer_symbol(library, b"curl_easy_setopt")
    curl_easy_getinfo = <easy_getinfo_type>transfer_symbol(library, b"curl_easy_getinfo")
    curl_easy_pause = <easy_pause_type>transfer_symbol(library, b"curl_easy_pause")
    curl_easy_strerror = <easy_strerror_type>transfer_symbol(library, b"curl_easy_strerror")
    curl_easy_send = <easy_send_type>transfer_symbol(library, b"curl_easy_send")
    curl_easy_recv = <easy_recv_type>transfer_symbol(library, b"curl_easy_recv")
    curl_multi_init = <multi_init_type>transfer_symbol(library, b"curl_multi_init")
    curl_multi_cleanup = <multi_cleanup_type>transfer_symbol(library, b"curl_multi_cleanup")
    curl_multi_setopt = <multi_setopt_type>transfer_symbol(library, b"curl_multi_setopt")
    curl_multi_add_handle = <multi_handle_type>transfer_symbol(library, b"curl_multi_add_handle")
    curl_multi_remove_handle = <multi_handle_type>transfer_symbol(library, b"curl_multi_remove_handle")
    curl_multi_socket_action = <multi_socket_action_type>transfer_symbol(library, b"curl_multi_socket_action")
    curl_multi_info_read = <multi_info_read_type>transfer_symbol(library, b"curl_multi_info_read")
    curl_share_init = <share_init_type>transfer_symbol(library, b"curl_share_init")
    curl_share_setopt = <share_setopt_type>transfer_symbol(library, b"curl_share_setopt")
    curl_share_cleanup = <share_cleanup_type>transfer_symbol(library, b"curl_share_cleanup")
    curl_slist_append = <slist_append_type>transfer_symbol(library, b"curl_slist_append")
    curl_slist_free_all = <slist_free_all_type>transfer_symbol(library, b"curl_slist_free_all")
    transfer_ctx_ctrl = <transfer_ctx_ctrl_type>dlsym(library, b"SSL_CTX_ctrl")     # absent without OpenSSL: then no tuning
    return 0


def transfer_version():
    """Return the version of the libcurl in use, like "8.23.0"."""
    return curl_version_info(0).version.decode()


def transfer_has_http3():
    """Return whether the libcurl in use speaks HTTP/3."""
    return bool(curl_version_info(0).features & CURL_VERSION_HTTP3)


transfer_bind()
