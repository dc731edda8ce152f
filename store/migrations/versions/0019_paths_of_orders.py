"""By which paths orders come, and what they are compared with"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

CAUSES = (
    "MISSING_HERE",
    "MISSING_THERE",
    "OLDER_HERE",
    "STATUS",
    "QUANTITY",
    "TOTAL",
    "LATE",
    "NOT_UNDERSTOOD",
)


def upgrade() -> None:
    op.execute("set local lock_timeout = '2s'")
    now = sa.text("now()")
    op.add_column("order", sa.Column("whole", sa.Boolean(), server_default=sa.text("true"), nullable=False))
    op.add_column("order", sa.Column("read_at", sa.DateTime(timezone=True)))
    op.add_column("sync_stream", sa.Column("way", sa.Text()))
    op.add_column("sync_stream", sa.Column("way_reason", sa.Text()))
    op.create_table(
        "order_unread",
        sa.Column("order_id", sa.Text(), sa.ForeignKey("order.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("reason", sa.Text()),
    )
    op.create_index("order_unread_due_at_idx", "order_unread", ["due_at"])
    op.create_table(
        "order_compare",
        sa.Column("channel", sa.Text(), primary_key=True),
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True)),
        sa.Column("ours", sa.Integer()),
        sa.Column("api", sa.Integer()),
        sa.Column("report", sa.Integer()),
        sa.Column("api_whole", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("differences", sa.Integer()),
        sa.Column("healed", sa.Integer()),
        sa.Column("reason", sa.Text()),
    )
    op.create_table(
        "order_difference",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("ours", postgresql.JSONB()),
        sa.Column("api", postgresql.JSONB()),
        sa.Column("report", postgresql.JSONB()),
        sa.Column("found_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("healed_at", sa.DateTime(timezone=True)),
        sa.UniqueConstraint(
            "channel", "day", "external_id", "cause", name=op.f("order_difference_channel_day_external_id_cause_key")
        ),
        sa.CheckConstraint(
            "cause in (" + ", ".join(f"'{cause}'" for cause in CAUSES) + ")", name=op.f("order_difference_cause_check")
        ),
    )
    op.create_index(
        "order_difference_open_idx",
        "order_difference",
        ["channel", "id"],
        postgresql_where=sa.text("healed_at is null"),
    )
