"""The Open Inference Protocol over real gRPC: by Triton's own client in a process of its own, and by bare messages."""

import json
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from test_grpc import Running, hold, running, until
from test_predict_plane import GOOD, NOW, events, make_spec, snapshot

from consumers._serve_oip import SERVICE
from consumers._serve_tensors import TYPES, columns_of
from schemas import inference_pb2 as oip
from schemas import inference_pb2_grpc as oip_grpc
from stream.predict.plane import Request, event_id_of
from stream.predict.served import Served, served_of
from stream.spec import Spec

Call = Any
TRITON = """
import json, sys
import numpy as np
import tritonclient.grpc as triton
address, rows = sys.argv[1], json.loads(sys.argv[2])
client = triton.InferenceServerClient(address)
found = {"live": client.is_server_live(), "ready": client.is_server_ready()}
found["server"] = client.get_server_metadata(as_json=True)
found["models"] = {m.name: m.version for m in client.get_model_repository_index().models}
types = {"FP64": np.float64, "INT64": np.int64, "BOOL": bool, "BYTES": object}
for name in found["models"]:
    about = client.get_model_metadata(name)
    assert client.is_model_ready(name) and not client.is_model_ready(name, "999")
    given = []
    for tensor in about.inputs:
        if tensor.name in rows:
            values = np.array(rows[tensor.name], types[tensor.datatype])
            given.append(triton.InferInput(tensor.name, list(values.shape), tensor.datatype))
            given[-1].set_data_from_numpy(values)
    result = client.infer(name, given, request_id="r1")
    told = {t.name: result.as_numpy(t.name) for t in about.outputs}
    assert all(v is not None for v in told.values()), told
    found[name] = {k: [x.decode() if isinstance(x, bytes) else x for x in v.tolist()] for k, v in told.items()}
    assert result.get_response().id == "r1"
try:
    client.infer("nobody", given)
except triton.InferenceServerException as e:
    found["unknown"] = [e.status(), e.message()]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("oip")


@pytest.fixture(scope="module")
def spec(folder: Path) -> Spec:
    return make_spec(folder)


@pytest.fixture(scope="module")
def served(spec: Spec, folder: Path) -> Served:
    return served_of(spec, snapshot(spec, folder / "snapshots"))


@pytest.fixture(scope="module")
def server(spec: Spec, served: Served) -> Iterator[Running]:
    with running(spec, served) as made:
        yield made


def stub(server: Running) -> Any:
    return oip_grpc.GRPCInferenceServiceStub(server.channel)


def columns(rows: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, list[Any]]:
    return {n: [row[n] for row in rows] for n in names}


def test_an_unmodified_triton_client_lists_describes_and_asks_every_arm(server: Running, spec: Spec) -> None:
    names = ("id", "user", "amount", "visits", "country", "device", "vip")
    rows = [{**e, "country": e["country"] or "fr"} for e in events(7, seed=2)]
    asked = [sys.executable, "-W", "error", "-c", TRITON, server.address, json.dumps(columns(rows, names))]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["live"], found["ready"], found["server"]["name"]) == (True, True, "headwater")
    assert found["models"] == {"visits": "1", "calm": "1", "bold": "1", "shadow": "1"}
    requests = [Request({n: row[n] for n in names}) for row in rows]
    for arm in ("calm", "bold", "shadow"):
        wanted = [server.it.plane.answer(Request(r.fields, arm=arm), NOW + 100) for r in requests]
        assert found[arm]["score"] == [a.score for a in wanted]  # type: ignore[union-attr]
    wanted = [server.it.plane.answer(r, NOW + 100) for r in requests]
    whole = found["visits"]
    assert (whole["arm"], whole["propensity"]) == ([a.arm for a in wanted], [0.5] * 7)
    assert whole["score"] == [a.score for a in wanted]
    assert [event_id_of(p) for p in whole["prediction_id"]] == [row["id"] for row in rows]
    assert found["unknown"][0] == "StatusCode.NOT_FOUND"
    assert "'nobody'; the models are visits, calm, bold, shadow" in found["unknown"][1]


def infer(model: str = "bold", raw: bool = False, **tensors: tuple[str, list[Any]]) -> oip.ModelInferRequest:
    """A request: by name (datatype, values)."""
    message = oip.ModelInferRequest(model_name=model)
    for name, (datatype, values) in tensors.items():
        tensor = message.inputs.add(name=name, datatype=datatype, shape=[len(values)])
        kind = TYPES[datatype]
        if raw and datatype == "BYTES":
            message.raw_input_contents.append(b"".join(struct.pack("<I", len(v)) + v for v in values))
        elif raw:
            message.raw_input_contents.append(np.array(values, kind.dtype).tobytes())
        else:
            getattr(tensor.contents, kind.contents).extend(values)
    return message


PLAIN: dict[str, tuple[str, list[Any]]] = {
    "amount": ("FP64", [12.5, 900.0]),
    "visits": ("INT64", [3, -1]),
    "vip": ("BOOL", [True, False]),
    "device": ("BYTES", [b"phone", b"desk"]),
    "country": ("BYTES", ["dé".encode(), b""]),
}
ROWS = [
    {"amount": 12.5, "visits": 3, "vip": True, "device": "phone", "country": "dé"},
    {"amount": 900.0, "visits": -1, "vip": False, "device": "desk", "country": ""},
]


@pytest.mark.parametrize("raw", [False, True])
def test_contents_and_raw_contents_say_the_same_and_are_answered_in_kind(server: Running, raw: bool) -> None:
    message = infer(raw=raw, **PLAIN)
    message.id = "x"
    message.inputs[0].shape.append(1)  # [n, 1] is as good
    found = stub(server).ModelInfer(message, timeout=5)
    wanted = [server.it.plane.answer(Request(row, arm="bold"), NOW + 100).score for row in ROWS]
    assert (found.id, found.model_name, found.model_version) == ("x", "bold", "1")
    assert found.parameters["staleness_ms"].int64_param == 100
    assert [(o.name, o.datatype, list(o.shape)) for o in found.outputs] == [
        ("score", "FP64", [2]),
        ("prediction_id", "BYTES", [2]),
    ]
    if raw:
        assert np.frombuffer(found.raw_output_contents[0], "<f8").tolist() == wanted
        assert struct.unpack_from("<I", found.raw_output_contents[1])[0] == len(found.raw_output_contents[1]) // 2 - 4
    else:
        assert list(found.outputs[0].contents.fp64_contents) == wanted
        assert not found.raw_output_contents


def test_outputs_that_were_asked_for_come_in_that_order_alone(server: Running) -> None:
    message = infer("visits", **PLAIN)
    for name in ("propensity", "score"):
        message.outputs.add(name=name)
    found = stub(server).ModelInfer(message, timeout=5)
    assert [o.name for o in found.outputs] == ["propensity", "score"]


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("datatype", ["FP32", "INT32", "INT16", "INT8", "UINT8", "UINT16", "UINT32"])
def test_narrower_numbers_are_read_as_what_they_say(datatype: str, raw: bool) -> None:
    values = [0.5, 3.25] if datatype == "FP32" else [7, 100]
    rows, found = columns_of(infer(raw=raw, amount=(datatype, values)), False)
    assert rows == 2
    assert [found["amount"].at(i) for i in range(2)] == values
    assert found["amount"].kind == ("double" if datatype == "FP32" else "int64")


def test_nan_is_missing_where_the_caller_says_so(server: Running) -> None:
    message = infer(amount=("FP64", [1.0]), ratio=("FP64", [float("nan")]), device=("BYTES", [b"desk"]))
    with pytest.raises(grpc.RpcError, match="ratio: found nan"):
        stub(server).ModelInfer(message, timeout=5)
    message.parameters["nan_is_missing"].bool_param = True
    found = stub(server).ModelInfer(message, timeout=5)
    wanted = server.it.plane.answer(Request({"amount": 1.0, "device": "desk"}, arm="bold"), NOW + 100)
    assert list(found.outputs[0].contents.fp64_contents) == [wanted.score]


def test_classes_have_scores_and_a_label(tmp_path: Path) -> None:
    arms = {"tree": {"model": "tree.hoeffding", "params": {"grace_period": 50}}}
    spec = make_spec(tmp_path, name="tree", task="classes", classes=["low", "mid", "high"], arms=arms)
    with running(spec, served_of(spec, snapshot(spec, tmp_path / "snapshots"))) as server:
        about = stub(server).ModelMetadata(oip.ModelMetadataRequest(name="tree.tree"), timeout=5)
        assert [(o.name, list(o.shape)) for o in about.outputs][:3] == [
            ("score", [-1]),
            ("scores", [-1, 3]),
            ("label", [-1]),
        ]
        found = stub(server).ModelInfer(infer("tree.tree", **PLAIN), timeout=5)
        outputs = {o.name: o for o in found.outputs}
        wanted = [server.it.plane.answer(Request(row), NOW + 100) for row in ROWS]
        assert list(outputs["scores"].contents.fp64_contents) == [s for a in wanted for s in a.scores]
        assert [b.decode() for b in outputs["label"].contents.bytes_contents] == [a.label for a in wanted]
        assert "arm" not in outputs  # of an arm that was asked for; the pipeline has the arm's name here
        assert {"arm", "label"} <= {o.name for o in stub(server).ModelInfer(infer("tree", **PLAIN), timeout=5).outputs}


def test_every_answer_is_logged_unless_the_call_fails(spec: Spec, served: Served) -> None:
    with running(spec, served) as server:
        bad = {**PLAIN, "amount": ("FP64", [1.0, -1.0])}
        with pytest.raises(grpc.RpcError):
            stub(server).ModelInfer(infer("visits", **bad), timeout=5)
        found = stub(server).ModelInfer(infer("visits", **PLAIN), timeout=5)
        until(lambda: len(server.kafka.of("visits.predictions", "prediction")) == 2)
        records = [r for _, r in server.kafka.of("visits.predictions", "prediction")]
        outputs = {o.name: o.contents for o in found.outputs}
        assert [r["prediction_id"].encode() for r in records] == list(outputs["prediction_id"].bytes_contents)
        assert [r["arm"].encode() for r in records] == list(outputs["arm"].bytes_contents)
        assert [r["score"] for r in records] == list(outputs["score"].fp64_contents)
        assert [(r["experiment"], r["propensity"], r["model_generation"]) for r in records] == [
            ("calm-or-bold", 0.5, 1)
        ] * 2
        assert server.client.feedback(True, prediction_id=records[0]["prediction_id"]) >= 0


def _edited(edit: Any, **tensors: tuple[str, list[Any]]) -> oip.ModelInferRequest:
    message = infer(**(tensors or PLAIN))
    edit(message)
    return message


def _raw(message: oip.ModelInferRequest) -> None:
    message.raw_input_contents.extend([b""] * len(message.inputs))


def _raw_bytes(datatype: str, body: bytes, rows: int = 1) -> oip.ModelInferRequest:
    message = oip.ModelInferRequest(model_name="bold", raw_input_contents=[body])
    message.inputs.add(name="country" if datatype == "BYTES" else "amount", datatype=datatype, shape=[rows])
    return message


INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
WRONG: list[tuple[oip.ModelInferRequest, grpc.StatusCode, str]] = [
    (infer("best", **PLAIN), NOT_FOUND, "model: found 'best'; the models are visits, calm, bold, shadow"),
    (_edited(lambda m: setattr(m, "model_version", "7")), NOT_FOUND, "version: found '7'; the version there is: 1"),
    (oip.ModelInferRequest(model_name="bold"), INVALID, "inputs: none"),
    (infer(colour=("BYTES", [b"red"])), INVALID, "'colour': no such field; the event has id, at"),
    (infer(amount=("BYTES", [b"1"])), INVALID, "amount: found a column of string; double or int64"),
    (
        _edited(lambda m: setattr(m.inputs[0], "datatype", "FP16")),
        INVALID,
        "amount: found datatype 'FP16'; one of FP64",
    ),
    (_edited(lambda m: m.inputs[0].shape.append(2)), INVALID, "amount: found shape [2, 2]; [n] or [n, 1]"),
    (_edited(lambda m: m.inputs[0].shape.pop()), INVALID, "amount: found shape []"),
    (_edited(lambda m: m.inputs[1].shape.__setitem__(0, 3)), INVALID, "visits: found shape [3]; 2 rows are wanted"),
    (_edited(lambda m: m.inputs[0].contents.fp64_contents.append(1)), INVALID, "amount: found 3 values; 2 are wanted"),
    (_edited(lambda m: m.inputs[3].contents.bytes_contents.pop()), INVALID, "device: found 1 values; 2 are wanted"),
    (_edited(lambda m: setattr(m.inputs[1], "name", "amount")), INVALID, "amount: given twice"),
    (_edited(_raw), INVALID, "amount: contents and raw_input_contents are both given"),
    (
        _edited(lambda m: m.raw_input_contents.append(b"")),
        INVALID,
        "raw_input_contents: found 1; one for each of the 5",
    ),
    (_raw_bytes("FP64", b"1234"), INVALID, "amount: 4 raw bytes; 1 values of 8 bytes"),
    (_raw_bytes("FP64", b"", -1), INVALID, "amount: found shape [-1]"),
    (_raw_bytes("BYTES", b"\x05\0\0\0abc"), INVALID, "country: value 0 of the raw bytes goes on past their end"),
    (_raw_bytes("BYTES", b"\x05\0"), INVALID, "country: value 0 of the raw bytes goes on past their end"),
    (_raw_bytes("BYTES", b"\xff\xff\xff\xff", 1), INVALID, "country: value 0 of the raw bytes"),
    (_raw_bytes("BYTES", b"\x01\0\0\0\xff"), INVALID, "country: row 0: 1 bytes; UTF-8 is wanted"),
    (_edited(lambda m: m.outputs.add(name="logit")), INVALID, "output: found 'logit'; the outputs are score"),
    (
        _edited(lambda m: setattr(m.parameters["max_staleness_ms"], "string_param", "1")),
        INVALID,
        "parameter max_staleness_ms: found string_param; int64_param is wanted",
    ),
    (
        _edited(lambda m: setattr(m.parameters["max_staleness_ms"], "int64_param", 1)),
        grpc.StatusCode.FAILED_PRECONDITION,
        "100 ms stale; at most 1 ms",
    ),
    (
        infer(amount=("FP64", [1.0, -1.0, -2.0]), device=("BYTES", [b"desk", b"desk", b"desk"])),
        INVALID,
        "row 1: amount: found -1; 0.0 to 1000.0 is allowed (1 more of 3 rows are refused)",
    ),
    (infer(amount=("FP64", [1.0] * 4097)), INVALID, "4097 requests; at most 4096"),
]


@pytest.mark.parametrize(("message", "status", "said"), WRONG, ids=[w[2] for w in WRONG])
def test_every_wrong_request_has_its_status_and_says_what_is_allowed(
    server: Running, message: oip.ModelInferRequest, status: grpc.StatusCode, said: str
) -> None:
    with pytest.raises(grpc.RpcError) as e:
        stub(server).ModelInfer(message, timeout=5)
    assert (e.value.code(), said in e.value.details()) == (status, True), e.value.details()
    assert len(stub(server).ModelInfer(infer(**PLAIN), timeout=5).outputs) == 2


def test_readiness_follows_the_model_and_the_drain(spec: Spec, served: Served) -> None:
    with running(spec, None) as server:
        it = stub(server)

        def ready(timeout_s: float = 5) -> tuple[bool, bool, bool]:
            return (
                it.ServerLive(oip.ServerLiveRequest(), timeout=timeout_s).live,
                it.ServerReady(oip.ServerReadyRequest(), timeout=timeout_s).ready,
                it.ModelReady(oip.ModelReadyRequest(name="calm"), timeout=timeout_s).ready,
            )

        assert ready() == (True, False, False)
        listed = it.RepositoryIndex(oip.RepositoryIndexRequest(), timeout=5).models
        assert {(m.name, m.state, m.version) for m in listed} == {
            (n, "UNAVAILABLE", "") for n in ("visits", "calm", "bold", "shadow")
        }
        assert not it.RepositoryIndex(oip.RepositoryIndexRequest(ready=True), timeout=5).models
        with pytest.raises(grpc.RpcError, match="no model is loaded yet") as e:
            it.ModelInfer(infer(**PLAIN), timeout=5)
        assert e.value.code() is grpc.StatusCode.UNAVAILABLE
        server.it.plane.swap(served)
        assert ready() == (True, True, True)
        assert not it.ModelReady(oip.ModelReadyRequest(name="nobody"), timeout=5).ready
        server.it.server.gate.leaving = True
        assert ready() == (True, False, False)
        with pytest.raises(grpc.RpcError, match="leaving"):
            it.ModelInfer(infer(**PLAIN), timeout=5)


def test_a_flood_is_shed_and_the_server_still_says_that_it_lives(spec: Spec, served: Served) -> None:
    with running(spec, served, workers=1, held_max=2) as server:
        gate, worked = hold(server)
        calls = [server.client._stub.Predict.future(_predict(), timeout=20) for _ in range(2)]
        until(lambda: worked and server.it.server._pool.held == 2)
        with pytest.raises(grpc.RpcError, match="2 calls are in hand") as e:
            stub(server).ModelInfer(infer(**PLAIN), timeout=5)
        assert e.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stub(server).ServerReady(oip.ServerReadyRequest(), timeout=5).ready
        gate.set()
        assert all(c.result().score > 0 for c in calls)


def _predict() -> Any:
    from consumers.client import Event, _request

    return _request(Event(GOOD))


def test_the_service_is_listed_by_its_protocols_name() -> None:
    assert oip.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name == SERVICE


ONE: dict[str, dict[str, tuple[str, list[Any]]]] = {
    "numbers and texts": {"amount": ("FP64", [12.5]), "visits": ("INT32", [3]), "device": ("BYTES", [b"desk"])},
    "another datatype": {"amount": ("FP32", [0.1]), "device": ("BYTES", [b"phone"]), "vip": ("BOOL", [True])},
    "an id and a unit": {
        "id": ("BYTES", [b"e1"]), "user": ("BYTES", [b"ann"]), "amount": ("INT8", [3]), "device": ("BYTES", [b"desk"]),
    },
    "nan": {"amount": ("FP64", [1.0]), "ratio": ("FP64", [float("nan")]), "device": ("BYTES", [b"desk"])},
    "other letters": {"amount": ("FP64", [1.0]), "user": ("BYTES", ["dé".encode()]), "device": ("BYTES", [b"desk"])},
    "no UTF-8": {"amount": ("FP64", [1.0]), "country": ("BYTES", [b"\xff"]), "device": ("BYTES", [b"desk"])},
    "out of range": {"amount": ("FP64", [-1.0]), "device": ("BYTES", [b"desk"])},
    "two values": {"amount": ("FP64", [1.0, 2.0]), "device": ("BYTES", [b"desk", b"desk"])},
}  # fmt: skip


@pytest.mark.parametrize("form", ["parameter", "contents", "raw"])
@pytest.mark.parametrize("asked", ["visits", "bold"])
@pytest.mark.parametrize("name", ONE)
def test_one_event_is_answered_the_same_by_the_quick_way_and_by_columns(
    server: Running, name: str, asked: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcome() -> Any:
        given = {"id": ("BYTES", [b"e"] * (2 if name == "two values" else 1)), **ONE[name]}
        message = infer(asked, raw=form == "raw", **given)
        message.id = "call 7" if form == "contents" else ""
        if form == "parameter":
            message.parameters["nan_is_missing"].bool_param = True
        try:
            found = stub(server).ModelInfer(message, timeout=10)
        except grpc.RpcError as e:
            return e.code(), e.details()
        out = {o.name: o for o in found.outputs}
        made = [b.partition(b"/")[2] for b in out["prediction_id"].contents.bytes_contents]
        out["prediction_id"].ClearField("contents")
        raws = [re.sub(rb"[0-9a-f-]{36}/", b"", b) for b in found.raw_output_contents]
        return list(out.values()), made, raws, found.model_version, found.id, found.parameters["staleness_ms"]

    calls: list[Any] = []
    answer = server.it.quick.answer
    monkeypatch.setattr(server.it.quick, "answer", lambda *a, **k: (calls.append(answer(*a, **k)), calls[-1])[1])
    quick = outcome()
    plain = {"numbers and texts", "another datatype", "an id and a unit", "other letters"}
    assert any(calls) == (name in (plain | {"nan"} if form == "parameter" else plain))
    monkeypatch.setattr(server.it.quick, "answer", lambda *_, **__: None)
    assert outcome() == quick
