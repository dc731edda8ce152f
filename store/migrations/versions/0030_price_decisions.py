"""What people decide about large changes of prices"""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.create_table(
        "price_decision",
        sa.Column("operation", sa.Text(), sa.ForeignKey("operation.id"), primary_key=True),
        sa.Column("verdict", sa.Text(), primary_key=True),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("correlation_id", sa.Text()),
        sa.Column("asked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("error_code", sa.Text()),
        sa.Column("error_message", sa.Text()),
        sa.Column("made", sa.Text()),
        sa.CheckConstraint("verdict in ('APPROVE', 'CANCEL', 'REVERT')", name=op.f("price_decision_verdict_check")),
    )
    op.create_index(
        "price_decision_due_idx", "price_decision", ["due_at"], postgresql_where=sa.text("ended_at is null")
    )
