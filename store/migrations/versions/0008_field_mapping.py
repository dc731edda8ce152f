"""Field mapping and its tasks"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.create_table(
        "mapping_task",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("word", sa.Text(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("channel_sku", sa.Text(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("state", sa.Text(), server_default="OPEN", nullable=False),
        sa.Column("value", sa.Text()),
        sa.Column("everywhere", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("answered_by", sa.Text()),
        sa.Column("answered_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("state in ('OPEN', 'ANSWERED', 'IGNORED')", name=op.f("mapping_task_state_check")),
        sa.CheckConstraint("(state = 'ANSWERED') = (value is not null)", name=op.f("mapping_task_value_check")),
        sa.UniqueConstraint("channel", "field", "word", name=op.f("mapping_task_channel_field_word_key")),
    )
    op.create_index(
        "product_attributes_idx",
        "product",
        ["attributes"],
        postgresql_using="gin",
        postgresql_ops={"attributes": "jsonb_path_ops"},
    )
