"""Dashboards and alert rules in a Kibana: compare them, put what differs, take them away.

Compared is what is there, not a version that was noted: what a person changed by hand shows. What only Kibana knows of
(defaults that it adds, who is told by a rule) is left alone.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from consumers._kibana import Kibana
from stream.errors import ElasticError
from stream.ship.kibana.objects import ndjson, objects
from stream.ship.kibana.rules import Rule, rules

IMPORT = "/api/saved_objects/_import?overwrite=true"
EXPORT = "/api/saved_objects/_export"
DELETE = "/api/saved_objects/_bulk_delete"
_ONCE = ("rule_type_id", "consumer")  # of a rule's body: only where it is made
_TOLD = ("group", "id", "params", "frequency", "uuid", "alerts_filter", "use_alert_data_for_template")  # of an action


@dataclass(frozen=True, slots=True)
class State:
    """One object or rule: as wanted, absent, or different; differences: a line each, with path, found and wanted."""

    kind: str
    name: str
    state: Literal["as wanted", "absent", "different"]
    differences: tuple[str, ...] = ()


def states(kibana: Kibana) -> list[State]:
    """How each stands. Raises ElasticError."""
    kibana.check()
    there = {(o["type"], o["id"]): o for o in _export(kibana)}
    found = [_object_state(o, there.get((o["type"], o["id"]))) for o in objects()]
    return found + [_rule_state(rule, _get_rule(kibana, rule)) for rule in rules()]


def put(kibana: Kibana) -> list[State]:
    """Import the objects if one is absent or different, make or change rules; how each stood before."""
    before = states(kibana)
    stood = {(s.kind, s.name): s.state for s in before}
    if any(s.state != "as wanted" for s in before if s.kind != "rule"):
        _import(kibana)
    for rule in rules():
        if stood["rule", rule.key] == "absent":
            kibana.ask("POST", f"/api/alerting/rule/{rule.id}", {**rule.body, "actions": []})
        elif stood["rule", rule.key] == "different":
            _change(kibana, rule)
    return before


def take_away(kibana: Kibana) -> list[State]:
    """Delete the rules and the objects; returns what was there."""
    there = [s for s in states(kibana) if s.state != "absent"]
    named = {(s.kind, s.name) for s in there}
    for rule in rules():
        if ("rule", rule.key) in named:
            kibana.ask("DELETE", f"/api/alerting/rule/{rule.id}", allowed=(404,))
    gone = [{"type": o["type"], "id": o["id"]} for o in reversed(objects()) if (o["type"], o["id"]) in named]
    if gone:
        answer = kibana.ask("POST", DELETE, gone)
        failed = [f"{s['type']} {s['id']}: {s.get('error', {}).get('message', '?')}"
                  for s in answer.body.get("statuses", []) if not s.get("success")]  # fmt: skip
        if failed:
            raise ElasticError(f"Kibana at {kibana.url} did not delete {'; '.join(failed)}")
    return there


# -- saved objects ---------------------------------------------------------------------------------------


def _export(kibana: Kibana) -> list[dict[str, Any]]:
    """Those of ours that are there. Kibana refuses a whole export for one that is not, and says which."""
    asked = [{"type": o["type"], "id": o["id"]} for o in objects()]
    for _ in range(2):
        if not asked:
            return []
        body = {"objects": asked, "includeReferencesDeep": False, "excludeExportDetails": True}
        answer = kibana.ask("POST", EXPORT, body, allowed=(400,))
        if answer.status != 400:
            lines = answer.body if isinstance(answer.body, list) else [answer.body]
            return [line for line in lines if isinstance(line, dict) and "type" in line and "id" in line]
        missing = {(o["type"], o["id"]) for o in (answer.body or {}).get("attributes", {}).get("objects", [])}
        if not missing:
            raise kibana.wrong(answer, "POST", EXPORT)
        asked = [o for o in asked if (o["type"], o["id"]) not in missing]
    raise ElasticError(f"Kibana at {kibana.url}: objects vanish while they are read; try again")


def _import(kibana: Kibana) -> None:
    answer = kibana.upload(IMPORT, "headwater.ndjson", ndjson())
    found = answer.body if isinstance(answer.body, dict) else {}
    errors = [f"{e['type']} {e['id']}: {e.get('error', {}).get('type', '?')}" for e in found.get("errors", [])]
    if errors or not found.get("success"):
        raise ElasticError(f"Kibana at {kibana.url} did not import {'; '.join(errors) or 'the objects'}")
    moved = [f"{r['type']} {r['id']}" for r in found.get("successResults", [])
             if r.get("destinationId", r["id"]) != r["id"]]  # fmt: skip
    if moved:
        raise ElasticError(
            f"Kibana at {kibana.url} gave other ids to {len(moved)} objects, {moved[0]} first: another space has ours. "
            "Delete the copies in this space; one space of a Kibana can have them"
        )


def _object_state(wanted: dict[str, Any], found: dict[str, Any] | None) -> State:
    kind, name = wanted["type"], wanted["id"]
    if found is None:
        return State(kind, name, "absent")
    lines = list(_differences(wanted["attributes"], found.get("attributes", {}), "attributes"))
    refers, there = ({(r["type"], r["id"]) for r in o.get("references", [])} for o in (wanted, found))
    lines += [f"references: found no {kind} {name}; it is wanted" for kind, name in sorted(refers - there)]
    lines += [f"references: found {kind} {name}; it is not wanted" for kind, name in sorted(there - refers)]
    return State(kind, name, "different" if lines else "as wanted", tuple(lines))


def _differences(wanted: Any, found: Any, path: str) -> Iterator[str]:
    """A line for each part of `wanted` that is not so; JSON in texts is looked into; what is only there is let be."""
    wanted, found = _opened(wanted), _opened(found)
    if isinstance(wanted, dict) and wanted:
        there = found if isinstance(found, dict) else {}
        for name, value in wanted.items():
            yield from _differences(value, there.get(name), f"{path}.{name}")
    elif isinstance(wanted, list) and wanted and isinstance(found, list) and len(wanted) == len(found):
        for i, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from _differences(one, other, f"{path}.{i}")
    elif wanted != found and (wanted or found):  # Kibana leaves out what is empty
        yield f"{path}: found {_short(found)}; wanted {_short(wanted)}"


def _opened(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _short(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)[:200]


# -- rules -----------------------------------------------------------------------------------------------


def _get_rule(kibana: Kibana, rule: Rule) -> dict[str, Any] | None:
    answer = kibana.ask("GET", f"/api/alerting/rule/{rule.id}", allowed=(404,))
    return None if answer.status == 404 else dict(answer.body)


def _rule_state(rule: Rule, found: dict[str, Any] | None) -> State:
    if found is None:
        return State("rule", rule.key, "absent")
    wanted = {name: value for name, value in rule.body.items() if name != "artifacts" or name in found}
    lines = tuple(_differences(wanted, found, "rule"))
    return State("rule", rule.key, "different" if lines else "as wanted", lines)


def _change(kibana: Kibana, rule: Rule) -> None:
    """Everything but whom it tells, which is a person's choice."""
    found = _get_rule(kibana, rule) or {}
    body = {name: value for name, value in rule.body.items() if name not in _ONCE}
    actions = [{n: v for n, v in action.items() if n in _TOLD} for action in found.get("actions", [])]
    kibana.ask("PUT", f"/api/alerting/rule/{rule.id}", {**body, "actions": actions})
