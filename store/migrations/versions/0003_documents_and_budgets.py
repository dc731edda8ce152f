"""Trusted documents, and what a key may spend"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.add_column("api_key", sa.Column("points_per_minute", sa.Integer()))
    op.add_column("api_key", sa.Column("calls_per_minute", sa.Integer()))
    op.create_check_constraint(
        op.f("api_key_budget_check"), "api_key", "points_per_minute > 0 and calls_per_minute > 0"
    )
    op.create_table(
        "trusted_document",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
