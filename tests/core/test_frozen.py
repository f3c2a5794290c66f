"""Values made by `qdeck.admin.frozen` are what the standard dataclasses would be."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, asdict, field, fields, is_dataclass, replace
from typing import Any

import pytest

from qdeck.admin import JobRef, QueueRow, Window
from qdeck.admin.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """A value with everything that values here have."""

    x: int
    name: str = "origin"
    tags: tuple[str, ...] = ()
    more: Mapping[str, int] = field(default_factory=dict)
    secret: str = field(default="", repr=False)

    @property
    def twice(self) -> int:
        return self.x * 2


@dataclasses.dataclass(frozen=True, slots=True)
class Model:
    """The same, made by the standard decorator."""

    x: int
    name: str = "origin"
    tags: tuple[str, ...] = ()
    more: Mapping[str, int] = field(default_factory=dict)
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Nothing:
    """A value without fields."""


@dataclass(frozen=True, slots=True)
class Child(Window):
    """A value that inherits."""

    more: int = 0


def test_values_are_equal_by_their_fields_and_hash_alike() -> None:
    assert Point(1, tags=("a",)) == Point(1, "origin", ("a",))
    assert Point(1) != Point(2)
    assert Point(1).__eq__(Model(1)) is NotImplemented
    assert hash(Window(1, 2)) == hash(Window(1, 2))
    assert Nothing() == Nothing()
    assert len({JobRef("a", "q"), JobRef("a", "q"), JobRef("b", "q")}) == 2


def test_a_value_shows_its_fields_but_no_secret() -> None:
    assert repr(Point(1, secret="x")) == repr(Model(1, secret="x")).replace("Model", "Point")
    assert repr(Nothing()) == "Nothing()"


def test_a_value_cannot_be_changed() -> None:
    point: Any = Point(1)
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'x'"):
        point.x = 2
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'x'"):
        del point.x
    with pytest.raises(FrozenInstanceError):
        point.other = 2
    assert not hasattr(point, "__dict__")


def test_each_value_has_its_own_default_that_a_factory_makes() -> None:
    assert Point(1).more == {}
    assert Point(1).more is not Point(2).more
    assert Point(1, more={"a": 1}).more == {"a": 1}


def test_arguments_are_checked_as_by_any_function() -> None:
    make: Any = Point
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        make()
    with pytest.raises(TypeError, match="unexpected keyword argument 'y'"):
        make(1, y=2)


def test_what_dataclasses_offers_works_on_them() -> None:
    point = Point(1, tags=("a",))
    assert is_dataclass(Point)
    assert replace(point, x=5) == Point(5, tags=("a",))
    assert asdict(point) == asdict(Model(1, tags=("a",)))
    assert [each.name for each in fields(Point)] == [each.name for each in fields(Model)]
    assert Point.__match_args__ == Model.__match_args__
    assert point.twice == 2


def test_values_can_be_pickled() -> None:
    row = QueueRow("emails", 5, finished=(1, 2))
    assert pickle.loads(pickle.dumps((row, Nothing()))) == (row, Nothing())


def test_a_value_that_inherits_is_a_standard_one() -> None:
    assert Child(1, 2, True, 3) == Child(offset=1, limit=2, reverse=True, more=3)
    assert replace(Child(), more=4).more == 4


def test_only_frozen_values_with_slots_are_made() -> None:
    with pytest.raises(TypeError, match="frozen"):
        dataclass(frozen=False, slots=True)
