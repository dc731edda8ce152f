"""Estimates of orders, and files that lists are made into"""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.create_index(
        "money_line_feeless_idx",
        "money_line",
        ["channel", "channel_sku"],
        postgresql_where=sa.text("description = 'fees not known' and replaced_at is null"),
    )
    # What was sold of late is reckoned as if it had just come. Money of older orders is told by files that somebody imports.
    op.execute(
        "insert into estimate_due (order_id) select id from \"order\" where placed_at >= now() - interval '60 days' "
        "on conflict do nothing"
    )
    op.create_table(
        "export_file",
        sa.Column("item", sa.BigInteger(), sa.ForeignKey("operation_item.id"), primary_key=True, autoincrement=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True)),
    )
    op.create_index("export_file_began_at_idx", "export_file", ["began_at"])
    op.create_table(
        "export_part",
        sa.Column("item", sa.BigInteger(), sa.ForeignKey("export_file.item", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
    )
