"""Canaries of prices"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.create_table(
        "price_canary",
        sa.Column("operation", sa.Text(), sa.ForeignKey("operation.id"), primary_key=True),
        sa.Column("state", sa.Text(), server_default="WATCHING", nullable=False),
        sa.Column("radius", postgresql.JSONB(), nullable=False),
        sa.Column("items", postgresql.JSONB(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("issues", postgresql.JSONB(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("ended_by", sa.Text()),
        sa.Column("reasons", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.CheckConstraint(
            "state in ('WATCHING', 'PASSED', 'HALTED', 'RELEASED', 'CANCELLED')", name=op.f("price_canary_state_check")
        ),
    )
    op.create_index(
        "price_canary_watching_idx", "price_canary", ["operation"], postgresql_where=sa.text("state = 'WATCHING'")
    )
    op.drop_index("price_event_operation_idx", "price_event")
    op.create_index("price_event_asked_idx", "price_event", ["item"], postgresql_where=sa.text("what = 'ASKED'"))
    op.create_index("price_event_at_idx", "price_event", ["at"], postgresql_using="brin")
    # The history of each listing begins with what its catalog shows now.
    op.execute(
        """
        insert into price_event (listing, at, what, price)
        select id, as_of, 'OTHER', jsonb_build_object(
            'price', trim_scale(price_amount)::text,
            'currency', price_currency,
            'sale', case when sale_amount is not null then jsonb_build_object(
                'price', trim_scale(sale_amount)::text, 'from', null, 'to', null
            ) end
        )
        from listing where price_amount is not null and price_currency is not null
        """
    )
