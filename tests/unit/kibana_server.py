"""A local server that answers as Kibana's documentation says of the few requests that `headwater elk` makes.

It keeps what it is given, records each request, and refuses what the documented schemas do not allow. It is not Kibana:
whether Kibana can draw an object, only Kibana knows.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import jsonschema

_TEXT, _TEXTS = {"type": "string"}, {"type": "array", "items": {"type": "string"}}
_ES_QUERY = {  # params of the rule type .es-query with searchType esQuery
    "type": "object",
    "additionalProperties": False,
    "required": ["searchType", "index", "timeField", "esQuery", "size", "thresholdComparator", "threshold",
                 "timeWindowSize", "timeWindowUnit"],
    "properties": {
        "searchType": {"const": "esQuery"}, "index": {**_TEXTS, "minItems": 1}, "timeField": _TEXT, "esQuery": _TEXT,
        "size": {"type": "integer", "minimum": 0, "maximum": 10_000},
        "aggType": {"enum": ["count", "avg", "min", "max", "sum"]}, "aggField": _TEXT,
        "groupBy": {"enum": ["all", "top"]}, "termField": {"anyOf": [_TEXT, {**_TEXTS, "minItems": 2, "maxItems": 4}]},
        "termSize": {"type": "integer", "minimum": 1}, "excludeHitsFromPreviousRun": {"type": "boolean"},
        "thresholdComparator": {"enum": [">", ">=", "<", "<=", "between", "notBetween"]},
        "threshold": {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 2},
        "timeWindowSize": {"type": "integer", "minimum": 1}, "timeWindowUnit": {"enum": ["s", "m", "h", "d"]},
        "sourceFields": {"type": "array"},
    },
}  # fmt: skip
_ACTION = {
    "type": "object",
    "additionalProperties": False,
    "required": ["id"],
    "properties": {"id": _TEXT, "group": _TEXT, "params": {"type": "object"}, "frequency": {"type": "object"},
                   "uuid": _TEXT, "alerts_filter": {"type": "object"}, "use_alert_data_for_template": {}},
}  # fmt: skip
_ARTIFACTS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "dashboards": {"type": "array", "maxItems": 10, "items": {
            "type": "object", "additionalProperties": False, "required": ["id"], "properties": {"id": _TEXT}}},
        "investigation_guide": {"type": "object", "additionalProperties": False, "required": ["blob"],
                                "properties": {"blob": {"type": "string", "maxLength": 10_000}}},
    },
}  # fmt: skip
_CHANGED = {
    "name": _TEXT, "tags": _TEXTS, "params": _ES_QUERY, "actions": {"type": "array", "items": _ACTION},
    "schedule": {"type": "object", "additionalProperties": False, "required": ["interval"],
                 "properties": {"interval": {"type": "string", "pattern": "^[1-9][0-9]*[smhd]$"}}},
    "artifacts": _ARTIFACTS, "throttle": {}, "notify_when": {}, "alert_delay": {}, "flapping": {},
}  # fmt: skip
UPDATE_RULE = {"type": "object", "additionalProperties": False, "required": ["name", "schedule", "params"],
               "properties": _CHANGED}  # fmt: skip
CREATE_RULE = {
    **UPDATE_RULE,
    "required": ["name", "rule_type_id", "consumer", "schedule", "params"],
    "properties": {**_CHANGED, "rule_type_id": {"const": ".es-query"}, "enabled": {"type": "boolean"},
                   "consumer": {"enum": ["alerts", "stackAlerts", "logs", "infrastructure"]}},
}  # fmt: skip
_NAMED = {"type": "array", "maxItems": 10_000, "items": {
    "type": "object", "additionalProperties": False, "required": ["type", "id"],
    "properties": {"type": _TEXT, "id": _TEXT}}}  # fmt: skip
EXPORT = {"type": "object", "additionalProperties": False, "required": ["objects"], "properties": {
    "objects": _NAMED, "includeReferencesDeep": {"type": "boolean"}, "excludeExportDetails": {"type": "boolean"},
    "search": _TEXT, "type": {}, "hasReference": {}}}  # fmt: skip
SAVED_OBJECT = {
    "type": "object",
    "required": ["type", "id", "attributes", "references"],
    "additionalProperties": False,
    "properties": {
        "type": {"enum": ["index-pattern", "lens", "search", "links", "dashboard"]}, "id": _TEXT,
        "attributes": {"type": "object"}, "coreMigrationVersion": _TEXT, "typeMigrationVersion": _TEXT,
        "references": {"type": "array", "items": {
            "type": "object", "additionalProperties": False, "required": ["name", "type", "id"],
            "properties": {"name": _TEXT, "type": _TEXT, "id": _TEXT}}},
    },
}  # fmt: skip
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[14][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class Asked(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class KibanaServer:
    """What it holds: `objects` by (type, id), `rules` by id. `version`, `key`, `elsewhere` make it refuse or differ."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.rules: dict[str, dict[str, Any]] = {}
        self.asked: list[Asked] = []
        self.version, self.key, self.space, self.elsewhere, self.url = "9.5.3", "", "", False, ""

    def changes(self) -> list[str]:
        """What was asked and is no question, since the last call."""
        reads = ("GET", "POST /api/saved_objects/_export")
        found = [f"{a.method} {a.path}" for a in self.asked]
        self.asked.clear()
        return [line for line in found if not line.startswith(reads)]

    def answer(self, asked: Asked) -> tuple[int, Any]:
        self.asked.append(asked)
        path = asked.path
        if self.key and asked.headers.get("authorization") != f"ApiKey {self.key}":
            return 401, {"statusCode": 401, "error": "Unauthorized", "message": "unable to authenticate"}
        if self.space:
            if not path.startswith(f"/s/{self.space}/"):
                return 404, {"statusCode": 404, "error": "Not Found", "message": "Not Found"}
            path = path.removeprefix(f"/s/{self.space}")
        if asked.method != "GET" and "kbn-xsrf" not in asked.headers:
            return 400, {"statusCode": 400, "message": "Request must contain a kbn-xsrf header."}
        try:
            return self._route(asked, path)
        except jsonschema.ValidationError as error:
            return 400, {"statusCode": 400, "error": "Bad Request", "message": f"{error.json_path}: {error.message}"}

    def _route(self, asked: Asked, path: str) -> tuple[int, Any]:
        of_rule = re.fullmatch(r"/api/alerting/rule/([^/]+)", path)
        if of_rule:
            return self._rule(asked, of_rule[1])
        routes = {
            ("GET", "/api/status"): self._status,
            ("POST", "/api/saved_objects/_import?overwrite=true"): self._import,
            ("POST", "/api/saved_objects/_export"): self._export,
            ("POST", "/api/saved_objects/_bulk_delete"): self._delete,
        }
        route = routes.get((asked.method, path))
        return route(asked) if route else (404, {"statusCode": 404, "error": "Not Found", "message": "Not Found"})

    def _status(self, _: Asked) -> tuple[int, Any]:
        return 200, {"name": "kibana", "version": {"number": self.version}, "status": {"overall": {}}}

    def _import(self, asked: Asked) -> tuple[int, Any]:
        head = f"Content-Type: {asked.headers['content-type']}\r\n\r\n".encode()
        form = message_from_bytes(head + asked.body)
        [file] = form.get_payload()  # type: ignore[misc]
        assert isinstance(file, type(form))
        assert file.get_param("name", header="Content-Disposition") == "file"
        assert str(file.get_filename()).endswith(".ndjson")
        content = file.get_payload(decode=True)
        assert isinstance(content, bytes)
        done = []
        for line in content.decode().strip().splitlines():
            found = json.loads(line)
            jsonschema.validate(found, SAVED_OBJECT)
            key = found["type"], found["id"]
            new = {"destinationId": "another"} if self.elsewhere else {}
            done.append({"type": key[0], "id": key[1], "overwrite": key in self.objects, **new})
            self.objects[key] = found
        return 200, {"success": True, "successCount": len(done), "successResults": done, "warnings": []}

    def _export(self, asked: Asked) -> tuple[int, Any]:
        body = json.loads(asked.body)
        jsonschema.validate(body, EXPORT)
        keys = [(o["type"], o["id"]) for o in body["objects"]]
        missing = [{"type": t, "id": i, "error": {"statusCode": 404}} for t, i in keys if (t, i) not in self.objects]
        if missing:
            message = "Error fetching objects to export"
            return 400, {"statusCode": 400, "message": message, "attributes": {"objects": missing}}
        return 200, [{**self.objects[k], "managed": False, "version": "W1"} for k in keys]

    def _delete(self, asked: Asked) -> tuple[int, Any]:
        body = json.loads(asked.body)
        jsonschema.validate(body, _NAMED)
        for each in body:
            del self.objects[each["type"], each["id"]]
        return 200, {"statuses": [{**each, "success": True} for each in body]}

    def _rule(self, asked: Asked, rule_id: str) -> tuple[int, Any]:
        there = self.rules.get(rule_id)
        if asked.method == "POST":
            if not _UUID.fullmatch(rule_id):
                return 400, {"statusCode": 400, "message": "Predefined IDs must be UUIDs"}
            if there:
                return 409, {"statusCode": 409, "message": "version conflict, document already exists"}
            body = json.loads(asked.body)
            jsonschema.validate(body, CREATE_RULE)
            json.loads(body["params"]["esQuery"])["query"]
            self.rules[rule_id] = {**body, "id": rule_id, "enabled": True, "created_by": "me", "revision": 0}
            return 200, self.rules[rule_id]
        if there is None:
            return 404, {"statusCode": 404, "message": f"Saved object [alert/{rule_id}] not found"}
        if asked.method == "PUT":
            body = json.loads(asked.body)
            jsonschema.validate(body, UPDATE_RULE)
            self.rules[rule_id] = {**there, **body, "revision": there["revision"] + 1}
            return 200, self.rules[rule_id]
        if asked.method == "DELETE":
            del self.rules[rule_id]
            return 204, None
        return 200, there


@contextmanager
def kibana_server() -> Iterator[KibanaServer]:
    """One on a free port of this machine."""
    held = KibanaServer()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {k.lower(): v for k, v in self.headers.items()}
            status, found = held.answer(Asked(self.command, self.path, headers, body))
            lines = found if isinstance(found, list) else [found]
            content = b"" if found is None else "\n".join(map(json.dumps, lines)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _answer

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    held.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield held
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
