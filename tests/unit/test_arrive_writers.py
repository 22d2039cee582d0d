"""Writers' schemas from files, found by fingerprint while the stream runs."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from arrive_strategies import encoded

from stream.arrive import writers
from stream.arrive.framing import Decoder, frame_single_object
from stream.arrive.reject import Reject
from stream.arrive.schema import EventSchema, load_schema
from stream.arrive.writers import RESCAN_S, WriterSchemas
from stream.clock import FakeClock
from stream.errors import SchemaError


def _event(*fields: tuple[str, str]) -> EventSchema:
    listed = [{"name": name, "type": kind} for name, kind in fields]
    return load_schema({"type": "record", "name": "E", "fields": listed})


def _code(found: Any) -> str:
    assert isinstance(found, Reject), found
    return found.code


LONG = _event(("x", "long"))


class _Folder:
    """A folder of schema files and the finder on it, with a clock that stands still."""

    def __init__(self, path: Path) -> None:
        self.path, self.clock = path, FakeClock()
        self.write("a", LONG.text)
        self.find = WriterSchemas(path, self.clock.monotonic_s)

    def write(self, name: str, text: str) -> None:
        (self.path / f"{name}.avsc").write_text(text)


def test_a_schema_dropped_in_mid_stream_is_taken_within_the_second(tmp_path: Path) -> None:
    folder, wide = _Folder(tmp_path), _event(("x", "long"), ("y", "string"))
    decoder = Decoder(LONG, folder.find)
    value = frame_single_object(wide, encoded(wide, {"x": 1, "y": "new"}))
    assert _code(decoder.decode(value)) == "schema.unknown"
    folder.write("b", wide.text)
    folder.clock.sleep(RESCAN_S - 0.001)
    assert _code(decoder.decode(value)) == "schema.unknown"
    folder.clock.sleep(0.001)
    assert decoder.decode(value) == {"x": 1}
    assert folder.find.known == (LONG, wide)
    assert folder.find(3) is None


def test_garbage_makes_the_folder_read_once_a_second_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, scans = _Folder(tmp_path), []
    monkeypatch.setattr(folder.find, "_files", lambda: scans.append(1) or [])
    for tenth in range(31):
        assert folder.find(tenth.to_bytes(8, "big")) is None
        folder.clock.sleep(0.1)
    assert len(scans) == 3


def test_a_file_that_goes_bad_later_stops_nothing_and_is_read_again_when_mended(tmp_path: Path) -> None:
    folder, wide = _Folder(tmp_path), _event(("x", "long"), ("y", "string"))
    folder.write("b", wide.text[:30])
    folder.clock.sleep(RESCAN_S)
    assert folder.find(wide.fingerprint) is None
    assert "not JSON" in folder.find.problems[tmp_path / "b.avsc"]
    (tmp_path / "a.avsc").unlink()
    folder.write("b", wide.text)
    folder.clock.sleep(RESCAN_S)
    assert folder.find(wide.fingerprint) == wide
    assert folder.find(LONG.fingerprint) == LONG
    assert not folder.find.problems


def test_a_file_that_did_not_change_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _Folder(tmp_path)
    monkeypatch.setattr(writers, "load_schema", lambda file: pytest.fail(f"{file} read again"))
    folder.clock.sleep(RESCAN_S)
    assert folder.find(b"unknown!") is None


def test_a_file_that_is_bad_from_the_start_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.avsc").write_text("{")
    with pytest.raises(SchemaError, match=r"a\.avsc: not JSON"):
        WriterSchemas(tmp_path, FakeClock().monotonic_s)
    with pytest.raises(SchemaError, match="no such file or folder"):
        WriterSchemas([tmp_path / "none"], FakeClock().monotonic_s)


def test_two_schemas_of_one_fingerprint_but_other_time_units_are_refused(tmp_path: Path) -> None:
    schema = {"type": "record", "name": "E", "fields": [{"name": "x", "type": {"type": "long"}}]}
    for unit in ("millis", "micros"):
        timed = copy.deepcopy(schema)
        timed["fields"][0]["type"]["logicalType"] = f"timestamp-{unit}"  # type: ignore[index]
        (tmp_path / f"{unit}.avsc").write_text(json.dumps(timed))
    with pytest.raises(SchemaError, match=r"millis\.avsc: has the fingerprint .* of a schema known before"):
        WriterSchemas(tmp_path, FakeClock().monotonic_s)
    assert WriterSchemas(tmp_path / "millis.avsc", FakeClock().monotonic_s).known
