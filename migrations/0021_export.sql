-- What one person wrote or registered for, for their export.
create index posts_of_author on post.posts (author_id, id);
create index comments_of_author on post.comments (author_id, id);
create index likes_of_user on post.likes (user_id, post_id);
create index registrations_of_user on live.registrations (user_id, live_id);
