"""The house: each file imports only what stands to its right, and what is kept out stays out."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
ENGINE = ROOT / "core" / "qdeck"
CONSOLE = ROOT / "tui" / "qdeck_tui"


def in_order(text: str) -> list[str]:
    """Returns the words of a text, from left to right."""
    return text.split()


#: Every module of the engine; each imports only those after it.
ENGINE_ORDER = in_order("""
    __main__ cli
    demo
    worker heart presence runs reports upkeep execute processes child wait line courier
    orphans ticker
    operator insightdesk scheduledesk scheduleverbs scheduletoml timetable slotruns
    recorddesk jobdesk crewdesk bulkdesk desk
    journal explain ties metrics lifetime checkup
    history likeness events serverlook causes
    status verdict phrase pages tasktable overview scan detail freezing bulk opview
    groups listing glimpse crew reader rights
    operation removal app deck inquiry testing inline invoke handle classtask signature
    lookup copies declare schedule producer flow link logs steps queue ledger outcome
    scripts
    connection private cluster slots durability lane dial clients wire facts failures server binary
    flock ping
    patching task plan terms payload context query record links keys job settings address
    options backoff
    stats
    ahead cronpreview cronlint cronwords cron cronfield zone
    visible ending lifeline stacks processor admin errors __init__
""")

#: Every module of the console, likewise; `screens` (but its base) and `widgets` are one place each.
CONSOLE_ORDER = in_order("""
    __main__ launch tour app commands acts prompt keyboard typeahead framing shell look verbs
    screens
    dispatch screens.base widgets desk actions poller scout
    delta frames lifetime colourless driver packets terminal editor
    supervisor inprocess childworker envfile output options choices profiles local
    turns clipboard palette themes spread format __init__
""")

#: Imports to the left, made inside a function when they are asked for.
LATE = {
    ("deck", "worker"),
    ("deck", "operator"),
    ("deck", "testing"),
    ("task", "flow"),
}

#: Files that speak to the server through redis-py, or name its errors.
CONNECTION_LAYER = {
    "clients",
    "cluster",
    "connection",
    "dial",
    "durability",
    "failures",
    "heart",
    "lane",
    "link",
    "scripts",
    "slots",
    "wait",
    "wire",
}

#: What the console takes from the engine besides `qdeck.admin`.
DOORS = {
    "__main__": {"cli", "ending", "visible"},
    "launch": {"deck", "ending", "errors", "settings"},
    "scout": {"deck", "server", "settings"},
    "tour": {"demo"},
    "supervisor": {"app", "deck", "errors"},
    "inprocess": {"deck", "queue", "record", "worker"},
    "childworker": {"lifeline"},
}

#: Files that read the environment: settings for all, and what concerns the terminal or a child.
READERS = {
    "core/qdeck/settings.py",
    "core/qdeck/__main__.py",
    "core/qdeck/cli/doctor.py",
    "core/qdeck/cli/fleet.py",
    "tui/qdeck_tui/__main__.py",
    "tui/qdeck_tui/clipboard.py",
    "tui/qdeck_tui/delta.py",
    "tui/qdeck_tui/launch.py",
    "tui/qdeck_tui/tour.py",
    "tui/qdeck_tui/childworker.py",
}


class Import(NamedTuple):
    """One import of a package's module: who, of what, inside a function, for type checkers only."""

    source: str
    target: str
    late: bool
    typing: bool


def place(path: Path, root: Path) -> str:
    """Returns the module of a file, or the folder that it lies in (a folder's base is apart)."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:2]) if parts[-1] == "base" else parts[0]


def named(node: ast.AST) -> Iterator[str]:
    """Yields the dotted names that a statement imports."""
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        if "." in node.module:
            yield node.module
        else:
            yield from (f"{node.module}.{name.name}" for name in node.names)


@cache
def tree(path: Path) -> ast.Module:
    """Returns the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> list[tuple[str, bool, bool]]:
    """Returns (dotted name, inside a function, for type checkers only) of a file's imports."""

    def walk(node: ast.AST, late: bool, typing: bool) -> Iterator[tuple[str, bool, bool]]:
        for child in ast.iter_child_nodes(node):
            yield from ((name, late, typing) for name in named(child))
            function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
            checking = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            yield from walk(child, late or function, typing or checking)

    return list(walk(tree(path), False, False))


def inner(root: Path) -> Iterator[Import]:
    """Yields the imports between modules of a package."""
    for path in sorted(root.rglob("*.py")):
        source = place(path, root)
        for name, late, typing in imports(path):
            head, _, rest = name.partition(".")
            target = rest.partition(".")[0]
            if head != root.name:
                continue
            if rest.startswith(f"{target}.base"):
                target = f"{target}.base"
            elif not (root / f"{target}.py").exists() and not (root / target).is_dir():
                target = "__init__"
            if target != source:
                yield Import(source, target, late, typing)


def modules(root: Path) -> set[str]:
    """Returns all modules of a package."""
    return {place(path, root) for path in root.rglob("*.py")}


@pytest.mark.parametrize(
    ("root", "order"), [(ENGINE, ENGINE_ORDER), (CONSOLE, CONSOLE_ORDER)], ids=["engine", "console"]
)
def test_each_module_stands_in_the_list_once(root: Path, order: list[str]) -> None:
    assert sorted(order) == sorted(modules(root))


@pytest.mark.parametrize(
    ("root", "order"), [(ENGINE, ENGINE_ORDER), (CONSOLE, CONSOLE_ORDER)], ids=["engine", "console"]
)
def test_each_module_imports_only_what_stands_to_its_right(root: Path, order: list[str]) -> None:
    rank = {name: number for number, name in enumerate(order)}
    wrong = {
        f"{each.source} imports {each.target}"
        for each in inner(root)
        if not each.typing
        and rank[each.source] > rank[each.target]
        and not (each.late and (each.source, each.target) in LATE)
    }
    assert wrong == set()


def test_the_exceptions_are_needed() -> None:
    made = {(each.source, each.target) for each in inner(ENGINE) if each.late and not each.typing}
    assert made >= LATE


def test_the_console_knows_of_the_engine_only_its_admin_protocol_and_a_few_doors() -> None:
    for path in sorted(CONSOLE.rglob("*.py")):
        source = place(path, CONSOLE)
        for name, _, _ in imports(path):
            head, _, rest = name.partition(".")
            if head == "qdeck":
                allowed = {"admin"} | DOORS.get(source, set())
                assert rest.partition(".")[0] in allowed, (source, name)
            assert head not in ("redis", "hiredis"), (source, name)


def test_only_the_connection_layer_imports_a_redis_client() -> None:
    found = set()
    for path in sorted(ENGINE.rglob("*.py")):
        for name, _, _ in imports(path):
            if name.partition(".")[0] in ("redis", "hiredis"):
                found.add(place(path, ENGINE))
    assert found == CONNECTION_LAYER


def test_the_engine_and_its_command_line_know_no_terminal_library() -> None:
    for path in sorted(ENGINE.rglob("*.py")):
        for name, _, _ in imports(path):
            assert name.partition(".")[0] not in ("textual", "rich", "qdeck_tui"), path.name


def test_workers_never_import_the_operators_door() -> None:
    links: dict[str, set[str]] = {}
    for each in inner(ENGINE):
        if not each.typing and (each.source, each.target) not in LATE:
            links.setdefault(each.source, set()).add(each.target)
    for start in ("worker", "upkeep", "execute"):
        reached, waiting = set(), [start]
        while waiting:
            module = waiting.pop()
            if module not in reached:
                reached.add(module)
                waiting += links.get(module, ())
        assert not reached & {"admin", "operator", "reader", "cli"}, start


def loaded_after(statement: str) -> set[str]:
    """Returns the modules that a fresh process has loaded after a statement."""
    path = [str(ROOT / name) for name in ("core", "tui", "themes")]
    program = f"import sys; sys.path[:0] = {path!r}; {statement}; print(*sys.modules)"
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import qdeck", "import qdeck.admin"])
def test_the_protocol_loads_neither_the_engine_nor_a_client(statement: str) -> None:
    loaded = loaded_after(statement)
    assert not loaded & {"redis", "hiredis", "msgspec", "textual", "rich", "asyncio", "qdeck.deck"}


def test_a_deck_and_the_command_line_load_no_console() -> None:
    for statement in ("import qdeck.deck", "import qdeck.cli", "import qdeck.cli.program"):
        loaded = loaded_after(statement)
        assert not loaded & {"textual", "rich", "qdeck_tui"}, statement
    assert not loaded_after("import qdeck.worker") & {"qdeck.admin", "qdeck.operator"}


def test_nothing_but_settings_reads_the_environment() -> None:
    found = set()
    for root in (ENGINE, CONSOLE):
        for path in sorted(root.rglob("*.py")):
            for node in ast.walk(tree(path)):
                environ = isinstance(node, ast.Attribute) and node.attr in ("environ", "environb")
                getenv = isinstance(node, ast.Attribute) and node.attr == "getenv"
                if environ or getenv:
                    found.add(path.relative_to(ROOT).as_posix())
    assert found <= READERS


def test_no_source_file_is_longer_than_400_lines() -> None:
    files = [path for root in ("core", "tui") for path in (ROOT / root).rglob("*.py")]
    files += ENGINE.rglob("*.lua")
    long = {}
    for path in files:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > 400:
            long[path.name] = lines
    assert long == {}


def test_key_names_are_spelled_in_keys_alone() -> None:
    spelled = set()
    for path in sorted(ENGINE.rglob("*.py")):
        for node in ast.walk(tree(path)):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and text.startswith(("{", "}:")) and text.endswith(":"):
                spelled.add(place(path, ENGINE))
    assert spelled <= {"keys"}
