"""Journals that were closed, and what banks book"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.create_table(
        "journal",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False),
        sa.Column("channels", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("chart", sa.Text(), nullable=False),
        sa.Column("accounts", postgresql.JSONB(), nullable=False),
        sa.Column("uncosted", postgresql.JSONB(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("adjusts", sa.Integer(), sa.ForeignKey("journal.number")),
        sa.Column("booked_on", sa.Date()),
        sa.Column("closed_by", sa.Text(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("last_day >= first_day", name=op.f("journal_period_check")),
        sa.CheckConstraint("number > 0", name=op.f("journal_number_check")),
    )
    op.create_index("journal_first_day_idx", "journal", ["first_day"])
    op.create_table(
        "journal_posting",
        sa.Column("journal", sa.Integer(), sa.ForeignKey("journal.number"), primary_key=True),
        sa.Column("entry", sa.Integer(), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("marketplace", sa.Text()),
        sa.Column("settlement_id", sa.Text(), sa.ForeignKey("settlement.id")),
        sa.Column("reference", sa.Text()),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("contra", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("event", sa.Text()),
        sa.Column("class", sa.Text()),
        sa.Column("units", sa.Integer()),
        sa.Column("rounded", sa.Numeric(), nullable=False),
        sa.Column("suspense", sa.Boolean(), nullable=False),
        sa.CheckConstraint("kind in ('LINES', 'GOODS', 'PAYOUT')", name=op.f("journal_posting_kind_check")),
    )
    op.create_index(
        "journal_posting_settlement_id_idx",
        "journal_posting",
        ["settlement_id"],
        postgresql_where=sa.text("settlement_id is not null"),
    )
    op.create_table(
        "bank_line",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("booked_on", sa.Date(), nullable=False),
        sa.Column("valued_on", sa.Date()),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("party", sa.Text()),
        sa.Column("names", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("kept_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    op.create_index("bank_line_booked_on_id_idx", "bank_line", [sa.text("booked_on DESC"), sa.text("id DESC")])
    op.create_index("bank_line_amount_currency_idx", "bank_line", ["amount", "currency"])
    op.create_index("bank_line_names_idx", "bank_line", ["names"], postgresql_using="gin")
    op.create_table(
        "bank_match",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("bank_line_id", sa.Text(), sa.ForeignKey("bank_line.id"), nullable=False),
        sa.Column("settlement_id", sa.Text(), sa.ForeignKey("settlement.id")),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("made_by", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("replaced_at", sa.DateTime(timezone=True)),
        sa.Column("replaced_why", sa.Text()),
        sa.CheckConstraint("rule in ('PERSON', 'REFERENCE', 'AMOUNT_DATE')", name=op.f("bank_match_rule_check")),
        sa.CheckConstraint("rule = 'PERSON' or settlement_id is not null", name=op.f("bank_match_none_check")),
        sa.CheckConstraint("(rule = 'PERSON') = (made_by is not null)", name=op.f("bank_match_person_check")),
        sa.CheckConstraint("(replaced_at is null) = (replaced_why is null)", name=op.f("bank_match_replaced_check")),
    )
    op.create_index(
        "bank_match_line_key",
        "bank_match",
        ["bank_line_id"],
        unique=True,
        postgresql_where=sa.text("replaced_at is null"),
    )
    op.create_index(
        "bank_match_settlement_key",
        "bank_match",
        ["settlement_id"],
        unique=True,
        postgresql_where=sa.text("replaced_at is null and settlement_id is not null"),
    )
