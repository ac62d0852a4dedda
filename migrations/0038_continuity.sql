-- A log that lost its tail: a standby that was behind took over, and positions are given out again for other events.
-- Whoever remembers a position remembers the event there, and compares it.

-- Appends as before, with two differences. `seen_position` and `seen_event` name the newest event that the caller has
-- seen committed. When the log does not hold it, nothing is appended and `continued` is false: what the caller decided on
-- may be lost. `unchecked` says that the caller wrote that event itself, so that streams and idempotency keys need not be
-- looked up while it is the log's last one.
--
-- Processes of an older build call the function without `unchecked`, which stays for them.
create function append_batch(
    batch uuid, seen_position bigint, seen_event uuid, unchecked boolean,
    c_type text[], c_id text[], c_expected bigint[], c_version bigint[], c_last int[], c_after int[],
    c_scope uuid[], c_key text[], c_digest bytea[], c_status smallint[], c_unchanged_position bigint[],
    e_command int[], e_type text[], e_id text[], e_sequence bigint[], e_event_type text[], e_event_version text[],
    e_payload text[], e_metadata text[], e_event_id uuid[],
    p_command int[], p_person uuid[],
    k_command int[], k_kind text[], k_value bytea[], k_owner uuid[], k_release boolean[],
    out head bigint, out continued boolean, out outcomes text[]
) language plpgsql volatile as $$
declare
    stamp timestamptz;
    last_event uuid;
    accepted text[] := array_fill(null::text, array[cardinality(c_id)]);
    refused int;
    -- Events of refused commands before command n, which burn no position.
    skipped int[];
    missing int := 0;
begin
    perform pg_advisory_xact_lock(4701966823);
    insert into appended_batches (batch_id) values (batch);
    select e.position, e.recorded_at, e.event_id into head, stamp, last_event
    from events e order by e.position desc limit 1;
    head := coalesce(head, 0);
    -- A clock that was set back must not make history run backwards.
    stamp := greatest(clock_timestamp(), stamp);

    continued := true;
    if (head = seen_position and last_event = seen_event) is not true and seen_event is not null then
        continued := exists (select from events e where e.position = seen_position and e.event_id = seen_event);
        if not continued then
            return;
        end if;
    end if;
    if (unchecked and head = seen_position and last_event = seen_event) is not true then
        select array_agg(verdict) into outcomes
        from (select case
                  when c.key is not null and (
                      select true from idempotency_records r where r.scope = c.scope and r.key = c.key) then 'key_used'
                  when c.after = 0 and c.expected <> coalesce((
                      select e.sequence from events e where e.aggregate_type = c.type and e.aggregate_id = c.id
                      order by e.sequence desc limit 1), 0) then 'conflict'
              end as verdict
              from unnest(c_type, c_id, c_expected, c_after, c_scope, c_key)
                   as c (type, id, expected, after, scope, key)) checked
        having count(verdict) > 0;
    end if;

    for refused in
        select p.command from unnest(p_command, p_person) as p (command, person)
        where (select k.wrapped_key is null from person_keys k where k.person_id = p.person) is not false
    loop
        outcomes := coalesce(outcomes, accepted);
        outcomes[refused] := coalesce(outcomes[refused], 'person_erased');
    end loop;

    if cardinality(k_command) > 0 then
        for refused in
            select k.command from unnest(k_command, k_kind, k_value, k_owner, k_release)
                as k (command, kind, value, owner, release)
            where not k.release and (
                select held.owner <> k.owner from claims held where held.kind = k.kind and held.value = k.value)
        loop
            outcomes := coalesce(outcomes, accepted);
            outcomes[refused] := coalesce(outcomes[refused], 'claim_taken');
        end loop;
    end if;

    if outcomes is not null then
        for n in 1 .. cardinality(c_id) loop
            skipped[n] := missing;
            -- Whatever was decided upon a refused command falls with it.
            if outcomes[n] is null and c_after[n] > 0 and outcomes[c_after[n]] is not null then
                outcomes[n] := 'conflict';
            end if;
            if outcomes[n] is not null then
                missing := missing + (c_version[n] - c_expected[n]);
            end if;
        end loop;
    end if;

    insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
                        position, event_id, recorded_at)
    select e.type, e.id, e.sequence, e.event_type, e.event_version, e.payload::json, e.metadata::json,
           head + e.number - coalesce(skipped[e.command], 0), e.event_id, stamp
    from unnest(e_command, e_type, e_id, e_sequence, e_event_type, e_event_version, e_payload, e_metadata, e_event_id)
         with ordinality
         as e (command, type, id, sequence, event_type, event_version, payload, metadata, event_id, number)
    where outcomes[e.command] is null;

    insert into idempotency_records (scope, key, digest, status, aggregate_id, version, position)
    select c.scope, c.key, c.digest, c.status, c.id::uuid, c.version,
           case when c.version > c.expected then head + c.last - coalesce(skipped[c.number], 0) else c.unchanged end
    from unnest(c_id, c_expected, c_version, c_last, c_scope, c_key, c_digest, c_status, c_unchanged_position)
         with ordinality
         as c (id, expected, version, last, scope, key, digest, status, unchanged, number)
    where c.key is not null and outcomes[c.number] is null;

    if cardinality(k_command) > 0 then
        delete from claims held using unnest(k_command, k_kind, k_value, k_owner, k_release)
            as k (command, kind, value, owner, release)
        where k.release and outcomes[k.command] is null
          and held.kind = k.kind and held.value = k.value and held.owner = k.owner;
        insert into claims (kind, value, owner)
        select k.kind, k.value, k.owner
        from unnest(k_command, k_kind, k_value, k_owner, k_release) as k (command, kind, value, owner, release)
        where not k.release and outcomes[k.command] is null
          and not exists (select from claims held where held.kind = k.kind and held.value = k.value);
    end if;
end $$;

-- The event at the checkpoint's position; null where an older build moved it.
alter table checkpoints add column event_id uuid;

create function forget_checkpoint_event() returns trigger language plpgsql as $$
begin
    new.event_id := null;
    return new;
end $$;
create trigger forget_checkpoint_event before update on checkpoints for each row
    when (new.position <> old.position and new.event_id is not distinct from old.event_id)
    execute function forget_checkpoint_event();

-- Signed tree heads that a process had seen and the log no longer holds.
create table audit_lost_heads (
    size bigint not null check (size > 0),
    root bytea not null check (octet_length(root) = 32),
    signed_at timestamptz not null,
    key_id bigint not null,
    signature bytea not null check (octet_length(signature) = 64),
    -- The last position up to which the log is as that process had seen it.
    kept_to bigint not null,
    noticed_at timestamptz not null default clock_timestamp(),
    primary key (size, root)
);
revoke update, delete, truncate on audit_lost_heads from capitune_app;
create trigger evidence_is_immutable before update or truncate on audit_lost_heads
    for each statement execute function evidence_is_immutable();
alter table audit_lost_heads enable always trigger evidence_is_immutable;
