//! What a batch made of live events and registrations, written with one statement each, in the order of their keys.

use sqlx::PgConnection;
use uuid::Uuid;

use super::fold::{LiveState, Programme};
use crate::error::ProjectionError;

pub(super) async fn write(programme: &Programme, connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let lives: Vec<&LiveState> = programme.lives.values().collect();
    if !lives.is_empty() {
        write_lives(&lives, connection).await?;
    }
    if !programme.registrations.is_empty() {
        write_registrations(programme, connection).await?;
    }
    if !programme.called_off.is_empty() {
        sqlx::query("update registrations set place = 'cancelled' where live_id = any($1)")
            .bind(programme.called_off.iter().copied().collect::<Vec<_>>())
            .execute(connection)
            .await?;
    }
    Ok(())
}

async fn write_lives(lives: &[&LiveState], connection: &mut PgConnection) -> Result<(), ProjectionError> {
    fn each<'a, T>(lives: &[&'a LiveState], column: impl Fn(&'a LiveState) -> T) -> Vec<T> {
        lives.iter().map(|live| column(live)).collect()
    }
    sqlx::query(
        "insert into lives (id, organization_id, title, description, time_zone, starts_at, ends_at, capacity,
             stream_url, status, cancel_reason, confirmed, waiting, version, created_at, updated_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
             $7::timestamptz[], $8::bigint[], $9::text[], $10::text[], $11::text[], $12::bigint[], $13::bigint[],
             $14::bigint[], $15::timestamptz[], $16::timestamptz[])
         on conflict (id) do update set
             title = excluded.title, description = excluded.description, time_zone = excluded.time_zone,
             starts_at = excluded.starts_at, ends_at = excluded.ends_at, capacity = excluded.capacity,
             stream_url = excluded.stream_url, status = excluded.status, cancel_reason = excluded.cancel_reason,
             confirmed = excluded.confirmed, waiting = excluded.waiting, version = excluded.version,
             updated_at = excluded.updated_at",
    )
    .bind(each(lives, |live| live.id))
    .bind(each(lives, |live| live.organization_id))
    .bind(each(lives, |live| live.title.as_str()))
    .bind(each(lives, |live| live.description.as_str()))
    .bind(each(lives, |live| live.time_zone.as_str()))
    .bind(each(lives, |live| live.starts_at))
    .bind(each(lives, |live| live.ends_at))
    .bind(each(lives, |live| live.capacity))
    .bind(each(lives, |live| live.stream_url.as_deref()))
    .bind(each(lives, |live| live.status.as_str()))
    .bind(each(lives, |live| live.cancel_reason.as_deref()))
    .bind(each(lives, |live| live.confirmed))
    .bind(each(lives, |live| live.waiting))
    .bind(each(lives, |live| live.version))
    .bind(each(lives, |live| live.created_at))
    .bind(each(lives, |live| live.updated_at))
    .execute(connection)
    .await?;
    Ok(())
}

async fn write_registrations(programme: &Programme, connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let given_back = programme.registrations.iter().filter(|(_, registration)| registration.is_none());
    let (lives, users): (Vec<Uuid>, Vec<Uuid>) = given_back.map(|(key, _)| *key).unzip();
    if !lives.is_empty() {
        sqlx::query(
            "delete from registrations r using unnest($1::uuid[], $2::uuid[]) as u (live_id, user_id)
             where r.live_id = u.live_id and r.user_id = u.user_id",
        )
        .bind(lives)
        .bind(users)
        .execute(&mut *connection)
        .await?;
    }
    let kept = programme.registrations.iter().filter_map(|(key, kept)| kept.map(|kept| (*key, kept)));
    let (keys, kept): (Vec<(Uuid, Uuid)>, Vec<_>) = kept.unzip();
    let (lives, users): (Vec<Uuid>, Vec<Uuid>) = keys.into_iter().unzip();
    sqlx::query(
        "insert into registrations (live_id, user_id, place, position, registered_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::timestamptz[])
         on conflict (live_id, user_id) do update set
             place = excluded.place, position = excluded.position, registered_at = excluded.registered_at",
    )
    .bind(lives)
    .bind(users)
    .bind(kept.iter().map(|registration| registration.place.as_str()).collect::<Vec<_>>())
    .bind(kept.iter().map(|registration| registration.position).collect::<Vec<_>>())
    .bind(kept.iter().map(|registration| registration.registered_at).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
