"""Who may look, and who may act: names of hosts, the token, the origin.

Three strangers are kept out. A site that has its own name point to this machine (DNS rebinding): its name in the Host
header is none of ours, and an address can't be rebound. A site that sends a request from a reader's browser: its Origin
is another, and it can't set our header. Somebody on the network: beyond loopback nothing is shown without the token.
"""

import secrets
import socket
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from stream.errors import DataError

HEADER, COOKIE = "x-headwater-token", "headwater_monitor"
_LOOPBACK = "localhost"


@dataclass(frozen=True, slots=True)
class Access:
    """host, port: as bound. write: whether POST does anything. token: '' where nothing asks for one."""

    host: str
    port: int
    write: bool
    names: tuple[str, ...] = ()
    token: str = field(default="", repr=False)

    @property
    def beyond(self) -> bool:
        """Whether other machines reach it; then reading asks for the token too."""
        return not is_loopback(self.host)

    def url(self, port: int) -> str:
        """What a person opens. The token is in the fragment, which browsers send to nobody, or, where reading asks for
        it, in the query, which the server takes off again."""
        host = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(self.host, self.host)
        at = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
        if self.beyond:
            return f"{at}?token={self.token}"
        return f"{at}#token={self.token}" if self.token else at

    def refuses_host(self, given: str) -> str:
        """Why a Host header is none of ours; '' if it is."""
        name = _name(given)
        ours = {_LOOPBACK, *self.names} | ({self.host, socket.gethostname().lower()} if self.beyond else set())
        if name in ours or (_is_address(name) if self.beyond else is_loopback(name)):
            return ""
        wanted = "an address, or a name given with --name" if self.beyond else "localhost or a loopback address"
        return f"Host: found {given[:100]!r}; {wanted} is wanted"

    def refuses_origin(self, origin: str, host: str) -> str:
        """Why a POST from this Origin, to this Host, is not taken; '' if it is."""
        parts = urlsplit(origin)
        if parts.scheme in ("http", "https") and parts.netloc and parts.netloc.lower() == host.lower():
            return ""
        return f"Origin: found {origin[:100]!r}; that of this page is wanted"

    def knows(self, given: str) -> bool:
        """Whether this is the token; it takes as long for a wrong one."""
        return bool(self.token) and secrets.compare_digest(given.encode(), self.token.encode())


def access_of(bind: str, write: bool, beyond_loopback: bool, names: tuple[str, ...] = ()) -> Access:
    """From what a person gave. Raises DataError for an address that is none, or that others reach though nobody said
    so."""
    host, _, port = bind.rpartition(":")
    host = host.removeprefix("[").removesuffix("]").lower()
    if not host or not port.isdigit() or int(port) > 65535:
        raise DataError(f"--bind: found {bind!r}; host:port is wanted")
    if not is_loopback(host) and not beyond_loopback:
        raise DataError(
            f"--bind: found {bind!r}, which other machines reach; --beyond-loopback allows it, and a token is asked for"
        )
    token = secrets.token_urlsafe(24) if write or not is_loopback(host) else ""
    return Access(host, int(port), write, tuple(n.lower() for n in names), token)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    return host == _LOOPBACK or (_is_address(host) and ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _name(host_header: str) -> str:
    """Without port and brackets, in lower case; '' for what is no host."""
    try:
        return (urlsplit(f"//{host_header}").hostname or "").lower()
    except ValueError:
        return ""
