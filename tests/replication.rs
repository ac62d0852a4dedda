//! A primary that ends, and its standby that takes over.

use crate::support::execute;
use crate::support::front::Front;
use crate::support::replication::{Server, url_through};

#[tokio::test(flavor = "multi_thread")]
async fn a_replicated_pair_loses_what_had_not_arrived_and_nothing_once_it_is_synchronous() {
    let mut primary = Server::primary().await;
    let link = Front::start(primary.port()).await;
    let standby = primary.standby_behind(&link).await;
    let front = Front::start(primary.port()).await;
    execute(&url_through(&front), "create table numbers (number int)").await;
    primary.synchronous("standby").await;
    execute(&url_through(&front), "insert into numbers values (1)").await;
    primary.synchronous("").await;
    standby.catch_up_with(&primary).await;
    assert!(standby.is_standby().await);
    link.hold(true);
    execute(&url_through(&front), "insert into numbers values (2)").await;
    primary.kill();
    standby.promote().await;
    front.point_to(standby.port());
    execute(&url_through(&front), "insert into numbers values (3)").await;
    assert_eq!(standby.ask::<Vec<i32>>("select array_agg(number order by number) from numbers").await, [1, 3]);
}
