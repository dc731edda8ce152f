"""Files of prices"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.create_table(
        "price_file",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="WAITING", nullable=False),
        sa.Column("rows", sa.Integer(), server_default="0", nullable=False),
        sa.Column("looked", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("counts", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("operation", sa.Text()),
        sa.Column("problem", sa.Text()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.UniqueConstraint("requested_by", "key", "dry_run"),
        sa.CheckConstraint("state in ('WAITING', 'DONE', 'FAILED')", name=op.f("price_file_state_check")),
    )
    op.create_index("price_file_due_idx", "price_file", ["due_at"], postgresql_where=sa.text("state = 'WAITING'"))
    op.create_table(
        "price_file_row",
        sa.Column("file", sa.Text(), sa.ForeignKey("price_file.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("marketplace", sa.Text(), nullable=False),
        sa.Column("channel_sku", sa.Text(), nullable=False),
        sa.Column("price", postgresql.JSONB()),
        sa.Column("result", sa.Text()),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint("result in ('HELD', 'UNCHANGED', 'REFUSED')", name=op.f("price_file_row_result_check")),
    )
