"""The Open Inference Protocol, version 2: every arm is a model, and the pipeline itself is one that assigns.

So that whoever has a client of that protocol (Triton's, MLServer's, KServe's) needs none of ours. A call's rows are one
batch of columns. The protocol has no errors by row: the first row that is refused refuses the call, and then nothing is
logged. Invariant: a model's version is the generation that answered, and every answer has a prediction id that Feedback
takes.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError
from grpc import StatusCode

from consumers._exposures import Exposures
from consumers._grpc import Handlers, in_pool
from consumers._serve_infer import PlainInfer
from consumers._serve_metrics import Meter, count_rows
from consumers._serve_prompt import prompt_method
from consumers._serve_status import answered
from consumers._serve_tensors import add_output, columns_of, datatype_of, row_of
from schemas import inference_pb2 as oip
from schemas import inference_pb2_grpc as oip_grpc
from stream.block import F64
from stream.clock import Clock
from stream.predict.answers import Answers, Batch
from stream.predict.batch import Columnar
from stream.predict.plane import Plane
from stream.predict.quick.plane import Quick, QuickPlane
from stream.predict.quick.tables import BYTES_MAX
from stream.predict.refuse import InvalidRequest, UnknownArm
from stream.predict.served import Served
from stream.spec_load import event_schema

SERVICE = "inference.GRPCInferenceService"
OPEN = ("ServerLive", "ServerReady", "ModelReady")
"""Methods that say how the server is: they pass the gate, and have a thread of their own."""
_PLATFORM = "headwater"
_EXTENSIONS = ("model_repository",)


def add_inference(servicer: "Inference", server: Any) -> None:
    """Register the handlers; that of ModelInfer takes and gives bytes."""
    handlers = Handlers()
    register: Any = oip_grpc.add_GRPCInferenceServiceServicer_to_server  # generated without types
    register(servicer, handlers)
    infer = prompt_method(servicer.ModelInfer, servicer.infer_now)
    handlers.of["ModelInfer"] = grpc.unary_unary_rpc_method_handler(infer)
    server.add_registered_method_handlers(SERVICE, handlers.of)


def _described(name: str, datatype: str, *shape: int) -> oip.ModelMetadataResponse.TensorMetadata:
    return oip.ModelMetadataResponse.TensorMetadata(name=name, datatype=datatype, shape=shape)


class Inference(oip_grpc.GRPCInferenceServiceServicer):
    """The handlers of inference.GRPCInferenceService."""

    def __init__(
        self,
        plane: Plane,
        columnar: Columnar,
        quick: QuickPlane,
        exposures: Exposures,
        clock: Clock,
        leaving: Callable[[], bool],
        side: ThreadPoolExecutor,
        meter: Meter | None = None,
    ) -> None:
        self._plane, self._columnar, self._exposures, self._clock = plane, columnar, exposures, clock
        self._quick, self._leaving, self.meter = quick, leaving, meter
        spec = plane.spec
        own = {spec.name: ""}  # a model's name → the arm to ask for
        self._models = own | {f"{spec.name}.{arm}" if arm in own else arm: arm for arm in spec.arms}
        self._plain = PlainInfer(self._models) if quick.able and not spec.classes else None
        types = {f.name: f.type.bare for f in event_schema(spec).fields}
        self._inputs = [_described(f.name, datatype_of(types[f.name]), -1) for f in plane.events.fields]
        self.ServerLive = in_pool(self._live, side)  # type: ignore[method-assign]
        self.ServerReady = in_pool(self._ready, side)  # type: ignore[method-assign]
        self.ModelReady = in_pool(self._model_ready, side)  # type: ignore[method-assign]

    # -- how the server is -----------------------------------------------------------------------------

    def _live(self, request: oip.ServerLiveRequest, context: Any) -> oip.ServerLiveResponse:
        return oip.ServerLiveResponse(live=True)

    def _is_ready(self) -> bool:
        return self._plane.served is not None and not self._leaving()

    def _ready(self, request: oip.ServerReadyRequest, context: Any) -> oip.ServerReadyResponse:
        return oip.ServerReadyResponse(ready=self._is_ready())

    def _model_ready(self, request: oip.ModelReadyRequest, context: Any) -> oip.ModelReadyResponse:
        known = request.name in self._models and request.version in ("", *self._versions())
        return oip.ModelReadyResponse(ready=known and self._is_ready())

    # -- what it has -----------------------------------------------------------------------------------

    @answered
    def ServerMetadata(self, request: oip.ServerMetadataRequest, context: Any) -> oip.ServerMetadataResponse:
        """See the .proto."""
        return oip.ServerMetadataResponse(name=_PLATFORM, version=version("headwater"), extensions=_EXTENSIONS)

    @answered
    def RepositoryIndex(self, request: oip.RepositoryIndexRequest, context: Any) -> oip.RepositoryIndexResponse:
        """See the .proto."""
        ready = self._is_ready()
        out = oip.RepositoryIndexResponse()
        for name in self._models if ready or not request.ready else ():
            reason = "" if ready else "no model is loaded yet"
            state = "READY" if ready else "UNAVAILABLE"
            out.models.add(name=name, version="".join(self._versions()), state=state, reason=reason)
        return out

    @answered
    def ModelMetadata(self, request: oip.ModelMetadataRequest, context: Any) -> oip.ModelMetadataResponse:
        """See the .proto."""
        arm, classes = self._arm(request.name, request.version), len(self._plane.spec.classes)
        outputs = [_described("score", "FP64", -1)]
        if classes:
            outputs += [_described("scores", "FP64", -1, classes), _described("label", "BYTES", -1)]
        outputs.append(_described("prediction_id", "BYTES", -1))
        if not arm:
            outputs += [_described("arm", "BYTES", -1), _described("propensity", "FP64", -1)]
        return oip.ModelMetadataResponse(
            name=request.name, versions=self._versions(), platform=_PLATFORM, inputs=self._inputs, outputs=outputs
        )

    def _versions(self) -> list[str]:
        served = self._plane.served
        return [] if served is None else [str(served.generation)]

    def _arm(self, model: str, version_: str) -> str:
        """The arm to ask for, '' for the pipeline. Raises UnknownArm."""
        if model not in self._models:
            detail = f"model: found {model[:80]!r}; the models are {', '.join(self._models)}"
            raise UnknownArm("arm.unknown", detail)
        if version_ and version_ not in self._versions():
            there = ", ".join(self._versions()) or "none yet"
            detail = f"model version: found {version_[:80]!r}; the version there is: {there}"
            raise UnknownArm("arm.unknown", detail)
        return self._models[model]

    # -- answers ---------------------------------------------------------------------------------------

    @answered
    def ModelInfer(self, body: bytes, context: Any) -> bytes:
        """See the .proto; from bytes to bytes."""
        begun_ns, now_ms = time.perf_counter_ns(), self._clock.wall_ms()
        try:
            request = oip.ModelInferRequest.FromString(body)
        except DecodeError as e:
            found = f"found {len(body)} bytes that are no ModelInferRequest: {e}"
            raise InvalidRequest("request.wrong", found) from None
        return self._of_any(request, now_ms, begun_ns).SerializeToString()

    def infer_now(self, body: bytes) -> bytes | None:
        """What ModelInfer answers, if it can at once; see `_serve_prompt`."""
        begun_ns, now_ms = time.perf_counter_ns(), self._clock.wall_ms()
        if len(body) > BYTES_MAX:
            return None  # the thread that receives calls is not for reading it; the pool's reads it once
        asked = None if self._plain is None else self._plain.ask(body)
        if asked is None or self._plain is None:
            message = self._of_one(oip.ModelInferRequest.FromString(body), now_ms, begun_ns, at_once=True)
            found = None if message is None else message.SerializeToString()
        else:
            quick = self._quick.answer(asked.request, now_ms, at_once=True)
            found = None if quick is None else self._plain.answer(asked, quick)
            if quick is not None:
                self._told(quick, now_ms, begun_ns)
        if found is not None and self.meter is not None:
            self.meter.call("ModelInfer", StatusCode.OK, (time.perf_counter_ns() - begun_ns) / 1e9)
        return found

    def _told(self, quick: Quick, now_ms: int, begun_ns: int) -> None:
        """Count a quick answer, and log it."""
        if self.meter is not None:
            self.meter.rows("ModelInfer", quick.arm, StatusCode.OK)
        self._exposures.put_quick(quick, now_ms, (time.perf_counter_ns() - begun_ns) // 1000)

    def _asked(self, request: oip.ModelInferRequest) -> tuple[str, bool, int | None]:
        """The arm; whether NaN is missing; the most staleness. Raises UnknownArm, InvalidRequest."""
        arm = self._arm(request.model_name, request.model_version)
        nan_is_missing = bool(_parameter(request, "nan_is_missing", "bool_param"))
        return arm, nan_is_missing, _parameter(request, "max_staleness_ms", "int64_param")

    def _of_any(self, request: oip.ModelInferRequest, now_ms: int, begun_ns: int) -> oip.ModelInferResponse:
        """The answer to any request. Raises Refused."""
        of_one = self._of_one(request, now_ms, begun_ns)
        if of_one is not None:
            return of_one
        arm, nan_is_missing, limit_ms = self._asked(request)
        rows, columns = columns_of(request, nan_is_missing)
        answers = self._columnar.answer(Batch(rows, columns, arm=arm, max_staleness_ms=limit_ms), now_ms)
        _all_or_nothing(answers)
        message = self._message(request, self._outputs(answers), answers.model, answers.staleness_ms)
        if self.meter is not None:
            count_rows(self.meter, "ModelInfer", answers)
        self._exposures.put_all(answers, now_ms, (time.perf_counter_ns() - begun_ns) // 1000)
        return message

    def _of_one(
        self, request: oip.ModelInferRequest, now_ms: int, begun_ns: int, at_once: bool = False
    ) -> oip.ModelInferResponse | None:
        """The answer to one event, if the quick way can make it. Raises Refused."""
        arm, nan_is_missing, limit_ms = self._asked(request)
        row = row_of(request, nan_is_missing)
        if row is None:
            return None
        row.arm = arm
        if limit_ms is not None:
            row.max_staleness_ms = limit_ms
        quick = self._quick.answer(row.SerializeToString(), now_ms, at_once)
        if quick is None:
            return None
        outputs: dict[str, F64 | Sequence[str]] = {"score": np.array([quick.score])}
        if quick.scores:
            label = self._plane.spec.classes[quick.scores.index(quick.score)]
            outputs |= {"scores": np.array([quick.scores]), "label": [label]}
        outputs["prediction_id"] = [quick.prediction_id]
        if not quick.asked:
            outputs |= {"arm": [quick.arm], "propensity": np.array([quick.propensity])}
        message = self._message(request, outputs, quick.model, quick.staleness_ms)
        self._told(quick, now_ms, begun_ns)
        return message

    def _message(
        self,
        request: oip.ModelInferRequest,
        outputs: dict[str, F64 | Sequence[str]],
        model: Served,
        staleness_ms: int,
    ) -> oip.ModelInferResponse:
        """What was asked for of the outputs. Raises InvalidRequest for one that there is not."""
        raw = bool(request.raw_input_contents)
        message = oip.ModelInferResponse(
            model_name=request.model_name, model_version=str(model.generation), id=request.id
        )
        message.parameters["staleness_ms"].int64_param = staleness_ms
        for name in [o.name for o in request.outputs] or outputs:
            if name not in outputs:
                detail = f"output: found {name[:80]!r}; the outputs are {', '.join(outputs)}"
                raise InvalidRequest("request.wrong", detail)
            add_output(message, name, outputs[name], raw)
        return message

    def _outputs(self, answers: Answers) -> dict[str, F64 | Sequence[str]]:
        """By name, as ModelMetadata lists them."""
        classes = self._plane.spec.classes
        out: dict[str, F64 | Sequence[str]] = {"score": answers.score}
        if classes:
            likeliest = answers.scores.argmax(axis=1).tolist() if len(answers) else []
            out |= {"scores": answers.scores, "label": [classes[i] for i in likeliest]}
        out["prediction_id"] = answers.prediction_ids()
        if not answers.asked:
            out |= {"arm": [answers.arms[a] for a in answers.arm.tolist()], "propensity": answers.propensity}
        return out


def _parameter(request: oip.ModelInferRequest, name: str, kind: str) -> Any:
    """A parameter's value, None where it is absent. Raises InvalidRequest for another type."""
    if name not in request.parameters:
        return None
    found = request.parameters[name].WhichOneof("parameter_choice")
    if found != kind:
        raise InvalidRequest("request.wrong", f"parameter {name}: found {found}; {kind} is wanted")
    return getattr(request.parameters[name], kind)


def _all_or_nothing(answers: Answers) -> None:
    """Raise what the first refused row was refused for."""
    if answers.refused:
        row = min(answers.refused)
        first, more = answers.refused[row], len(answers.refused) - 1
        others = f" ({more} more of {len(answers)} rows are refused)" if more else ""
        raise type(first)(first.reason, f"row {row}: {first}{others}")
