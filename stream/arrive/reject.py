"""Why an event was not taken. A rejected event is a value, never an exception: it goes to the topic `dead`.

Invariant: `code` is one of CODES, a closed list that tests, dashboards and documents share; `detail` says
what was given, what is allowed, and where.
"""

from dataclasses import dataclass

CODES: dict[str, str] = {
    # arrive: bytes → record
    "value.empty": "the Kafka record has no value",
    "value.too_large": "the value is longer than the limit, or could decode into more memory than allowed",
    "framing.unknown": "the value starts with neither Avro's single-object mark nor Confluent's magic byte",
    "schema.unknown": "the value names a writer's schema that is not known here",
    "schema.refused": "the writer's schema is known but not acceptable, or would be misread",
    "avro.undecodable": "the bytes are not a record of the writer's schema, or can't be resolved to ours",
    "avro.trailing": "bytes are left over after the record",
    # clean: one code for each way a rule can refuse
    "event.no_id": "the event has no id, so no label could ever find it",
    "event.no_time": "the event has no time",
    "event.time_outside": "the event's time is before 1970 or too far ahead of Kafka's time stamp",
    "value.not_finite": "a number is NaN or infinite",
    "value.too_large_number": "a number is too large to compute with",
    "value.out_of_range": "a number is outside the field's min..max",
    "value.missing": "a required field is missing",
    "value.too_long": "a category or id is longer than the limit",
    # join
    "label.undecodable": "the bytes are not a label record",
    "label.outside_task": "the label's value is none that the task knows",
    "label.time_outside": "the label's time is before 1970 or too far ahead of Kafka's time stamp",
    "label.orphaned": "no event has the label's id",
    "label.late": "the label came after the window",
    "label.duplicate": "the event has its label already",
    # learn
    "block.undecodable": "the bytes are not a block of this spec",
    "block.not_finite": "learning from the block made a model's weights infinite or NaN; it was undone",
    # ship
    "ship.unreadable": "the bytes are not a record of the topic, so no document can be made",
    "ship.refused": "Elasticsearch will never take the document; the detail is its reason",
}
"""Code → explanation, for people."""


@dataclass(frozen=True, slots=True)
class Reject:
    """One rejection: a code of CODES and the particulars. Raises ValueError for a code that is not listed."""

    code: str
    detail: str

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"reject code {self.code!r} is not in CODES: {', '.join(CODES)}")
