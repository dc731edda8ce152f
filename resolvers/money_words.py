"""What words for money mean: which of them nobody knows, and what people say of them."""

from __future__ import annotations

from collections.abc import Sequence

from domain.errors import Invalid
from domain.money_class import MoneyClass
from domain.money_said import Said, Unclassified, Words
from resolvers.connection import page_size
from resolvers.request import check_word
from resolvers.shelf import Shelf
from store import money_word

LONGEST_REASON = 400


async def unclassified(shelf: Shelf, first: int | None) -> Sequence[Unclassified]:
    """Words that nobody knows, those first that were seen first. Raises Invalid for too many."""
    most = page_size(first)
    async with shelf.store.begin() as tx:
        return (await money_word.unclassified(tx, shelf.channels))[:most]


async def said(shelf: Shelf) -> Sequence[tuple[Words, Said]]:
    """What people say of words, the newest first."""
    async with shelf.store.begin() as tx:
        return await money_word.all_said(tx)


async def say(shelf: Shelf, words: Words, said: Said) -> tuple[Words, Said]:
    """Keep what somebody says of words; the same again changes nothing. Raises Refused, with its field."""
    check_word("reason", said.reason, longest=LONGEST_REASON)
    if said.money_class is MoneyClass.UNCLASSIFIED:
        raise Invalid("UNCLASSIFIED is what nobody has said; say what the money is for.", field=("class",))
    async with shelf.store.begin() as tx:
        # Those that were seen a moment ago too.
        await money_word.note(tx, [one.words for one in await money_word.unclassified(tx, shelf.channels)])
        await money_word.say(tx, words, said)
        return next(
            one for one in await money_word.all_said(tx) if (one[0].source, one[0].key) == (words.source, words.key)
        )
