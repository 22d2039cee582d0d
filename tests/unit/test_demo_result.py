"""How the demo measures freshness."""

from consumers.demo.result import freshness


def test_freshness_is_the_time_from_a_label_to_the_first_answer_that_had_learned_it() -> None:
    found = freshness({0: 100, 1: 110, 2: 500}, [(120, -1), (150, 0), (210, 1), (220, 0), (900, 2)])
    assert found is not None
    assert found.labels == 3
    assert found.all_ms == [50.0, 100.0, 400.0]


def test_a_label_that_no_answer_had_seen_is_not_counted() -> None:
    found = freshness({0: 100, 7: 100}, [(130, 3)])
    assert found is not None
    assert (found.labels, found.p50_ms) == (1, 30.0)
    assert freshness({5: 1}, [(2, 4)]) is None
    assert freshness({}, []) is None
