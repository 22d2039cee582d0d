"""An experiment's exposures and labels, read from Kafka up to now, and their analysis.

Nothing is kept and no group is joined: each report reads both topics from the start, so it can be made at any time, by
anyone who may read them.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from consumers._control import state_of
from consumers._read import decoder_for, read_topic
from consumers.clean import find_writer
from consumers.settings import Settings
from stream.errors import DataError
from stream.experiment.collect import Collector
from stream.experiment.report import Question, Report, analyse
from stream.join.labels import Label, LabelReader
from stream.spec import Spec

Told = Callable[[int, int | None], None]


def report_of(
    spec: Spec,
    settings: Settings,
    control: str | None,
    alpha: float,
    covariate: str | None,
    by: Sequence[str],
    each_event: bool,
    told: Told,
) -> Report:
    """Read and analyse. Raises DataError for an option that can't be, TopicMissing and BrokerError."""
    check_fields(spec, covariate, by)
    collector = collect(spec, settings, each_event, told)
    exposed, records = collector.exposed()
    outcomes = collector.outcomes(records)
    fields = [*by, *([covariate] if covariate else [])]
    events = _events(spec, settings, fields, set(exposed.ids)) if fields else {}
    if fields:
        collector.counts["exposures whose event was not found"] = sum(i not in events for i in exposed.ids)
    columns = {name: [events.get(i, {}).get(name) for i in exposed.ids] for name in fields}
    asked = Question(
        control=control,
        alpha=alpha,
        covariate=(covariate, _numbers(columns[covariate])) if covariate else None,
        dimensions={name: ["missing" if v is None else str(v) for v in columns[name]] for name in by},
        each_event=each_event,
        state=state_of(spec, settings),
    )
    return analyse(spec, exposed, outcomes, collector.counts, asked)


def check_fields(spec: Spec, covariate: str | None, by: Sequence[str]) -> None:
    """Raises DataError for fields that the events lack, or that are of no use."""
    numeric = [n for n, f in spec.event.fields.items() if f.type in ("numeric", "boolean")]
    if covariate is not None and covariate not in numeric:
        raise DataError(f"--covariate: found {covariate!r}; allowed: {', '.join(numeric)}")
    named = [n for n, f in spec.event.fields.items() if f.type in ("category", "boolean")]
    for name in by:
        if name not in named:
            raise DataError(f"--by: found {name!r}; allowed: {', '.join(named)}")


def collect(spec: Spec, settings: Settings, each_event: bool, told: Told) -> Collector:
    """All exposures and labels up to now."""
    collector, decode, reader = Collector(spec, each_event), decoder_for(spec, "predictions"), LabelReader(spec)
    for number, r in enumerate(read_topic(spec, settings, "predictions")):
        told(number, None)
        try:
            collector.exposure(decode(r.value or b""), (r.partition, r.offset))
        except ValueError:
            collector.counts["undecodable exposures"] += 1
    for number, r in enumerate(read_topic(spec, settings, "labels")):
        told(number, None)
        label = reader.read_bytes(r.value or b"", r.offset, r.timestamp)
        if isinstance(label, Label):
            collector.label(label)
        else:
            collector.counts["labels refused"] += 1
    return collector


def _events(spec: Spec, settings: Settings, fields: Sequence[str], wanted: set[str]) -> dict[str, dict[str, Any]]:
    """Fields of the events with these ids, as they came; the first of an id."""
    decode, found = decoder_for(spec, "events", find_writer(spec, settings)), dict[str, dict[str, Any]]()
    for r in read_topic(spec, settings, "events"):
        event = decode(r.value or b"")
        event_id = str(event.get(spec.event.id))
        if event_id in wanted and event_id not in found:
            found[event_id] = {name: event.get(name) for name in fields}
    return found


def _numbers(values: Sequence[Any]) -> Any:
    """float64[n], NaN where there is no finite number."""
    numbers = [float(v) if isinstance(v, int | float) and math.isfinite(v) else math.nan for v in values]
    return np.array(numbers, np.float64)
