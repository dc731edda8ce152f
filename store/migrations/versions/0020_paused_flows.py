"""Flows that people have stopped"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.add_column("sync_stream", sa.Column("paused_at", sa.DateTime(timezone=True)))
    op.add_column("sync_stream", sa.Column("paused_by", sa.Text()))
    op.add_column("sync_stream", sa.Column("pause_reason", sa.Text()))
