"""Stock of our own: the ledger, reservations, rules, what channels are told"""

# ruff: noqa: E501, S608
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


# As store/triggers.py was when this migration was written.
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
  update reservation_hold set ended_at = expires_at
  where sku = new.sku and ended_at is null and expires_at <= clock_timestamp();
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


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.create_table(
        "feed_cursor",
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_success_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("feed", name=op.f("feed_cursor_pkey")),
    )
    op.create_table(
        "feed_delivery",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("contents", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("source", "id", name=op.f("feed_delivery_pkey")),
    )
    op.create_table(
        "kit_history",
        sa.Column("kit", sa.Text(), nullable=False),
        sa.Column("until_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("components", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("kit", "until_at", name=op.f("kit_history_pkey")),
    )
    op.create_table(
        "ledger_check",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("balances", sa.BigInteger(), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("wrong", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("ledger_check_pkey")),
    )
    op.create_table(
        "oversale",
        sa.Column("order_line_id", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("shown", sa.Integer(), nullable=True),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.CheckConstraint("units > 0", name=op.f("oversale_units_check")),
        sa.PrimaryKeyConstraint("order_line_id", "sku", name=op.f("oversale_pkey")),
    )
    op.create_index("oversale_seen_at_idx", "oversale", ["seen_at"], unique=False)
    op.create_table(
        "reservation",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("lines", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("committed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("reservation_pkey")),
        sa.UniqueConstraint(
            "requested_by", "idempotency_key", name=op.f("reservation_requested_by_idempotency_key_key")
        ),
    )
    op.create_index("reservation_created_at_idx", "reservation", ["created_at"], unique=False, postgresql_using="brin")
    op.create_index(
        "reservation_reference_idx",
        "reservation",
        ["reference"],
        unique=False,
        postgresql_where=sa.text("reference is not null"),
    )
    op.create_table(
        "stock_drift",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("channel_sku", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("believed", sa.BigInteger(), nullable=True),
        sa.Column("shown", sa.BigInteger(), nullable=True),
        sa.Column("first_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("times", sa.Integer(), server_default="1", nullable=False),
        sa.CheckConstraint(
            "kind in ('UNSEEN_SALE', 'LOST_WRITE', 'EXTERNAL_EDIT', 'NOT_OFFERED', 'POOL_DISAGREEMENT')",
            name=op.f("stock_drift_kind_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("stock_drift_pkey")),
    )
    op.create_index("stock_drift_last_at_idx", "stock_drift", ["last_at"], unique=False)
    op.create_index(
        "stock_drift_open_idx",
        "stock_drift",
        ["channel", "channel_sku", "place"],
        unique=True,
        postgresql_where=sa.text("ended_at is null"),
    )
    op.create_table(
        "stock_level_history",
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("channel_sku", sa.Text(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("on_hand", sa.Integer(), nullable=False),
        sa.Column("reserved", sa.Integer(), nullable=False),
        sa.Column("inbound", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("location", "channel", "channel_sku", "as_of", name=op.f("stock_level_history_pkey")),
    )
    op.create_index(
        "stock_level_history_as_of_idx", "stock_level_history", ["as_of"], unique=False, postgresql_using="brin"
    )
    op.create_table(
        "stock_push",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("channel_sku", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("expected", sa.BigInteger(), nullable=True),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("caused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("noticed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("upstream_request_id", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.CheckConstraint("cause in ('CHANGE', 'REPAIR', 'AGAIN')", name=op.f("stock_push_cause_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("stock_push_pkey")),
    )
    op.create_index(
        "stock_push_lowered_idx",
        "stock_push",
        ["channel", "confirmed_at"],
        unique=False,
        postgresql_where=sa.text("quantity < expected and accepted_at is not null and caused_at is not null"),
    )
    op.create_index(
        "stock_push_number_idx", "stock_push", ["sku", "channel", "channel_sku", "place", "sent_at"], unique=False
    )
    op.create_index("stock_push_sent_at_idx", "stock_push", ["sent_at"], unique=False, postgresql_using="brin")
    op.create_index("stock_push_sku_sent_at_idx", "stock_push", ["sku", "sent_at"], unique=False)
    op.create_table(
        "stock_rule",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=True),
        sa.Column("tag", sa.Text(), nullable=True),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("location", sa.Text(), nullable=True),
        sa.Column("priority", sa.Integer(), server_default="0", nullable=False),
        sa.Column("settings", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_by", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "kind in ('SAFETY_STOCK', 'MAXIMUM_SHOWN', 'CHANNEL_SHARE', 'FBA_SHARE', 'VELOCITY_BUFFER', 'LAST_UNITS')",
            name=op.f("stock_rule_kind_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("stock_rule_pkey")),
    )
    op.create_index(
        "stock_rule_name_idx", "stock_rule", ["name"], unique=True, postgresql_where=sa.text("removed_at is null")
    )
    op.create_table(
        "stock_sweep",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("tag", sa.Text(), nullable=True),
        sa.Column("after_sku", sa.Text(), server_default="", nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("stock_sweep_pkey")),
    )
    op.create_table(
        "channel_stock",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("channel_sku", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("refs", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("target", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("terms", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("target_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("caused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("noticed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("told", sa.BigInteger(), nullable=True),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("push_id", sa.BigInteger(), nullable=True),
        sa.Column("unseen", sa.BigInteger(), nullable=True),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("shown", sa.BigInteger(), nullable=True),
        sa.Column("shown_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("looks", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.CheckConstraint("target >= 0", name=op.f("channel_stock_target_check")),
        sa.ForeignKeyConstraint(["sku"], ["product.sku"], name=op.f("channel_stock_sku_fkey")),
        sa.PrimaryKeyConstraint("channel", "channel_sku", "place", name=op.f("channel_stock_pkey")),
    )
    op.create_index(
        "channel_stock_due_idx",
        "channel_stock",
        ["channel", "due_at"],
        unique=False,
        postgresql_where=sa.text("due_at is not null"),
    )
    op.create_index("channel_stock_sku_idx", "channel_stock", ["sku"], unique=False)
    op.create_table(
        "kit_component",
        sa.Column("kit", sa.Text(), nullable=False),
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("quantity > 0 and kit <> component", name=op.f("kit_component_counts_check")),
        sa.ForeignKeyConstraint(["component"], ["product.sku"], name=op.f("kit_component_component_fkey")),
        sa.ForeignKeyConstraint(["kit"], ["product.sku"], name=op.f("kit_component_kit_fkey")),
        sa.PrimaryKeyConstraint("kit", "component", name=op.f("kit_component_pkey")),
    )
    op.create_index("kit_component_component_idx", "kit_component", ["component"], unique=False)
    op.create_table(
        "order_allocation",
        sa.Column("order_line_id", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("shipped", sa.Integer(), server_default="0", nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("quantity >= 0 and shipped >= 0", name=op.f("order_allocation_counts_check")),
        sa.ForeignKeyConstraint(["sku"], ["product.sku"], name=op.f("order_allocation_sku_fkey")),
        sa.PrimaryKeyConstraint("order_line_id", "sku", "location", name=op.f("order_allocation_pkey")),
    )
    op.create_index("order_allocation_order_id_idx", "order_allocation", ["order_id"], unique=False)
    op.create_table(
        "reservation_hold",
        sa.Column("reservation_id", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("quantity > 0", name=op.f("reservation_hold_quantity_check")),
        sa.ForeignKeyConstraint(
            ["reservation_id"], ["reservation.id"], name=op.f("reservation_hold_reservation_id_fkey")
        ),
        sa.ForeignKeyConstraint(["sku"], ["product.sku"], name=op.f("reservation_hold_sku_fkey")),
        sa.PrimaryKeyConstraint("reservation_id", "sku", name=op.f("reservation_hold_pkey")),
    )
    op.create_index(
        "reservation_hold_endless_idx",
        "reservation_hold",
        ["sku", "ended_at"],
        unique=False,
        postgresql_where=sa.text("expires_at = 'infinity'"),
    )
    op.create_index(
        "reservation_hold_open_idx",
        "reservation_hold",
        ["sku", "expires_at"],
        unique=False,
        postgresql_where=sa.text("ended_at is null"),
    )
    op.create_index("reservation_hold_sku_created_at_idx", "reservation_hold", ["sku", "created_at"], unique=False)
    op.create_table(
        "sku_stock",
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("on_hand", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reserved", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("elsewhere", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("held", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("safety_stock", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("dirty_since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=True),
        sa.Column("caused_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=True),
        sa.Column("recompute_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "on_hand >= 0 and reserved >= 0 and held >= 0 and safety_stock >= 0", name=op.f("sku_stock_counts_check")
        ),
        sa.ForeignKeyConstraint(["sku"], ["product.sku"], name=op.f("sku_stock_sku_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sku", name=op.f("sku_stock_pkey")),
    )
    op.create_index(
        "sku_stock_dirty_idx",
        "sku_stock",
        ["dirty_since"],
        unique=False,
        postgresql_where=sa.text("dirty_since is not null"),
    )
    op.create_index(
        "sku_stock_recompute_idx",
        "sku_stock",
        ["recompute_at"],
        unique=False,
        postgresql_where=sa.text("recompute_at is not null"),
    )
    op.create_table(
        "stock_balance",
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("on_hand", sa.BigInteger(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("inbound", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("inbound >= 0", name=op.f("stock_balance_inbound_check")),
        sa.CheckConstraint("on_hand >= 0", name=op.f("stock_balance_on_hand_check")),
        sa.CheckConstraint("reserved >= 0", name=op.f("stock_balance_reserved_check")),
        sa.ForeignKeyConstraint(["sku"], ["product.sku"], name=op.f("stock_balance_sku_fkey")),
        sa.PrimaryKeyConstraint("sku", "location", name=op.f("stock_balance_pkey")),
    )
    op.create_index("stock_balance_location_idx", "stock_balance", ["location"], unique=False)
    op.create_table(
        "stock_entry",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("on_hand", sa.Integer(), server_default="0", nullable=False),
        sa.Column("reserved", sa.Integer(), server_default="0", nullable=False),
        sa.Column("inbound", sa.Integer(), server_default="0", nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("reservation_id", sa.Text(), nullable=True),
        sa.Column("order_line_id", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "kind in ('OPENING', 'EXPECTED', 'RECEIPT', 'ADJUSTMENT', 'COUNT', 'TRANSFER', 'RETURN', 'ALLOCATION', 'RELEASE', 'SHIPMENT')",
            name=op.f("stock_entry_kind_check"),
        ),
        sa.CheckConstraint(
            "kind not in ('ALLOCATION', 'RELEASE') or (on_hand = 0 and inbound = 0)",
            name=op.f("stock_entry_promise_check"),
        ),
        sa.CheckConstraint(
            "kind not in ('OPENING', 'COUNT', 'ADJUSTMENT', 'TRANSFER', 'RETURN') or reserved = 0",
            name=op.f("stock_entry_goods_check"),
        ),
        sa.CheckConstraint("reason <> '' and actor <> '' and source <> ''", name=op.f("stock_entry_told_check")),
        sa.ForeignKeyConstraint(["sku"], ["product.sku"], name=op.f("stock_entry_sku_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("stock_entry_pkey")),
        sa.UniqueConstraint("key", name=op.f("stock_entry_key_key")),
    )
    op.create_index("stock_entry_location_id_idx", "stock_entry", ["location", "id"], unique=False)
    op.create_index(
        "stock_entry_order_line_id_idx",
        "stock_entry",
        ["order_line_id"],
        unique=False,
        postgresql_where=sa.text("order_line_id is not null"),
    )
    op.create_index(
        "stock_entry_reservation_id_idx",
        "stock_entry",
        ["reservation_id"],
        unique=False,
        postgresql_where=sa.text("reservation_id is not null"),
    )
    op.create_index("stock_entry_sku_location_id_idx", "stock_entry", ["sku", "location", "id"], unique=False)
    op.add_column("stock_level", sa.Column("upstream_request_id", sa.Text(), nullable=True))
    for statement in STATEMENTS:
        op.execute(statement)
    # What was kept so far.
    op.execute("insert into sku_stock (sku) select sku from product order by sku")
    op.execute(
        "insert into stock_level_history (location, channel, channel_sku, as_of, on_hand, reserved, inbound) "
        "select location, channel, channel_sku, as_of, on_hand, reserved, inbound from stock_level"
    )
    op.execute("select acorn_elsewhere(sku) from product order by sku")
