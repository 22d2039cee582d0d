"""Logstash's pipeline read as Logstash reads it, and its filters done by the meaning that their documentation gives.

It knows the plugins and options that our file uses, and no others.
"""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CONF = ROOT / "infra" / "logstash" / "headwater.conf"
Plugin = tuple[str, dict[str, Any]]


class Parser:
    """Sections, plugins, options; values are texts, words, lists and hashes."""

    def __init__(self, text: str) -> None:
        plain = re.sub(r"^\s*#.*$", "", text, flags=re.M)
        self._words = re.findall(r'"(?:[^"])*"|=>|[{}\[\],]|[^\s{}\[\],"]+', plain)

    def read(self) -> dict[str, list[Plugin]]:
        found: dict[str, list[Plugin]] = {}
        while self._words:
            section = self._next()
            self._next("{")
            found[section] = []
            while self._words[0] != "}":
                found[section].append((self._next(), self._options()))
            self._next("}")
        return found

    def _next(self, wanted: str | None = None) -> str:
        word = self._words.pop(0)
        assert wanted in (None, word), f"{word} where {wanted} is wanted"
        return word

    def _options(self) -> dict[str, Any]:
        self._next("{")
        found: dict[str, Any] = {}
        while self._words[0] != "}":
            name = self._next().strip('"')
            assert name not in found, f"{name} twice"
            self._next("=>")
            found[name] = self._value()
        self._next("}")
        return found

    def _value(self) -> Any:
        if self._words[0] == "{":
            return self._options()
        if self._words[0] != "[":
            return self._next().strip('"')
        self._next("[")
        found = []
        while self._words[0] != "]":
            found.append(self._value())
            if self._words[0] == ",":
                self._next(",")
        self._next("]")
        return found


READ = Parser(CONF.read_text()).read()


def path_of(reference: str) -> list[str]:
    """[a][b] → a, b."""
    assert re.fullmatch(r"(\[[^\[\]]+\])+", reference), reference
    return re.findall(r"\[([^\[\]]+)\]", reference)


def look(event: dict[str, Any], reference: str) -> Any:
    for name in path_of(reference):
        event = event[name]
    return event


def put(event: dict[str, Any], reference: str, value: Any) -> None:
    *folders, last = path_of(reference)
    for name in folders:
        event = event.setdefault(name, {})
    event[last] = value


def filtered(event: dict[str, Any]) -> dict[str, Any]:
    """The event after all filters. Within one mutate, copies come after gsub, and what is common to all comes last."""
    for plugin, options in READ["filter"]:
        for source, pattern in options.get("mapping", {}).items():
            names = re.findall(r"%\{([^}]+)\}", pattern)
            shape = "(.*)".join(re.escape(part) for part in re.split(r"%\{[^}]+\}", pattern))
            found = re.fullmatch(shape, look(event, source))
            assert found, f"{plugin}: {look(event, source)} is no {pattern}"
            for name, value in zip(names, found.groups(), strict=True):
                put(event, name, value)
        if gsub := options.get("gsub"):
            put(event, gsub[0], re.sub(gsub[1], gsub[2], look(event, gsub[0])))
        for source, target in options.get("copy", {}).items():
            put(event, target, look(event, source))
        for name, value in options.get("add_field", {}).items():
            put(event, name, value)
        for name in options.get("remove_field", ()):
            *folders, last = path_of(name)
            look(event, "".join(f"[{f}]" for f in folders)).pop(last, None)
    return event
