"""Rejections: a closed list of codes."""

import pytest

from stream.arrive.reject import CODES, Reject


def test_every_code_is_explained_and_no_other_can_be_used() -> None:
    assert all(CODES.values())
    with pytest.raises(ValueError, match="not in CODES"):
        Reject("value.odd", "")
