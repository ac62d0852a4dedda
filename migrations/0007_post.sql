-- The community: posts, comments and likes. Personal values are sealed.
create schema post;

-- A deleted post keeps its row, without its text, for what was written below it.
create table post.posts (
    id uuid primary key,
    author_id uuid not null,
    organization_id uuid not null,
    body json,
    likes bigint not null,
    comments bigint not null,
    version bigint not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    check (likes >= 0 and comments >= 0)
);
create index posts_newest on post.posts (created_at, id) where body is not null;
create index posts_most_liked on post.posts (likes, id) where body is not null;
create index posts_most_discussed on post.posts (comments, id) where body is not null;

-- A deleted comment keeps its place in the tree, without its text.
create table post.comments (
    id uuid primary key,
    post_id uuid not null,
    parent_id uuid,
    depth smallint not null,
    author_id uuid not null,
    body json,
    version bigint not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
);
create index comments_of_post on post.comments (post_id, created_at, id);

create table post.likes (
    post_id uuid not null,
    user_id uuid not null,
    at timestamptz not null,
    primary key (post_id, user_id)
);
