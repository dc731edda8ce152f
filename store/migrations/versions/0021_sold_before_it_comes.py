"""Rules that sell what is announced"""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

KINDS = ("SAFETY_STOCK", "MAXIMUM_SHOWN", "CHANNEL_SHARE", "FBA_SHARE", "VELOCITY_BUFFER", "LAST_UNITS", "PRE_ORDER")


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.drop_constraint(op.f("stock_rule_kind_check"), "stock_rule", type_="check")
    words = ", ".join(repr(kind) for kind in KINDS)
    op.create_check_constraint(op.f("stock_rule_kind_check"), "stock_rule", f"kind in ({words})")
