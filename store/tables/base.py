"""What every table is made of."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, DateTime, MetaData, func

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


def instant(name: str, *, nullable: bool = False, now: bool = False) -> Column[object]:
    """A column of an instant."""
    return Column(name, DateTime(timezone=True), nullable=nullable, server_default=func.now() if now else None)


def words(name: str, *words: str) -> CheckConstraint:
    """A text column that holds one of `words`."""
    return CheckConstraint(f"{name} in ({', '.join(repr(word) for word in words)})", name=name)
