"""The two servers that `serve` compares, each in a process of its own, and what is asked of them.

    python -m benchmarks._serve {ours,echo} FLIGHTS [KAFKA]

prints its port and serves until standard input ends. `ours` is the whole prediction server with a linear model of the
flights; each answer is logged to Kafka, or where no address is given, to a producer in memory. `echo` is bare grpcio
with as many threads, which gives the very same answer to every request.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import yaml

from benchmarks._report import quiet_log
from benchmarks._rows import EXAMPLE, Rows, flights
from consumers._grpc import ServerOptions
from consumers._serve_tensors import TYPES
from consumers.client import Event, _request
from consumers.predict import PredictServer, settle
from consumers.settings import Settings
from schemas import headwater_pb2 as pb
from schemas import headwater_pb2_grpc as pb_grpc
from schemas import inference_pb2 as oip
from stream.block import Training
from stream.clock import SystemClock
from stream.learn.arms import Arms
from stream.predict.served import Served
from stream.spec import Spec
from stream.spec_load import parse_spec

ARM = {"linear": {"model": "linear.logistic", "params": {"lr": 0.02}}}


class _Taken:
    """A producer's future of what is taken at once."""

    value = type("Metadata", (), {"offset": 0})()
    exception = None

    def succeeded(self) -> bool:
        return True


class Producer:
    """Takes everything, keeps nothing."""

    def __init__(self, _: Settings) -> None:
        pass

    def send(self, *_: Any, **__: Any) -> _Taken:
        return _Taken()

    def flush(self, _: float) -> None:
        pass

    def close(self, **_: Any) -> None:
        pass


def pipeline() -> Spec:
    """The flights with one linear arm."""
    raw = yaml.safe_load(EXAMPLE.read_text()) | {"arms": ARM}
    return parse_spec(raw, EXAMPLE.parent)


def learned(spec: Spec, rows: Rows) -> Served:
    """A model that learned these flights."""
    arms, zeros = Arms(spec), np.zeros(len(rows), np.int64)
    arms.learn(Training(rows.block, rows.label, zeros, zeros, zeros))
    return Served(arms, 1, "0" * 64, "0" * 64, len(rows), len(rows), len(rows) - 1, 0, 0, SystemClock().wall_ms())


def fields_of(event: dict[str, Any]) -> dict[str, Any]:
    """A flight as a caller gives it: without what the answer needs not."""
    return {k: v for k, v in event.items() if v is not None}


def request_of(rows: Rows) -> pb.PredictRequest:
    """The one request that all ask."""
    return _request(Event(fields_of(rows.events[0])))


def infer_of(rows: Rows) -> oip.ModelInferRequest:
    """The same request in the Open Inference Protocol: one tensor a field, for the one arm."""
    message = oip.ModelInferRequest(model_name="linear")
    for name, value in fields_of(rows.events[0]).items():
        kind = {float: "FP64", int: "INT64", str: "BYTES"}[type(value)]
        tensor = message.inputs.add(name=name, datatype=kind, shape=[1])
        held = value.encode() if isinstance(value, str) else value
        getattr(tensor.contents, TYPES[kind].contents).append(held)
    return message


def make_server(spec: Spec, rows: Rows, settings: Settings | None = None) -> PredictServer:
    """The whole server, ready to listen. Without settings its log goes nowhere."""
    options, producer = ServerOptions(held_max=512, reflection=False), Producer if settings is None else None
    server = PredictServer(spec, settings or Settings(), options, None, producer)
    server.plane.swap(learned(spec, rows))
    server.exposures.start()
    return server


def _echo(answer: pb.PredictResponse) -> Any:
    class Echo(pb_grpc.PredictionsServicer):
        def Predict(self, request: pb.PredictRequest, context: Any) -> pb.PredictResponse:
            return answer

    server = grpc.server(ThreadPoolExecutor(ServerOptions().workers))
    pb_grpc.add_PredictionsServicer_to_server(Echo(), server)
    return server


def main() -> int:
    """See the module."""
    quiet_log()
    kind, spec, rows = sys.argv[1], pipeline(), flights(int(sys.argv[2]))
    ours = make_server(spec, rows, Settings(kafka=sys.argv[3]) if len(sys.argv) > 3 else None)
    port = ours.listen("127.0.0.1:0")
    if kind == "echo":
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = pb_grpc.PredictionsStub(channel)
            answer = stub.Predict(request_of(rows), timeout=60)
        ours.close()
        server = _echo(answer)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
    settle()
    print(port, flush=True)
    sys.stdin.read()
    if kind == "ours":
        ours.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
