"""Settings: four sources in their order, every problem told at once, secrets never shown."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from jobrunner.errors import SettingsError
from jobrunner.settings import Settings, check_door, check_tls, load, shown
from jobrunner.settings.keys import OLD_VARIABLES

KEY = "a-long-enough-key"


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(content: object, name: str = "node_config.json") -> None:
    Path(name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def refusal(
    flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None, config: str | None = None
) -> str:
    with pytest.raises(SettingsError) as caught:
        load(flags, config, environ or {})
    return str(caught.value)


def test_defaults_are_those_of_the_design() -> None:
    loaded = load(environ={})
    settings = loaded.settings
    assert (settings.host, settings.port, settings.max_workers) == ("127.0.0.1", None, 4)
    assert (settings.task_timeout, settings.heartbeat_interval, settings.lease_seconds) == (300, 10, 30)
    assert (settings.max_memory_mb, settings.max_cpu_percent, settings.grace) == (4096, None, 25)
    assert settings.data_dir == Path.cwd() / ".jobrunner"
    assert set(loaded.sources) == set(Settings.model_fields)
    assert set(loaded.sources.values()) == {"default"}
    assert loaded.warnings == []


def test_flag_beats_environment_beats_file_beats_default() -> None:
    write({"max_workers": 1, "task_timeout": 11, "grace": 12})
    environ = {"MAX_WORKERS": "2", "TASK_TIMEOUT": "22"}
    loaded = load({"max_workers": 3, "host": None}, environ=environ)
    settings, sources = loaded.settings, loaded.sources
    assert (settings.max_workers, sources["max_workers"]) == (3, "flag")
    assert (settings.task_timeout, sources["task_timeout"]) == (22, "env TASK_TIMEOUT")
    assert (settings.grace, sources["grace"]) == (12, "file node_config.json")
    assert (settings.host, sources["host"]) == ("127.0.0.1", "default")


def test_the_process_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBRUNNER_MAX_WORKERS", "7")
    assert load().settings.max_workers == 7
    assert Settings().max_workers == 4, "built directly, it reads nothing around it"


def test_new_variable_beats_old_and_an_empty_one_is_not_set() -> None:
    loaded = load(environ={"JOBRUNNER_PORT": "", "NODE_PORT": "8901", "PORT": "5000"})
    assert (loaded.settings.port, loaded.sources["port"]) == (8901, "env NODE_PORT")
    loaded = load(environ={"JOBRUNNER_PORT": "1", "NODE_PORT": "8901"})
    assert (loaded.settings.port, loaded.sources["port"]) == (1, "env JOBRUNNER_PORT")


VALUES = {
    "database_url": "postgresql://h/d",
    "host": "10.0.0.1",
    "api_key": KEY,
    "log_level": "debug",
    "enable_caching": "false",
}


@pytest.mark.parametrize("key", sorted(set(Settings.model_fields) - {"schedules"}))
def test_every_key_has_its_variables(key: str) -> None:
    kinds = {"allow_from": "10.0.0.0/8", "allow_unknown_types": "true", "distributed": "false", "log_format": "json"}
    value = (VALUES | kinds).get(key, "17")
    for name in (f"JOBRUNNER_{key.upper()}", *OLD_VARIABLES.get(key, ())):
        loaded = load(environ={name: value})
        assert loaded.sources[key] == f"env {name}"
        assert getattr(loaded.settings, key) != getattr(Settings(), key)


def test_the_old_file_works_as_it_was() -> None:
    old = {
        "node_id": None, "node_name": "Worker-1", "host": "0.0.0.0", "port": 8900, "api_key": None, "max_workers": 4,
        "task_timeout": 300, "heartbeat_interval": 10, "max_memory_mb": 4096, "max_cpu_percent": 80.0,
        "log_level": "INFO", "auto_register": True, "master_host": None, "capabilities": ["data_import"],
        "enable_caching": True, "cache_size_mb": 1024,
    }  # fmt: skip
    write("\ufeff" + json.dumps(old))
    loaded = load(environ={"NODE_API_KEY": KEY})
    assert loaded.settings.max_cpu_percent == 80
    assert loaded.sources["node_id"] == "default", "null is not given"
    assert loaded.settings.name == "Worker-1"
    (warning,) = loaded.warnings
    assert all(key in warning for key in ("auto_register", "master_host", "capabilities"))


def test_all_problems_are_told_at_once_with_key_source_and_nearest_name() -> None:
    write({"max_worker": 3, "grace": "soon", "port": True})
    environ = {"MAX_WORKERS": "many", "JOBRUNNER_LEASE": "3", "JOBRUNNER_SCHEDULES": "[]"}
    lines = refusal({"poll_interval": 0, "no_such": 1}, environ).split("\n")
    assert len(lines) == 8
    found = {line.split(":")[0]: line for line in lines}
    assert "did you mean max_workers?" in found["max_worker (file node_config.json)"]
    assert "'soon'" in found["grace (file node_config.json)"]
    assert "not true or false" in found["port (file node_config.json)"]
    assert "'many'" in found["max_workers (env MAX_WORKERS)"]
    assert "did you mean JOBRUNNER_LEASE_SECONDS?" in found["JOBRUNNER_LEASE (env)"]
    assert "file only" in found["schedules (env JOBRUNNER_SCHEDULES)"]
    assert "greater than 0" in found["poll_interval (flag)"]
    assert "unknown key" in found["no_such (flag)"]


@pytest.mark.parametrize("wrong", ["MAX_WORKERS", "max-workers", "JOBRUNNER_MAX_WORKERS", "maxworkers"])
def test_other_spellings_lead_to_the_right_key(wrong: str) -> None:
    write({wrong: 3})
    assert "did you mean max_workers?" in refusal()


def test_our_other_variables_and_those_of_a_kubernetes_service_are_no_settings() -> None:
    environ = {
        "JOBRUNNER_LANG": "zh", "JOBRUNNER_FAILPOINT": "a:kill", "JOBRUNNER_TEST_DATA": "x",
        "JOBRUNNER_PORT": "tcp://10.0.0.1:8900", "JOBRUNNER_SERVICE_HOST": "10.0.0.1", "JOBRUNNER_SERVICE_PORT": "1",
        "JOBRUNNER_SERVICE_PORT_HTTP": "1", "JOBRUNNER_PORT_8900_TCP": "tcp://10.0.0.1:8900",
        "JOBRUNNER_PORT_8900_TCP_ADDR": "10.0.0.1", "JOBRUNNER_WEB_PORT": "tcp://10.0.0.2:1",
    }  # fmt: skip
    loaded = load(environ=environ)
    # only the value "tcp://..." tells JOBRUNNER_WEB_PORT from a misspelt key
    assert loaded.settings.port is None
    assert "JOBRUNNER_WEB_PORT" in refusal(environ={"JOBRUNNER_WEB_PORT": "80"})


def test_which_file_is_read() -> None:
    write({"grace": 1})
    write({"grace": 2}, "two.json")
    write({"grace": 3}, "three.json")
    write({"grace": 4}, "four.json")
    environ = {"NODE_CONFIG_FILE": "two.json"}
    assert load(environ={}).settings.grace == 1
    assert load(environ=environ).settings.grace == 2
    environ["JOBRUNNER_CONFIG"] = "three.json"
    assert load(environ=environ).settings.grace == 3
    loaded = load(config="four.json", environ=environ)
    assert (loaded.settings.grace, loaded.sources["grace"]) == (4, "file four.json")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{\n  "port": 1,\n}', "line 3, column 1"),
        (b'{"host": "\xff"}', "line 1, column 11: not UTF-8"),
        (b"[1]", "an object"),
        (b"", "line 1, column 1"),
        (b'{"port": 1, "port": 2}', "key given twice: port"),
        (b'{"grace": NaN}', "NaN"),
        (b"[" * 100_000, "bad.json"),
    ],
)
def test_a_file_that_is_not_json_says_where(content: bytes, told: str) -> None:
    Path("bad.json").write_bytes(content)
    message = refusal(config="bad.json", environ={"MAX_WORKERS": "many"})
    assert told in message
    assert "bad.json" in message
    assert "MAX_WORKERS" in message, "what else is wrong is told too"


def test_a_file_named_by_somebody_must_be_there() -> None:
    assert "no.json (--config) cannot be read" in refusal(config="no.json")
    assert "no.json (NODE_CONFIG_FILE) cannot be read" in refusal(environ={"NODE_CONFIG_FILE": "no.json"})


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("postgres://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("PostgreSQL://a:1,b:2/d", "postgresql+psycopg:///d?host=a:1&host=b:2"),
        ("postgres://u:p@a,b:2/d?target_session_attrs=read-write",
         "postgresql+psycopg://u:p@/d?host=a&host=b:2&target_session_attrs=read-write"),
        ("postgresql+psycopg://h/d", "postgresql+psycopg://h/d"),
        ("postgresql:///d?host=::1&port=1", "postgresql+psycopg:///d?host=::1&port=1"),
        ("postgresql:///d?host=/run/a:b", "postgresql+psycopg:///d?host=/run/a:b"),
        ("sqlite:////var/x.db", "sqlite:////var/x.db"),
    ],
)  # fmt: skip
def test_database_urls(given: str, url: str) -> None:
    settings = load(environ={"DATABASE_URL": given}).settings
    assert settings.url == url
    assert settings.is_sqlite == url.startswith("sqlite")
    assert make_url(url).database, "the engine cannot read it"


def test_without_a_url_the_database_is_a_file_in_the_data_directory() -> None:
    settings = load({"data_dir": "d"}, environ={}).settings
    assert settings.url == f"sqlite:///{Path.cwd().as_posix()}/d/jobrunner.db"
    assert settings.is_sqlite
    relative = load({"database_url": "sqlite:///x.db"}, environ={}).settings
    assert relative.url == f"sqlite:///{Path.cwd().as_posix()}/x.db"


@pytest.mark.parametrize("url", ["mysql://u:topsecret@h/d", "postgresql+asyncpg://u:topsecret@h/d", "topsecret",
                                 "postgresql://u:topsecret/x@h/d", "postgresql://a:1,b:topsecret/d",
                                 "postgresql:///d?host=a:topsecret", "postgresql:///d?host=a:1,b%3Atopsecret",
                                 "postgresql://h/d?port=topsecret", "postgresql:///d?host=a&port=99999,1",
                                 "sqlite://", "sqlite:///:memory:?topsecret"])  # fmt: skip
def test_other_databases_are_refused_without_showing_the_password(url: str) -> None:
    message = refusal(environ={"DATABASE_URL": url})
    assert "database_url (env DATABASE_URL)" in message
    assert "topsecret" not in message


def test_api_key() -> None:
    assert load(environ={"NODE_API_KEY": ""}).settings.api_key is None
    assert load({"api_key": " "}, environ={}).settings.api_key is None
    key = load(environ={"NODE_API_KEY": KEY + "\n"}).settings.api_key
    assert key is not None
    assert key.get_secret_value() == KEY
    for bad in ("short12", "with a space in it", "schlüssel-schlüssel"):
        message = refusal(environ={"NODE_API_KEY": bad})
        assert "api_key (env NODE_API_KEY)" in message
        assert bad not in message


def test_lists_from_text_and_from_the_file() -> None:
    write({"allow_from": ["10.0.0.0/8", "::1"], "queues": ["c"]})
    settings = load({"queues": "a, b,"}, environ={}).settings
    assert settings.queues == ("a", "b")
    assert [str(network) for network in settings.allow_from] == ["10.0.0.0/8", "::1/128"]
    assert load(environ={"JOBRUNNER_ALLOW_FROM": "1.2.3.4,10.0.0.0/8"}).settings.allow_from[0].num_addresses == 1
    assert "write 10.0.0.0/8 or 10.0.0.7" in refusal(environ={"JOBRUNNER_ALLOW_FROM": "10.0.0.7/8"})
    assert "neither a network" in refusal(environ={"JOBRUNNER_ALLOW_FROM": "everyone"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_workers", 0), ("max_workers", 1.5), ("port", 65_536), ("port", -1), ("task_timeout", 0),
        ("task_timeout", "nan"), ("task_timeout", 1e12), ("lease_seconds", 0.5), ("heartbeat_interval", 0),
        ("grace", -1), ("max_cpu_percent", 101), ("log_level", "loud"), ("log_format", "xml"), ("host", " "),
        ("keep_failed_days", 0), ("schedules", {"a": 1}), ("queues", 3), ("queues", "a/b"), ("queues", ["a", ""]),
        ("queues", "a\0b"), ("node_name", "a\0b"), ("node_name", "\ud800"), ("node_name", "x" * 201),
    ],
)  # fmt: skip
def test_bad_values(key: str, value: object) -> None:
    assert f"{key} (flag): bad value" in refusal({key: value})


def test_of_what_may_hold_secrets_the_place_is_told_alone() -> None:
    assert refusal({"schedules": [{}, "hidden-1"]}) == "schedules[1] (flag): bad value: should be an object"
    assert refusal({"schedules": {"name": "hidden-2"}}) == "schedules (flag): bad value: should be a list"
    told = refusal({"nodes": [{"host": "10.0.0.7", "port": 8900, "api_keyy": "hidden-3"}]})
    assert "api_keyy" in told
    assert "hidden" not in told


def test_good_values_at_their_bounds() -> None:
    flags = {"lease_seconds": 1, "heartbeat_interval": 20, "grace": 0, "port": 0, "log_level": "warn"}
    settings = load(flags, environ={}).settings
    assert (settings.lease_seconds, settings.port, settings.log_level) == (1, 0, "WARNING")


@pytest.mark.parametrize(
    ("given", "path"),
    [("", ""), ("/", ""), ("tasks", "/tasks"), ("/tasks/", "/tasks"), (" /a/b-2/ ", "/a/b-2"), ("/v1.0", "/v1.0")],
)
def test_a_root_path_has_a_slash_before_and_none_behind(given: str, path: str) -> None:
    assert load({"root_path": given}, environ={}).settings.root_path == path


@pytest.mark.parametrize(
    "given", ["http://x/tasks", "/a//b", "/../a", "/a/.", "/a b", "/a?b", "/a%20b", "C:/tasks", "/é"]
)
def test_what_is_no_root_path(given: str) -> None:
    assert "root_path (flag): bad value" in refusal({"root_path": given})
    assert "write the path alone, such as /tasks" in refusal({"root_path": given})


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(environ={}).settings.port = 1


def test_shown_masks_every_secret() -> None:
    write({"schedules": [{"name": "s", "task_data": {"password": "hidden-3"}}]})
    environ = {"DATABASE_URL": "postgres://u:hidden-1@h/d", "NODE_API_KEY": "hidden-22"}
    loaded = load({"queues": "a,b"}, environ=environ)
    rows = {key: (value, source) for key, value, source in shown(loaded)}
    assert rows["database_url"] == ("postgresql+psycopg://u:***@h/d", "env DATABASE_URL")
    assert rows["api_key"] == ("***", "env NODE_API_KEY")
    assert rows["queues"] == ("a,b", "flag")
    assert rows["port"] == ("", "default")
    assert rows["allow_unknown_types"] == ("false", "default")
    assert list(rows) == list(Settings.model_fields)
    assert "hidden" not in repr(rows)
    assert "hidden-1" not in repr(loaded)
    assert "hidden-2" not in repr(loaded)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1", "[::1]"])
def test_loopback_needs_no_key(host: str) -> None:
    check_door(Settings(host=host), has_key=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "127.0.0.1.example.org"])
def test_the_network_needs_a_key_or_an_allow_list(host: str) -> None:
    with pytest.raises(SettingsError, match=r"JOBRUNNER_HOST=127.0.0.1.*JOBRUNNER_ALLOW_FROM=.*JOBRUNNER_API_KEY"):
        check_door(load({"host": host}, environ={}).settings, has_key=False)
    check_door(load({"host": host, "api_key": KEY}, environ={}).settings, has_key=False)
    check_door(load({"host": host, "allow_from": "10.0.0.0/8"}, environ={}).settings, has_key=False)
    check_door(load({"host": host}, environ={}).settings, has_key=True)


def test_tls_files_that_are_no_certificate_and_its_key() -> None:
    for name in ("key.pem", "cert.pem"):
        Path(name).write_text("-----BEGIN CERTIFICATE-----\n")
    with pytest.raises(SettingsError, match=r"cert\.pem and ssl_keyfile .*key\.pem are no certificate"):
        check_tls(load({"ssl_keyfile": "key.pem", "ssl_certfile": "cert.pem"}, environ={}).settings)


def test_tls_files_must_be_there() -> None:
    Path("key.pem").write_text("k")
    with pytest.raises(SettingsError, match="JOBRUNNER_SSL_CERTFILE"):
        check_tls(load({"ssl_keyfile": "key.pem"}, environ={}).settings)
    with pytest.raises(SettingsError, match=r"ssl_certfile: there is no file .*cert\.pem"):
        check_tls(load({"ssl_certfile": "cert.pem"}, environ={}).settings)


def python(code: str, failpoint: str = "") -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"JOBRUNNER_FAILPOINT": failpoint, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60)


HITS = """
import sys
from jobrunner.settings.failpoints import hit
for number in range(1, 4):
    try:
        hit("here")
    except RuntimeError as error:
        print("raised", error)
    print(number, flush=True)
assert "pydantic" not in sys.modules
"""


def test_failpoints() -> None:
    assert python(HITS).stdout.split() == ["1", "2", "3"]
    assert python(HITS, "there:kill").stdout.split() == ["1", "2", "3"]
    killed = python(HITS, "there:kill, here:kill:2")
    assert (killed.stdout.split(), killed.returncode) == (["1"], -9)
    assert python(HITS, "here:raise:3,here:sleep=0.01").stdout.split("\n")[2] == "raised failpoint here"
    assert "JOBRUNNER_FAILPOINT: 'here:explode'" in python(HITS, "here:explode").stderr


def test_a_stopped_process_goes_on_when_told() -> None:
    stopping = HITS.replace("import sys", "import os, signal, sys, threading, time", 1)
    helper = "import subprocess, os, signal, sys\nprocess = subprocess.Popen([sys.executable, '-c', sys.argv[1]])\n"
    helper += "_, status = os.waitpid(process.pid, os.WUNTRACED)\n"
    helper += "assert os.WIFSTOPPED(status)\nos.kill(process.pid, signal.SIGCONT)\n"
    helper += "_, status = os.waitpid(process.pid, 0)\nprint('ended', os.waitstatus_to_exitcode(status))"
    environ = os.environ | {"JOBRUNNER_FAILPOINT": "here:stop:2", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", helper, stopping], env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["1", "2", "3", "ended", "0"], done.stderr


def test_only_this_package_looks_up_variables() -> None:
    package = Path(__file__).parents[2] / "jobrunner"
    lookup = re.compile(r"getenv|environb?\.get\(|environb?\[[^]]*\](?!\s*=[^=])")
    readers = {
        path.relative_to(package).parts[0]
        for path in package.rglob("*.py")
        if lookup.search(path.read_text(encoding="utf-8"))
    }
    assert readers == {"settings"}
