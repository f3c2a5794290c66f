"""Finds the deck that a word on the command line names: `module:deck` or `path/to/file.py[:deck]`.

It imports the user's module and looks one name up in it; it never opens a connection.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from qdeck.deck import Deck
from qdeck.errors import SettingsError

__all__ = ["load_app"]

DEFAULT_NAME = "deck"


def load_app(spec: str) -> Deck:
    """Import an app and return its deck.

    `spec` is `module:deck` or `path/to/file.py[:deck]`; without a name `deck` is taken, or the only
    deck of the module. A file is imported under its own name with its folder on the path, so that
    spawned children find the same tasks. Raises SettingsError with one line.
    """
    place, name = _split(spec)
    module = _import_file(place, spec) if _is_file(place) else _import_module(place, spec)
    deck = _pick(module, name, spec)
    if deck.app is None:
        # Children start in the folder of that moment, which a handler may have changed.
        deck.app = spec.replace(place, str(_whole(place)), 1) if _is_file(place) else spec
    return deck


def _split(spec: str) -> tuple[str, str]:
    """Split an app into its module or file and the name in it, which may be empty."""
    place, colon, name = spec.strip().rpartition(":")
    if not colon:
        place, name = name, ""
    if not place or (colon and not name.isidentifier()):
        raise SettingsError(
            f"app {spec!r} does not name a deck: write module:deck or path/to/file.py[:deck]"
        )
    return place, name


def _is_file(place: str) -> bool:
    return place.endswith(".py") or "/" in place


def _whole(place: str) -> Path:
    """Return the whole path of a file."""
    return Path(place).expanduser().resolve()


def _import_module(place: str, spec: str) -> ModuleType:
    """Import a module by its dotted name, the current folder first."""
    if not all(part.isidentifier() for part in place.split(".")):
        raise SettingsError(
            f"app {spec!r} is neither a module nor a file: write module:deck or file.py[:deck]"
        )
    _prefer(Path.cwd())
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is not None and (place == error.name or place.startswith(f"{error.name}.")):
            raise SettingsError(
                f"app {spec!r}: no module named {place!r} here or among the installed packages;"
                " a file is written as path/to/file.py"
            ) from error
        raise _broken(spec, error) from error
    except SettingsError:
        raise
    except (Exception, SystemExit) as error:
        raise _broken(spec, error) from error


def _import_file(place: str, spec: str) -> ModuleType:
    """Import a file as a top-level module named like it."""
    path = _whole(place)
    if not path.is_file():
        raise SettingsError(f"app {spec!r}: there is no file {place}")
    name = path.stem
    if not name.isidentifier():
        raise SettingsError(
            f"app {spec!r}: a file name with other characters than letters, digits and _"
            " cannot be imported; rename it"
        )
    loaded = sys.modules.get(name)
    if loaded is not None and _file_of(loaded) == path:
        return loaded
    if loaded is not None:
        raise SettingsError(
            f"app {spec!r}: a module named {name!r} is already imported from"
            f" {_file_of(loaded) or 'elsewhere'}; rename the file"
        )
    _prefer(path.parent)
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise SettingsError(f"app {spec!r}: {place} is not a Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        if isinstance(error, SettingsError):
            raise
        raise _broken(spec, error) from error
    return module


def _pick(module: ModuleType, name: str, spec: str) -> Deck:
    """Return the deck of that name in a module, or the only one when no name was given."""
    value = getattr(module, name or DEFAULT_NAME, None)
    if isinstance(value, Deck):
        return value
    decks = {key: found for key, found in vars(module).items() if isinstance(found, Deck)}
    if not name and value is None and len(decks) == 1:
        return next(iter(decks.values()))
    held = f"it holds {', '.join(sorted(decks))}" if decks else "it holds no Deck"
    wrong = f"is {type(value).__name__}, not a Deck" if value is not None else "does not exist"
    raise SettingsError(f"app {spec!r}: {name or DEFAULT_NAME!r} {wrong}; {held}")


def _prefer(folder: Path) -> None:
    """Put a folder first on the import path, once."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _file_of(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return None if file is None else Path(file).resolve()


def _broken(spec: str, error: Exception | SystemExit) -> SettingsError:
    """Return one line for a module that raised while it was imported: what, and where in it."""
    if isinstance(error, SyntaxError):
        place = f"{Path(error.filename or '?').name}:{error.lineno}"
    else:
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if not frame.filename.startswith("<frozen")
        ]
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    text = str(error).splitlines()[0] if str(error) else ""
    kind = type(error).__name__
    said = f"app {spec!r} cannot be imported: {kind}: {text} ({place})"
    if isinstance(error, SystemExit):
        said += '; put what ends it under `if __name__ == "__main__":`'
    return SettingsError(said)
