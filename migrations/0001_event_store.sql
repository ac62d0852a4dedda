-- The log and what stands beside it: identity, idempotency, claims, keys, batches.

-- Which log this is: stream names and checkpoints carry both, so that neither is ever believed about another log
-- or about one restored from a backup (every restore raises the generation).
create table log_identity (
    singleton boolean primary key default true check (singleton),
    log_id uuid not null default gen_random_uuid(),
    generation integer not null default 1,
    -- Wrapped by the master key at the first start; what look-up hashes and signing keys derive from.
    wrapped_secret bytea
);
insert into log_identity default values;

-- The columns of postgres-es, then ours. `json`, never `jsonb`: the stored text is what is hashed and proved.
create table events (
    aggregate_type text not null,
    aggregate_id text not null,
    sequence bigint not null check (sequence > 0),
    event_type text not null,
    event_version text not null,
    payload json not null,
    metadata json not null,
    position bigint not null unique check (position > 0),
    event_id uuid not null,
    recorded_at timestamptz not null,
    primary key (aggregate_type, aggregate_id, sequence)
);
-- Percentage thresholds fire too late on a large append-only table.
alter table events set (
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000
);

create function events_are_immutable() returns trigger language plpgsql as $$
begin
    raise exception 'recorded events are never changed';
end $$;
create trigger events_are_immutable before update or delete or truncate on events
    for each statement execute function events_are_immutable();

-- One row per committed batch: whoever cannot know whether a batch was applied inserts its id to find out.
create table appended_batches (
    batch_id uuid primary key,
    recorded_at timestamptz not null default clock_timestamp()
);

-- What a command with an Idempotency-Key was answered.
create table idempotency_records (
    scope uuid not null,
    key text not null,
    digest bytea not null,
    status smallint not null,
    aggregate_id uuid not null,
    version bigint not null,
    position bigint not null,
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (scope, key)
);
create index on idempotency_records (recorded_at);

-- Uniqueness across streams: an e-mail address (by keyed hash), a slug.
create table claims (
    kind text not null,
    value bytea not null,
    owner uuid not null,
    primary key (kind, value)
);

-- One data key per person, wrapped by the master key; erasing leaves a tombstone that is never undone.
create table person_keys (
    person_id uuid primary key,
    wrapped_key bytea,
    erased_at timestamptz,
    check ((wrapped_key is null) = (erased_at is not null))
);

-- One call appends one batch: one round trip, one commit. A command is named by its number in the batch, from 1;
-- c_after names the command of the same batch that it was decided upon, 0 when there is none.
--
-- The lock makes position order commit order. Every check stands in a statement after the lock, because a
-- check in the statement that waits for it would see a snapshot from before its predecessor's commit.
--
-- outcomes[n]: null when command n was appended, else why not: 'key_used', 'conflict', 'person_erased',
-- 'claim_taken'. positions[n]: the position of its last event. Two commands that take one key or one claim in the
-- same batch violate a primary key: the caller then splits the batch.
create function append_batch(
    batch uuid,
    c_type text[], c_id text[], c_expected bigint[], c_events int[], c_after int[],
    c_scope uuid[], c_key text[], c_digest bytea[], c_status smallint[], c_unchanged_position bigint[],
    e_command int[], e_type text[], e_id text[], e_sequence bigint[], e_event_type text[], e_event_version text[],
    e_payload text[], e_metadata text[], e_event_id uuid[],
    p_command int[], p_person uuid[],
    k_command int[], k_kind text[], k_value bytea[], k_owner uuid[], k_release boolean[],
    out outcomes text[], out positions bigint[]
) language plpgsql volatile as $$
declare
    head bigint;
    stamp timestamptz;
    refused int;
begin
    perform pg_advisory_xact_lock(4701966823);
    insert into appended_batches (batch_id) values (batch);
    select e.position, e.recorded_at into head, stamp from events e order by e.position desc limit 1;
    head := coalesce(head, 0);
    -- A clock that was set back must not make history run backwards.
    stamp := greatest(clock_timestamp(), stamp);

    select array_agg(case
        when c.key is not null and (
            select true from idempotency_records r where r.scope = c.scope and r.key = c.key) then 'key_used'
        when c.after = 0 and c.expected <> coalesce((
            select e.sequence from events e where e.aggregate_type = c.type and e.aggregate_id = c.id
            order by e.sequence desc limit 1), 0) then 'conflict'
    end)
    into outcomes
    from unnest(c_type, c_id, c_expected, c_after, c_scope, c_key) as c (type, id, expected, after, scope, key);

    for refused in
        select p.command from unnest(p_command, p_person) as p (command, person)
        where (select k.wrapped_key is null from person_keys k where k.person_id = p.person) is not false
    loop
        outcomes[refused] := coalesce(outcomes[refused], 'person_erased');
    end loop;

    if cardinality(k_command) > 0 then
        for refused in
            select k.command from unnest(k_command, k_kind, k_value, k_owner, k_release)
                as k (command, kind, value, owner, release)
            where not k.release and (
                select held.owner <> k.owner from claims held where held.kind = k.kind and held.value = k.value)
        loop
            outcomes[refused] := coalesce(outcomes[refused], 'claim_taken');
        end loop;
    end if;

    for n in 1 .. cardinality(c_expected) loop
        -- Whatever was decided upon a refused command falls with it.
        if outcomes[n] is null and c_after[n] > 0 and outcomes[c_after[n]] is not null then
            outcomes[n] := 'conflict';
        end if;
        if outcomes[n] is null then
            head := head + c_events[n];
            positions[n] := case when c_events[n] > 0 then head else c_unchanged_position[n] end;
        else
            positions[n] := null;
        end if;
    end loop;

    insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
                        position, event_id, recorded_at)
    select e.type, e.id, e.sequence, e.event_type, e.event_version, e.payload::json, e.metadata::json,
           positions[e.command] - c_expected[e.command] - c_events[e.command] + e.sequence, e.event_id, stamp
    from unnest(e_command, e_type, e_id, e_sequence, e_event_type, e_event_version, e_payload, e_metadata, e_event_id)
         as e (command, type, id, sequence, event_type, event_version, payload, metadata, event_id)
    where positions[e.command] is not null;

    insert into idempotency_records (scope, key, digest, status, aggregate_id, version, position)
    select c.scope, c.key, c.digest, c.status, c.id::uuid, c.expected + c.events, c.position
    from unnest(c_id, c_expected, c_events, c_scope, c_key, c_digest, c_status, positions)
         as c (id, expected, events, scope, key, digest, status, position)
    where c.key is not null and c.position is not null;

    if cardinality(k_command) > 0 then
        delete from claims held using unnest(k_command, k_kind, k_value, k_owner, k_release)
            as k (command, kind, value, owner, release)
        where k.release and positions[k.command] is not null
          and held.kind = k.kind and held.value = k.value and held.owner = k.owner;
        insert into claims (kind, value, owner)
        select k.kind, k.value, k.owner
        from unnest(k_command, k_kind, k_value, k_owner, k_release) as k (command, kind, value, owner, release)
        where not k.release and positions[k.command] is not null
          and not exists (select from claims held where held.kind = k.kind and held.value = k.value);
    end if;
end $$;
