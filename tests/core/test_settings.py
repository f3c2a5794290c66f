"""Settings: where they come from, what they may be, and how a wrong one is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qdeck.errors import SettingsError
from qdeck.settings import Limit, Settings, check_name, load_settings, mask


def load(place: Path, environ: dict[str, str] | None = None, **arguments: Any) -> Settings:
    """Loads with nothing of this machine in it; `config.toml` lies in the place too."""
    return load_settings(
        cwd=place, environ=environ or {}, user_config=place / "config.toml", **arguments
    )


def test_the_defaults_are_those_of_the_design(tmp_path: Path) -> None:
    found = load(tmp_path)
    assert found.connection == "embedded"
    assert found.url is None
    assert (found.default, found.name, found.block_timeout) == ("default", (), 5.0)
    assert (found.max_concurrent, found.workers, found.enabled) == (10, 1, True)
    assert (found.max_retries, found.retry_backoff, found.timeout) == (3, 1.0, 300.0)
    assert (found.lease, found.grace, found.durability) == (15.0, 30.0, None)
    assert (found.keep_completed, found.keep_completed_max) == (86400.0, 10_000)
    assert (found.keep_dead, found.keep_dead_max) == (30 * 86400.0, 100_000)
    assert found.project == tmp_path.resolve()


def test_each_source_beats_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("lease = 20\ngrace = 1\nworkers = 2\nmax_retries = 1")
    (tmp_path / "qdeck.toml").write_text("grace = 2\nworkers = 3\nmax_retries = 2")
    environ = {"QUEUE_WORKERS": "4", "QUEUE_MAX_RETRIES": "5"}
    found = load(tmp_path, environ, max_retries=6)
    assert (found.lease, found.grace, found.workers, found.max_retries) == (20, 2, 4, 6)
    assert [found.sources[name] for name in ("lease", "grace", "workers", "max_retries")] == [
        "config.toml",
        "qdeck.toml",
        "QUEUE_WORKERS",
        "argument",
    ]
    assert found.sources.get("timeout", "default") == "default"


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("QUEUE_CONNECTION", "memory", "connection", "memory"),
        ("QUEUE_DEFAULT", "mails", "default", "mails"),
        ("QUEUE_PREFIX", "shop", "prefix", "shop"),
        ("QUEUE_NAME", "critical, default:3", "name", ("critical", "default:3")),
        ("QUEUE_BLOCK_TIMEOUT", "2.5", "block_timeout", 2.5),
        ("QUEUE_MAX_CONCURRENT", "20", "max_concurrent", 20),
        ("QUEUE_WORKERS", "3", "workers", 3),
        ("QUEUE_ENABLED", "off", "enabled", False),
        ("QUEUE_MAX_RETRIES", "0", "max_retries", 0),
        ("QUEUE_RETRY_BACKOFF", "0.5", "retry_backoff", 0.5),
        ("QUEUE_TIMEOUT", "60", "timeout", 60.0),
        ("QUEUE_LEASE", "30", "lease", 30.0),
        ("QUEUE_GRACE", "0", "grace", 0.0),
        ("QUEUE_DURABILITY", "fsync", "durability", "fsync"),
        ("QUEUE_ALLOW_EVICTION", "yes", "allow_eviction", True),
        ("QUEUE_MAX_SIZE", "5", "max_size", 5),
        ("QUEUE_APP", "app.py:deck,other:deck", "app", ("app.py:deck", "other:deck")),
        ("QUEUE_SERVER_BINARY", "/bin/true", "server_binary", Path("/bin/true")),
        ("REDIS_URL", "redis://h:1/2", "url", "redis://h:1/2"),
    ],
)
def test_every_variable_has_an_effect(
    tmp_path: Path, variable: str, text: str, name: str, value: object
) -> None:
    found = load(tmp_path, {variable: text})
    assert getattr(found, name) == value
    assert found.sources[name] == variable


@pytest.mark.parametrize("word", ["true", "1", "yes", "on", "TRUE", "On"])
def test_a_switch_takes_the_words_for_true(tmp_path: Path, word: str) -> None:
    (tmp_path / "qdeck.toml").write_text("enabled = false")
    assert load(tmp_path, {"QUEUE_ENABLED": word}).enabled is True


@pytest.mark.parametrize("word", ["false", "0", "no", "off", "No"])
def test_a_switch_takes_the_words_for_false(tmp_path: Path, word: str) -> None:
    assert load(tmp_path, {"QUEUE_ENABLED": word}).enabled is False


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("QUEUE_CONNECTION", "rabbit", "embedded, memory, redis, sync"),
        ("QUEUE_ENABLED", "maybe", "true, false, 1, 0, yes, no, on, off"),
        ("QUEUE_DURABILITY", "much", "replica, fsync, none"),
        ("QUEUE_MAX_CONCURRENT", "0", "from 1 to 10000"),
        ("QUEUE_MAX_CONCURRENT", "2.5", "a whole number"),
        ("QUEUE_WORKERS", "1e3", "a whole number"),
        ("QUEUE_TIMEOUT", "nan", "a number from 0.01 to 2592000"),
        ("QUEUE_TIMEOUT", "inf", "a number from"),
        ("QUEUE_LEASE", "soon", "a number from"),
        ("QUEUE_LEASE", "-1", "a number from"),
        ("QUEUE_PREFIX", "a b", "letters, digits"),
        ("QUEUE_NAME", "ok,no/good", "queue name 'no/good'"),
        ("QUEUE_NAME", "ok:0", "weight from 1 to 1000"),
        ("REDIS_URL", "http://h", "redis://, rediss://"),
        ("REDIS_URL", "redis://h:99999", "port 99999"),
        ("REDIS_URL", "redis://h/one", "'one'"),
        ("REDIS_URL", "redis://h?colour=red", "unknown option 'colour'"),
        ("REDIS_URL", "redis://h?ssl_cert_reqs=none", "rediss://"),
        ("REDIS_URL", "redis+sentinel://h:1", "the service is missing"),
        ("REDIS_URL", "redis+cluster://h:1/3", "only database 0"),
        ("REDIS_URL", "redis://a,b", "redis+sentinel:// or redis+cluster://"),
        ("REDIS_URL", "unix://relative/path", "absolute path"),
        ("REDIS_PORT", "port", "REDIS_PORT"),
        ("REDIS_DATABASE", "-1", "REDIS_DATABASE"),
    ],
)
def test_an_unknown_value_stops_with_the_allowed_ones_named(
    tmp_path: Path, variable: str, text: str, said: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, {variable: text})
    assert variable in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_key_of_a_file_is_named_with_the_nearest_known(tmp_path: Path) -> None:
    (tmp_path / "qdeck.toml").write_text("max_concurent = 5")
    with pytest.raises(SettingsError, match=r"'max_concurent'.*qdeck\.toml.*'max_concurrent'"):
        load(tmp_path)


def test_the_users_own_tables_are_for_the_users_file_only(tmp_path: Path) -> None:
    text = 'theme = "dusk"\nzone = "UTC"\n[keys]\n[profiles.shop]\nurl = "redis://h"'
    (tmp_path / "config.toml").write_text(text)
    assert load(tmp_path).connection == "embedded"
    (tmp_path / "qdeck.toml").write_text(text)
    with pytest.raises(SettingsError, match="unknown setting 'theme'"):
        load(tmp_path)


def test_a_broken_file_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "qdeck.toml").write_text("lease = 1\nlease =\n")
    with pytest.raises(SettingsError, match=r"qdeck\.toml is not valid TOML.*line 2"):
        load(tmp_path)


def test_an_unknown_variable_is_told_once_with_the_nearest_known(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environ = {"QUEUE_MAX_CONCURENT": "3", "QUEUE_QUITE_ANOTHER_APP": "x", "QUEUE_GRACE": "5"}
    assert load(tmp_path, environ).grace == 5
    load(tmp_path, environ)
    first, second = (record.getMessage() for record in caplog.records)
    assert first == (
        "environment variable QUEUE_MAX_CONCURENT has no effect; did you mean QUEUE_MAX_CONCURRENT?"
    )
    assert second.startswith("environment variable QUEUE_QUITE_ANOTHER_APP has no effect; `qdeck")


def test_an_unknown_argument_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="unknown argument 'prefx'; did you mean 'prefix'"):
        load(tmp_path, prefx="a")


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    assert load(tmp_path, {"QUEUE_PREFIX": "", "REDIS_URL": ""}).connection == "embedded"


def test_limits_come_from_tables(tmp_path: Path) -> None:
    (tmp_path / "qdeck.toml").write_text("[limits.mails]\nlimit = 3\nrate = 1.5\n[check]\ndead = 1")
    found = load(tmp_path)
    assert found.limits == {"mails": Limit(3, 1.5)}
    assert found.check == {"dead": 1}
    assert ("limits.mails", "limit 3, rate 1.5", "qdeck.toml") in found.describe()
    assert load(tmp_path, limits={"mails": Limit(1)}).limits == {"mails": Limit(1, None)}
    for wrong in ("[limits.mails]\nlimit = 0", "[limits.mails]\nspeed = 1", "limits = 3"):
        (tmp_path / "qdeck.toml").write_text(wrong)
        with pytest.raises(SettingsError, match="limits"):
            load(tmp_path)


def test_a_url_implies_its_connection(tmp_path: Path) -> None:
    assert load(tmp_path, url="redis://h").connection == "redis"
    assert load(tmp_path, url="memory://").connection == "memory"
    assert load(tmp_path, url="sync://").connection == "sync"
    assert load(tmp_path, {"REDIS_HOST": "h"}).connection == "redis"
    (tmp_path / "qdeck.toml").write_text('connection = "memory"')
    assert load(tmp_path, {"REDIS_URL": "redis://h"}).connection == "redis"


def test_queue_connection_beats_a_url(tmp_path: Path) -> None:
    found = load(tmp_path, {"REDIS_URL": "redis://h", "QUEUE_CONNECTION": "memory"})
    assert (found.connection, found.url) == ("memory", None)
    found = load(tmp_path, {"REDIS_HOST": "h", "QUEUE_CONNECTION": "embedded"})
    assert (found.connection, found.url) == ("embedded", None)


def test_redis_without_a_url_is_the_local_one(tmp_path: Path) -> None:
    assert load(tmp_path, connection="redis").url == "redis://localhost:6379/0"
    found = load(tmp_path, {"QUEUE_CONNECTION": "redis", "REDIS_PORT": "6380"})
    assert found.url == "redis://localhost:6380/0"


def test_redis_with_a_url_of_no_redis_is_a_contradiction(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="names no Redis server"):
        load(tmp_path, {"QUEUE_CONNECTION": "redis", "REDIS_URL": "memory://"})


def test_redis_url_wins_over_its_parts(tmp_path: Path) -> None:
    parts = {"REDIS_HOST": "h", "REDIS_PORT": "1", "REDIS_PASSWORD": "p@/x", "REDIS_DATABASE": "2"}
    assert load(tmp_path, parts).url == "redis://:p%40%2Fx@h:1/2"
    assert load(tmp_path, parts).address.password == "p@/x"
    assert load(tmp_path, {**parts, "REDIS_URL": "redis://other"}).url == "redis://other"
    assert load(tmp_path, {"REDIS_HOST": "::1"}).address.hosts == (("::1", 6379),)


def test_a_password_variable_completes_the_url_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "qdeck.toml").write_text('url = "redis://shop@h/1"')
    address = load(tmp_path, {"REDIS_PASSWORD": "secret"}).address
    assert (address.username, address.password, address.db) == ("shop", "secret", 1)


def test_an_embedded_prefix_belongs_to_its_project(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "My Shop!").mkdir(parents=True)
    first = load(tmp_path / "one" / "My Shop!").prefix
    second = load(tmp_path / "two" / "My Shop!").prefix
    assert first != second
    assert first.rpartition("-")[0] == second.rpartition("-")[0] == "My-Shop"
    assert len(first.rpartition("-")[2]) == 4
    check_name("prefix", first)
    assert load(tmp_path, {"QUEUE_PREFIX": "mine"}).prefix == "mine"
    assert load(tmp_path, url="redis://h").prefix == "qdeck"


def test_the_project_is_the_folder_with_the_nearest_file(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "a" / "qdeck.toml").write_text("lease = 33")
    found = load(deep)
    assert (found.project, found.lease) == ((tmp_path / "a").resolve(), 33)
    (tmp_path / "a").chmod(0o777)
    assert load(deep).lease == 15, "a folder that everyone may write is not trusted"


def test_an_embedded_url_may_name_its_folder(tmp_path: Path) -> None:
    assert load(tmp_path, url=f"embedded://{tmp_path}/data").folder == tmp_path / "data"
    folder = load(tmp_path, url="embedded://").folder
    assert folder is not None
    assert folder.name == "qdeck"
    with pytest.raises(SettingsError, match="embedded:///path"):
        load(tmp_path, url="embedded://relative/data")


def test_urls_of_many_hosts_are_taken_apart(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        url="rediss+sentinel://u:p%40@h1:1,[::1]:2,h3/main/4?sentinel_password=s&socket_timeout=2",
    ).address
    assert (found.kind, found.tls, found.service, found.db) == ("sentinel", True, "main", 4)
    assert found.hosts == (("h1", 1), ("::1", 2), ("h3", 26379))
    assert (found.username, found.password) == ("u", "p@")
    assert found.sentinel_options == {"password": "s"}
    assert found.options == {"socket_timeout": 2.0}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://user:geheim@h", "redis://user:***@h"),
        ("redis://:geheim@h", "redis://:***@h"),
        ("redis://:geh/eim@h:1/0", "redis://:***@h:1/0"),
        ("redis://:geh@eim@h:1/0", "redis://:***@h:1/0"),
        ("redis://u:p@q#geheim@h:1/0", "redis://u:***@h:1/0"),
        ("u:geheim@h:1/0", "u:***@h:1/0"),
        ("redis:/u:geheim@h:1", "redis:***@h:1"),
        ("redis//u:gehe/im@h:1", "redis//u:***@h:1"),
        ("redis://h?pass=geheim&db=1", "redis://h?pass=***&db=1"),
        ("unix:///s?password=geheim&db=1", "unix:///s?password=***&db=1"),
        ("rediss://h?ssl_password=geheim", "rediss://h?ssl_password=***"),
        ("redis+sentinel://u:geheim@a,b/m", "redis+sentinel://u:***@a,b/m"),
    ],
)
def test_a_password_is_never_shown(tmp_path: Path, url: str, shown: str) -> None:
    assert mask(url) == shown
    assert "geheim" not in shown


def test_tls_options_are_checked_and_kept(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    query = f"ssl_ca_certs={tmp_path}/ca.pem&ssl_cert_reqs=CERT_OPTIONAL&ssl_check_hostname=no"
    address = load(tmp_path, url=f"rediss://h?{query}&ssl_password=geheim&client_name=me").address
    assert address.options == {
        "ssl_ca_certs": f"{tmp_path}/ca.pem",
        "ssl_cert_reqs": "optional",
        "ssl_check_hostname": False,
        "ssl_password": "geheim",
        "client_name": "me",
    }
    assert address.secrets == ("geheim",)
    lax = load(tmp_path, url="rediss://h?ssl_cert_reqs=none").address
    assert lax.options == {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    for query, said in (
        ("ssl_ca_certs=/none/ca.pem", "there is no '/none/ca.pem'"),
        ("ssl_cert_reqs=perhaps", "required, optional or none"),
        ("ssl_check_hostname=perhaps", "true or false"),
        ("socket_timeout=0", "between 0 and 3600"),
        ("socket_timeout=soon", "between 0 and 3600"),
    ):
        with pytest.raises(SettingsError, match=said):
            load(tmp_path, url=f"rediss://h?{query}")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://h/1/2", "nothing may follow"),
        ("redis://h:p:q", "not host:port"),
        ("redis://[::1", "not a URL"),
        ("memory://h", "write memory://"),
        ("redis", "must start with"),
    ],
)
def test_a_url_out_of_form_is_told(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(tmp_path, url=url)


def test_arguments_may_be_values_of_python(tmp_path: Path) -> None:
    found = load(tmp_path, name=["a", "b:2"], enabled=False, server_binary=tmp_path, lease=3)
    assert (found.name, found.enabled, found.server_binary) == (("a", "b:2"), False, tmp_path)
    assert load(tmp_path, durability="none").durability is None
    assert load(tmp_path, max_size=None).max_size == 0
    cases: list[dict[str, Any]] = [
        {"name": 3},
        {"app": [1]},
        {"server_binary": 1},
        {"enabled": []},
        {"lease": True},
        {"url": 3},
    ]
    for wrong in cases:
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            load(tmp_path, **wrong)


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "qdeck.toml").write_bytes(b"app = '\xff'")
    with pytest.raises(SettingsError, match="not valid TOML"):
        load(tmp_path)
    (tmp_path / "qdeck.toml").write_text("check = 3")
    with pytest.raises(SettingsError, match="must be a table"):
        load(tmp_path)


def test_describe_tells_value_and_source_without_secrets(tmp_path: Path) -> None:
    found = load(tmp_path, {"REDIS_URL": "redis://:geheim@h", "QUEUE_NAME": "a,b"})
    rows = {name: (value, source) for name, value, source in found.describe()}
    assert rows["url"] == ("redis://:***@h", "REDIS_URL")
    assert rows["name"] == ("a,b", "QUEUE_NAME")
    assert rows["lease"] == ("15", "default")
    assert "geheim" not in repr(found)
    assert "geheim" not in str(found.describe())


@pytest.mark.parametrize("name", ["a", "A-z_0.9", "x" * 100])
def test_a_usable_name_is_returned(name: str) -> None:
    assert check_name("queue", name) == name


@pytest.mark.parametrize("name", ["", "x" * 101, "a b", "a:b", "ä", "a\n", "{a}", None, 3])
def test_any_other_name_is_refused_with_the_rule(name: object) -> None:
    with pytest.raises(SettingsError, match="letters, digits"):
        check_name("queue", name)


def test_task_and_schedule_names_may_hold_a_colon() -> None:
    assert check_name("task", "mail:send") == "mail:send"
    assert check_name("schedule", "a:b") == "a:b"


def test_importing_settings_imports_no_redis() -> None:
    code = "import sys, qdeck.settings as s; s.load_settings(environ={})"
    code += "; print('redis' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout.strip() == "False"
