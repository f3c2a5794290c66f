"""Settings: one place that reads files, environment and arguments, validated once at the start.

Defaults < user `config.toml` < project `qdeck.toml` < environment < arguments. Nothing else reads
the environment, and nothing reads it later. An empty variable counts as not set.
"""

from __future__ import annotations

import difflib
import hashlib
import logging
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from qdeck.address import Address, mask, parse_address
from qdeck.errors import SettingsError
from qdeck.options import OPTIONS, Limit, check_limits, check_name, check_thresholds

__all__ = [
    "Limit",
    "Settings",
    "check_name",
    "load_settings",
    "mask",
    "parse_address",
    "user_config_path",
    "user_data_path",
]

_REDIS = ("redis", "unix", "sentinel", "cluster")
_PARTS = ("REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "REDIS_DATABASE")
_USER_ONLY = ("theme", "zone", "keys", "profiles")
_TABLES = ("limits", "check")

_log = logging.getLogger("qdeck.settings")
#: Variables that this process has warned of; it says each once, however many decks it makes.
_warned: set[str] = set()


@dataclass(frozen=True, slots=True)
class Settings:
    """Every effective setting; times in seconds, sizes in bytes, 0 means none where it may be 0.

    `sources` tells for each name where its value came from.
    """

    connection: str = "embedded"
    url: str | None = field(default=None, repr=False)
    folder: Path | None = None
    prefix: str = "qdeck"
    default: str = "default"
    name: tuple[str, ...] = ()
    block_timeout: float = 5.0
    max_concurrent: int = 10
    workers: int = 1
    enabled: bool = True
    max_retries: int = 3
    retry_backoff: float = 1.0
    timeout: float = 300.0
    lease: float = 15.0
    grace: float = 30.0
    durability: str | None = None
    allow_eviction: bool = False
    keep_completed: float = 86400.0
    keep_completed_max: int = 10_000
    keep_dead: float = 2592000.0
    keep_dead_max: int = 100_000
    unknown_task_grace: float = 600.0
    max_size: int = 0
    log_budget: int = 268435456
    stuck_exit: float = 300.0
    server_binary: Path | None = None
    app: tuple[str, ...] = ()
    limits: Mapping[str, Limit] = field(default_factory=dict)
    check: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    project: Path = field(default_factory=Path.cwd)

    @property
    def address(self) -> Address:
        """The server as a parsed URL."""
        if self.url is not None:
            return parse_address(self.url)
        if self.connection == "embedded" and self.folder is not None:
            return Address("embedded", f"embedded://{self.folder}", path=str(self.folder))
        return parse_address(f"{self.connection}://")

    def describe(self) -> list[tuple[str, str, str]]:
        """Returns (name, value as text with secrets masked, source) for every setting."""
        rows = []
        for spec in fields(self):
            if spec.name in ("sources", "project", "limits", "check"):
                continue
            value = getattr(self, spec.name)
            rows.append((spec.name, _show(value), self.sources.get(spec.name, "default")))
        for queue, limit in sorted(self.limits.items()):
            shown = f"limit {_show(limit.limit)}, rate {_show(limit.rate)}"
            rows.append((f"limits.{queue}", shown, self.sources.get(f"limits.{queue}", "argument")))
        rows.extend(
            (f"check.{name}", _show(value), self.sources.get(f"check.{name}", "argument"))
            for name, value in sorted(self.check.items())
        )
        return rows


def load_settings(
    url: str | None = None,
    *,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    user_config: Path | None = None,
    **arguments: Any,
) -> Settings:
    """Reads every source once and returns what holds.

    An argument that is None counts as not given. Raises SettingsError: one line with the setting,
    its value, where it came from and what is allowed.
    """
    place = (cwd or Path.cwd()).resolve()
    environ = os.environ if environ is None else environ
    toml = _find_project(place)
    layers = _Layers()
    layers.add_file(user_config or user_config_path(), "config.toml", _USER_ONLY)
    if toml is not None:
        layers.add_file(toml, "qdeck.toml", ())
    layers.add_environment(environ)
    layers.add_arguments({"url": url, **arguments})
    return layers.settle(toml.parent if toml else place)


def user_config_path() -> Path:
    """The user's `config.toml`, whether it exists or not."""
    import platformdirs

    return Path(platformdirs.user_config_dir("qdeck")) / "config.toml"


def user_data_path() -> Path:
    """The folder of the embedded server's data, whether it exists or not."""
    import platformdirs

    return Path(platformdirs.user_data_dir("qdeck"))


class _Layers:
    """Values collected from the sources, lowest first; a later one replaces an earlier one."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}
        self.limits: dict[str, Limit] = {}
        self.check: dict[str, Any] = {}
        self.parts: dict[str, str] = {}

    def add(self, row: dict[str, tuple[Any, str, str]]) -> None:
        """Takes one layer: name → (raw value, how an error calls it, source)."""
        for name, (raw, label, source) in row.items():
            if name == "url":
                value: Any = _text(label, raw)
                if "connection" not in row:
                    kind = parse_address(value, origin=label).kind
                    self.values["connection"] = "redis" if kind in _REDIS else kind
                    self.sources["connection"] = source
            else:
                value = OPTIONS[name](label, raw)
            self.values[name] = value
            self.sources[name] = source

    def add_file(self, path: Path, source: str, extra: tuple[str, ...]) -> None:
        if not path.is_file():
            return
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path} is not valid TOML: {error}") from None
        row = {}
        for name, raw in table.items():
            label = f"{name} in {path}"
            if name in OPTIONS or name == "url":
                row[name] = (raw, label, source)
            elif name == "limits":
                for queue, limit in check_limits(raw, str(path)).items():
                    self.limits[queue] = limit
                    self.sources[f"limits.{queue}"] = source
            elif name == "check":
                self.check |= check_thresholds(raw, str(path))
                self.sources |= {f"check.{key}": source for key in raw}
            elif name not in extra:
                raise _unknown("setting", name, str(path), ("url", *OPTIONS, *_TABLES, *extra))
        self.add(row)

    def add_environment(self, environ: Mapping[str, str]) -> None:
        row = {}
        for name in OPTIONS:
            variable = f"QUEUE_{name.upper()}"
            if environ.get(variable):
                row[name] = (environ[variable], variable, variable)
        _warn_unknown(environ)
        if environ.get("REDIS_URL"):
            row["url"] = (environ["REDIS_URL"], "REDIS_URL", "REDIS_URL")
        else:
            self.parts = {part: environ[part] for part in _PARTS if environ.get(part)}
            _check_parts(self.parts)
            if "REDIS_HOST" in self.parts:
                row["url"] = (_compose(self.parts), "REDIS_HOST", "REDIS_HOST")
        self.add(row)

    def add_arguments(self, arguments: Mapping[str, Any]) -> None:
        row = {}
        for name, raw in arguments.items():
            if raw is None:
                continue
            if name == "limits":
                for queue, limit in check_limits(raw, "the argument limits").items():
                    self.limits[queue] = limit
                    self.sources[f"limits.{queue}"] = "argument"
            elif name in OPTIONS or name == "url":
                row[name] = (raw, name, "argument")
            else:
                raise _unknown("argument", name, "", ("url", *OPTIONS, "limits"))
        self.add(row)

    def settle(self, project: Path) -> Settings:
        """Decides connection, URL, folder and prefix, which depend on each other."""
        values = self.values
        connection = values.setdefault("connection", "embedded")
        url = values.pop("url", None)
        address = None
        if url is not None:
            origin = self.sources["url"]
            url, address = self._complete(url, parse_address(url, origin=origin))
            kind = "redis" if address.kind in _REDIS else address.kind
            if kind != connection:
                if connection == "redis":
                    raise SettingsError(
                        f"connection is 'redis' ({self.sources['connection']}), but the URL "
                        f"{address.masked} ({origin}) names no Redis server; set one of them"
                    )
                url = address = None
                self.sources.pop("url")
        if connection == "redis" and url is None:
            url = _compose(self.parts)
            self.sources["url"] = next(iter(self.parts), "default")
        if connection == "embedded":
            if address is not None and address.path:
                values["folder"] = Path(address.path)
                self.sources["folder"] = self.sources["url"]
            else:
                values["folder"] = user_data_path()
            if "prefix" not in values:
                values["prefix"] = _project_prefix(project)
        values["url"] = url if connection == "redis" else None
        if connection != "redis":
            self.sources.pop("url", None)
        return Settings(
            **values,
            limits=self.limits,
            check=self.check,
            sources=self.sources,
            project=project,
        )

    def _complete(self, url: str, address: Address) -> tuple[str, Address]:
        """Adds REDIS_PASSWORD to a URL from a file that has none, so that no file holds it."""
        password = self.parts.get("REDIS_PASSWORD")
        if not password or address.password or not self.sources["url"].endswith(".toml"):
            return url, address
        if address.kind not in _REDIS:
            return url, address
        scheme, _, rest = url.partition("://")
        user, at, host = rest.rpartition("@")
        url = f"{scheme}://{user if at else ''}:{quote(password, safe='')}@{host}"
        return url, parse_address(url, origin="url")


def _text(label: str, raw: Any) -> str:
    if not isinstance(raw, str):
        raise SettingsError(f"{label} must be text, it is {raw!r}")
    return raw.strip()


def _check_parts(parts: Mapping[str, str]) -> None:
    for name, top in (("REDIS_PORT", 65535), ("REDIS_DATABASE", 1_000_000)):
        text = parts.get(name)
        if text is not None and not (text.isascii() and text.isdigit() and int(text) <= top):
            raise SettingsError(f"{name} = {text!r} must be a whole number from 0 to {top}")


def _warn_unknown(environ: Mapping[str, str]) -> None:
    """Warn of QUEUE_ variables without an effect: one may be misspelled, or another program's."""
    for variable in environ:
        name = variable.removeprefix("QUEUE_").lower()
        if not variable.startswith("QUEUE_") or name in OPTIONS or variable in _warned:
            continue
        _warned.add(variable)
        near = difflib.get_close_matches(name, OPTIONS, 1)
        hint = "`qdeck config` lists those that have one"
        if near:
            hint = f"did you mean QUEUE_{near[0].upper()}?"
        _log.warning("environment variable %s has no effect; %s", variable, hint)


def _compose(parts: Mapping[str, str]) -> str:
    host = parts.get("REDIS_HOST", "localhost")
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    password = parts.get("REDIS_PASSWORD")
    login = f":{quote(password, safe='')}@" if password else ""
    port, db = parts.get("REDIS_PORT", "6379"), parts.get("REDIS_DATABASE", "0")
    return f"redis://{login}{host}:{port}/{db}"


def _find_project(place: Path) -> Path | None:
    """The nearest qdeck.toml, here or above; a world-writable folder above is not trusted."""
    for folder in (place, *place.parents):
        if folder != place and folder.stat().st_mode & 0o002:
            return None
        if (folder / "qdeck.toml").is_file():
            return folder / "qdeck.toml"
    return None


def _project_prefix(project: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", project.name).strip("-.")[:90] or "project"
    return f"{name}-{hashlib.sha256(os.fsencode(project)).hexdigest()[:4]}"


def _show(value: Any) -> str:
    if value is None or value == ():
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return mask(str(value))


def _unknown(kind: str, name: str, place: str, allowed: tuple[str, ...]) -> SettingsError:
    near = difflib.get_close_matches(name, allowed, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    where = f" in {place}" if place else ""
    return SettingsError(
        f"unknown {kind} {name!r}{where}{hint} (allowed: {', '.join(sorted(set(allowed)))})"
    )
