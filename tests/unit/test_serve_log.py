"""The log of quick answers: byte for byte what the codec writes of the same record."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_predict_plane import GOOD, NOW
from test_predict_quick import plane_of, request_of

import schemas
from consumers import _serve_log
from consumers._exposures import Exposures, _Exposure
from consumers._serve_log import QuickLog
from consumers._serve_sender import Sender
from consumers.settings import Settings
from stream.predict.quick.plane import Quick, answer_of

longs = st.one_of(st.integers(-3, 3), st.integers(-(1 << 63), (1 << 63) - 1), st.integers(NOW, 2 * NOW))


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Quick:
    _, made = plane_of(tmp_path_factory.mktemp("log"))
    found = made.answer(request_of(GOOD).SerializeToString(), NOW)
    assert found is not None
    return found


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=5), st.text(max_size=300), st.lists(st.floats(0, 1), max_size=3), longs, longs, st.data())
def test_a_record_is_the_codecs_own(
    quick: Quick, unit: str, event_id: str, scores: list[float], one: int, other: int, data: st.DataObject
) -> None:
    spec = quick.plane.spec
    if scores:  # the log does not say the label, but answer_of does
        object.__setattr__(spec, "classes", tuple("abc"))
    made = quick._replace(
        unit=unit, event_id=event_id, scores=tuple(scores), score=max(scores, default=0.25), time_ms=one,
        staleness_ms=other, how=data.draw(st.sampled_from(["experiment", "asked", "holdout"])),
        control_seq=data.draw(st.integers(0, 3)), arm=data.draw(st.sampled_from(["calm", "bold"])),
    )  # fmt: skip
    exposures = Exposures("t", Sender(Settings(), "exposures", 10))
    wanted = exposures.record(_Exposure(exposures, answer_of(made), one, other, 7))
    assert exposures.quick_record(made, one, other, 7) == wanted
    assert schemas.codec("prediction").decode(wanted.value or b"")["unit"] == unit


def test_a_schema_with_other_fields_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_serve_log, "ORDER", _serve_log.ORDER[:-1])
    with pytest.raises(AssertionError, match=r"prediction\.avsc has fields"):
        QuickLog()
