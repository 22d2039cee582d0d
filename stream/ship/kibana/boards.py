"""The dashboards: which panels, where. Their ids are what links and docs name."""

from stream.ship.kibana import panels as p
from stream.ship.kibana.model import Board, Documents, Panel, Placed

OVERVIEW = "headwater-overview"
WIDTH = 48  # of Kibana's grid


def _row(height: int, *what: Panel | Documents) -> tuple[Placed, ...]:
    """Panels side by side, equally wide."""
    return tuple(Placed(each, WIDTH // len(what), height) for each in what)


BOARDS = (
    Board(
        OVERVIEW,
        "Headwater: overview",
        "Overview",
        "Is it running, is it keeping up, is it fresh?",
        (
            _row(6, p.ANSWERS, p.LAG_NOW, p.STALENESS_NOW, p.REFUSED),
            _row(12, p.THROUGHPUT, p.LAG),
            _row(12, p.FRESHNESS, p.ANSWER_STALENESS),
            _row(12, p.ANSWER_RATE, p.LATENCY, p.BUSY),
        ),
    ),
    Board(
        "headwater-quality",
        "Headwater: model quality",
        "Model quality",
        "How good is each arm, and is it getting worse?",
        (
            _row(14, p.LOG_LOSS, p.AUC),
            _row(14, p.ACCURACY, p.BRIER),
            _row(12, p.SERVED_LOSS, p.SHADOW_LOSS, p.DRIFT),
            _row(12, p.LEARNED, p.RMSE, p.MAE),
        ),
        since="now-24h",
    ),
    Board(
        "headwater-experiment",
        "Headwater: experiment",
        "Experiment",
        "Who gets which arm, and can the comparison be trusted?",
        (
            _row(14, p.SHARES, p.DIFFERENCE, p.SAMPLE_RATIO),
            _row(12, p.OUTCOMES, p.ASSIGNED),
            _row(12, p.CHANGES),
        ),
        since="now-24h",
    ),
    Board(
        "headwater-data-quality",
        "Headwater: data quality",
        "Data quality",
        "What comes in, and what of it can be used?",
        (_row(14, p.ERROR_RATE, p.REASONS), _row(14, p.WAITING, p.LOST)),
        since="now-24h",
    ),
    Board(
        "headwater-dead",
        "Headwater: dead letters",
        "Dead letters",
        "What was refused, by whom and why?",
        (_row(12, p.DEAD_CODES, p.DEAD_SIZES), _row(12, p.DEAD_PLACES), _row(20, p.LETTERS)),
        since="now-24h",
    ),
    Board(
        "headwater-errors",
        "Headwater: errors",
        "Errors",
        "What do the processes complain of?",
        (_row(12, p.LEVELS, p.SPEAKERS), _row(20, p.TROUBLE)),
        since="now-24h",
    ),
)
