"""Every upstream exchange, redacted, by month"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    # The months are data: they are made by whoever needs them, and dropped when they are too old.
    op.execute(
        """
        create table exchange (
            at timestamptz not null,
            id bigint not null,
            channel text not null,
            operation text not null,
            method text not null,
            path text not null,
            status integer,
            upstream_request_id text,
            seconds double precision not null,
            waited_s double precision not null,
            failure text,
            subjects text[] not null,
            request_headers text not null,
            response_headers text not null,
            request text,
            response text,
            request_bytes integer not null,
            response_bytes integer not null,
            constraint exchange_pkey primary key (at, id)
        ) partition by range (at)
        """
    )
    op.execute("create index exchange_subjects_idx on exchange using gin (subjects)")
    op.execute("create index exchange_operation_idx on exchange (channel, operation, at)")
    op.execute(
        """
        create index exchange_request_id_idx on exchange (upstream_request_id)
        where upstream_request_id is not null
        """
    )
    op.execute("create index exchange_failed_idx on exchange (failure, at) where failure is not null")
