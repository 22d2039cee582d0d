"""What is to be seen, panel by panel. Each reads the documents of one topic.

Counters (`events_in`, `busy_s`) are drawn as growth a second, quality as the mean over the windows that ended in a
bucket of time.
"""

from stream.ship.kibana.model import Documents, Number, Panel, Terms, Unit
from stream.ship.kibana.thresholds import THRESHOLDS

ARM, STEP = Terms("headwater.arm", "arm", 20), Terms("headwater.arm", "step", 20)
_VALUES = "headwater.values."


def kind(*names: str) -> str:
    """KQL: metric records of these kinds."""
    return " or ".join(f'headwater.metric.kind: "{name}"' for name in names)


def _grows(name: str, label: str) -> Number:
    return Number("max", label, f"{_VALUES}{name}", a_second=True)


def _mean(name: str, label: str = "", unit: Unit = "number") -> Number:
    return Number("average", label or name.replace("_", " "), f"{_VALUES}{name}", unit)


def _most(name: str, label: str = "", unit: Unit = "whole", newest: str = "") -> Number:
    return Number("max", label or name.replace("_", " "), f"{_VALUES}{name}", unit, newest=newest)


# -- overview --------------------------------------------------------------------------------------------

ANSWERS = Panel(
    "headwater-answers", "Answers", "Predictions that were served.", "predictions", "metric",
    (Number("count", "answers", unit="whole"),),
)  # fmt: skip
LAG_NOW = Panel(
    "headwater-lag-now", "Largest lag, last minute", "Records that the slowest step has still to read.", "metrics",
    "metric", (_most("lag", newest="1m"),), where=kind("lag"),
)  # fmt: skip
STALENESS_NOW = Panel(
    "headwater-staleness-now", "Staleness, last minute",
    "How old the newest snapshot's knowledge of labels was at worst.", "metrics", "metric",
    (_most("staleness_ms", "staleness", "ms", "1m"),), where=kind("freshness"),
)  # fmt: skip
REFUSED = Panel(
    "headwater-refused", "Refused records", "Records that went to the dead topic.", "dead", "metric",
    (Number("count", "refused", unit="whole"),),
)  # fmt: skip
THROUGHPUT = Panel(
    "headwater-throughput", "Events a second", "What came, what passed the rules, what met its label.", "metrics",
    "line", (_grows("events_in", "events"), _grows("cleaned", "cleaned"), _grows("matched", "matched with a label"),
             _grows("labels_in", "labels")), where=kind("counts"),
)  # fmt: skip
BUSY = Panel(
    "headwater-busy", "How busy each step is", "Seconds of work a second; at 1 a step can do no more.", "metrics",
    "line", (_grows("busy_s", "busy"),), (STEP,), where=kind("step"), limit=("all it can do", 1.0),
)  # fmt: skip
LAG = Panel(
    "headwater-lag", "Lag by step", "Records on Kafka that a step has still to read.", "metrics", "line",
    (_most("lag"),), (STEP,), where=kind("lag"), limit=("alert", THRESHOLDS.lag_records),
)  # fmt: skip
FRESHNESS = Panel(
    "headwater-freshness", "Staleness of the newest snapshot",
    "Now less the moment up to which the newest snapshot knows all labels.", "metrics", "line",
    (_most("staleness_ms", "staleness", "ms"),), where=kind("freshness"),
    limit=("alert", THRESHOLDS.staleness_ms),
)  # fmt: skip
ANSWER_STALENESS = Panel(
    "headwater-answer-staleness", "Staleness of answers", "As each caller was told it, with the answer.",
    "predictions", "line",
    tuple(Number("percentile", f"p{p}", "headwater.staleness_ms", "ms", p) for p in (50, 99)),
)  # fmt: skip
ANSWER_RATE = Panel(
    "headwater-answer-rate", "Answers a second by arm", "Which arm answers how many calls.", "predictions",
    "area_stacked", (Number("count", "answers", a_second=True),), (ARM,),
)  # fmt: skip
LATENCY = Panel(
    "headwater-latency", "Time to answer", "Inside the server, from request to answer.", "predictions", "line",
    tuple(Number("percentile", f"p{p}", "headwater.latency_ms", "number", p) for p in (50, 99)),
)  # fmt: skip

# -- quality ---------------------------------------------------------------------------------------------


def _quality(name: str, title: str, why: str) -> Panel:
    return Panel(
        f"headwater-quality-{name.replace('_', '-')}", title, why, "metrics", "line", (_mean(name),), (ARM,),
        where=kind("prequential"),
    )  # fmt: skip


LOG_LOSS = _quality("log_loss", "Log loss", "Each row was scored before it was learned; less is better.")
AUC = _quality("auc", "ROC AUC", "Whether late ones get larger scores than others; 0.5 is by chance.")
ACCURACY = _quality("accuracy", "Accuracy", "Share of rows whose likelier class was right.")
BRIER = _quality("brier", "Brier score", "Mean squared error of the probability; less is better.")
RMSE = _quality("rmse", "RMSE", "For regressions: root of the mean squared error; less is better.")
MAE = _quality("mae", "MAE", "For regressions: mean absolute error; less is better.")
SERVED_LOSS = Panel(
    "headwater-served-brier", "Brier score of answers", "Only what callers were given, once its outcome was known.",
    "metrics", "line", (_mean("brier"),), (ARM,), where=kind("served"),
)  # fmt: skip
SHADOW_LOSS = Panel(
    "headwater-shadow-brier", "Brier score of shadow arms", "What they would have answered to the same calls.",
    "metrics", "line", (_mean("brier"),), (ARM,), where=kind("shadow"),
)  # fmt: skip
DRIFT = Panel(
    "headwater-drift", "Drifts detected", "How often ADWIN has seen an arm's loss rise, since the beginning.",
    "metrics", "line", (_most("drift_adwin", "drifts"),), (ARM,), where=kind("prequential"),
)  # fmt: skip
LEARNED = Panel(
    "headwater-learned", "By arm, in the time shown", "Mean over windows; rows since the beginning.", "metrics",
    "table", (Number("max", "rows", "headwater.metric.rows", "whole"), _mean("log_loss"), _mean("auc"),
              _mean("accuracy")), (ARM,), where=kind("prequential"),
)  # fmt: skip

# -- experiment ------------------------------------------------------------------------------------------

SHARES = Panel(
    "headwater-shares", "Share of answers by arm", "As they were given, moment by moment.", "predictions",
    "bar_percentage_stacked", (Number("count", "answers"),), (ARM,),
)  # fmt: skip
OUTCOMES = Panel(
    "headwater-outcomes", "Answers and outcomes by arm",
    "Since evaluate began: answers served, those whose outcome is known, and how good they were.", "metrics", "table",
    (_most("exposures", "answers"), _most("outcomes"), _mean("brier"), _mean("log_loss")), (ARM,),
    where=kind("served_total"),
)  # fmt: skip
SAMPLE_RATIO = Panel(
    "headwater-sample-ratio", "Sample ratio: p-value",
    "Under the present shares; below the line something is broken and no figure of the experiment is to be trusted.",
    "metrics", "line", (Number("min", "p-value", f"{_VALUES}p_value"),), where=kind("sample_ratio"),
    limit=("alert", THRESHOLDS.sample_ratio_p),
)  # fmt: skip
ASSIGNED = Panel(
    "headwater-assigned", "How units came to their arm", "By the experiment, an override, as hold-outs, by name.",
    "predictions", "table", (Number("count", "answers", unit="whole"),
                             Number("unique_count", "units", "headwater.unit", "whole")),
    (Terms("headwater.experiment.assigned", "assigned"), ARM),
)  # fmt: skip
DIFFERENCE = Panel(
    "headwater-difference", "Difference to the control",
    "Of the first guardrail's metric, with its interval; where that is wholly beyond the margin, the arm is drained.",
    "metrics", "line", (_mean("difference"), _mean("low", "at least"), _mean("high", "at most"), _mean("margin")),
    (ARM,), where=f'{kind("guardrail")} and headwater.metric.window: "0"',
)  # fmt: skip
CHANGES = Documents(
    "headwater-changes", "Changes of the experiment", "Who changed which share, when and why.", "experiment",
    ("event.action", "headwater.arm", "user.name", "event.reason", "headwater.experiment.seq"),
)  # fmt: skip

# -- data quality ----------------------------------------------------------------------------------------

ERROR_RATE = Panel(
    "headwater-error-rate", "Refused share of events", "Of the events read since the last look, 5 s before.",
    "metrics", "line", (_mean("error_rate", "refused", "percent"),), where=kind("counts"),
    limit=("alert", THRESHOLDS.error_rate),
)  # fmt: skip
REASONS = Panel(
    "headwater-reasons", "Refused by reason", "Over time; the codes are explained in docs/operations.md.", "dead",
    "bar_stacked", (Number("count", "refused", unit="whole"),), (Terms("error.code", "reason"),),
)  # fmt: skip
WAITING = Panel(
    "headwater-waiting", "Waiting for each other", "Events without their label yet, and labels without their event.",
    "metrics", "line", (_most("pending", "events"), _most("waiting_labels", "labels")), where=kind("counts"),
)  # fmt: skip
LOST = Panel(
    "headwater-unmatched", "What was never learned",
    "Since the beginning: events without a label in time, labels late or without an event, and repeats.", "metrics",
    "line", (_most("timed_out", "timed out"), _most("late", "late labels"), _most("orphaned", "orphaned labels"),
             _most("duplicate_events"), _most("duplicate_labels")), where=kind("counts"),
)  # fmt: skip

# -- dead letters ----------------------------------------------------------------------------------------

DEAD_CODES = Panel(
    "headwater-dead-codes", "By reason", "The most frequent first.", "dead", "bar_horizontal",
    (Number("count", "refused", unit="whole"),), (Terms("error.code", "reason", 20),),
)  # fmt: skip
DEAD_PLACES = Panel(
    "headwater-dead-places", "By step and topic", "Who refused what, and how large it was.", "dead", "table",
    (Number("count", "refused", unit="whole"), Number("max", "largest", "headwater.refused.bytes", "bytes")),
    (Terms("headwater.step", "step"), Terms("headwater.refused.topic", "topic"), Terms("error.code", "reason")),
)  # fmt: skip
DEAD_SIZES = Panel(
    "headwater-dead-bytes", "Bytes refused", "Over time, by step.", "dead", "bar_stacked",
    (Number("sum", "bytes", "headwater.refused.bytes", "bytes"),), (Terms("headwater.step", "step"),),
)  # fmt: skip
LETTERS = Documents(
    "headwater-letters", "Dead letters", "Newest first; `headwater replay dead` sends them again.", "dead",
    ("error.code", "headwater.step", "error.message", "headwater.refused.topic", "headwater.refused.partition",
     "headwater.refused.offset"),
)  # fmt: skip

# -- errors ----------------------------------------------------------------------------------------------

LEVELS = Panel(
    "headwater-levels", "Log lines by level", "Over time, of all processes.", "logs", "bar_stacked",
    (Number("count", "lines", unit="whole"),), (Terms("log.level", "level"),),
)  # fmt: skip
SPEAKERS = Panel(
    "headwater-speakers", "Lines by process", "Warnings and errors apart.", "logs", "table",
    (Number("count", "lines", unit="whole"),
     Number("count", "warnings and errors", unit="whole", where='not log.level: "info" and not log.level: "debug"')),
    (Terms("headwater.step", "process"),),
)  # fmt: skip
TROUBLE = Documents(
    "headwater-trouble", "Warnings and errors", "Newest first, of all processes.", "logs",
    ("log.level", "headwater.pipeline", "headwater.step", "message"),
    'not log.level: "info" and not log.level: "debug"',
)  # fmt: skip
