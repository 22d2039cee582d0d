"""`python -m infra.kibana.generate`: the dashboards and rules as files, for whoever imports them by hand.

`headwater.ndjson` is for Stack Management → Saved Objects → Import; `rules.json` holds the bodies of
`POST /api/alerting/rule/{id}`. They are committed, so that a change shows in a review; a test holds that they are
what this gives.
"""

import json
import sys
from pathlib import Path

from stream.ship.kibana.objects import ndjson
from stream.ship.kibana.rules import rules

_FOLDER = Path(__file__).parent


def generate() -> dict[str, str]:
    """Name → content."""
    told = {rule.id: rule.body for rule in rules()}
    return {"headwater.ndjson": ndjson(), "rules.json": json.dumps(told, indent=1) + "\n"}


def main() -> int:
    """Write the files."""
    for name, text in generate().items():
        (_FOLDER / name).write_text(text)
        print(_FOLDER / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
