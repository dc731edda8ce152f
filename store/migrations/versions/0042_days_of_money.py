"""Lines of money are found by their days through ranges of pages, which cost the books of a settlement less"""

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.drop_index("money_line_day_idx", "money_line")
    op.create_index(
        "money_line_day_idx",
        "money_line",
        [sa.text("day")],
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on"},
    )
