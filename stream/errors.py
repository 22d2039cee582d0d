"""The error tree, drawn at the top.

HeadwaterError                  a person can act on it: one line, no traceback, exit code `exit_code`
├── SpecError                   the spec file is wrong (every problem listed with its path)
├── SchemaError                 an Avro schema is not acceptable or not compatible
├── DataError                   an input file or value given by a person is wrong
├── BrokerError                 Kafka can't be reached, or refuses
│   ├── TopicMissing            a topic the step needs does not exist
│   └── OffsetLost              the offset to go on from is no longer in the topic
├── SnapshotError               no snapshot can be used
├── StorageError                the disk refused (full, read-only)
├── ElasticError                Elasticsearch can't be reached, or refuses
└── LimitReached                a declared bound was met where going on would lose data

Anything else is a bug and crashes with its traceback. Bad *events* are not errors but values: `Reject`.
"""


class HeadwaterError(Exception):
    """Something a person can mend. The message names what was given, what is allowed, and where."""

    exit_code = 1


class SpecError(HeadwaterError):
    """The pipeline spec is wrong; `problems` holds one line for each fault."""

    exit_code = 2

    def __init__(self, problems: list[str], source: str = "spec") -> None:
        self.problems = problems
        self.source = source
        super().__init__(f"{source}: {len(problems)} problem(s)\n" + "\n".join(f"  {p}" for p in problems))


class SchemaError(HeadwaterError):
    """An Avro schema is refused."""

    exit_code = 3


class DataError(HeadwaterError):
    """A file or value given by a person is wrong."""

    exit_code = 4


class BrokerError(HeadwaterError):
    """Kafka can't be reached in time, or refuses."""

    exit_code = 5


class TopicMissing(BrokerError):
    """A topic that a step reads or writes does not exist."""

    exit_code = 6


class OffsetLost(BrokerError):
    """The next offset to read is outside what the topic still holds; never jumped over silently."""

    exit_code = 7


class SnapshotError(HeadwaterError):
    """No snapshot that can be used."""

    exit_code = 8


class StorageError(HeadwaterError):
    """The disk refused: full, read-only, missing."""

    exit_code = 9


class ElasticError(HeadwaterError):
    """Elasticsearch can't be reached in time, or refuses."""

    exit_code = 11


class LimitReached(HeadwaterError):
    """A declared bound was met where going on would lose data."""

    exit_code = 10
