"""The record by which a person keeps every server at one snapshot: its key on the models topic."""

from stream.spec import Spec


def pin_key(spec: Spec) -> bytes:
    """The record under it is what servers stay at; a tombstone lets them follow the learner again."""
    return f"{spec.name}:pin".encode()
