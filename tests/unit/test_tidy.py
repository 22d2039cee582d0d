"""The house is in order: imports go one way, settings and codes are the listed ones, the core stays pure."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.settings import Settings
from stream.arrive.reject import CODES
from stream.predict import refuse

ROOT = Path(__file__).parents[2]
OURS = ("stream", "consumers", "schemas", "infra", "benchmarks", "tests")
MAY_IMPORT = {
    "schemas": set[str](),
    "stream": {"schemas"},
    "infra": {"stream"},
    "consumers": {"schemas", "stream", "infra"},
    "benchmarks": {"schemas", "stream", "infra", "consumers"},
}
# A part of `stream` may import those before it. Steps stand in data order; between join and learn stand the parts that
# learn and predict are made of: the shape of a model's state, progressive metrics, snapshots of states. Assignment
# stands early, since a row may have to know who serves it.
ORDER = (
    "limits", "errors", "clock", "trace", "jit", "texts", "block", "spec_part", "spec_event", "spec",
    "experiment.slots", "experiment.bulk", "experiment.control", "predict.assign", "predict.steer", "arrive", "clean",
    "encode", "intake", "join", "learn.learner", "evaluate.measures", "evaluate.roc", "evaluate.prequential",
    "registry", "learn", "spec_load", "evaluate", "experiment", "predict", "explain", "export", "optimise", "ship",
)  # fmt: skip
IMPURE = {
    "socket", "ssl", "select", "selectors", "asyncio", "http", "urllib", "urllib3", "requests", "httpx", "aiohttp",
    "kafka", "grpc", "elasticsearch", "subprocess", "multiprocessing", "signal", "random", "secrets", "logging",
    "structlog", "pydantic_settings", "typer", "rich",
}  # fmt: skip
OTHER_VARIABLES = {
    "HEADWATER_PICKLE_KEY": "stream/learn/pickled.py",  # a secret, so it is no setting that could be shown
    "HEADWATER_CHROMIUM": "tests/browser/_window.py",  # of the tests alone
    "HEADWATER_VENV": "infra/venv.sh",  # read before there is a Python to read settings with
}


def _files(*tops: str) -> list[Path]:
    return [p for top in tops for p in sorted((ROOT / top).rglob("*.py")) if "_pb2" not in p.name]


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted module) of every import, wherever in the file it stands."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            module = node.module or ""
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _part(module: str) -> str:
    """The entry of ORDER that a module of `stream` belongs to: the longest that fits."""
    below = module.removeprefix("stream.")
    fits = [p for p in ORDER if below == p or below.startswith(f"{p}.")]
    assert fits, f"{module} is in no part of stream that this test knows: put it into ORDER"
    return max(fits, key=len)


def test_packages_import_only_what_lies_below_them() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {top} imports {name}"
        for top, allowed in MAY_IMPORT.items()
        for path in _files(top)
        for line, name in _imports(path)
        if name.partition(".")[0] in set(OURS) - allowed - {top}
    ]
    assert not wrong, wrong


def test_imports_within_the_core_go_in_data_order_only() -> None:
    wrong = []
    for path in _files("stream"):
        if _module(path) == "stream":
            continue
        own = _part(_module(path))
        for line, name in _imports(path):
            if name.startswith("stream."):
                other = _part(name)
                if other != own and ORDER.index(other) > ORDER.index(own):
                    wrong.append(f"{path.relative_to(ROOT)}:{line}: {own} imports {other}")
    assert not wrong, wrong


def test_no_two_modules_of_the_core_import_each_other_by_any_way() -> None:
    modules = {_module(p): p for p in _files("stream")}

    def known(name: str) -> str | None:
        return name if name in modules else known(name.rpartition(".")[0]) if "." in name else None

    below = {m: {k for _, n in _imports(p) if (k := known(n)) and k != m} - {"stream"} for m, p in modules.items()}
    done: set[str] = set()
    while ready := {m for m in below if m not in done and below[m] - done == set()}:
        done |= ready
    assert set(below) == done, f"in a cycle, or above one: {sorted(set(below) - done)}"


def test_every_step_of_the_house_is_a_part_in_the_order() -> None:
    folders = {p.name for p in (ROOT / "stream").iterdir() if (p / "__init__.py").exists()}
    files = {p.stem for p in (ROOT / "stream").glob("*.py")} - {"__init__"}
    assert folders | files == {p for p in ORDER if "." not in p}


def test_the_core_reaches_for_nothing_outside() -> None:
    wrong = []
    for path in _files("stream"):
        for line, name in _imports(path):
            top = name.partition(".")[0]
            if top in IMPURE or (top == "time" and path.name != "clock.py"):
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {name}")
    assert not wrong, wrong


def test_pickles_are_opened_in_one_place_alone() -> None:
    users = {
        str(p.relative_to(ROOT))
        for p in _files("stream", "consumers", "schemas", "infra")
        for _, n in _imports(p)
        if n.partition(".")[0] in {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    }
    assert users <= {"stream/learn/pickled.py"}
    for path in _files("stream", "consumers"):
        assert "allow_pickle=True" not in path.read_text(), path


# -- variables -------------------------------------------------------------------------------------------


def _texts() -> Iterator[tuple[Path, str]]:
    kinds = {".py", ".sh", ".md", ".yml", ".yaml", ".toml", ".conf", ".example", ".env", ".json"}
    for top in ("stream", "consumers", "schemas", "infra", "benchmarks", "examples", "docs", "tests", ".ci", "."):
        found = (ROOT / top).glob("*") if top == "." else (ROOT / top).rglob("*")
        for path in found:
            if path.is_file() and (path.suffix in kinds or path.name.startswith("Dockerfile")):
                yield path, path.read_text(errors="replace")


def test_every_variable_that_is_named_anywhere_is_a_setting_or_on_the_short_list() -> None:
    settings = {f"HEADWATER_{name.upper()}" for name in Settings.model_fields}
    unknown = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, text in _texts()
        if path != Path(__file__)
        for name in set(re.findall(r"\bHEADWATER_[A-Z][A-Z0-9_]*", text))
        if name not in settings | set(OTHER_VARIABLES)
    ]
    assert not unknown, unknown


def test_the_short_list_is_true() -> None:
    for name, place in OTHER_VARIABLES.items():
        assert name in (ROOT / place).read_text()


def test_every_setting_says_what_it_is_for() -> None:
    assert all(f.description for f in Settings.model_fields.values())


def test_the_environment_is_read_in_few_known_places() -> None:
    readers = {
        str(p.relative_to(ROOT))
        for p in _files("stream", "consumers")
        for node in ast.walk(_tree(p))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    }
    assert {r for r in readers if r.startswith("stream")} == {"stream/learn/pickled.py"}


# -- codes -----------------------------------------------------------------------------------------------

_CODE = re.compile(r"[a-z]+\.[a-z_]+")
_GIVERS = {"Reject", "Refused", "reject", "dead_letter", "_bury"}


def _named(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _given_codes() -> Iterator[tuple[str, str]]:
    """(place, code) of every code that is written out where something is refused."""
    for path in _files("stream", "consumers"):
        for node in ast.walk(_tree(path)):
            values: list[ast.expr] = []
            if isinstance(node, ast.Call) and _named(node) in _GIVERS:
                values = [*node.args, *(k.value for k in node.keywords)]
            elif isinstance(node, ast.Dict):
                pairs = zip(node.keys, node.values, strict=True)
                values = [v for k, v in pairs if isinstance(k, ast.Constant) and k.value == "code"]
            for v in values:
                if isinstance(v, ast.Constant) and isinstance(v.value, str) and _CODE.fullmatch(v.value):
                    yield f"{path.relative_to(ROOT)}:{v.lineno}", v.value


def test_every_code_that_is_given_is_listed() -> None:
    own = set(re.findall(r"\b[a-z]+\.[a-z_]+\b", refuse.__doc__ or ""))
    assert [(place, code) for place, code in _given_codes() if code not in CODES and code not in own] == []


def test_every_code_that_is_listed_is_given_somewhere() -> None:
    assert set(CODES) - {code for _, code in _given_codes()} == set()


# -- errors ----------------------------------------------------------------------------------------------


def test_exit_codes_are_unique_over_all_errors() -> None:
    codes: dict[int, str] = {}
    for node in _tree(ROOT / "stream" / "errors.py").body:
        if not isinstance(node, ast.ClassDef):
            continue
        for line in node.body:
            if isinstance(line, ast.Assign) and getattr(line.targets[0], "id", "") == "exit_code":
                assert isinstance(line.value, ast.Constant)
                assert isinstance(line.value.value, int)
                assert line.value.value not in codes, f"{node.name} and {codes[line.value.value]} share a code"
                codes[line.value.value] = node.name
    assert len(codes) > 5


@pytest.mark.parametrize("top", ["stream", "consumers", "schemas", "infra"])
def test_every_module_that_does_something_says_what_and_why(top: str) -> None:
    silent = [str(p.relative_to(ROOT)) for p in _files(top) if _tree(p).body and not ast.get_docstring(_tree(p))]
    assert silent == []
