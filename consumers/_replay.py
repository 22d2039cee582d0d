"""Sending what is in `dead` again, once its cause is mended. Each record goes back to where it came from.

What was sent again is remembered by the group `<pipeline>.replay`, in one transaction with the records, so that a
second replay sends nothing twice.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import schemas
from consumers import _checkpoint
from consumers._kafka import (
    OffsetAndMetadata,
    Out,
    broker_errors,
    make_consumer,
    make_producer,
    partitions_of,
)
from consumers._watchdog import Watchdog
from consumers.settings import Settings
from stream.spec import Spec

BATCH = 500


def replay_dead(
    spec: Spec, settings: Settings, codes: frozenset[str], dry_run: bool, progress: Callable[[int], Any]
) -> dict[str, int]:
    """Send dead events and labels again, those with these codes (none given: all). Returns code → how many.

    Blocks that the learner refused carry no bytes and stay. A record passed over for its code is not looked at
    again by later replays.
    """
    group, counts = f"{spec.name}.replay", Counter[str]()
    back = {spec.topic("events"), spec.topic("labels")}
    with broker_errors(settings):
        consumer = make_consumer(settings, group)
        [tp] = partitions_of(consumer, [spec.topic("dead")], settings)
        consumer.assign([tp])
        at = consumer.committed(tp) or consumer.beginning_offsets([tp])[tp]
        end = consumer.end_offsets([tp])[tp]
        consumer.seek(tp, at)
        producer = None if dry_run else make_producer(settings, group)
        if producer is not None:
            producer.init_transactions()
        watchdog = Watchdog()
        while consumer.position(tp) < end:
            records = consumer.poll(timeout_ms=500, max_records=BATCH).get(tp, [])
            outs = _outs(records, back, codes, counts)
            progress(len(records))
            if producer is not None and records:
                marks = {tp: OffsetAndMetadata(records[-1].offset + 1, "", -1)}
                _checkpoint.commit(producer, consumer, outs, marks, watchdog, settings)
        consumer.close(autocommit=False)
        if producer is not None:
            producer.close(timeout=5)
    return dict(counts)


def _outs(records: list[Any], back: set[str], codes: frozenset[str], counts: Counter[str]) -> list[Out]:
    outs = []
    for r in records:
        dead = schemas.codec("dead").decode(r.value)
        # What the shipper buried was processed all the same: only its document is missing.
        if dead["topic"] in back and dead["step"] != "ship" and (not codes or dead["code"] in codes):
            counts[dead["code"]] += 1
            outs.append(Out(dead["topic"], dead["value"], dead["key"]))
    return outs
