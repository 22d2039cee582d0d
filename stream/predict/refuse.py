"""Why a request got no answer, drawn at the top. Values in a batch, raised for a single request.

Refused                 what was given, what is allowed, and where; `reason`: a code that does not change
├── InvalidRequest      the caller's event or request is wrong; reasons of arrive, clean, and below
├── UnknownArm          no arm of this name
├── NoModel             nothing has been learned, or loaded, yet
├── TooStale            the model is staler than the caller tolerates
├── BadScore            the model gave no number
├── Overloaded          a declared bound is met; nothing was done
├── NotTaken            Kafka can't be reached; nothing was written
└── NotConfirmed        the deadline passed first; it may have been written

Own reasons: field.unknown, field.wrong_type, request.wrong, request.too_many, arm.unknown, model.none,
model.stale, model.not_finite, server.overloaded, label.not_taken, label.not_confirmed.
"""

from stream.errors import HeadwaterError


class Refused(HeadwaterError):
    """No answer. `reason`: short code; the message is for people."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(detail)


class InvalidRequest(Refused):
    """The request is wrong, and stays so."""


class UnknownArm(Refused):
    """There is no such arm."""


class NoModel(Refused):
    """There is no model yet."""


class TooStale(Refused):
    """The model is staler than `max_staleness_ms`."""


class BadScore(Refused):
    """The model's score is not a number."""


class Overloaded(Refused):
    """Too much waits already; later it may pass."""


class NotTaken(Refused):
    """What was given is not written, and will not be."""


class NotConfirmed(Refused):
    """What was given may be written or not."""
