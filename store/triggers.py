"""What the database does and refuses by itself: the counts of stock are its own, whoever writes the rows they come from.

    product           a new SKU gets its row in sku_stock
    stock_entry       is only ever added to; each entry moves its balance and sku_stock, and no count falls below zero
    stock_balance     changes by entries alone
    reservation_hold  takes its units from sku_stock or is refused (SQLSTATE AC001); gives them back when it ends, and is kept
                      until then
    stock_level       each change is remembered, and what others keep counts in sku_stock

Whoever writes takes the locks of `sku_stock` after all others of its transaction and by SKU (`store.ledger.lock`); the balances
come behind them. So nobody waits in a circle.
"""

# ruff: noqa: S608 - nothing in these statements comes from outside
from __future__ import annotations

# What a hold meets that asks for more than can be promised.
INSUFFICIENT = "AC001"

_TOUCH = "version = version + 1, dirty_since = coalesce(dirty_since, clock_timestamp())"

STATEMENTS = (
    """
create function acorn_new_sku() returns trigger language plpgsql as $$
begin
  insert into sku_stock (sku) values (new.sku) on conflict do nothing;
  return null;
end $$
""",
    "create trigger product_new_sku after insert on product for each row execute function acorn_new_sku()",
    f"""
create function acorn_post_entry() returns trigger language plpgsql as $$
begin
  update sku_stock set
    on_hand = on_hand + new.on_hand,
    reserved = reserved + new.reserved,
    caused_at = least(caused_at, clock_timestamp()),
    {_TOUCH}
  where sku = new.sku;
  insert into stock_balance as b (sku, location, on_hand, reserved, inbound, changed_at)
  values (new.sku, new.location, 0, 0, 0, new.at) on conflict do nothing;
  update stock_balance set
    on_hand = on_hand + new.on_hand,
    reserved = reserved + new.reserved,
    inbound = inbound + new.inbound,
    changed_at = greatest(changed_at, new.at)
  where sku = new.sku and location = new.location;
  return null;
end $$
""",
    "create trigger stock_entry_post after insert on stock_entry for each row execute function acorn_post_entry()",
    """
create function acorn_refuse() returns trigger language plpgsql as $$
begin
  raise exception '% is only ever added to: post a new entry instead', tg_table_name using errcode = 'restrict_violation';
end $$
""",
    "create trigger stock_entry_kept before update or delete or truncate on stock_entry "
    "for each statement execute function acorn_refuse()",
    """
create function acorn_refuse_balance() returns trigger language plpgsql as $$
begin
  if pg_trigger_depth() < 2 then
    raise exception 'a balance changes by entries alone: post an entry instead' using errcode = 'restrict_violation';
  end if;
  return null;
end $$
""",
    "create trigger stock_balance_kept before insert or update or delete or truncate on stock_balance "
    "for each statement execute function acorn_refuse_balance()",
    f"""
create function acorn_hold() returns trigger language plpgsql as $$
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
""",
    "create trigger reservation_hold_take after insert on reservation_hold for each row execute function acorn_hold()",
    f"""
create function acorn_hold_changed() returns trigger language plpgsql as $$
begin
  if new.sku <> old.sku or new.quantity > old.quantity or (old.ended_at is not null and new.ended_at is null) then
    raise exception 'a hold only shrinks and ends' using errcode = 'restrict_violation';
  end if;
  update sku_stock set
    held = held - case
      when old.ended_at is not null then 0
      when new.ended_at is not null then old.quantity
      else old.quantity - new.quantity
    end,
    {_TOUCH}
  where sku = new.sku and old.ended_at is null;
  return null;
end $$
""",
    "create trigger reservation_hold_end after update on reservation_hold "
    "for each row when (old.* is distinct from new.*) execute function acorn_hold_changed()",
    """
create function acorn_refuse_hold() returns trigger language plpgsql as $$
begin
  raise exception 'a hold is only forgotten after it has ended: end it first' using errcode = 'restrict_violation';
end $$
""",
    "create trigger reservation_hold_kept before truncate on reservation_hold "
    "for each statement execute function acorn_refuse_hold()",
    "create trigger reservation_hold_open_kept before delete on reservation_hold "
    "for each row when (old.ended_at is null) execute function acorn_refuse_hold()",
    f"""
create function acorn_elsewhere(wanted text) returns void language sql as $$
  update sku_stock set elsewhere = now_there.units, caused_at = least(caused_at, clock_timestamp()), {_TOUCH}
  from (
    select coalesce(sum(level.on_hand - level.reserved), 0) units
    from stock_level level
    where exists (
      select from listing
      where listing.sku = wanted and listing.channel = level.channel and listing.channel_sku = level.channel_sku
        and (listing.fulfilled_by = 'CHANNEL' or listing.marketplace = '')
    )
  ) now_there
  where sku = wanted and elsewhere <> now_there.units
$$
""",
    """
create function acorn_level_changed() returns trigger language plpgsql as $$
declare
  level stock_level;
  ours text;
begin
  if tg_op = 'UPDATE' and (old.on_hand, old.reserved, old.inbound) = (new.on_hand, new.reserved, new.inbound) then
    return null;
  end if;
  if tg_op = 'DELETE' then
    level := old;
  else
    level := new;
    insert into stock_level_history (location, channel, channel_sku, as_of, on_hand, reserved, inbound)
    values (new.location, new.channel, new.channel_sku, new.as_of, new.on_hand, new.reserved, new.inbound)
    on conflict do nothing;
  end if;
  for ours in
    select distinct sku from listing
    where channel = level.channel and channel_sku = level.channel_sku and sku is not null order by sku
  loop
    perform acorn_elsewhere(ours);
  end loop;
  return null;
end $$
""",
    "create trigger stock_level_changed after insert or update or delete on stock_level "
    "for each row execute function acorn_level_changed()",
    f"""
create function acorn_listing_changed() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT'
    or (old.sku, old.channel_sku, old.fulfilled_by, old.refs)
      is distinct from (new.sku, new.channel_sku, new.fulfilled_by, new.refs)
  then
    if new.sku is not null then
      perform acorn_elsewhere(new.sku);
      update sku_stock set {_TOUCH} where sku = new.sku;
    end if;
    if tg_op = 'UPDATE' and old.sku is distinct from new.sku and old.sku is not null then
      perform acorn_elsewhere(old.sku);
      update sku_stock set {_TOUCH} where sku = old.sku;
    end if;
  end if;
  return null;
end $$
""",
    "create trigger listing_changed after insert or update on listing "
    "for each row execute function acorn_listing_changed()",
)
