"""Every model may be taught some rows and shown the others: what it becomes depends on the former alone."""

import numpy as np
from test_learners import EVERY, Kind, _digest, _make, _stream

from stream.block import take
from stream.learn.training import score_learn_some


@EVERY
def test_rows_that_are_only_shown_leave_no_trace(kind: Kind) -> None:
    block, label = _stream(kind, 600)
    mine = np.random.default_rng(7).random(600) < 0.4
    mixed, alone, cut = _make(kind), _make(kind), _make(kind)
    scores, learned = score_learn_some(mixed, block, label, mine)
    kept = np.flatnonzero(mine)
    wanted = alone.score_learn(take(block, kept), label[kept])
    assert scores[kept].tolist() == wanted.tolist()
    assert scores.shape == (600, *wanted.shape[1:])
    assert learned == len(kept)
    assert _digest(mixed) == _digest(alone)
    pieces = [
        score_learn_some(cut, take(block, range(at, min(at + 37, 600))), label[at : at + 37], mine[at : at + 37])[0]
        for at in range(0, 600, 37)
    ]
    assert np.concatenate(pieces).tolist() == scores.tolist()
    assert _digest(cut) == _digest(mixed)
