"""Channels are remembered when they are configured no more, for what is kept of them"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.create_table(
        "known_channel",
        sa.Column("channel", sa.Text, primary_key=True),
        sa.Column("platform", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("sandbox", sa.Boolean, nullable=False),
        sa.Column("marketplaces", ARRAY(sa.Text), nullable=False),
        sa.Column("time_zone", sa.Text, nullable=False),
        sa.Column("zones", JSONB, nullable=False),
    )
