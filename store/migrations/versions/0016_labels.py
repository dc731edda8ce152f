"""Labels that were bought"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("set local lock_timeout = '2s'")
    op.create_table(
        "label",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("shop", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), sa.ForeignKey("order.id"), nullable=False),
        sa.Column("operation_id", sa.Text(), sa.ForeignKey("operation.id"), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("lines", postgresql.JSONB(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("carrier", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("price_amount", sa.Numeric(), nullable=False),
        sa.Column("price_currency", sa.Text(), nullable=False),
        sa.Column("tracking_number", sa.Text()),
        sa.Column("shipment_id", sa.Text()),
        sa.Column("confirms_order", sa.Boolean(), nullable=False),
        sa.Column("confirmed_by", sa.Text(), sa.ForeignKey("operation.id")),
        sa.Column("replaces", sa.Text(), sa.ForeignKey("label.id")),
        sa.Column("missing", sa.Text()),
        sa.Column("whereabouts", sa.Text()),
        sa.Column("sealed", sa.Text()),
        sa.Column("bought_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.UniqueConstraint("shop", "shipment_id"),
        sa.CheckConstraint(
            "status in ('BOUGHT', 'REFUND_PENDING', 'REFUNDED', 'REFUND_REFUSED')", name=op.f("label_status_check")
        ),
        sa.CheckConstraint("format in ('PDF', 'PNG', 'ZPL203', 'ZPL300')", name=op.f("label_format_check")),
    )
    op.create_index("label_order_id_idx", "label", ["order_id"])
    op.create_index("label_tracking_number_idx", "label", ["tracking_number"])
    op.create_index(
        "label_checked_at_idx",
        "label",
        ["checked_at"],
        postgresql_where=sa.text("status in ('BOUGHT', 'REFUND_PENDING')"),
    )
    op.create_index("label_sealed_idx", "label", ["bought_at"], postgresql_where=sa.text("sealed is not null"))
