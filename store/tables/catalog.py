"""Products, the listings that offer them, and words that nobody knew."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from store.tables.base import instant, metadata, words

product = Table(
    "product",
    metadata,
    Column("sku", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("brand", Text),
    Column("cost_amount", Numeric),
    Column("cost_currency", Text),
    Column("attributes", JSONB, nullable=False, server_default=text("'[]'")),
    instant("updated_at", now=True),
    Index(
        "product_attributes_idx",
        "attributes",
        postgresql_using="gin",
        postgresql_ops={"attributes": "jsonb_path_ops"},
    ),
)

listing = Table(
    "listing",
    metadata,
    Column("id", Text, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("marketplace", Text, nullable=False, server_default=""),
    Column("channel_sku", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("sku", Text, ForeignKey("product.sku")),
    Column("title", Text),
    Column("status", Text, nullable=False),
    Column("fulfilled_by", Text, nullable=False),
    Column("price_amount", Numeric),
    Column("price_currency", Text),
    Column("sale_amount", Numeric),
    Column("sale_currency", Text),
    Column("url", Text),
    Column("issues", JSONB, nullable=False, server_default=text("'[]'")),
    Column("refs", JSONB, nullable=False, server_default=text("'{}'")),
    instant("as_of"),
    # As with orders, the id is made of the three.
    Index("listing_channel_marketplace_channel_sku_idx", "channel", "marketplace", "channel_sku"),
    words("fulfilled_by", "MERCHANT", "CHANNEL"),
    Index("listing_sku_idx", "sku"),
    # By these names shops tell of what has changed.
    Index("listing_inventory_item_idx", "channel", text("(refs ->> 'inventory_item')")),
    Index("listing_product_idx", "channel", text("(refs ->> 'product')")),
)

# Values of products that no dictionary knew when they came, each once, and what people have answered since.
mapping_task = Table(
    "mapping_task",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("channel", Text, nullable=False),
    Column("field", Text, nullable=False),
    # As it is compared, and as it was spelled when it was first met.
    Column("word", Text, nullable=False),
    Column("raw", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("channel_sku", Text, nullable=False),
    instant("first_at", now=True),
    Column("state", Text, nullable=False, server_default="OPEN"),
    Column("value", Text),
    # The answer holds for every channel.
    Column("everywhere", Boolean, nullable=False, server_default=text("false")),
    Column("answered_by", Text),
    instant("answered_at", nullable=True),
    words("state", "OPEN", "ANSWERED", "IGNORED"),
    CheckConstraint("(state = 'ANSWERED') = (value is not null)", name="value"),
    UniqueConstraint("channel", "field", "word"),
)
