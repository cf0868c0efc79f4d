"""A responder for LDAP's simple bind on loopback: PostgreSQL's way of asking somebody else whether a password is right.

It knows the bind request and nothing else of LDAP (RFC 4511, section 4.2), keeps no state, and hands name and password to
the one who decides; neither is ever logged.
"""

import logging
import socketserver
import threading

_log = logging.getLogger("lifeboat.ldap")
_MESSAGE_BYTES, _SECONDS = 128 * 1024, 10
_SEQUENCE, _INTEGER, _OCTETS, _ENUMERATED = 0x30, 0x02, 0x04, 0x0A
_BIND_REQUEST, _BIND_RESPONSE, _SIMPLE = 0x60, 0x61, 0x80
_SUCCESS, _PROTOCOL_ERROR, _INVALID_CREDENTIALS = 0, 2, 49


def _encoded(tag, content):
    """One element of BER, definite length."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _element(data):
    """`(tag, content, rest)` of the first element."""
    tag, size, begin = data[0], data[1], 2
    if size & 0x80:
        begin = 2 + (size & 0x7F)
        size = int.from_bytes(data[2:begin], "big")
    if len(data) < begin + size:
        raise ValueError("an element that ends early")
    return tag, data[begin:begin + size], data[begin + size:]


def _read(stream):
    """One whole message, or None at the end of the connection."""
    head = stream.read(2)
    if len(head) < 2:
        return None
    size = head[1]
    if size & 0x80:
        more = stream.read(size & 0x7F)
        head, size = head + more, int.from_bytes(more, "big")
    if size > _MESSAGE_BYTES:
        raise ValueError("a message that is too long")
    return head + stream.read(size)


def answer(message, decide):
    """The answer to a message, or None where there is none: an unbind, or what is no LDAP."""
    tag, content, _ = _element(message)
    number_tag, number, content = _element(content)
    if tag != _SEQUENCE or number_tag != _INTEGER:
        raise ValueError("no LDAP message")
    operation, content, _ = _element(content)
    if operation != _BIND_REQUEST:
        return None
    _, _version, content = _element(content)
    _, name, content = _element(content)
    method, password, _ = _element(content)
    code = _PROTOCOL_ERROR
    if method == _SIMPLE:
        code = _SUCCESS if decide(name.decode(), password.decode()) else _INVALID_CREDENTIALS
    said = _encoded(_ENUMERATED, bytes((code,))) + _encoded(_OCTETS, b"") + _encoded(_OCTETS, b"")
    return _encoded(_SEQUENCE, _encoded(_INTEGER, number) + _encoded(_BIND_RESPONSE, said))


class _Handler(socketserver.StreamRequestHandler):
    timeout = _SECONDS

    def handle(self):
        try:
            while (message := _read(self.rfile)) is not None:
                said = answer(message, self.server.decide)
                if said is None:
                    return
                self.wfile.write(said)
        except (OSError, ValueError, IndexError) as error:
            _log.warning("a bind that cannot be read: %s", type(error).__name__)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads, request_queue_size = True, 256


def start(decide):
    """Answer binds by `decide(name, password)`; returns the port."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.decide = decide
    threading.Thread(target=server.serve_forever, daemon=True, name="ldap").start()
    return server.server_address[1]
