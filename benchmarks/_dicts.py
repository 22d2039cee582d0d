"""Our way from raw events, as dicts, to what is learned: the pipeline's own cleaner and encoder, then the model."""

import numpy as np

from benchmarks._rows import EXAMPLE, Rows
from benchmarks._run import Run, model_of, now, since
from stream.block import F64
from stream.clean.cleaner import Cleaner, Position
from stream.encode.encoder import Encoder
from stream.limits import BLOCK_ROWS_MAX
from stream.spec_load import load_spec

_LATE_MS = 2_000_000_000_000


def clean_encode_learn(rows: Rows) -> Run:
    """Blocks of events through the example spec's cleaner, encoder and linear.logistic."""
    spec = load_spec(EXAMPLE)
    where = [Position(0, i, _LATE_MS) for i in range(len(rows))]
    starts = range(0, len(rows), BLOCK_ROWS_MAX)

    def run() -> tuple[float, F64]:
        cleaner, encoder, model = Cleaner(spec), Encoder(spec), model_of("linear.logistic", rows, lr=0.02)
        scores = []
        begin = now()
        for at in starts:
            cleaned = cleaner.clean(rows.events[at : at + BLOCK_ROWS_MAX], where[at : at + BLOCK_ROWS_MAX])
            label = rows.label[at : at + BLOCK_ROWS_MAX][cleaned.rows]
            scores.append(model.score_learn(encoder.encode(cleaned.columns), label))
        return (since(begin)) / len(rows), np.concatenate(scores)

    return run
