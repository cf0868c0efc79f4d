"""Answers RDS calls that arrive at MiniStack's endpoint by moto, inside the same process.

moto takes two seconds of CPU time to import, so it is loaded in the background, or by the first call if that is first.
"""

import asyncio
import threading

import ministack.services.rds as ministack_rds
from ministack.core.responses import get_account_id, get_region

_lock = threading.Lock()
_loaded = None
_place = None


def plane():
    """The module `rds_plane`, installed into moto."""
    return _load()[0]


def loaded():
    """The same if it is loaded, else None: then there are no databases."""
    return _loaded[0] if _loaded else None


def _load():
    global _loaded
    with _lock:
        if _loaded is None:
            from moto.server import DomainDispatcherApplication, create_backend_app

            from . import rds_plane

            rds_plane.install(_place)
            _loaded = (rds_plane, DomainDispatcherApplication(create_backend_app))
        return _loaded


def _answer(method, path, headers, body, account, region):
    # Before any import of ours: two threads that import parts of the same packages can each see half of them.
    moto = _load()[1]
    from werkzeug.test import EnvironBuilder, run_wsgi_app

    host = f"rds.{region}.amazonaws.com"
    kept = {name: value for name, value in headers.items() if name.lower() in ("content-type", "user-agent")}
    # moto routes by host and credential scope; the signature was checked before we got here.
    scope = f"AKIAIOSFODNN7EXAMPLE/20260101/{region}/rds/aws4_request"
    kept |= {"Host": host, "X-Moto-Account-Id": account,
             "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}
    request = EnvironBuilder(path=path or "/", method=method, headers=kept, data=body, base_url=f"https://{host}")
    chunks, status, answered = run_wsgi_app(moto, request.get_environ(), buffered=True)
    content_type = answered.get("Content-Type", "text/xml")
    return int(status.split()[0]), {"Content-Type": content_type}, b"".join(chunks)


async def _handle_request(method, path, headers, body, query_params):
    # In a thread with this request's context: who calls decides which keys may be used.
    return await asyncio.to_thread(_answer, method, path, headers, body, get_account_id(), get_region())


def install(place):
    """Put moto in the place of MiniStack's own RDS; `place` says where servers live."""
    global _place
    _place = place
    ministack_rds.handle_request = _handle_request
