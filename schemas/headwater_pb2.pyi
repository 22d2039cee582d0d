from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Value(_message.Message):
    __slots__ = ("double_value", "int64_value", "string_value", "bool_value")
    DOUBLE_VALUE_FIELD_NUMBER: _ClassVar[int]
    INT64_VALUE_FIELD_NUMBER: _ClassVar[int]
    STRING_VALUE_FIELD_NUMBER: _ClassVar[int]
    BOOL_VALUE_FIELD_NUMBER: _ClassVar[int]
    double_value: float
    int64_value: int
    string_value: str
    bool_value: bool
    def __init__(self, double_value: _Optional[float] = ..., int64_value: _Optional[int] = ..., string_value: _Optional[str] = ..., bool_value: _Optional[bool] = ...) -> None: ...

class PredictRequest(_message.Message):
    __slots__ = ("fields", "event_id", "unit", "arm", "max_staleness_ms", "avro")
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    MAX_STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    AVRO_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.MessageMap[str, Value]
    event_id: str
    unit: str
    arm: str
    max_staleness_ms: int
    avro: bytes
    def __init__(self, fields: _Optional[_Mapping[str, Value]] = ..., event_id: _Optional[str] = ..., unit: _Optional[str] = ..., arm: _Optional[str] = ..., max_staleness_ms: _Optional[int] = ..., avro: _Optional[bytes] = ...) -> None: ...

class TrainedThrough(_message.Message):
    __slots__ = ("training_offset", "rows", "label_offset", "label_time_ms", "label_published_ms", "as_of_ms")
    TRAINING_OFFSET_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    LABEL_OFFSET_FIELD_NUMBER: _ClassVar[int]
    LABEL_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    LABEL_PUBLISHED_MS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_MS_FIELD_NUMBER: _ClassVar[int]
    training_offset: int
    rows: int
    label_offset: int
    label_time_ms: int
    label_published_ms: int
    as_of_ms: int
    def __init__(self, training_offset: _Optional[int] = ..., rows: _Optional[int] = ..., label_offset: _Optional[int] = ..., label_time_ms: _Optional[int] = ..., label_published_ms: _Optional[int] = ..., as_of_ms: _Optional[int] = ...) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("generation", "sha256", "state_hash", "trained_through")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    STATE_HASH_FIELD_NUMBER: _ClassVar[int]
    TRAINED_THROUGH_FIELD_NUMBER: _ClassVar[int]
    generation: int
    sha256: str
    state_hash: str
    trained_through: TrainedThrough
    def __init__(self, generation: _Optional[int] = ..., sha256: _Optional[str] = ..., state_hash: _Optional[str] = ..., trained_through: _Optional[_Union[TrainedThrough, _Mapping]] = ...) -> None: ...

class PredictResponse(_message.Message):
    __slots__ = ("prediction_id", "event_id", "arm", "propensity", "score", "scores", "label", "model", "staleness_ms", "experiment", "spec_hash", "unit", "arm_requested", "control_seq", "assigned")
    PREDICTION_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    SPEC_HASH_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    ARM_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    CONTROL_SEQ_FIELD_NUMBER: _ClassVar[int]
    ASSIGNED_FIELD_NUMBER: _ClassVar[int]
    prediction_id: str
    event_id: str
    arm: str
    propensity: float
    score: float
    scores: _containers.RepeatedScalarFieldContainer[float]
    label: str
    model: ModelVersion
    staleness_ms: int
    experiment: str
    spec_hash: str
    unit: str
    arm_requested: bool
    control_seq: int
    assigned: str
    def __init__(self, prediction_id: _Optional[str] = ..., event_id: _Optional[str] = ..., arm: _Optional[str] = ..., propensity: _Optional[float] = ..., score: _Optional[float] = ..., scores: _Optional[_Iterable[float]] = ..., label: _Optional[str] = ..., model: _Optional[_Union[ModelVersion, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., experiment: _Optional[str] = ..., spec_hash: _Optional[str] = ..., unit: _Optional[str] = ..., arm_requested: _Optional[bool] = ..., control_seq: _Optional[int] = ..., assigned: _Optional[str] = ...) -> None: ...

class PredictBatchRequest(_message.Message):
    __slots__ = ("requests", "columns")
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[PredictRequest]
    columns: EventColumns
    def __init__(self, requests: _Optional[_Iterable[_Union[PredictRequest, _Mapping]]] = ..., columns: _Optional[_Union[EventColumns, _Mapping]] = ...) -> None: ...

class Doubles(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class Int64s(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, values: _Optional[_Iterable[int]] = ...) -> None: ...

class Bools(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, values: _Optional[_Iterable[bool]] = ...) -> None: ...

class Strings(_message.Message):
    __slots__ = ("values", "index")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    index: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, values: _Optional[_Iterable[str]] = ..., index: _Optional[_Iterable[int]] = ...) -> None: ...

class FieldColumn(_message.Message):
    __slots__ = ("doubles", "int64s", "strings", "bools", "nulls")
    DOUBLES_FIELD_NUMBER: _ClassVar[int]
    INT64S_FIELD_NUMBER: _ClassVar[int]
    STRINGS_FIELD_NUMBER: _ClassVar[int]
    BOOLS_FIELD_NUMBER: _ClassVar[int]
    NULLS_FIELD_NUMBER: _ClassVar[int]
    doubles: Doubles
    int64s: Int64s
    strings: Strings
    bools: Bools
    nulls: bytes
    def __init__(self, doubles: _Optional[_Union[Doubles, _Mapping]] = ..., int64s: _Optional[_Union[Int64s, _Mapping]] = ..., strings: _Optional[_Union[Strings, _Mapping]] = ..., bools: _Optional[_Union[Bools, _Mapping]] = ..., nulls: _Optional[bytes] = ...) -> None: ...

class EventColumns(_message.Message):
    __slots__ = ("rows", "fields", "event_ids", "units", "arm", "max_staleness_ms", "unlogged")
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: FieldColumn
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[FieldColumn, _Mapping]] = ...) -> None: ...
    ROWS_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    EVENT_IDS_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    MAX_STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    UNLOGGED_FIELD_NUMBER: _ClassVar[int]
    rows: int
    fields: _containers.MessageMap[str, FieldColumn]
    event_ids: _containers.RepeatedScalarFieldContainer[str]
    units: _containers.RepeatedScalarFieldContainer[str]
    arm: str
    max_staleness_ms: int
    unlogged: bool
    def __init__(self, rows: _Optional[int] = ..., fields: _Optional[_Mapping[str, FieldColumn]] = ..., event_ids: _Optional[_Iterable[str]] = ..., units: _Optional[_Iterable[str]] = ..., arm: _Optional[str] = ..., max_staleness_ms: _Optional[int] = ..., unlogged: _Optional[bool] = ...) -> None: ...

class RowError(_message.Message):
    __slots__ = ("status", "reason", "message")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    status: int
    reason: str
    message: str
    def __init__(self, status: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class PredictResult(_message.Message):
    __slots__ = ("answer", "error")
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    answer: PredictResponse
    error: RowError
    def __init__(self, answer: _Optional[_Union[PredictResponse, _Mapping]] = ..., error: _Optional[_Union[RowError, _Mapping]] = ...) -> None: ...

class PredictBatchResponse(_message.Message):
    __slots__ = ("results", "columns")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[PredictResult]
    columns: AnswerColumns
    def __init__(self, results: _Optional[_Iterable[_Union[PredictResult, _Mapping]]] = ..., columns: _Optional[_Union[AnswerColumns, _Mapping]] = ...) -> None: ...

class AnswerColumns(_message.Message):
    __slots__ = ("batch_id", "event_ids", "units", "arms", "arm", "propensity", "score", "classes", "scores", "label", "errors", "model", "staleness_ms", "experiment", "spec_hash", "arm_requested", "control_seq", "left_out")
    class ErrorsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: RowError
        def __init__(self, key: _Optional[int] = ..., value: _Optional[_Union[RowError, _Mapping]] = ...) -> None: ...
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_IDS_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    ARMS_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    SPEC_HASH_FIELD_NUMBER: _ClassVar[int]
    ARM_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    CONTROL_SEQ_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    batch_id: str
    event_ids: _containers.RepeatedScalarFieldContainer[str]
    units: _containers.RepeatedScalarFieldContainer[str]
    arms: _containers.RepeatedScalarFieldContainer[str]
    arm: _containers.RepeatedScalarFieldContainer[int]
    propensity: _containers.RepeatedScalarFieldContainer[float]
    score: _containers.RepeatedScalarFieldContainer[float]
    classes: _containers.RepeatedScalarFieldContainer[str]
    scores: _containers.RepeatedScalarFieldContainer[float]
    label: _containers.RepeatedScalarFieldContainer[int]
    errors: _containers.MessageMap[int, RowError]
    model: ModelVersion
    staleness_ms: int
    experiment: str
    spec_hash: str
    arm_requested: bool
    control_seq: int
    left_out: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, batch_id: _Optional[str] = ..., event_ids: _Optional[_Iterable[str]] = ..., units: _Optional[_Iterable[str]] = ..., arms: _Optional[_Iterable[str]] = ..., arm: _Optional[_Iterable[int]] = ..., propensity: _Optional[_Iterable[float]] = ..., score: _Optional[_Iterable[float]] = ..., classes: _Optional[_Iterable[str]] = ..., scores: _Optional[_Iterable[float]] = ..., label: _Optional[_Iterable[int]] = ..., errors: _Optional[_Mapping[int, RowError]] = ..., model: _Optional[_Union[ModelVersion, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., experiment: _Optional[str] = ..., spec_hash: _Optional[str] = ..., arm_requested: _Optional[bool] = ..., control_seq: _Optional[int] = ..., left_out: _Optional[_Iterable[int]] = ...) -> None: ...

class FeedbackRequest(_message.Message):
    __slots__ = ("event_id", "prediction_id", "bool_value", "int64_value", "double_value", "string_value", "time_ms")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_ID_FIELD_NUMBER: _ClassVar[int]
    BOOL_VALUE_FIELD_NUMBER: _ClassVar[int]
    INT64_VALUE_FIELD_NUMBER: _ClassVar[int]
    DOUBLE_VALUE_FIELD_NUMBER: _ClassVar[int]
    STRING_VALUE_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    prediction_id: str
    bool_value: bool
    int64_value: int
    double_value: float
    string_value: str
    time_ms: int
    def __init__(self, event_id: _Optional[str] = ..., prediction_id: _Optional[str] = ..., bool_value: _Optional[bool] = ..., int64_value: _Optional[int] = ..., double_value: _Optional[float] = ..., string_value: _Optional[str] = ..., time_ms: _Optional[int] = ...) -> None: ...

class FeedbackResponse(_message.Message):
    __slots__ = ("event_id", "label_offset")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_OFFSET_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    label_offset: int
    def __init__(self, event_id: _Optional[str] = ..., label_offset: _Optional[int] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FieldInfo(_message.Message):
    __slots__ = ("name", "type", "avro", "required", "has_default", "min", "max", "outside", "symbols")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    AVRO_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    HAS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    OUTSIDE_FIELD_NUMBER: _ClassVar[int]
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: str
    avro: str
    required: bool
    has_default: bool
    min: float
    max: float
    outside: str
    symbols: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., type: _Optional[str] = ..., avro: _Optional[str] = ..., required: _Optional[bool] = ..., has_default: _Optional[bool] = ..., min: _Optional[float] = ..., max: _Optional[float] = ..., outside: _Optional[str] = ..., symbols: _Optional[_Iterable[str]] = ...) -> None: ...

class ArmInfo(_message.Message):
    __slots__ = ("name", "model", "weight", "propensity", "shadow")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: str
    weight: float
    propensity: float
    shadow: bool
    def __init__(self, name: _Optional[str] = ..., model: _Optional[str] = ..., weight: _Optional[float] = ..., propensity: _Optional[float] = ..., shadow: _Optional[bool] = ...) -> None: ...

class ExperimentInfo(_message.Message):
    __slots__ = ("name", "unit", "assignment_version", "control_seq", "ended")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    CONTROL_SEQ_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    name: str
    unit: str
    assignment_version: int
    control_seq: int
    ended: bool
    def __init__(self, name: _Optional[str] = ..., unit: _Optional[str] = ..., assignment_version: _Optional[int] = ..., control_seq: _Optional[int] = ..., ended: _Optional[bool] = ...) -> None: ...

class ExposureCounts(_message.Message):
    __slots__ = ("sent", "dropped", "waiting")
    SENT_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    sent: int
    dropped: int
    waiting: int
    def __init__(self, sent: _Optional[int] = ..., dropped: _Optional[int] = ..., waiting: _Optional[int] = ...) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("pipeline", "task", "classes", "spec_hash", "event_id_field", "event_time_field", "fields", "arms", "experiment", "model", "staleness_ms", "exposures")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    SPEC_HASH_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    ARMS_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    EXPOSURES_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    task: str
    classes: _containers.RepeatedScalarFieldContainer[str]
    spec_hash: str
    event_id_field: str
    event_time_field: str
    fields: _containers.RepeatedCompositeFieldContainer[FieldInfo]
    arms: _containers.RepeatedCompositeFieldContainer[ArmInfo]
    experiment: ExperimentInfo
    model: ModelVersion
    staleness_ms: int
    exposures: ExposureCounts
    def __init__(self, pipeline: _Optional[str] = ..., task: _Optional[str] = ..., classes: _Optional[_Iterable[str]] = ..., spec_hash: _Optional[str] = ..., event_id_field: _Optional[str] = ..., event_time_field: _Optional[str] = ..., fields: _Optional[_Iterable[_Union[FieldInfo, _Mapping]]] = ..., arms: _Optional[_Iterable[_Union[ArmInfo, _Mapping]]] = ..., experiment: _Optional[_Union[ExperimentInfo, _Mapping]] = ..., model: _Optional[_Union[ModelVersion, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., exposures: _Optional[_Union[ExposureCounts, _Mapping]] = ...) -> None: ...
