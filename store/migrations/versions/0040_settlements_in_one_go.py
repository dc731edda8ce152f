"""Settlements are read and written in one go: nothing is staged, and whoever reads a file holds its row"""

from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.drop_table("money_staged")
    op.drop_column("finance_file", "fence")
    # What was counted of rows that were staged.
    op.execute("update finance_file set rows_read = 0 where state <> 'KEPT'")
