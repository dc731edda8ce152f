"""Large changes of prices that are to be tried again"""

from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None

VERDICTS = ("APPROVE", "CANCEL", "REVERT", "RETRY")


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.drop_constraint(op.f("price_decision_verdict_check"), "price_decision", type_="check")
    words = ", ".join(repr(verdict) for verdict in VERDICTS)
    op.create_check_constraint(op.f("price_decision_verdict_check"), "price_decision", f"verdict in ({words})")
