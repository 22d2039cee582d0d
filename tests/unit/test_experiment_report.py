"""From records of the topics to a report: what counts, who is better, what is said of the sample ratio."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumers._experiment import check_fields
from consumers._experiment_page import write_page
from consumers.cli.app import jsonable
from consumers.cli.experiment import show
from stream.errors import DataError
from stream.experiment.collect import Collector
from stream.experiment.report import Question, Report, analyse
from stream.join.labels import Label
from stream.spec import Spec

HOUR_MS = 3_600_000


def _spec(task: str = "binary", timeout: str = "drop", weights: tuple[float, float] = (1, 1)) -> Spec:
    fields = {"price": {"type": "numeric"}, "shop": {"type": "category"}}
    raw: dict[str, Any] = {
        "name": "p",
        "task": task,
        "event": {"schema": "none.avsc", "id": "id", "time": "at", "fields": fields},
        "label": {"window": "1h", "timeout": timeout},
        "arms": {a: {"model": "linear.logistic", "weight": w} for a, w in zip("ab", weights, strict=True)},
        "experiment": {"name": "e"},
    }
    if task == "classes":
        raw["classes"] = ["x", "y", "z"]
    return Spec.model_validate(raw)


def _exposure(event: str, arm: str = "a", score: float = 0.5, **more: Any) -> dict[str, Any]:
    given = {"id": event, "unit": event, "arm": arm, "propensity": 0.5, "score": score, "scores": [], "experiment": "e"}
    return {**given, "served_ms": 10, "event_time_ms": 0} | more


def _label(event: str, value: float = 1.0, time_ms: int = 20) -> Label:
    return Label(event, value, time_ms, 0, time_ms)


def _counted(spec: Spec, exposures: list[dict[str, Any]], labels: list[Label], each: bool = False) -> Any:
    collector = Collector(spec, each)
    for record in exposures:
        collector.exposure(record)
    for label in labels:
        collector.label(label)
    exposed, records = collector.exposed()
    outcomes = collector.outcomes(records)
    return [exposed.ids[i] for i in outcomes.row], outcomes, collector.counts, exposed


def test_outcomes_come_in_the_order_of_their_labels_and_the_first_label_counts() -> None:
    found, outcomes, counts, _ = _counted(
        _spec(),
        [_exposure("1"), _exposure("2", "b"), _exposure("3")],
        [_label("3", 0.0), _label("1"), _label("3", 1.0), _label("nobody")],
    )
    assert found == ["3", "1"]
    assert outcomes.label.tolist() == [0.0, 1.0]
    assert (counts["repeated labels"], counts["waiting"], counts["outcomes"]) == (1, 1, 2)


def test_what_is_not_of_the_experiment_does_not_count() -> None:
    bad = [
        _exposure("2", experiment=""),
        _exposure("3", arm="gone"),
        _exposure("4", score=float("nan")),
        _exposure("5", score=1.5),
    ]
    found, _, counts, _ = _counted(_spec(), [_exposure("1"), *bad], [_label(str(i)) for i in range(6)])
    assert found == ["1"]
    assert counts["not of this experiment"] == counts["of an arm that the spec lacks"] == 1
    assert counts["score that is none"] == 2


def test_the_first_exposure_of_an_event_and_of_a_unit_counts_whatever_the_order_read() -> None:
    exposures = [
        _exposure("2", "b", unit="u", served_ms=20),
        _exposure("1", "a", unit="u", served_ms=10),
        _exposure("1", "a", unit="u", served_ms=15, score=0.9),
    ]
    labels = [_label("2"), _label("1")]
    found, outcomes, counts, _ = _counted(_spec(), exposures, labels)
    assert found == ["1"]
    assert outcomes.scores.tolist() == [0.5]
    assert (counts["further exposures of units"], counts["repeated events"]) == (1, 1)
    assert counts["exposures by another arm than the unit's first"] == 1
    assert _counted(_spec(), exposures, labels, each=True)[0] == ["2", "1"]


@pytest.mark.parametrize(("timeout", "wanted"), [("drop", {"3": 1.0}), ("negative", {"1": 0.0, "2": 0.0, "3": 1.0})])
def test_after_the_window_a_label_is_late_and_none_is_what_the_spec_says(timeout: str, wanted: Any) -> None:
    exposures = [_exposure("1"), _exposure("2"), _exposure("3", event_time_ms=HOUR_MS)]
    labels = [_label("3", time_ms=HOUR_MS + 5), _label("2", time_ms=HOUR_MS + 6)]
    found, outcomes, counts, _ = _counted(_spec(timeout=timeout), exposures, labels)
    assert dict(zip(found, outcomes.label.tolist(), strict=True)) == wanted
    assert counts["late labels"] == 1


# -- the report -------------------------------------------------------------------------------------------


def _report(effect: float = 0.25, share: float = 0.5, task: str = "binary", n: int = 3_000, **asked: Any) -> Report:
    """Arm b's probability of what happens is higher by the effect; `share` of units really get it."""
    spec, rng = _spec(task), np.random.default_rng(1)
    collector, price = Collector(spec), []
    for i in range(n):
        arm, label = "ab"[int(rng.random() < share)], float(rng.random() < 0.5)
        right = float(np.clip(rng.uniform(0.3, 0.7) + effect * (arm == "b"), 0, 1))
        score = right if label else 1 - right
        scores = [1 - score, score, 0.0] if task == "classes" else []
        collector.exposure(_exposure(str(i), arm, score, scores=scores, served_ms=i))
        collector.label(_label(str(i), label, i))
        price.append(right - effect * (arm == "b"))
    exposed, records = collector.exposed()
    if "covariate" in asked:
        asked["covariate"] = ("price", np.array(price))
    if "dimensions" in asked:
        asked["dimensions"] = {"shop": [str(i % 3) for i in range(n)]}
    return analyse(spec, exposed, collector.outcomes(records), collector.counts, Question(**asked))


@pytest.mark.parametrize("task", ["binary", "classes", "regression"])
def test_an_arm_that_is_better_is_called_so_and_the_control_may_be_either(task: str) -> None:
    verdicts = {m.metric.name: [c.verdict for c in m.comparisons] for m in _report(task=task).metrics}
    wanted = "better" if task != "regression" else "worse"  # as numbers, the scores of b are nearer to 0 and 1
    assert all(len(v) == 1 for v in verdicts.values())
    if task != "regression":
        assert set(map(tuple, verdicts.values())) == {(wanted,)}
        turned = _report(task=task, control="b")
        assert {c.verdict for m in turned.metrics for c in m.comparisons} == {"worse"}
        assert turned.control == "b"


def test_equal_arms_show_no_difference_and_their_shares_are_kept() -> None:
    found = _report(effect=0.0, dimensions=True)
    assert {c.verdict for m in found.metrics for c in m.comparisons} == {"no difference shown"}
    assert [(x.dimension, x.levels, x.broken) for x in found.ratio] == [("all", 1, False), ("shop", 3, False)]
    assert found.training == "shared"
    assert found.exposures == found.outcomes


def test_shares_that_are_not_kept_are_called_broken() -> None:
    found = _report(effect=0.0, share=0.57)
    assert found.ratio[0].broken
    assert found.ratio[0].chi_squared_p < 1e-6


def test_a_covariate_narrows_the_interval() -> None:
    plain, helped = (r.metrics[1].comparisons[0].now for r in (_report(), _report(covariate=True)))
    assert helped.high - helped.low < 0.8 * (plain.high - plain.low)
    assert plain.low < helped.estimate < plain.high


def test_intervals_narrow_over_time_and_end_where_they_are_now() -> None:
    for line in (line for m in _report().metrics for line in (*m.arms, *m.comparisons)):
        assert line.points[-1] == line.now
        assert line.at[-1] == 3_000
        widths = [p.high - p.low for p in line.points]
        assert widths[-1] < widths[len(widths) // 4]


def test_of_one_metric_alone_the_report_says_what_the_whole_one_does() -> None:
    whole, one = _report(n=300), _report(n=300, metrics=("brier",))
    assert one.metrics == [m for m in whole.metrics if m.metric.name == "brier"]
    assert one.ratio == whole.ratio


def test_policies_of_one_arm_agree_with_its_mean() -> None:
    for metric in _report().metrics:
        for track in metric.arms:
            for value in metric.policies[track.arm]:
                assert value.low <= track.now.estimate <= value.high
            assert metric.policies[track.arm][1].estimate == pytest.approx(track.now.estimate)


def test_the_ratio_is_of_the_present_weights() -> None:
    spec, collector = _spec(weights=(1, 1)), Collector(_spec())
    for i in range(3_000):
        early = i < 1_000
        arm = ("a" if i % 10 else "b") if early else "ab"[i % 2]
        collector.exposure(_exposure(str(i), arm, propensity={"a": 0.9, "b": 0.1}[arm] if early else 0.5, served_ms=i))
    exposed, records = collector.exposed()
    found = analyse(spec, exposed, collector.outcomes(records), collector.counts, Question())
    assert found.ratio[0].exposures == 2_000
    assert not found.ratio[0].broken
    assert any("1,000 of 3,000 exposures lie before" in note for note in found.notes)


def test_nothing_served_is_a_report_too() -> None:
    collector = Collector(_spec())
    exposed, records = collector.exposed()
    found = analyse(_spec(), exposed, collector.outcomes(records), collector.counts, Question())
    assert found.outcomes == {"a": 0, "b": 0}
    json.dumps(jsonable(found.to_json()))
    show(found)


@pytest.mark.parametrize(
    ("asked", "message"),
    [({"alpha": 0.0}, "alpha: found 0.0"), ({"control": "c"}, "control: found 'c'; allowed: a, b")],
)
def test_a_question_that_can_t_be_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        _report(n=10, **asked)


def test_fields_that_are_of_no_use_are_refused() -> None:
    with pytest.raises(DataError, match="--covariate: found 'shop'; allowed: price"):
        check_fields(_spec(), "shop", [])
    with pytest.raises(DataError, match="--by: found 'price'; allowed: shop"):
        check_fields(_spec(), None, ["price"])


def test_the_page_and_the_table_say_what_the_report_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = _report(dimensions=True)
    write_page(found, tmp_path / "new" / "page.html")
    page = (tmp_path / "new" / "page.html").read_text()
    assert "every arm learns from all labels" in page
    for figure in ("log_loss_gaps", "brier_arms", "accuracy_gaps", "ratio"):
        assert f'<div class="plot" id="{figure}">' in page
        assert f'"{figure}":{{' in page
    assert 'class="good">better' in page
    show(found)
    told = capsys.readouterr().out
    assert "better" in told
    assert "shop" in told
    assert "training of arms: shared" in told
    given = json.loads(json.dumps(jsonable(found.to_json())))
    assert given["metrics"][0]["comparisons"][0]["verdict"] == "better"
    assert "points" not in given["metrics"][0]["arms"][0]


def test_a_page_that_can_t_be_written_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="can't be written"):
        write_page(_report(n=50), tmp_path / "file" / "page.html")
