"""What of settlements is not tied out, and what people tied by hand"""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.create_index(
        "money_line_residual_idx",
        "money_line",
        ["settlement_id", "id"],
        postgresql_where=sa.text("settlement_id is not null and cause is not null and replaced_at is null"),
    )
    op.create_table(
        "money_assignment",
        sa.Column("line", sa.BigInteger(), sa.ForeignKey("money_line.id"), primary_key=True),
        sa.Column("before", sa.BigInteger(), sa.ForeignKey("money_line.id"), nullable=False, unique=True),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
