"""What our small clients of other servers' HTTP APIs have in common."""

from typing import Any
from urllib.request import HTTPRedirectHandler


class NoRedirect(HTTPRedirectHandler):
    """A redirect would carry the password or key to another host; it ends as an HTTPError instead."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None
