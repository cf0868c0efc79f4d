"""The request being authorised, as far as checks need more of it than MiniStack's evaluator hands on."""

import contextvars
import dataclasses

_current = contextvars.ContextVar("lifeboat_request", default=None)


@dataclasses.dataclass
class Request:
    """One AWS API request: the service and the parts of the HTTP request that name its resources."""

    service: str
    method: str
    path: str
    headers: dict
    body: bytes
    query: dict

    def parameter(self, name):
        """The first value of a query or form parameter, else None."""
        value = self.query.get(name)
        return value[0] if isinstance(value, list) and value else value or None

    def header(self, name):
        """A header's value, else None."""
        return self.headers.get(name)


def remember(service, method, path, headers, body, query):
    """Make this the current request."""
    _current.set(Request(service, method, path, headers or {}, body or b"", query or {}))


def current():
    """The current request, or None outside of one."""
    return _current.get()
