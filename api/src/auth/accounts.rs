//! What an account may do now, and where: read from the account and the organisation themselves, and kept for a second.

use std::sync::Arc;
use std::time::Duration;

use commands::Commands;
use domain::access::DEFAULT_ORGANIZATION;
use domain::account::Account;
use domain::organization::Organization;
use domain::{Actor, Permissions, Roles};
use event_store::StoreError;
use moka::future::Cache;
use uuid::Uuid;

const CACHED: u64 = 100_000;
/// How long a process may go on with roles that were changed by another.
const CACHED_FOR: Duration = Duration::from_secs(1);

/// What an account may do.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// Its roles.
    pub roles: Roles,
    /// The organisation in which it acts.
    pub organization: Uuid,
    /// Whether it is registered and not suspended.
    pub active: bool,
    /// Whether its owner has proved the address.
    pub verified: bool,
}

/// The standings of accounts.
#[derive(Clone)]
pub struct Accounts {
    commands: Commands,
    standings: Cache<Uuid, Standing>,
    /// What an account may do in an organisation; nothing for who is not a member.
    memberships: Cache<(Uuid, Uuid), Option<Permissions>>,
}

impl Accounts {
    /// Reads accounts by `commands`.
    pub fn new(commands: Commands) -> Self {
        let standings = Cache::builder().max_capacity(CACHED).time_to_live(CACHED_FOR).build();
        let memberships = Cache::builder().max_capacity(CACHED).time_to_live(CACHED_FOR).build();
        Self { commands, standings, memberships }
    }

    /// What an account may do, as of a second ago at most.
    ///
    /// # Errors
    /// [`StoreError`] when the event store does not answer.
    pub async fn standing(&self, id: Uuid) -> Result<Standing, Arc<StoreError>> {
        let read = async {
            let (account, _) = self.commands.state::<Account>(id).await?;
            Ok::<_, StoreError>(Standing {
                roles: account.roles(),
                organization: account.organization().unwrap_or(DEFAULT_ORGANIZATION),
                active: account.is_active(),
                verified: account.is_verified(),
            })
        };
        self.standings.try_get_with(id, read).await
    }

    /// The account as an actor in this organisation, or in its own; nothing when it may not come in or is not a member.
    ///
    /// # Errors
    /// [`StoreError`] when the event store does not answer.
    pub async fn actor(&self, id: Uuid, organization: Option<Uuid>) -> Result<Option<Actor>, Arc<StoreError>> {
        let standing = self.standing(id).await?;
        if !standing.active {
            return Ok(None);
        }
        match organization.filter(|organization| *organization != standing.organization) {
            None => Ok(Some(Actor::new(id, standing.roles, standing.organization))),
            Some(organization) => {
                let membership = self.membership(organization, id).await?;
                Ok(membership.map(|permissions| Actor::member(id, standing.roles, organization, permissions)))
            }
        }
    }

    async fn membership(&self, organization: Uuid, id: Uuid) -> Result<Option<Permissions>, Arc<StoreError>> {
        let read = async {
            let (organization, _) = self.commands.state::<Organization>(organization).await?;
            Ok::<_, StoreError>(organization.permissions_of(id))
        };
        self.memberships.try_get_with((organization, id), read).await
    }

    /// Forgets what was known of an account that has just changed.
    pub async fn forget(&self, id: Uuid) {
        self.standings.invalidate(&id).await;
    }

    /// Forgets what was known of a membership that has just changed.
    pub async fn forget_membership(&self, organization: Uuid, id: Uuid) {
        self.memberships.invalidate(&(organization, id)).await;
    }
}
