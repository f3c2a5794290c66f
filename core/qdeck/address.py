"""Server URLs: parsing, the rules for what they may hold, and masking of what must not be shown.

Owns the URL grammar; opens nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from qdeck.errors import SettingsError

__all__ = ["SCHEMES", "Address", "mask", "parse_address"]

SCHEMES: Mapping[str, str] = {
    "embedded": "embedded",
    "memory": "memory",
    "sync": "sync",
    "redis": "redis",
    "rediss": "redis",
    "unix": "unix",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}

_PORTS = {"redis": 6379, "cluster": 6379, "sentinel": 26379}
_FORMS = (
    "redis://, rediss://, unix://, redis+sentinel://, redis+cluster://, embedded://, memory://, "
    "sync://"
)
_TLS_TEXT = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password")
_TLS = ("ssl_cert_reqs", "ssl_check_hostname", *_TLS_TEXT)
_TIMES = ("socket_timeout", "socket_connect_timeout")
_Wrong = Callable[[str], SettingsError]
_SECRET = re.compile(r"([?&]\w*(?:pass|secret|token)\w*=)[^&]*", re.IGNORECASE)
_FLAGS = {"true": True, "1": True, "yes": True, "on": True}
_FLAGS |= {"false": False, "0": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed URL; `options` are keyword arguments of redis-py's connections.

    `kind` is one of embedded, memory, sync, redis, unix, sentinel, cluster. `sentinel_options`
    holds the credentials for the sentinels themselves.
    """

    kind: str
    masked: str
    tls: bool = False
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, object] = field(default_factory=dict, repr=False)
    sentinel_options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every text of this URL that a message must not show."""
        found = [self.password, self.options.get("ssl_password"), *self.sentinel_options.values()]
        return tuple(str(value) for value in found if value)


def mask(url: str) -> str:
    """Returns the URL with its password, also one in the query, replaced by `***`.

    A password with characters that should have been quoted is hidden whole: rather too much than
    too little.
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "", url
    rest = _SECRET.sub(r"\1***", rest)
    netloc = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in rest[len(netloc) :] and (":" in netloc or not mark):
        netloc = rest[: rest.rindex("@") + 1]
    if "@" in netloc:
        credentials, _, host = netloc.rpartition("@")
        user, colon, _ = credentials.partition(":")
        shown = f"{user}:***@{host}" if colon else f"{user}@{host}"
        rest = shown + rest[len(netloc) :]
    return f"{scheme}{mark}{rest}"


def parse_address(url: str, *, origin: str = "url") -> Address:
    """Parses a server URL; raises SettingsError with `origin`, the part and what is allowed."""
    shown = mask(url)

    def wrong(what: str) -> SettingsError:
        return SettingsError(f"{origin} = {shown!r}: {what}")

    scheme, mark, _ = url.partition("://")
    scheme = scheme.lower()
    if not mark or scheme not in SCHEMES:
        raise wrong(f"the URL must start with one of {_FORMS}")
    kind = SCHEMES[scheme]
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise wrong(f"not a URL ({error}); quote special characters of a password") from None
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if kind in ("embedded", "memory", "sync"):
        if parts.netloc or query or (kind != "embedded" and parts.path.strip("/")):
            form = (
                "embedded:// or embedded:///path/to/folder" if kind == "embedded" else f"{kind}://"
            )
            raise wrong(f"write {form}")
        return Address(kind, shown, path=unquote(parts.path) if parts.path != "/" else "")

    credentials, at, netloc = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    address_user = (unquote(user) if at else "") or query.pop("username", "")
    address_password = (unquote(password) if at else "") or query.pop("password", "")
    tls = scheme.startswith("rediss")
    service, path, db_text = "", "", query.pop("db", "")
    hosts: tuple[tuple[str, int], ...] = ()
    if kind == "unix":
        path = unquote(netloc + parts.path)
        if not path.startswith("/"):
            raise wrong("write unix:///path/to/socket with an absolute path")
    else:
        hosts = _hosts(netloc, _PORTS[kind], wrong)
        words = [unquote(word) for word in parts.path.split("/") if word]
        if kind == "sentinel":
            if not words:
                raise wrong("the service is missing: redis+sentinel://h1:26379,h2:26379/service/0")
            service = words.pop(0)
        elif kind == "redis" and len(hosts) > 1:
            raise wrong("several hosts need redis+sentinel:// or redis+cluster://")
        if words:
            db_text = words.pop(0)
        if words:
            raise wrong(f"nothing may follow the database, {'/'.join(words)!r} does")
    if db_text and not (db_text.isascii() and db_text.isdigit()):
        raise wrong(f"the database must be a number, it is {db_text!r}")
    db = int(db_text or 0)
    if kind == "cluster" and db:
        raise wrong("a cluster has only database 0")
    sentinel = {
        name.removeprefix("sentinel_"): query.pop(name)
        for name in ("sentinel_username", "sentinel_password")
        if kind == "sentinel" and name in query
    }
    return Address(
        kind,
        shown,
        tls,
        hosts,
        path,
        service,
        db,
        address_user or None,
        address_password or None,
        _options(query, tls, wrong),
        sentinel,
    )


def _hosts(netloc: str, port: int, wrong: _Wrong) -> tuple[tuple[str, int], ...]:
    found: list[tuple[str, int]] = []
    for word in netloc.split(",") if netloc else ["localhost"]:
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]\s]+)?(?::(\d{1,5}))?", word)
        if match is None or (match[1] is None and match[2] is None):
            raise wrong(f"{word!r} is not host:port; quote special characters of a password")
        number = int(match[2]) if match[2] else port
        if not 1 <= number <= 65535:
            raise wrong(f"port {number} is not between 1 and 65535")
        found.append(((match[1] or "localhost").strip("[]"), number))
    return tuple(found)


def _options(query: dict[str, str], tls: bool, wrong: _Wrong) -> dict[str, object]:
    options: dict[str, object] = {}
    for name, text in query.items():
        if name in _TIMES:
            try:
                seconds = float(text)
            except ValueError:
                seconds = 0.0
            if not 0 < seconds <= 3600:
                raise wrong(f"{name} must be seconds between 0 and 3600, it is {text!r}")
            options[name] = seconds
        elif name == "client_name":
            options[name] = text
        elif name not in _TLS:
            allowed = ", ".join(("db", "username", "password", "client_name", *_TIMES, *_TLS))
            raise wrong(f"unknown option {name!r}; allowed are {allowed}")
        elif not tls:
            raise wrong(f"{name} needs TLS: write rediss:// (or rediss+sentinel, rediss+cluster)")
        elif name == "ssl_cert_reqs":
            level = text.lower().removeprefix("cert_")
            if level not in ("required", "optional", "none"):
                raise wrong(f"ssl_cert_reqs must be required, optional or none, it is {text!r}")
            options[name] = level
            if level == "none":
                options.setdefault("ssl_check_hostname", False)
        elif name == "ssl_check_hostname":
            if text.lower() not in _FLAGS:
                raise wrong(f"ssl_check_hostname must be true or false, it is {text!r}")
            options[name] = _FLAGS[text.lower()]
        else:
            if name != "ssl_password" and not Path(text).exists():
                raise wrong(f"{name}: there is no {text!r}")
            options[name] = text
    return options
