"""What warehouses and carriers tell of parcels"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.create_table(
        "tracking_row",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("delivery", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("channels", postgresql.JSONB()),
        sa.Column("told", postgresql.JSONB(), nullable=False),
        sa.Column("tracking_number", sa.Text()),
        sa.Column("order_name", sa.Text()),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("code", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("order_id", sa.Text()),
        sa.Column("operation_id", sa.Text()),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("kind in ('PARCEL', 'EVENT')", name=op.f("tracking_row_kind_check")),
        sa.CheckConstraint("state in ('WAITING', 'DONE', 'PROBLEM')", name=op.f("tracking_row_state_check")),
        sa.UniqueConstraint(
            "source", "delivery", "kind", "number", name=op.f("tracking_row_source_delivery_kind_number_key")
        ),
    )
    only = sa.text("state = 'PROBLEM'")
    op.create_index(
        "tracking_row_due_idx", "tracking_row", ["due_at", "id"], postgresql_where=sa.text("due_at is not null")
    )
    op.create_index("tracking_row_problem_idx", "tracking_row", ["id"], postgresql_where=only)
    op.create_index("tracking_row_order_name_idx", "tracking_row", ["order_name"], postgresql_where=only)
    op.create_index("tracking_row_tracking_number_idx", "tracking_row", ["tracking_number"])
    op.create_index("tracking_row_done_idx", "tracking_row", ["at"], postgresql_where=sa.text("state = 'DONE'"))
    op.create_table(
        "parcel_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("order_id", sa.Text(), sa.ForeignKey("order.id", ondelete="CASCADE"), nullable=False),
        sa.Column("tracking_number", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.UniqueConstraint(
            "order_id",
            "tracking_number",
            "status",
            "at",
            name=op.f("parcel_event_order_id_tracking_number_status_at_key"),
        ),
    )
    op.create_index("parcel_event_tracking_number_idx", "parcel_event", ["tracking_number", "at"])
    # Orders by what people call them, and by the numbers of their parcels.
    op.create_index("order_name_idx", "order", [sa.text("(refs ->> 'name')")])
    op.create_index(
        "order_shipments_idx",
        "order",
        ["shipments"],
        postgresql_using="gin",
        postgresql_ops={"shipments": "jsonb_path_ops"},
    )
