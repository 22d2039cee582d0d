"""The demo's data: nothing in an event may tell what only departure or arrival tells."""

import json
from pathlib import Path

import pytest

from consumers.demo.flights import UNKNOWN_BEFORE_DEPARTURE, Flight, read_flights, timeline
from stream.spec_load import load_spec

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def flights() -> list[Flight]:
    return read_flights(3000)


def test_no_field_of_an_event_is_known_only_after_departure(flights: list[Flight]) -> None:
    schema = json.loads((EXAMPLES / "flights" / "flight.avsc").read_text())
    names = {field["name"] for field in schema["fields"]}
    assert names == set(flights[0].event)
    assert not names & UNKNOWN_BEFORE_DEPARTURE
    assert not set(load_spec(EXAMPLES / "flights.yaml").event.fields) & UNKNOWN_BEFORE_DEPARTURE


def test_no_value_of_an_event_changes_with_what_happened_after_departure() -> None:
    """Two flights that differ only in departure, arrival and delay give the same event."""
    from consumers.demo.flights import _flight

    scheduled = {
        "year": 2013, "month": 1, "day": 1, "carrier": "UA", "flight": 1, "tailnum": "N1", "origin": "EWR",
        "dest": "IAH",
        "distance": 1400, "sched_dep_time": 515, "sched_arr_time": 819, "scheduled": 1_357_035_300_000,
    }  # fmt: skip
    early = {"dep_time": 510, "dep_delay": -5, "arr_time": 800, "arr_delay": -19, "air_time": 210}
    late = {"dep_time": 615, "dep_delay": 60, "arr_time": 930, "arr_delay": 71, "air_time": 240}
    one, other = _flight({**scheduled, **early}), _flight({**scheduled, **late})
    assert one.event == other.event
    assert (one.late, other.late) == (False, True)
    assert one.arrived_ms < other.arrived_ms


def test_a_flight_that_never_arrived_has_no_label(flights: list[Flight]) -> None:
    cancelled = [f for f in flights if f.late is None]
    assert cancelled
    labelled = {id(f) for _, kind, f in timeline(flights) if kind == "label"}
    assert not any(id(f) in labelled for f in cancelled)


def test_ids_are_unique_and_the_timeline_is_in_order_with_each_label_after_its_event(flights: list[Flight]) -> None:
    assert len({f.event["flight_id"] for f in flights}) == len(flights)
    seen: set[str] = set()
    last = 0
    for time_ms, kind, flight in timeline(flights):
        assert time_ms >= last
        last = time_ms
        if kind == "event":
            seen.add(flight.event["flight_id"])
        else:
            assert flight.event["flight_id"] in seen
