"""What orders cost, part by part"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.add_column("order", sa.Column("charges", JSONB(), nullable=False, server_default=sa.text("'[]'")))
    op.add_column("order", sa.Column("charged_amount", sa.Numeric()))
    op.add_column("order", sa.Column("charged_currency", sa.Text()))
    op.add_column("order", sa.Column("prices_with_tax", sa.Boolean()))
    op.add_column("order", sa.Column("delivered_at", sa.DateTime(timezone=True)))
    op.add_column("order_line", sa.Column("quantity_cancelled", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("order_line", sa.Column("cancelled_by", sa.Text()))
    op.add_column("order_line", sa.Column("charges", JSONB(), nullable=False, server_default=sa.text("'[]'")))
    # Every row passes: it is one with the default, so nothing has to be read under the lock.
    op.execute(
        "alter table order_line add constraint order_line_cancelled_check check (quantity_cancelled >= 0) not valid"
    )
    op.execute(
        "alter table order_line add constraint order_line_cancelled_by_check "
        "check (cancelled_by in ('BUYER', 'SELLER', 'CHANNEL')) not valid"
    )
    op.execute("alter table order_line validate constraint order_line_cancelled_check")
    op.execute("alter table order_line validate constraint order_line_cancelled_by_check")
    op.alter_column("order_person", "sealed", nullable=True)
    op.drop_index("order_person_erase_at_idx", "order_person")
    op.create_index(
        "order_person_erase_at_idx",
        "order_person",
        ["erase_at"],
        postgresql_where=sa.text("erase_at is not null and sealed is not null"),
    )
    op.create_index("privacy_request_orders_idx", "privacy_request", ["orders"], postgresql_using="gin")
