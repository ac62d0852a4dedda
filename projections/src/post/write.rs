//! What a batch made of posts, comments and likes, written with one statement each, in the order of their keys.

use domain::Personal;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::fold::{CommentState, Community, PostState};
use crate::error::ProjectionError;

pub(super) async fn write(community: &Community, connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let posts: Vec<&PostState> = community.posts.values().collect();
    if !posts.is_empty() {
        write_posts(&posts, connection).await?;
    }
    let comments: Vec<&CommentState> = community.comments.values().collect();
    if !comments.is_empty() {
        write_comments(&comments, connection).await?;
    }
    if !community.likes.is_empty() {
        write_likes(community, connection).await?;
    }
    Ok(())
}

fn json(body: Option<&Json<Personal<String>>>) -> Result<Option<String>, ProjectionError> {
    let json = body.map(|body| serde_json::to_string(&body.0)).transpose();
    json.map_err(|_| ProjectionError::Poison("a value is not JSON".to_owned()))
}

async fn write_posts(posts: &[&PostState], connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let bodies: Result<Vec<_>, _> = posts.iter().map(|post| json(post.body.as_ref())).collect();
    sqlx::query(
        "insert into posts (id, author_id, organization_id, body, likes, comments, version, created_at, updated_at)
         select id, author_id, organization_id, body::json, likes, comments, version, created_at, updated_at
         from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
             $8::timestamptz[], $9::timestamptz[])
             as u (id, author_id, organization_id, body, likes, comments, version, created_at, updated_at)
         on conflict (id) do update set
             body = excluded.body, likes = excluded.likes, comments = excluded.comments, version = excluded.version,
             updated_at = excluded.updated_at",
    )
    .bind(posts.iter().map(|post| post.id).collect::<Vec<_>>())
    .bind(posts.iter().map(|post| post.author_id).collect::<Vec<_>>())
    .bind(posts.iter().map(|post| post.organization_id).collect::<Vec<_>>())
    .bind(bodies?)
    .bind(posts.iter().map(|post| post.likes).collect::<Vec<_>>())
    .bind(posts.iter().map(|post| post.comments).collect::<Vec<_>>())
    .bind(posts.iter().map(|post| post.version).collect::<Vec<_>>())
    .bind(posts.iter().map(|post| post.created_at).collect::<Vec<_>>())
    .bind(posts.iter().map(|post| post.updated_at).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

async fn write_comments(comments: &[&CommentState], connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let bodies: Result<Vec<_>, _> = comments.iter().map(|comment| json(comment.body.as_ref())).collect();
    sqlx::query(
        "insert into comments (id, post_id, parent_id, depth, author_id, body, version, created_at, updated_at)
         select id, post_id, parent_id, depth, author_id, body::json, version, created_at, updated_at
         from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::smallint[], $5::uuid[], $6::text[], $7::bigint[],
             $8::timestamptz[], $9::timestamptz[])
             as u (id, post_id, parent_id, depth, author_id, body, version, created_at, updated_at)
         on conflict (id) do update set
             body = excluded.body, version = excluded.version, updated_at = excluded.updated_at",
    )
    .bind(comments.iter().map(|comment| comment.id).collect::<Vec<_>>())
    .bind(comments.iter().map(|comment| comment.post_id).collect::<Vec<_>>())
    .bind(comments.iter().map(|comment| comment.parent_id).collect::<Vec<_>>())
    .bind(comments.iter().map(|comment| comment.depth).collect::<Vec<_>>())
    .bind(comments.iter().map(|comment| comment.author_id).collect::<Vec<_>>())
    .bind(bodies?)
    .bind(comments.iter().map(|comment| comment.version).collect::<Vec<_>>())
    .bind(comments.iter().map(|comment| comment.created_at).collect::<Vec<_>>())
    .bind(comments.iter().map(|comment| comment.updated_at).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

async fn write_likes(community: &Community, connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let taken_back = community.likes.iter().filter(|(_, at)| at.is_none());
    let (posts, users): (Vec<_>, Vec<_>) = taken_back.map(|(like, _)| *like).unzip();
    if !posts.is_empty() {
        sqlx::query(
            "delete from likes l using unnest($1::uuid[], $2::uuid[]) as u (post_id, user_id)
             where l.post_id = u.post_id and l.user_id = u.user_id",
        )
        .bind(posts)
        .bind(users)
        .execute(&mut *connection)
        .await?;
    }
    let set = community.likes.iter().filter_map(|(like, at)| at.map(|at| (*like, at)));
    let (likes, times): (Vec<_>, Vec<_>) = set.unzip();
    let (posts, users): (Vec<_>, Vec<_>) = likes.into_iter().unzip();
    sqlx::query(
        "insert into likes (post_id, user_id, at) select * from unnest($1::uuid[], $2::uuid[], $3::timestamptz[])
         on conflict (post_id, user_id) do update set at = excluded.at",
    )
    .bind(posts)
    .bind(users)
    .bind(times)
    .execute(connection)
    .await?;
    Ok(())
}
