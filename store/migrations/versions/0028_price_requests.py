"""What is said of all rows of a change of prices"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.create_table(
        "price_request",
        sa.Column("operation", sa.Text(), sa.ForeignKey("operation.id"), primary_key=True),
        sa.Column("hits", postgresql.JSONB(), nullable=False),
    )
