"""Messages between a manager and its workers: the only package that knows ZeroMQ. What they mean is `protocol`'s."""

from __future__ import annotations

from gaggle.errors import FeatureNotEnabled

try:
    from gaggle.transport.dialling import Closed, Reason, WorkerTransport, resolve
    from gaggle.transport.listening import ManagerTransport
    from gaggle.transport.wire import LAST_SECONDS, MAX_FRAME, finish
except ImportError as error:
    if not (error.name or "").startswith("zmq"):
        raise
    detail = f"A gaggle needs pyzmq ({error}): run `pip install 'gaggle-loadtest[gaggle]'`."
    raise FeatureNotEnabled("gaggle", detail) from None

__all__ = [
    "LAST_SECONDS",
    "MAX_FRAME",
    "Closed",
    "ManagerTransport",
    "Reason",
    "WorkerTransport",
    "finish",
    "resolve",
]
