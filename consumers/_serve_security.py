"""TLS, client certificates and bearer tokens, for both ends; everything is a file that a setting names.

What can't be used (no such file, a key of another certificate, an empty token) is one clear error at the start, never a
server that looks secure. Invariant: a token is compared in constant time and never told, not in a message nor in a log.
"""

import hashlib
import hmac
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import grpc

from consumers._grpc import Refusal, open_to_all
from consumers.settings import Settings
from stream.errors import DataError

_HEADER = "authorization"
_SCHEME = "bearer "


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise DataError(f"HEADWATER_{setting.upper()}: {path}: can't be read: {e.strerror}") from e


def _pair(cert_setting: str, cert: Path | None, key_setting: str, key: Path | None) -> tuple[bytes, bytes] | None:
    """A certificate (chain) and its key, held against each other; None where neither is given."""
    if cert is None and key is None:
        return None
    names = f"HEADWATER_{cert_setting.upper()} and HEADWATER_{key_setting.upper()}"
    if cert is None or key is None:
        raise DataError(f"{names}: only one of them is set; both are wanted, or none")
    found = _read(cert_setting, cert), _read(key_setting, key)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except ssl.SSLError as e:
        raise DataError(f"{names}: {cert} and {key}: no PEM certificate with its key ({e.reason or e})") from e
    return found


def _authority(setting: str, path: Path | None) -> bytes | None:
    """Certificates of those who are trusted to sign."""
    if path is None:
        return None
    found = _read(setting, path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as e:
        raise DataError(f"HEADWATER_{setting.upper()}: {path}: no PEM certificate ({e.reason or e})") from e
    return found


def _tokens(path: Path | None) -> list[str]:
    """The lines of a file, without blank ones. Raises DataError when there are none, or one has other than ASCII."""
    if path is None:
        return []
    lines = [line.strip() for line in _read("grpc_token", path).splitlines()]
    tokens = [line for line in lines if line]
    if not tokens or not all(token.isascii() and b" " not in token for token in tokens):
        raise DataError(f"HEADWATER_GRPC_TOKEN: {path}: tokens of ASCII without spaces are wanted, one a line")
    return [token.decode() for token in tokens]


# -- the server ----------------------------------------------------------------------------------------


def server_credentials(settings: Settings) -> Any:
    """What the port is opened with; None for plain text. Raises DataError."""
    pair = _pair("grpc_cert", settings.grpc_cert, "grpc_key", settings.grpc_key)
    clients = _authority("grpc_client_ca", settings.grpc_client_ca)
    if pair is None:
        if clients is not None:
            raise DataError("HEADWATER_GRPC_CLIENT_CA: needs HEADWATER_GRPC_CERT and HEADWATER_GRPC_KEY")
        return None
    return grpc.ssl_server_credentials([(pair[1], pair[0])], clients, require_client_auth=clients is not None)


class Tokens(grpc.ServerInterceptor):  # type: ignore[misc]
    """Refuses calls without one of the tokens; health passes, since a balancer has none."""

    def __init__(self, tokens: list[str], side: ThreadPoolExecutor) -> None:
        self._allowed = [_hashed(token) for token in tokens]
        wanted = "`authorization: Bearer <token>` with a token of this server is wanted"
        status = grpc.StatusCode.UNAUTHENTICATED
        self._none = Refusal(status, "server.unauthenticated", f"no bearer token; {wanted}", side)
        self._wrong = Refusal(status, "server.unauthenticated", f"a bearer token that is not known; {wanted}", side)

    @classmethod
    def of(cls, settings: Settings, side: ThreadPoolExecutor) -> Self | None:
        """The interceptor, where the settings name tokens. Raises DataError."""
        tokens = _tokens(settings.grpc_token)
        return cls(tokens, side) if tokens else None

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """See grpc.ServerInterceptor."""
        if open_to_all(details.method):
            return continuation(details)
        given = next((value for key, value in details.invocation_metadata if key == _HEADER), "")
        if not given.lower().startswith(_SCHEME):
            return self._none.of(details.method)
        hashed = _hashed(given[len(_SCHEME) :].strip())
        known = [hmac.compare_digest(hashed, allowed) for allowed in self._allowed]  # all, so that time tells nothing
        return continuation(details) if any(known) else self._wrong.of(details.method)


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


# -- the client ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Security:
    """Files that a client uses. ca: who signed the server's certificate, which also switches TLS on; cert and key: its
    own, where the server wants one; token: what is sent as bearer token is the first line.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    token: Path | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As the settings say."""
        return cls(settings.grpc_ca, settings.grpc_client_cert, settings.grpc_client_key, settings.grpc_token)

    def channel(self, address: str, options: tuple[tuple[str, int], ...]) -> Any:
        """A channel to a server. Raises DataError."""
        ca = _authority("grpc_ca", self.ca)
        pair = _pair("grpc_client_cert", self.cert, "grpc_client_key", self.key)
        if ca is None:
            if pair is not None:
                raise DataError("HEADWATER_GRPC_CLIENT_CERT: needs HEADWATER_GRPC_CA, who signed the server's")
            return grpc.insecure_channel(address, options=options)
        cert, key = pair or (None, None)
        return grpc.secure_channel(address, grpc.ssl_channel_credentials(ca, key, cert), options=options)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries. Raises DataError."""
        tokens = _tokens(self.token)
        return ((_HEADER, f"Bearer {tokens[0]}"),) if tokens else ()
