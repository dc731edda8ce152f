"""The same thing found twice is the same row."""

import pytest

from domain.errors import NotFound
from domain.ids import ChannelId, ChannelSku, listing_id, node_id, node_key, order_id


def test_equal_things_have_equal_ids_and_others_do_not() -> None:
    us = ChannelId("amazon-us")
    assert order_id(us, "111-1") == order_id(us, "111-1")
    assert order_id(us, "111-1") != order_id(ChannelId("amazon-eu"), "111-1")
    assert listing_id(us, "US", ChannelSku("A")) != listing_id(us, "DE", ChannelSku("A"))


def test_parts_cannot_run_into_each_other() -> None:
    assert order_id(ChannelId("ab"), "c") != order_id(ChannelId("a"), "bc")


def test_global_ids_name_their_kind_and_keep_colons_of_the_key() -> None:
    assert node_key("Product", node_id("Product", "A:1")) == "A:1"


@pytest.mark.parametrize("node", ["", "Product", "Product:", "Order:1", ":1"])
def test_an_id_of_another_kind_is_not_found(node: str) -> None:
    with pytest.raises(NotFound, match="No Product has the id"):
        node_key("Product", node)


@pytest.mark.parametrize(("node", "meant"), [("shop", "Channel:shop"), ("Order:1", "Channel:…"), ("", "Channel:…")])
def test_an_id_without_its_kind_is_told_how_it_is_written(node: str, meant: str) -> None:
    with pytest.raises(NotFound) as caught:
        node_key("Channel", node)
    assert caught.value.message.endswith(f" Ids look like `{meant}`.")
