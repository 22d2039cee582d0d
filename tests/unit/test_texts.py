"""Strings as the array of an Avro record: fastavro's own bytes."""

import io

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from stream.texts import avro_array, texts_of

ARRAY = {"type": "array", "items": "string"}
TEXT = st.one_of(
    st.text(max_size=4), st.text("a\0é😀", max_size=80), st.sampled_from(["", "x" * 63, "x" * 64, "y" * 9000])
)


@given(st.lists(TEXT, max_size=70))
def test_an_array_has_fastavros_bytes(given: list[str]) -> None:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(ARRAY), given)
    assert avro_array(given) == out.getvalue()


def test_many_strings_make_a_count_of_several_bytes() -> None:
    given = [f"e{i}" for i in range(20_000)]
    assert fastavro.schemaless_reader(io.BytesIO(avro_array(given)), fastavro.parse_schema(ARRAY), None) == given


def test_a_lone_surrogate_is_refused_as_fastavro_refuses_it() -> None:
    with pytest.raises(UnicodeEncodeError):
        avro_array(["a", "\ud800"])
    assert texts_of(["\ud800"]).data.tobytes() == b"\xed\xa0\x80"


@given(st.lists(TEXT, max_size=5), st.integers(0, 2**31 - 1))
def test_fields_that_are_avro_already_give_the_same_record(ids: list[str], rows: int) -> None:
    codec = schemas.codec("features")
    record = {f["name"]: b"" for f in codec.schema["fields"]} | {"spec_hash": "s", "rows": rows}
    whole = codec.encode({**record, "ids": ids})
    assert codec.encode(record, {"ids": avro_array(ids)}) == whole
    assert codec.encode({"ids": ids}, {n: whole[:0] for n in record if n != "ids"}) == codec.prefix + avro_array(ids)


def test_a_field_that_the_record_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="a Features record has no field idz"):
        schemas.codec("features").encode({}, {"idz": b""})
