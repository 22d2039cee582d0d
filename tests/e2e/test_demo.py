"""The main job, as a person starts it, on a real broker."""

import subprocess
from pathlib import Path

import pytest

from tests.demo_run import DemoRun


@pytest.fixture
def run(demo_run: DemoRun) -> tuple[dict, Path, str]:
    """What it gave, its report, what it said."""
    return demo_run.result, demo_run.report, demo_run.said


pytestmark = [pytest.mark.broker, pytest.mark.slow]


def test_every_event_and_label_is_accounted_for(run: tuple[dict, Path, str]) -> None:
    result = run[0]
    assert all(a == b for a, b in result["sums"].values()), result["sums"]
    counts, bad = result["status"]["counts"], result["made_bad"]
    assert counts["events_in"] == result["published_events"]
    assert counts["labels_in"] == result["published_labels"]
    assert counts["duplicate_events"] == bad.get("event twice", 0)
    refused = {"avro.undecodable": "undecodable", "avro.trailing": "trailing", "value.not_finite": "nan",
               "value.too_large_number": "huge", "value.missing": "missing"}  # fmt: skip
    for code, kind in refused.items():
        assert counts["rejected"].get(code, 0) == bad.get(f"event {kind}", 0)


def test_all_arms_learned_every_matched_label_and_two_served_about_half_each(run: tuple[dict, Path, str]) -> None:
    result = run[0]
    assert result["steps"]["learn"]["rows"] == result["status"]["counts"]["matched"] > 4000
    assert set(result["prequential"]) == {"logistic", "tree", "reckless", "network"}
    assert result["prequential"]["logistic"]["auc"] > 0.6
    served = result["answers"]
    assert result["failed_answers"] == 0
    assert min(served["logistic"], served["tree"]) / sum(served.values()) > 0.25
    for arm in served:
        assert 0 < result["served"][arm]["outcomes"] <= result["served"][arm]["exposures"]


def test_the_experiment_was_ramped_and_the_bad_arm_drained(run: tuple[dict, Path, str]) -> None:
    experiment = run[0]["experiment"]
    assert sorted((c["action"], c["arm"], c["who"]) for c in experiment["changes"]) == [
        ("guardrail", "reckless", "guardrail"),  # before the ramp or after it
        ("ramp", "", "demo"),
    ]
    assert experiment["shares"]["reckless"] == 0
    assert experiment["compared"]["reckless"]["low"] > 0.02
    assert experiment["compared"]["tree"]["verdict"] != "worse"
    assert experiment["ratio_kept"]
    page = run[1].with_name("report-experiment.html").read_text()
    assert "reckless" in page
    assert f'href="{Path(experiment["page"]).name}"' in run[1].read_text()


def test_the_shadow_arm_scored_every_answer_and_was_never_served(run: tuple[dict, Path, str]) -> None:
    result = run[0]
    shadow, answers = result["experiment"]["shadows"]["network"], sum(result["answers"].values())
    assert "network" not in result["answers"]
    assert 0 < shadow["outcomes"] <= shadow["exposures"]
    assert 0.9 * answers <= shadow["exposures"] <= answers
    assert shadow["auc"] > 0.5


def test_freshness_covers_every_label_and_is_a_plausible_time(run: tuple[dict, Path, str]) -> None:
    fresh = run[0]["freshness"]
    assert fresh["labels"] == run[0]["published_labels"]
    assert 0 < fresh["p50_ms"] <= fresh["p99_ms"]


def test_the_report_is_one_file_that_loads_nothing_from_elsewhere(run: tuple[dict, Path, str]) -> None:
    page = run[1].read_text()
    assert "Will a flight from New York be late?" in page
    assert 'src="http' not in page
    assert "<link" not in page.lower()
    for plot in ("pre_auc", "pre_log_loss", "pre_accuracy", "freshness"):
        assert f'id="{plot}"' in page


def test_nothing_that_the_demo_started_is_left(run: tuple[dict, Path, str]) -> None:
    name = run[0]["pipeline"]
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in found.splitlines() if f"{name}/flights.yaml" in line]
