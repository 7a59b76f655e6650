"""A question to the database that is asked again and again: a SELECT that is made into text once.

SQLAlchemy takes longer to make a statement, and to carry it through its layers, than the database to answer it. The tables
are still SQLAlchemy's, and so is the text.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct

SIZES: Final = (1, 8, 64, 512, 4096)
"""A list is asked for as one of so many, the last of them repeated: so few texts stay prepared in the database."""


class _Slot(Struct, frozen=True):
    """Where a value goes that is only known when the question is asked. `place`: in its list, if it is one."""

    name: str
    place: int | None = None

    def filled(self, values: Mapping[str, Any]) -> Any:
        value = values[self.name]
        return value if self.place is None else value[min(self.place, len(value) - 1)]


class Wording(Struct, frozen=True):
    """A question as the driver takes it: `text` with its placeholders, and what stands in each."""

    text: str
    parts: tuple[Any, ...]
    row: Callable[[Iterable[Any]], Any]
    decoders: tuple[tuple[int, Callable[[Any], Any]], ...]

    def values(self, values: Mapping[str, Any]) -> list[Any]:
        return [part.filled(values) if type(part) is _Slot else part for part in self.parts]

    def rows(self, found: Iterable[Sequence[Any]]) -> list[Any]:
        """Named tuples, with what the column's type makes of the driver's value."""
        if not self.decoders:
            return [self.row(fields) for fields in found]
        rows = []
        for some in found:
            fields = list(some)
            for place, decode in self.decoders:
                fields[place] = decode(fields[place])
            rows.append(self.row(fields))
        return rows


class Question:
    """A SELECT that is kept for as long as the program runs. What changes from one asking to the next is a `sa.bindparam`:
    text, a number or bytes, or with `expanding=True` a list of them, of one at least and `SIZES[-1]` at most."""

    def __init__(self, statement: sa.Select[*tuple[Any, ...]]) -> None:
        self.statement = statement
        self._wordings: dict[tuple[object, ...], Wording] = {}

    def worded(self, dialect: sa.Dialect, values: Mapping[str, Any]) -> Wording:
        """For these values or others of the same names; only the length of a list makes a difference."""
        key = (dialect.name, *(_size(value) for value in values.values()), *values)
        if key not in self._wordings:
            self._wordings[key] = self._made(dialect, values)
        return self._wordings[key]

    def _made(self, dialect: sa.Dialect, values: Mapping[str, Any]) -> Wording:
        slots: dict[str, _Slot | list[_Slot]] = {}
        for name, value in values.items():
            size = _size(value)
            slots[name] = _Slot(name) if size is None else [_Slot(name, place) for place in range(size)]
        made = self.statement.compile(dialect=dialect).construct_expanded_state(slots)
        columns = self.statement.column_descriptions
        decoders = (
            column["type"].dialect_impl(dialect).result_processor(dialect, None) for column in columns
        )
        names = [column["name"] or "" for column in columns]
        row: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]  # names from the statement
        return Wording(
            made.statement,
            tuple(made.positional_parameters),
            row._make,
            tuple((place, decode) for place, decode in enumerate(decoders) if decode is not None),
        )


def _size(value: object) -> int | None:
    """Of how many a list is asked for; None for a single value."""
    if not isinstance(value, list | tuple):
        return None
    for size in SIZES:
        if 0 < len(value) <= size:
            return size
    raise ValueError(f"a question has from 1 to {SIZES[-1]} keys, not {len(value)}")
