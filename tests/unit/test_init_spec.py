"""A drafted spec passes `headwater check` as it is, says what it guessed, and overwrites nothing unasked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers._init_spec import Column, draft, write
from consumers.cli import main
from consumers.publish import Rows, _Typist, field_name
from stream.errors import DataError
from stream.spec import Spec
from stream.spec_load import event_schema, load_spec

Init = Callable[..., Spec]


@pytest.fixture
def init(tmp_path: Path) -> Init:
    """Write a sample (or schema), draft from it, and load what was written."""

    def run(name: str, content: str, label: str | None = None) -> Spec:
        file = tmp_path / name
        file.write_text(content, encoding="utf-8")
        out = tmp_path / "out" / "my.yaml"
        out.parent.mkdir(exist_ok=True)
        write(draft(file, out, label=label), out, force=True)
        return load_spec(out)

    return run


def csv_of(**columns: list[Any]) -> str:
    rows = zip(*columns.values(), strict=True)
    return "\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n"


N = 40
IDS = [f"e{i}" for i in range(N)]
TIMES = [f"2024-01-01T00:{i:02d}:00Z" for i in range(N)]


def kinds(spec: Spec) -> dict[str, str]:
    return {f.name: f.kind for f in event_schema(spec).fields}


def types(spec: Spec) -> dict[str, str]:
    return {n: f.type for n, f in spec.event.fields.items()}


def test_types_are_inferred_from_the_sample(init: Init) -> None:
    content = csv_of(
        event_id=IDS,
        when=TIMES,
        flag=["true", "False"] * 20,
        count=[3, "NA"] * 20,
        price=[1, 2.5] * 20,
        colour=["red", "blue", "", "red"] * 10,
        zip=["00501", "10001"] * 20,
        created_at=[1_700_000_000_000 + i for i in range(N)],
        remark=[f"this is the long remark number {i}" for i in range(N)],
        token=[f"x{i}y" for i in range(N)],
        nothing=[""] * N,
        late=[0, 1] * 20,
    )
    spec = init("rows.csv", content, "late")
    assert types(spec) == {
        "when": "time", "flag": "boolean", "count": "numeric", "price": "numeric", "colour": "category",
        "zip": "category", "created_at": "time", "remark": "text", "token": "ignore", "nothing": "ignore",
    }  # fmt: skip
    assert kinds(spec) == {
        "event_id": "string", "when": "timestamp", "flag": "boolean", "count": "long", "price": "double",
        "colour": "string", "zip": "string", "created_at": "timestamp", "remark": "string", "token": "string",
        "nothing": "string",
    }  # fmt: skip
    assert (spec.event.id, spec.event.time, spec.task) == ("event_id", "created_at", "binary")


def test_the_label_is_no_feature_and_no_field_of_the_event(init: Init) -> None:
    spec = init("rows.csv", csv_of(id=IDS, t=TIMES, a=[1, 2] * 20, late=[0, 1] * 20), "late")
    assert "late" not in kinds(spec)
    assert "late" not in spec.event.fields


@pytest.mark.parametrize("name", ["label", "target", "Y"])
def test_a_label_that_is_called_so_is_found(name: str, init: Init) -> None:
    spec = init("rows.csv", csv_of(id=IDS, t=TIMES, a=[1, 2] * 20, **{name: ["x", "y", "z", "x"] * 10}))
    assert (spec.task, spec.classes) == ("classes", ("x", "y", "z"))
    assert name not in kinds(spec)


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ([0, 1], "binary"),
        (["yes", "no"], "binary"),
        ([1.5, 7], "regression"),
        ([2, 9], "regression"),
        (["é🙂", "a: b"], "classes"),
    ],
)
def test_the_task_follows_from_the_label(values: list[Any], task: str, init: Init) -> None:
    spec = init("rows.csv", csv_of(id=IDS, t=TIMES, a=[1, 2] * 20, out=values * 20), "out")
    assert spec.task == task
    assert set(spec.classes) == (set(values) if task == "classes" else set())


def test_too_many_words_make_no_classes(init: Init) -> None:
    with pytest.raises(DataError, match="60 different words; at most 50"):
        init("rows.csv", csv_of(a=[1] * 60, out=[f"w{i}" for i in range(60)]), "out")


def test_an_unknown_label_is_told_with_the_columns(init: Init) -> None:
    with pytest.raises(DataError, match="--label: found 'c'; the columns are a, b"):
        init("rows.csv", csv_of(a=[1], b=[2]), "c")


def test_id_and_time_are_made_up_where_there_is_none_and_publishing_fills_them(init: Init, tmp_path: Path) -> None:
    spec = init("rows.csv", csv_of(user_id=[1, 2] * 20, price=[1.5, 2.5] * 20))
    assert (spec.event.id, spec.event.time) == ("event_id", "event_time")
    assert types(spec) == {"user_id": "category", "price": "numeric"}
    with Rows(tmp_path / "rows.csv") as rows:
        typist = _Typist(spec, rows, None, None)
        events = [typist.event(line, row) for line, row in rows]
    assert len({e["event_id"] for e in events}) == N
    assert all(e["event_time"] > 1_700_000_000_000 for e in events)


def test_a_column_that_would_be_in_the_way_of_a_made_up_id_is_kept(init: Init) -> None:
    spec = init("rows.csv", csv_of(event_id=["a", "a"], price=[1.5, 2.5]))
    assert spec.event.id == "event_id_"
    assert types(spec)["event_id"] == "category"


def test_long_numbers_and_leading_zeros_stay_text(init: Init) -> None:
    spec = init("rows.csv", csv_of(id=IDS, t=TIMES, long=["12345678901234567890", "7"] * 20, lead=["007", "8"] * 20))
    assert (kinds(spec)["long"], kinds(spec)["lead"]) == ("string", "string")


def test_seconds_are_not_taken_for_milliseconds(init: Init, tmp_path: Path) -> None:
    spec = init("rows.csv", csv_of(id=IDS, created_at=[1_700_000_000 + i for i in range(N)]))
    assert spec.event.time == "event_time"
    assert "seconds since 1970?" in (tmp_path / "out" / "my.yaml").read_text()


def test_everything_ignorable_still_makes_a_pipeline(init: Init) -> None:
    assert types(init("rows.csv", csv_of(id=IDS, token=[f"x{i}y" for i in range(N)])))["token"] == "category"


def test_a_sample_with_nothing_to_learn_from_is_refused(init: Init) -> None:
    with pytest.raises(DataError, match="nothing to learn from"):
        init("rows.csv", csv_of(id=IDS))


def test_columns_that_would_share_a_name_are_refused(init: Init) -> None:
    with pytest.raises(DataError, match="several columns would be called a_b"):
        init("rows.csv", "a b,a-b\n1,2\n")


def test_json_lines_keep_their_types(init: Init, tmp_path: Path) -> None:
    rows = [{"id": i, "t": TIMES[n], "n": n, "code": str(n)} for n, i in enumerate(IDS)]
    for each in rows[::2]:
        del each["n"]
    content = "\n".join(map(json.dumps, rows))
    spec = init("rows.jsonl", content)
    assert (kinds(spec)["n"], kinds(spec)["code"]) == ("long", "string")
    with Rows(tmp_path / "rows.jsonl") as read:
        typist = _Typist(spec, read, None, None)
        assert [typist.event(line, row)["n"] for line, row in read][:3] == [None, 1, None]


@pytest.mark.parametrize(
    ("second", "said"), [('"x"', "found 'x', a text, after values of type long"), ("[1]", "nested")]
)
def test_json_lines_of_mixed_types_are_refused_with_their_line(second: str, said: str, init: Init) -> None:
    with pytest.raises(DataError, match=f"rows.jsonl:2: column a: .*{said}"):
        init("rows.jsonl", f'{{"a": 1}}\n{{"a": {second}}}\n')


AVSC = {
    "type": "record",
    "name": "Click",
    "fields": [
        {"name": "age", "type": "long"},
        {"name": "user_id", "type": "string"},
        {"name": "click_id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "exact", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "kind", "type": {"type": "enum", "name": "K", "symbols": ["a", "b"]}},
        {"name": "comment", "type": ["null", "string"], "default": None},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "ok", "type": "boolean"},
    ],
}


def test_a_schema_is_taken_as_it_is(init: Init, tmp_path: Path) -> None:
    spec = init("click.avsc", json.dumps(AVSC), "kind")
    assert spec.schema_path.resolve() == tmp_path / "click.avsc"
    assert not (tmp_path / "out" / "my.avsc").exists()
    assert (spec.event.id, spec.event.time) == ("click_id", "at")
    assert (spec.task, spec.classes) == ("classes", ("a", "b"))
    assert types(spec) == {
        "age": "numeric", "user_id": "category", "at": "time", "comment": "text", "tags": "ignore", "ok": "boolean",
    }  # fmt: skip


def test_a_poor_guess_at_an_id_says_so_aloud(init: Init, tmp_path: Path) -> None:
    fields = [
        {"name": "age", "type": "long"},
        {"name": "size", "type": "long"},
        {"name": "x", "type": "double"},
    ]
    init("e.avsc", json.dumps({"type": "record", "name": "E", "fields": fields}))
    assert (tmp_path / "out" / "my.yaml").read_text().count("NO NAME LOOKS LIKE ONE") == 2


@pytest.mark.parametrize(("kept", "what"), [(["ok", "tags"], "id"), (["click_id", "ok"], "time")])
def test_a_schema_without_id_or_time_is_refused(kept: list[str], what: str, init: Init) -> None:
    fields = [f for f in AVSC["fields"] if f["name"] in kept]
    with pytest.raises(DataError, match=f"no field can be the event's {what}"):
        init("e.avsc", json.dumps({**AVSC, "fields": fields}))


def test_an_avro_file_brings_its_schema(tmp_path: Path) -> None:
    file, out = tmp_path / "rows.avro", tmp_path / "rows.yaml"
    with file.open("wb") as to:
        fastavro.writer(to, fastavro.parse_schema(AVSC), [])
    assert write(draft(file, out), out) == [tmp_path / "rows.avsc", out]
    assert load_spec(out).event.id == "click_id"


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    sample, out = tmp_path / "rows.csv", tmp_path / "rows.yaml"
    sample.write_text(csv_of(id=IDS, a=[1, 2] * 20))
    (tmp_path / "rows.avsc").write_text("mine")
    with pytest.raises(DataError, match=r"rows\.avsc: there already; --force overwrites"):
        write(draft(sample, out), out)
    assert (tmp_path / "rows.avsc").read_text() == "mine"
    assert not out.exists()
    write(draft(sample, out), out, force=True)
    assert load_spec(out).name == "rows"


@pytest.mark.parametrize("name", ["on", "no", "null", "yes", "1e3", "~", "a: b", "x #y", "é", "値", " ", "-"])
def test_names_that_yaml_or_avro_would_misread_survive(name: str, init: Init, tmp_path: Path) -> None:
    spec = init(
        "rows.csv",
        f'id,"{name}",t\n' + "".join(f"{i},{n % 7},{t}\n" for n, (i, t) in enumerate(zip(IDS, TIMES, strict=True))),
    )
    with Rows(tmp_path / "rows.csv") as rows:
        typist = _Typist(spec, rows, None, None)
        assert field_name(name) in spec.event.fields
        assert [typist.event(line, row)[field_name(name)] for line, row in rows] == [n % 7 for n in range(N)]
        assert not typist.notes


CELL = st.one_of(
    st.integers(-(1 << 70), 1 << 70).map(str),
    st.floats().map(repr),
    st.sampled_from(["", "NA", "true", "False", "2024-01-01", "2024-02-30", "007", "1_0", "yes", "+5", ".5", "1e5"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters='\r\n"\0'), max_size=12),
)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_the_sample_the_draft_passes_and_takes_that_very_sample(
    data: st.DataObject, tmp_path_factory: Any
) -> None:
    """The promise of the whole: init → check → publish of the same file, for any cells."""
    folder = tmp_path_factory.mktemp("any")
    width = data.draw(st.integers(1, 4))
    rows = data.draw(st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1, max_size=25))
    lines = [["plain", *(f"c{i}" for i in range(width))], *([str(n % 3), *row] for n, row in enumerate(rows))]
    file, out = folder / "rows.csv", folder / "rows.yaml"
    file.write_text("".join(",".join(f'"{cell}"' for cell in line) + "\n" for line in lines), encoding="utf-8")
    write(draft(file, out), out)
    spec = load_spec(out)
    with Rows(file) as read:
        typist = _Typist(spec, read, None, None)
        events = [typist.event(line, row) for line, row in read]
    assert len(events) == len(rows)


def test_a_column_knows_whether_its_values_are_unique() -> None:
    column = Column("a")
    for raw in ("x", "y"):
        column.add(raw, cell=True)
    assert column.unique
    column.add("x", cell=True)
    assert not column.unique


def test_the_command_tells_what_it_wrote_and_guessed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("My Rows.csv").write_text(csv_of(id=IDS, t=TIMES, a=[1, 2] * 20, late=[0, 1] * 20))
    with pytest.raises(SystemExit) as left:
        main(["init", "My Rows.csv", "--label", "late", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (left.value.code, found["written"], found["name"]) == (
        0,
        ["My Rows.avsc", "My Rows.yaml"],
        "my-rows",
    )
    assert found["guesses"][0] == "id: id: no value twice in 40 rows"
    with pytest.raises(SystemExit) as left:
        main(["check", "My Rows.yaml"])
    assert left.value.code == 0
