"""How far the learners are from River, one event at a time: `python -m tests.equivalence [--rows 100000] [--json]`."""
