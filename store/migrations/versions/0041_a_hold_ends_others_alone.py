"""A hold whose own time passes while it waits for its turn ends others alone: it holds nothing yet"""

from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

# As store/triggers.py was when this migration was written.
_TOUCH = "version = version + 1, dirty_since = coalesce(dirty_since, clock_timestamp())"

HOLD = f"""
create or replace function acorn_hold() returns trigger language plpgsql as $$
begin
  -- One conditional statement decides; a crowd on one SKU waits for its row in turn.
  update sku_stock set held = held + new.quantity, caused_at = least(caused_at, clock_timestamp()), {_TOUCH}
  where sku = new.sku and on_hand + elsewhere - reserved - held - coalesce(safety_stock, 0) >= new.quantity;
  if found then
    return null;
  end if;
  -- Reservations whose time is over hold nothing: end them, and ask once more. Somebody else may have ended them just now.
  perform 1 from sku_stock where sku = new.sku for update;
  -- Not this one, which holds nothing yet, though its time may have passed while it waited.
  update reservation_hold set ended_at = expires_at
  where sku = new.sku and ended_at is null and expires_at <= clock_timestamp() and reservation_id <> new.reservation_id;
  update sku_stock set held = held + new.quantity, caused_at = least(caused_at, clock_timestamp()), {_TOUCH}
  where sku = new.sku and on_hand + elsewhere - reserved - held - coalesce(safety_stock, 0) >= new.quantity;
  if found then
    return null;
  end if;
  raise exception 'not enough of % can be promised', new.sku using errcode = 'AC001', detail = new.sku;
end $$
"""  # noqa: S608 - words of ours


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.execute(HOLD)
