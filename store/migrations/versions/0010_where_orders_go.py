"""Where orders go, and who bought"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.add_column("order", sa.Column("deliver_by", sa.DateTime(timezone=True)))
    op.add_column("order", sa.Column("service", sa.Text()))
    op.add_column("order", sa.Column("country", sa.Text()))
    op.add_column("order", sa.Column("area", sa.Text()))
    op.create_table(
        "order_person",
        sa.Column("order_id", sa.Text(), sa.ForeignKey("order.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("erase_at", sa.DateTime(timezone=True)),
    )
    op.create_index(
        "order_person_erase_at_idx", "order_person", ["erase_at"], postgresql_where=sa.text("erase_at is not null")
    )
