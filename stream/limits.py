"""Every bound in one place; each is named with its unit and says what happens when it is met."""

EVENT_BYTES_MAX = 1 << 20  # a larger raw event goes to `dead`
MAGNITUDE_MAX = 1e15  # a larger absolute number goes to `dead`, unless the field's max says otherwise
TIME_AHEAD_MS_MAX = 24 * 3600 * 1000  # event or label time may be this far ahead of Kafka's time stamp
STRING_CHARS_MAX = 1024  # a longer category goes to `dead`
TOKENS_MAX = 256  # further tokens of one text are left out, and said in `changed`
BLOCK_ROWS_MAX = 4096  # rows in one block
BLOCK_BYTES_MAX = 2 << 20  # about this much in one block; a larger one is split
LABELS_AHEAD_MAX = 50_000  # labels read ahead of their features; past that the labels topic is paused
PENDING_ROWS_MAX = 2_000_000  # features waiting for labels; past that the join stops with LimitReached
DETAIL_CHARS_MAX = 500  # of a given value are repeated in a message
EXPOSURES_MAX = 10_000  # exposures waiting to be sent; further ones are dropped and counted
CATEGORIES_MAX = 4_000_000  # entries in a linear model's table; past that one is evicted or refused, and counted
COMMIT_METADATA_BYTES_MAX = 4096  # Kafka's own bound on an offset's metadata
SNAPSHOTS_KEPT = 3
