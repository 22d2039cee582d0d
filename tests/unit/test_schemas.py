"""The contracts: every schema round-trips, foreign or damaged bytes are a ValueError, nothing changes by chance."""

import json
from importlib import resources
from typing import Any

import fastavro
import pytest
from fastavro.utils import generate_many
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas
from stream.arrive.reject import CODES

FINGERPRINTS = {
    "label": "77d4e4ab3b08da50",
    "features": "b98fb8a968f46032",
    "training": "279e64666b90f193",
    "prediction": "e512aa4d999e0fd4",
    "metric": "ad1540dd3a520de3",
    "model": "7cc7797c91816d3b",
    "dead": "6cd29812687fcf31",
    "control": "1f708234d4a35e74",
}
"""CRC-64-AVRO of each schema's canonical form. A change is a change of a contract: say so, and change it here."""


def _examples(name: str) -> list[dict[str, Any]]:
    schema = json.loads((resources.files("schemas") / f"{name}.avsc").read_text())
    return [dict(x) for x in generate_many(schema, 3)]


@pytest.mark.parametrize("name", schemas.TOPIC_SCHEMAS)
def test_decoding_is_the_inverse_of_encoding(name: str) -> None:
    codec = schemas.codec(name)
    for record in _examples(name):
        assert codec.decode(codec.encode(record)) == record


@pytest.mark.parametrize("name", schemas.TOPIC_SCHEMAS)
def test_a_record_says_its_schema_by_the_standard_single_object_mark(name: str) -> None:
    assert schemas.codec(name).prefix == b"\xc3\x01" + bytes.fromhex(FINGERPRINTS[name])


@pytest.mark.parametrize("name", schemas.TOPIC_SCHEMAS)
def test_records_of_other_topics_are_refused(name: str) -> None:
    for other in schemas.TOPIC_SCHEMAS:
        if other != name:
            with pytest.raises(ValueError, match="record: starts with"):
                schemas.codec(name).decode(schemas.codec(other).encode(_examples(other)[0]))


@pytest.mark.parametrize("name", schemas.TOPIC_SCHEMAS)
def test_a_cut_or_a_trailing_byte_is_a_value_error(name: str) -> None:
    codec = schemas.codec(name)
    value = codec.encode(_examples(name)[0])
    for end in range(len(value)):
        with pytest.raises(ValueError):
            codec.decode(value[:end])
    with pytest.raises(ValueError, match="1 bytes after the end"):
        codec.decode(value + b"\0")


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(schemas.TOPIC_SCHEMAS), st.binary(max_size=60))
def test_no_bytes_of_a_stranger_raise_anything_but_a_value_error(name: str, payload: bytes) -> None:
    codec = schemas.codec(name)
    try:
        record = codec.decode(codec.prefix + payload)
    except ValueError:
        return
    assert set(record) == {f["name"] for f in codec.schema["fields"]}


def test_a_record_that_does_not_fit_is_a_value_error() -> None:
    good = _examples("label")[0]
    for change in ({"id": 3}, {"time_ms": "x"}, {"value": None}, {"time_ms": 1 << 63}):
        with pytest.raises((ValueError, TypeError, AttributeError, OverflowError)):
            schemas.codec("label").encode({**good, **change})
    with pytest.raises(ValueError, match="no value and no default"):
        schemas.codec("label").encode({"id": "x", "value": True})


def test_a_label_keeps_the_type_of_its_value() -> None:
    codec = schemas.codec("label")
    for value in (True, False, 1, 0, 1.5, "yes"):
        found = codec.decode(codec.encode({"id": "x", "value": value, "time_ms": 1}))["value"]
        assert (type(found), found) == (type(value), value)


def test_codecs_are_made_once_and_shared() -> None:
    assert schemas.codec("label") is schemas.codec("label")
    with pytest.raises(FileNotFoundError):
        schemas.codec("nothing")


def test_every_schema_in_the_folder_is_one_of_the_topics() -> None:
    found = {p.name.removesuffix(".avsc") for p in resources.files("schemas").iterdir() if p.name.endswith(".avsc")}
    assert found == set(schemas.TOPIC_SCHEMAS)


@pytest.mark.parametrize("name", schemas.TOPIC_SCHEMAS)
def test_every_schema_lives_in_our_namespace_and_says_what_it_is(name: str) -> None:
    schema = json.loads((resources.files("schemas") / f"{name}.avsc").read_text())
    assert schema["namespace"] == "headwater"
    assert schema["doc"]
    assert fastavro.parse_schema(schema)


def test_the_dead_letter_refers_to_the_list_of_codes() -> None:
    fields = {f["name"]: f for f in schemas.codec("dead").schema["fields"]}
    assert "stream.arrive.reject.CODES" in fields["code"]["doc"]
    assert all(CODES.values())


def test_training_is_features_and_labels() -> None:
    names = {n: [f["name"] for f in schemas.codec(n).schema["fields"]] for n in ("features", "training")}
    assert names["training"][: len(names["features"])] == names["features"]
    assert len(names["training"]) == len(names["features"]) + 5


def test_records_of_a_schema_s_former_forms_are_read_with_defaults_for_what_they_lack() -> None:
    folder = resources.files("schemas") / "older"
    names = sorted(p.name.removesuffix(".avsc") for p in folder.iterdir() if p.name.endswith(".avsc"))
    assert "prediction-1" in names
    for name in names:
        former = json.loads((folder / f"{name}.avsc").read_text())
        now = schemas.codec(name.rpartition("-")[0])
        for record in generate_many(former, 3):
            found = now.decode(schemas.Codec(former).encode(dict(record)))
            new = {f["name"]: f["default"] for f in now.schema["fields"] if f["name"] not in record}
            assert found == {**record, **new}
            assert new


def test_a_former_form_alone_is_never_written() -> None:
    record = _examples("prediction")[0]
    assert schemas.codec("prediction").encode(record)[:10] not in schemas.codec("prediction").older
