"""Answers as JSON: the encoder, and what is kept of objects that last, so that they are written once and copied after that."""

from __future__ import annotations

from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct

if TYPE_CHECKING:
    from executor.places import Field, Place
    from executor.shapes import Below, Projection

# Forms in which one object is kept, and what others keep with it.
MOST_KEPT = 8


class Copies(list[Any]):
    """What was written before of objects that last, in their order; `rooms` are the dicts of the objects.

    Whoever works something out from a copy may keep it there, under a key of its own, for as long as the object is answered.
    """

    __slots__ = ("rooms",)
    rooms: list[dict[Any, Any]]


def _plainly(value: Any) -> Any:
    """Subclasses of what JSON knows are written as what they are."""
    for class_ in (str, int, float):
        if isinstance(value, class_):
            return class_.__str__(value) if class_ is str else class_(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


ENCODER: Final = msgspec.json.Encoder(enc_hook=_plainly)


def read(written: Raw) -> Any:
    """What was written, in plain dicts and lists."""
    return msgspec.json.decode(written)


def kept(place: Place, project: Projection) -> Projection:
    """A projection of objects that last: each is projected once, and after that copied from its own dict.

    There lies, by place, its whole answer as JSON; where steps are still to write into it, a Struct to be copied with what
    nobody writes into as JSON.
    """
    assert place.lasting is not None
    attribute, room_of, kept_in = place.lasting, attrgetter(place.lasting), itemgetter(place)

    def known(sources: list[Any]) -> list[Any]:
        if place.plain:
            rooms = [*map(room_of, sources)]
            copies = Copies(map(kept_in, rooms))
            copies.rooms = rooms
            return copies
        return [room[place].__copy__() for room in map(room_of, sources)]

    def keep(room: dict[Any, Any], struct: Struct) -> None:
        if place.plain:
            room[place] = Raw(ENCODER.encode(struct))
        else:
            room[place] = type(struct)(*[_form(one, getattr(struct, one.slot)) for one in place.fields])

    def projection(sources: list[Any]) -> tuple[list[Any], list[Below]]:
        try:
            return known(sources), []
        except (AttributeError, KeyError, TypeError):  # no room, or nothing in it yet
            pass
        rooms = [getattr(one, attribute, None) for one in sources]
        new = [row for row, room in enumerate(rooms) if room is None or place not in room]
        structs, _ = project([sources[row] for row in new])
        answers: dict[int, Any] = {}
        for row, struct in zip(new, structs, strict=True):
            room = rooms[row]
            if room is None or len(room) >= MOST_KEPT:
                answers[row] = struct
            else:
                keep(room, struct)
        if not answers:
            return known(sources), []
        old = [row for row in range(len(sources)) if row not in answers]
        answers |= zip(old, known([sources[row] for row in old]), strict=True)
        return [answers[row] for row in range(len(sources))], []

    return projection


def _form(field: Field, value: Any) -> Any:
    """A value as it is kept: what lies below as JSON; a field that steps write is still unset."""
    if value is None or value is UNSET or field.kind.named.object_type is None:
        return value
    return Raw(ENCODER.encode(value))
