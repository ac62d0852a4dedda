-- Sealed content that auditors asked to see: with a reason, with a second person's consent, and for a while.
create table break_glass (
    id uuid primary key,
    aggregate_type text not null,
    aggregate_id uuid not null,
    requested_by uuid not null,
    -- Sealed for who asked.
    reason json not null,
    requested_at timestamptz not null default clock_timestamp(),
    approved_by uuid,
    approved_at timestamptz,
    -- Until when it can be approved, and then until when it is open.
    expires_at timestamptz not null,
    constraint takes_two check (approved_by <> requested_by)
);
