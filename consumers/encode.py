"""encode: clean columns → feature blocks. Stateless; between processes it reads `clean` and writes `features`."""

from collections.abc import Sequence
from typing import Any

from consumers._kafka import Out
from stream.block import Block, Columns, encode_features, split
from stream.clean.record import CleanCodec
from stream.encode.encoder import Encoder
from stream.spec import Spec


class EncodeStep:
    """Encodes the events of one poll."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._codec = CleanCodec(spec)
        self._encoder = Encoder(spec)

    def read(self, records: Sequence[Any]) -> Columns:
        """Columns of consumed records of the clean topic. Raises ValueError when one is damaged."""
        return self._codec.decode([r.value for r in records])

    def encode(self, columns: Columns) -> Block:
        """Their block."""
        return self._encoder.encode(columns)

    def outs(self, block: Block, partition: int) -> list[Out]:
        """Records of the features topic, in the partition of the events."""
        topic = self._spec.topic("features")
        return [Out(topic, encode_features(b), None, partition) for b in split(block)]
