"""docker-compose.yml, the image and what they mount agree with the code.

No engine runs here, so this is what holds them. What can be run without Docker is run: the health checks of
our own services, the image's compile step, and `docker compose config` where that is installed.
"""

import ast
import importlib.metadata
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml
from docker.utils.build import exclude_paths

from consumers._chain import ORDER, check_steps
from consumers._grpc import Server, ServerOptions
from consumers.cli import (  # noqa: F401  they register themselves
    app,
    commands,
    elk,
    experiment,
    look,
    make,
    schema,
    ship,
)
from consumers.cli.app import app as cli
from consumers.settings import Settings
from infra.kafka import _PROPERTIES, KAFKA_VERSION
from stream.ship.datasets import DATASETS
from stream.ship.kibana.boards import OVERVIEW
from stream.ship.kibana.objects import objects
from stream.spec_load import load_spec

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TEXT = (ROOT / "docker-compose.yml").read_text()
DOCS = (ROOT / "docs/deploy.md").read_text()
ONE_SHOT = {"topics", "elk"}
ELASTICS = {"elasticsearch", "logstash", "kibana"}
ELK = {*ELASTICS, "elk", "ship"}


def variables(text: str) -> dict[str, str]:
    """Every ${NAME:-default} in a compose file; anything else that compose would replace is an error."""
    found: dict[str, str] = {}
    for name, default in re.findall(r"\$\{(\w+):-([^}]*)\}", text):
        assert found.setdefault(name, default) == default, f"{name} has two defaults"
    assert "$" not in re.sub(r"\$\{\w+:-[^}]*\}", "", text), "a $ that is not ${NAME:-default}"
    return found


def compose(text: str, changed: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file as compose reads it, with every variable at its default or as `changed` says."""
    values = {**variables(text), **(changed or {})}
    read: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{(\w+):-[^}]*\}", lambda m: values[m[1]], text))
    return read


COMPOSE = compose(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: s for name, s in SERVICES.items() if s["image"].startswith("headwater:")}
STEPS = {name: s for name, s in OURS.items() if s["command"][0] == "run"}


def mounts(service: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Volumes in the long form, whichever they were written in."""
    found = []
    for each in service.get("volumes", ()):
        if isinstance(each, str):
            source, target = each.split(":")
            each = {"type": "volume", "source": source, "target": target}
        found.append(each)
    return found


def at(service: Mapping[str, Any], path: str) -> Path:
    """The file of this repository that a path inside the container is."""
    for m in mounts(service):
        if m["type"] == "bind" and path.startswith(m["target"] + "/"):
            return ROOT / m["source"] / path.removeprefix(m["target"] + "/")
    raise AssertionError(f"{path} is on no bind mount")


def parse(argv: list[str]) -> tuple[str, dict[str, Any]]:
    """Name and parameters of the command of the real CLI that would run. Raises as the CLI would."""
    command: Any = typer.main.get_command(cli)
    name, context = "headwater", None
    while True:
        context = command.make_context(name, list(argv), parent=context)
        if not hasattr(command, "resolve_command"):
            return context.command_path.removeprefix("headwater "), context.params
        name, command, argv = command.resolve_command(context, [*context._protected_args, *context.args])


def bytes_of(text: str) -> int:
    """A size as compose writes it."""
    return int(text[:-1]) * {"m": 1 << 20, "g": 1 << 30}[text[-1]]


def seconds_of(text: str) -> int:
    """A duration as this file writes it."""
    assert text.endswith("s")
    return int(text[:-1])


# -- the file ------------------------------------------------------------------------------------------


def test_it_is_valid_against_the_compose_specification() -> None:
    package = importlib.metadata.distribution("check-jsonschema")  # carries the official schema
    official = Path(str(package.locate_file("check_jsonschema/builtin_schemas/vendor/compose-spec.json")))
    jsonschema.Draft202012Validator(json.loads(official.read_text())).validate(COMPOSE)


@pytest.mark.parametrize("profile", ["", "elk", "guard"])
def test_docker_compose_itself_accepts_it(profile: str) -> None:
    command = next((c for c in (["docker", "compose"], ["docker-compose"]) if _runs([*c, "version"])), None)
    if command is None:
        pytest.skip("docker compose is not installed")
    environment = {k: v for k, v in os.environ.items() if k not in variables(TEXT)}
    environment["COMPOSE_PROFILES"] = profile
    done = subprocess.run(
        [*command, "-f", str(ROOT / "docker-compose.yml"), "config", "--services"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    optional = {"elk": ELK, "guard": {"guard"}}
    left_out = {name for other, names in optional.items() if other != profile for name in names}
    assert set(done.stdout.split()) == set(SERVICES) - left_out


def _runs(command: list[str]) -> bool:
    found = shutil.which(command[0]) is not None
    return found and subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_each_variable_is_in_the_example_environment_with_its_default() -> None:
    lines = (ROOT / "infra/compose.env.example").read_text().splitlines()
    told = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert told == variables(TEXT)


def test_images_have_the_versions_that_the_code_names() -> None:
    tags = dict(s["image"].split(":") for s in SERVICES.values())
    assert tags.pop("apache/kafka") == KAFKA_VERSION
    assert tags.pop("headwater") == PROJECT["project"]["version"]
    assert set(tags) == ELASTICS
    assert len(set(tags.values())) == 1
    (version,) = set(tags.values())
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    (client,) = [d for d in PROJECT["project"]["dependencies"] if d.startswith("elasticsearch")]
    assert version.split(".")[0] == re.search(r">=(\d+)", client)[1]  # type: ignore[index]


def test_only_one_service_builds_the_image() -> None:
    building = [name for name, s in SERVICES.items() if "build" in s]
    assert building == ["topics"]  # several would export the same tag at once
    build = SERVICES["topics"]["build"]
    assert (ROOT / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()


def test_each_mounted_path_exists_and_is_read_only() -> None:
    for name, service in SERVICES.items():
        for m in mounts(service):
            if m["type"] == "bind":
                assert (ROOT / m["source"]).exists(), name
                assert m["read_only"] is True, name
                assert m["bind"] == {"create_host_path": False}, name  # a wrong path fails instead of being made


def test_named_volumes_are_declared_and_used() -> None:
    used = {m["source"] for s in SERVICES.values() for m in mounts(s) if m["type"] == "volume"}
    assert used == set(COMPOSE["volumes"])


def test_no_secret_is_in_the_file() -> None:
    named = {key for s in SERVICES.values() for key in s.get("environment", {})}
    assert not [key for key in named if re.search(r"passw|secret|token|api_?key|credential", key, re.IGNORECASE)]


# -- our processes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_environment_variables_are_settings_and_parse(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in [k for k in os.environ if k.startswith("HEADWATER_")]:
        monkeypatch.delenv(key)
    fields = {f"HEADWATER_{field.upper()}": field for field in Settings.model_fields}
    environment = OURS[name]["environment"]
    assert set(environment) <= set(fields)
    for key, value in environment.items():
        assert isinstance(value, str), key  # YAML would turn a bare true into a bool
        monkeypatch.setenv(key, value)
    settings = Settings()
    for key, value in environment.items():
        assert str(getattr(settings, fields[key])).lower() == value


@pytest.mark.parametrize("name", OURS)
def test_the_command_is_one_of_the_cli_and_its_spec_loads(name: str) -> None:
    command, given = parse(OURS[name]["command"])
    others = {"topics": "topics create", "elk": "elk up", "guard": "experiment guard"}
    wanted = name if name in ("serve", "ship") else others.get(name, "run")
    assert command == wanted
    if name == "elk":
        return  # the templates are those of every pipeline
    load_spec(at(OURS[name], str(given["spec"])))
    if command == "run":
        assert given["steps"] == [name]
        assert name == "evaluate" or check_steps(given["steps"]) == (name,)


def test_each_step_has_its_service() -> None:
    assert set(STEPS) == {*ORDER, "evaluate"}
    assert set(OURS) == {*STEPS, "serve", "ship", "guard"} | ONE_SHOT


def test_the_guard_runs_only_when_asked_for_since_a_spec_without_guardrails_would_end_it() -> None:
    assert SERVICES["guard"]["profiles"] == ["guard"]
    _, given = parse(SERVICES["guard"]["command"])
    assert given["once"] is False


def test_every_topic_is_shipped_once_by_the_shipper_or_by_logstash() -> None:
    _, given = parse(OURS["ship"]["command"])
    assert sorted([*given["only"], "logs"]) == sorted(DATASETS)


@pytest.mark.parametrize("name", OURS)
def test_our_containers_may_do_little(name: str) -> None:
    service, (user, *_) = OURS[name], _instructions("USER")
    assert service["user"] == user != "0"
    assert service["read_only"] is True
    assert service["init"] is True
    assert service["cap_drop"] == ["ALL"]
    writable = {m["target"] for m in mounts(service) if not m.get("read_only")}
    writable |= {each.split(":")[0] for each in service["tmpfs"]}
    needed = {_image_env()["NUMBA_CACHE_DIR"], "/tmp"}
    needed |= {service["environment"]["HEADWATER_DATA"]} if name in ("learn", "ship") else set()
    assert writable == needed


def test_every_container_is_bounded_and_gains_no_privileges() -> None:
    for name, service in SERVICES.items():
        limits = service["deploy"]["resources"]["limits"]
        assert set(limits) == {"cpus", "memory", "pids"}, name
        assert service["logging"]["options"]["max-size"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_java_fits_into_its_container() -> None:
    for name, key in (
        ("kafka", "KAFKA_HEAP_OPTS"),
        ("elasticsearch", "ES_JAVA_OPTS"),
        ("logstash", "LS_JAVA_OPTS"),
    ):
        heap = re.search(r"-Xmx(\d+[mg])", SERVICES[name]["environment"][key])
        assert heap is not None
        limit = bytes_of(SERVICES[name]["deploy"]["resources"]["limits"]["memory"])
        assert 2 * bytes_of(heap[1]) <= limit, name


def test_a_container_gets_the_time_that_leaving_takes() -> None:
    longest = max(Settings().commit_timeout_s, ServerOptions().drain_s + 10)
    for name, service in OURS.items():
        assert seconds_of(service["stop_grace_period"]) > longest, name


def test_snapshots_are_written_by_learn_alone_and_read_by_serve_at_the_same_path() -> None:
    holders = {
        name: m for name, s in SERVICES.items() for m in mounts(s) if m["source"] == "snapshots"
    }  # fmt: skip
    assert set(holders) == {"learn", "serve"}
    for name, m in holders.items():
        assert m["target"] == SERVICES[name]["environment"]["HEADWATER_DATA"] == _image_env()["HEADWATER_DATA"]
        assert m.get("read_only", False) is (name == "serve")
    assert "learn" in SERVICES["serve"]["depends_on"]  # a new volume gets its owner from the container made first


# -- how they find each other --------------------------------------------------------------------------


def _listeners(key: str) -> dict[str, str]:
    return dict(each.split("://") for each in SERVICES["kafka"]["environment"][key].split(","))


def test_containers_find_kafka_where_it_says_it_is() -> None:
    inside = _listeners("KAFKA_ADVERTISED_LISTENERS")["INTERNAL"]
    host, port = inside.split(":")
    assert host == "kafka"
    assert _listeners("KAFKA_LISTENERS")["INTERNAL"] == f":{port}"
    assert {s["environment"]["HEADWATER_KAFKA"] for s in OURS.values()} == {inside}
    assert SERVICES["logstash"]["environment"]["KAFKA_SERVERS"] == inside
    assert SERVICES["kafka"]["healthcheck"]["test"][2:4] == ["--bootstrap-server", inside]


def test_a_program_on_this_machine_finds_kafka_and_the_server_by_default() -> None:
    assert _listeners("KAFKA_ADVERTISED_LISTENERS")["HOST"] == Settings.model_fields["kafka"].default
    assert _published("kafka") == {
        Settings.model_fields["kafka"].default: _listeners("KAFKA_LISTENERS")["HOST"].removeprefix(":")
    }
    inside = SERVICES["serve"]["environment"]["HEADWATER_GRPC"].split(":")
    assert inside[0] == "0.0.0.0"  # the loopback of a container is out of reach
    assert _published("serve") == {Settings.model_fields["grpc"].default: inside[1]}


def test_another_kafka_port_is_published_and_advertised_alike() -> None:
    kafka = compose(TEXT, {"KAFKA_PORT": "29999"})["services"]["kafka"]
    assert kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"].endswith("HOST://127.0.0.1:29999")
    assert kafka["ports"] == ["127.0.0.1:29999:9092"]


def _published(name: str) -> dict[str, str]:
    return dict(each.rsplit(":", 1) for each in SERVICES[name].get("ports", ()))


def test_ports_are_published_on_the_loopback_only_and_each_once() -> None:
    published = [host for name in SERVICES for host in _published(name)]
    assert all(host.startswith("127.0.0.1:") for host in published)
    assert len(set(published)) == len(published) == 4


def test_kafka_is_set_up_as_the_local_broker_of_the_tests_is() -> None:
    lines = [line for line in _PROPERTIES.splitlines() if "{" not in line]
    wanted = dict(line.split("=", 1) for line in lines)
    environment = SERVICES["kafka"]["environment"]
    assert "auto.create.topics.enable" in wanted
    for key, value in wanted.items():
        assert str(environment[f"KAFKA_{key.upper().replace('.', '_')}"]) == value
    (data,) = mounts(SERVICES["kafka"])
    assert data["target"] == environment["KAFKA_LOG_DIRS"]


def test_kafkas_listeners_are_consistent() -> None:
    environment = SERVICES["kafka"]["environment"]
    listeners, advertised = _listeners("KAFKA_LISTENERS"), _listeners("KAFKA_ADVERTISED_LISTENERS")
    protocols = dict(e.split(":") for e in environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    assert set(protocols) == set(listeners) == {*advertised, environment["KAFKA_CONTROLLER_LISTENER_NAMES"]}
    assert environment["KAFKA_INTER_BROKER_LISTENER_NAME"] in advertised
    assert environment["KAFKA_CONTROLLER_QUORUM_VOTERS"] == f"1@kafka{listeners['CONTROLLER']}"


def test_elastics_services_find_each_other() -> None:
    (inside,) = _published("elasticsearch").values()
    url = f"http://elasticsearch:{inside}"
    assert SERVICES["kibana"]["environment"]["ELASTICSEARCH_HOSTS"] == url
    assert SERVICES["logstash"]["environment"]["ELASTIC_URL"] == url
    for name in ("elk", "ship"):
        assert SERVICES[name]["environment"]["HEADWATER_ELASTICSEARCH"] == url
    (inside,) = _published("kibana").values()
    assert SERVICES["elk"]["environment"]["HEADWATER_KIBANA"] == f"http://kibana:{inside}"


def test_kibana_opens_on_a_dashboard_that_is_put_there() -> None:
    (own,) = mounts(SERVICES["kibana"])
    configured = yaml.safe_load((ROOT / own["source"]).read_text())
    assert Path(own["target"]).name == Path(own["source"]).name == "kibana.yml"
    assert configured["uiSettings.overrides.defaultRoute"] == f"/app/dashboards#/view/{OVERVIEW}"
    assert OVERVIEW in {o["id"] for o in objects() if o["type"] == "dashboard"}
    assert configured["elasticsearch.hosts"] == [SERVICES["kibana"]["environment"]["ELASTICSEARCH_HOSTS"]]
    assert len(SERVICES["kibana"]["environment"]["XPACK_ENCRYPTEDSAVEDOBJECTS_ENCRYPTIONKEY"]) >= 32


def test_what_a_service_waits_for_exists_and_can_come_true() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            assert set(SERVICES[other].get("profiles", ())) <= set(service.get("profiles", ())), name
            if how["condition"] == "service_healthy":
                assert "test" in SERVICES[other]["healthcheck"], name
            elif how["condition"] == "service_completed_successfully":
                assert SERVICES[other]["restart"] == "no", name
    waiting = {name for name, s in SERVICES.items() if "topics" in s.get("depends_on", {})}
    assert waiting == {*OURS, "logstash"} - ONE_SHOT


def test_the_core_runs_without_elastic() -> None:
    assert {name for name, s in SERVICES.items() if s.get("profiles") == ["elk"]} == ELK
    assert [name for name in set(SERVICES) - ELK if "profiles" in SERVICES[name]] == ["guard"]


# -- health --------------------------------------------------------------------------------------------


def test_all_but_the_one_shot_are_checked_and_restarted() -> None:
    for name, service in SERVICES.items():
        check = service["healthcheck"]
        if name in ONE_SHOT:
            assert (check, service["restart"]) == ({"disable": True}, "no")
            continue
        assert service["restart"] == "unless-stopped", name
        assert check["test"][0] in ("CMD", "CMD-SHELL"), name
        assert seconds_of(check["timeout"]) <= seconds_of(check["interval"]), name
        assert set(check) == {"test", "interval", "timeout", "retries", "start_period"}, name


def _check(name: str, **environment: str) -> int:
    kind, python, *arguments = SERVICES[name]["healthcheck"]["test"]
    assert (kind, python) == ("CMD", "python")
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=30,
        check=False,
    )
    return done.returncode


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="Linux, as in the container")
@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_healthy_while_it_holds_a_connection_to_kafka(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as broker:
        address = f"nowhere:1,127.0.0.1:{broker.getsockname()[1]}"
        assert _check(name, HEADWATER_KAFKA=address) == 1  # it listens, but nobody is connected
        with socket.create_connection(broker.getsockname()):
            assert _check(name, HEADWATER_KAFKA=address) == 0
    assert _check(name, HEADWATER_KAFKA=address) == 1


def test_the_server_is_healthy_while_it_serves() -> None:
    with ThreadPoolExecutor(1) as side:
        server = Server(ServerOptions(), (), side)
        address = f"0.0.0.0:{server.start('127.0.0.1:0')}"
        try:
            assert _check("serve", HEADWATER_GRPC=address) == 1
            server.tell(True)
            assert _check("serve", HEADWATER_GRPC=address) == 0
        finally:
            server.drain()
    assert _check("serve", HEADWATER_GRPC=address) == 1


@pytest.mark.parametrize(
    ("name", "port", "good", "bad"),
    [
        (
            "kibana",
            5601,
            '{"status":{"overall":{"level":"available"}}}',
            '{"status":{"overall":{"level":"degraded"}}}',
        ),
        ("logstash", 9600, '{"status":"green","indicators":{}}', '{"status" : "red"}'),
    ],
)
def test_answers_of_elastics_services_are_read_rightly(name: str, port: int, good: str, bad: str) -> None:
    kind, text = SERVICES[name]["healthcheck"]["test"]
    asked, pattern = text.split(" | ")
    assert (kind, asked.split()[:2]) == ("CMD-SHELL", ["curl", "-fsS"])
    assert asked.split()[2].startswith(f"http://127.0.0.1:{port}/")
    for answer, code in ((good, 0), (bad, 1)):
        assert subprocess.run(["sh", "-c", pattern], input=answer, text=True, check=False).returncode == code


# -- Logstash ------------------------------------------------------------------------------------------


def test_each_variable_of_the_pipeline_is_set() -> None:
    (folder,) = [m for m in mounts(SERVICES["logstash"]) if m["type"] == "bind"]
    (path,) = (ROOT / folder["source"]).iterdir()  # what it does with them: test_logstash.py
    asked = set(re.findall(r"\$\{(\w+)\}", path.read_text()))
    assert asked <= set(SERVICES["logstash"]["environment"])
    assert asked == {"KAFKA_SERVERS", "ELASTIC_URL"}


# -- the image -----------------------------------------------------------------------------------------


def _instructions(word: str) -> list[str]:
    """What follows a Dockerfile's instruction, in all stages, continued lines joined."""
    text = (ROOT / "infra/Dockerfile").read_text()
    text = re.sub(r"\\\n", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith(f"{word} ")]


def _image_env() -> dict[str, str]:
    (text,) = _instructions("ENV")
    return dict(each.split("=", 1) for each in text.split())


def test_the_image_is_built_on_a_pinned_python_that_the_project_supports() -> None:
    bases = {each.split()[0] for each in _instructions("FROM")}
    assert len(bases) == 1
    version = re.fullmatch(r"python:(3\.\d+)\.\d+-slim-[a-z]+", bases.pop())
    assert version is not None
    assert version[1] == PROJECT["tool"]["mypy"]["python_version"]  # what is checked and tested


def test_what_the_image_copies_exists_and_reaches_the_builder() -> None:
    ignore = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    sent = exclude_paths(str(ROOT), ignore)
    copied = {s for each in _instructions("COPY") if "--from" not in each for s in each.split()[:-1]}
    for source in copied:
        assert (ROOT / source).exists()
        assert source in sent
    packages = {each.rstrip("*") for each in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert copied == {*packages, "pyproject.toml", PROJECT["project"]["readme"], "examples"}
    assert {Path(each).parts[0] for each in sent if each} - {".dockerignore"} == copied
    assert not [each for each in sent if "__pycache__" in each]


def test_the_images_environment_agrees() -> None:
    environment = _image_env()
    fields = {f"HEADWATER_{field.upper()}" for field in Settings.model_fields}
    assert {key for key in environment if key.startswith("HEADWATER_")} <= fields
    for service in OURS.values():
        assert service["environment"]["HEADWATER_DATA"] == environment["HEADWATER_DATA"]
        assert environment["NUMBA_CACHE_DIR"] in {m["target"] for m in mounts(service)}
    made = next(each for each in _instructions("RUN") if "useradd" in each)
    for key in ("HEADWATER_DATA", "NUMBA_CACHE_DIR"):
        assert re.search(rf"install --directory --owner=10001 --group=10001 .*{environment[key]}( |$)", made)
    assert "--uid 10001" in made
    (copied,) = [each.split() for each in _instructions("COPY") if "--from" in each]
    assert environment["PATH"].split(":")[0] == f"{copied[-1]}/bin"
    assert f"python -m venv {copied[-1]}" in _instructions("RUN")


def test_the_image_starts_the_command_without_a_shell() -> None:
    (entry,) = _instructions("ENTRYPOINT")
    assert json.loads(entry) == list(PROJECT["project"]["scripts"])
    assert _instructions("HEALTHCHECK") == ["NONE"]
    order = [line.split()[0] for line in (ROOT / "infra/Dockerfile").read_text().splitlines() if line[:1].isupper()]
    assert order.index("USER") < order.index("ENTRYPOINT")


def test_the_image_can_compile_its_kernels_when_it_is_built() -> None:
    (command,) = [json.loads(each) for each in _instructions("RUN") if each.startswith("[")]
    assert command[:2] == ["python", "-c"]
    (specs,) = [each.split()[1] for each in _instructions("COPY") if each.split()[0] == "examples"]
    assert {m["target"] for s in OURS.values() for m in mounts(s) if m["type"] == "bind"} == {specs}
    code = command[2].replace(f"{specs}/", f"{ROOT}/examples/")
    assert code != command[2]
    environment = {
        **os.environ,
        "NUMBA_DISABLE_JIT": "1",
        "PYTHONWARNINGS": "ignore",
    }  # the calls, in a second
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_image_installs_all_that_the_code_imports() -> None:
    names = importlib.metadata.packages_distributions()
    declared = {_plain(each) for each in PROJECT["project"]["dependencies"]}
    page = {_plain(each) for each in PROJECT["project"]["optional-dependencies"]["monitor"]}  # its command asks first
    missing = {
        f"{path.relative_to(ROOT)}: {module}"
        for package in ("stream", "consumers", "schemas", "infra")
        for path in (ROOT / package).rglob("*.py")
        for module in _imported_at_once(ast.parse(path.read_text()))
        if not {_plain(each) for each in names.get(module, ())}
        & (declared | page if path.parent == ROOT / "consumers/monitor" else declared)
    }
    assert missing == set()


def _plain(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement)[0].lower().replace("_", "-")


def _imported_at_once(module: ast.Module) -> set[str]:
    """Third-party packages that a module imports when it is imported itself."""
    found: set[str] = set()
    for node in module.body:
        if isinstance(node, ast.Import):
            found |= {each.name.split(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found - sys.stdlib_module_names - {"stream", "consumers", "schemas", "infra"}


# -- what the documentation says -----------------------------------------------------------------------


def _told() -> list[list[str]]:
    blocks = re.findall(r"```bash\n(.*?)```", DOCS, re.DOTALL)
    return [line.split() for block in blocks for line in block.splitlines() if not line.startswith("#")]


def test_documented_commands_name_services_that_exist_and_commands_of_the_cli() -> None:
    kinds = set()
    for line in _told():
        kind = "headwater" if line[0] == "headwater" else line[2]
        kinds.add(kind)
        if kind == "headwater":
            parse(line[1:])
        elif kind == "logs":
            assert line[-1] in SERVICES
        elif kind == "exec":
            assert (line[3] in OURS, line[4]) == (True, "headwater")
            parse(line[5:])
        elif kind == "run":
            parse(line[line.index("topics") + 1 :])
    assert kinds >= {"headwater", "logs", "exec", "run"}


def test_documented_volumes_and_ports_exist() -> None:
    for volume in re.findall(r"headwater_(\w+)", DOCS):
        assert volume in COMPOSE["volumes"]
    told = set(re.findall(r"(?:127\.0\.0\.1|localhost):(\d+)", DOCS))
    assert told <= {host.rsplit(":", 1)[1] for name in SERVICES for host in _published(name)}


def test_the_documented_way_to_scale_gives_each_partition_to_one_process() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
    services = yaml.safe_load(text)["services"]
    shards = {s["environment"]["HEADWATER_SHARD"] for s in services.values()}
    number = len(services)
    assert shards == {f"{i}/{number}" for i in range(number)}
    assert "clean" in services
    for name, service in services.items():
        extended = service.get("extends", {"file": "docker-compose.yml", "service": name})
        assert extended == {"file": "docker-compose.yml", "service": "clean"}
    spec = load_spec(ROOT / "examples/flights.yaml")
    assert number <= spec.topics.events
    for shard in shards:
        assert Settings(shard=shard).shard == shard


def test_the_cli_module_under_test_is_the_real_one() -> None:
    assert PROJECT["project"]["scripts"]["headwater"] == "consumers.cli:main"
    assert app.app is cli
    with pytest.raises(Exception, match="No such command"):
        parse(["clean", "/specs/flights.yaml"])
