"""Guards of prices"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.create_table(
        "price_guards",
        sa.Column("version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("guards", JSONB(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    op.create_table(
        "price_guard_hit",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("guard", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("hits", sa.Integer(), nullable=False),
        sa.CheckConstraint("action in ('HOLD', 'REFUSE')", name=op.f("price_guard_hit_action_check")),
    )
    op.create_index("price_guard_hit_at_idx", "price_guard_hit", ["at"])
