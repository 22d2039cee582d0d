"""The fast way of reading a label record must never differ from the codec's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from stream.join.labels import decode_label

CODEC = schemas.codec("label")
VALUES = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(max_size=80))
LONGS = st.integers(-(2**63), 2**63 - 1)
RECORDS = st.fixed_dictionaries({"id": st.text(max_size=90), "value": VALUES, "time_ms": LONGS})


def both(value: bytes) -> tuple[object, object]:
    def codec() -> object:
        record = CODEC.decode(value)
        return record["id"], record["value"], record["time_ms"]

    found: list[object] = []
    for way in (lambda: decode_label(value), codec):
        try:
            found.append(way())
        except ValueError:
            found.append("refused")
    return found[0], found[1]


@given(RECORDS)
def test_every_label_is_read_as_it_was_written(record: dict[str, object]) -> None:
    assert decode_label(CODEC.encode(record)) == (record["id"], record["value"], record["time_ms"])


@pytest.mark.parametrize("event_id", ["", "a", "x" * 63, "x" * 64])
@pytest.mark.parametrize("value", [True, False, 1, 0.5, "yes"])
def test_a_label_that_is_cut_anywhere_is_refused(event_id: str, value: object) -> None:
    whole = CODEC.encode({"id": event_id, "value": value, "time_ms": 1_357_000_000_000})
    for size in range(len(whole)):
        assert both(whole[:size]) == ("refused", "refused"), size


@given(RECORDS, st.data())
def test_a_damaged_label_is_read_as_the_codec_reads_it_or_refused(
    record: dict[str, object], data: st.DataObject
) -> None:
    value = bytearray(CODEC.encode(record))
    kind = data.draw(st.sampled_from(["flip", "cut", "append"]))
    if kind == "flip":
        at = data.draw(st.integers(0, len(value) - 1))
        value[at] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del value[data.draw(st.integers(0, len(value) - 1)) :]
    else:
        value += data.draw(st.binary(min_size=1, max_size=12))
    one, other = both(bytes(value))
    assert one == other or (one != one and other != other)
