//! The whole access policy: `can(actor, action, resource)`, one table, deny by default.

mod permissions;
mod roles;

use uuid::Uuid;

pub use permissions::{Permission, Permissions};
pub use roles::{Role, Roles};

/// The organisation that every account and row belongs to until others exist.
pub const DEFAULT_ORGANIZATION: Uuid = Uuid::from_u128(0x01900000_0000_7000_8000_000000000001);

/// Who gives a command or asks a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actor {
    /// The account.
    pub id: Uuid,
    /// Its roles, read from the account, never from a token.
    pub roles: Roles,
    /// The organisation in which it acts.
    pub organization: Uuid,
    /// What it may do there as far as roles leave that open.
    pub permissions: Permissions,
}

impl Actor {
    /// An account with these roles, in the organisation that they are for.
    pub fn new(id: Uuid, roles: Roles, organization: Uuid) -> Self {
        Self { id, roles, organization, permissions: Permissions::of(roles) }
    }

    /// A member of an organisation, who keeps of these roles those that are for the whole instance.
    pub fn member(id: Uuid, roles: Roles, organization: Uuid, permissions: Permissions) -> Self {
        let everywhere = roles.iter().filter(|role| !matches!(role, Role::Pro | Role::Organizer));
        Self { id, roles: everywhere.chain(permissions.roles()).collect(), organization, permissions }
    }

    fn may(&self, permission: Permission) -> bool {
        self.permissions.contains(permission)
    }
}

/// Why the policy said no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// The actor may not know that the resource exists (404).
    Hidden,
    /// The actor may see the resource but not do this to it (403).
    Forbidden,
}

/// What an actor wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs)] // each name is its own sentence
pub enum Action {
    CreateDossier,
    EditDossier,
    SubmitDossier,
    WithdrawDossier,
    DiscardDossier,
    ArchiveDossier,
    AssignDossier,
    StartReview,
    RequestChanges,
    CancelChangeRequest,
    DecideDossier,
    ReopenReview,
    ReadDossier,
    ReadDossierMetadata,
    ReadHistory,
    Register,
    ReadCard,
    ReadSelf,
    EditSelf,
    EraseSelf,
    ManageUsers,
    ReadLog,
    ApproveBreakGlass,
    ReadAnalytics,
    ManageProjections,
    PublishPost,
    EditPost,
    DeletePost,
    ReadPost,
    React,
    WriteComment,
    EditComment,
    DeleteComment,
    ReadComment,
    CreateLive,
    EditLive,
    PublishLive,
    CancelLive,
    ReadLive,
    ReadAttendees,
    RegisterForLive,
    CreateOrganization,
    ReadOrganization,
    EditOrganization,
    ManageMembers,
    LeaveOrganization,
    AnswerInvitation,
}

/// What an actor wants to do it to, with what the policy needs to know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// One dossier.
    Dossier {
        /// The applicant it belongs to.
        owner: Uuid,
        /// The organisation it was created in.
        organization: Uuid,
        /// The pro it is assigned to.
        reviewer: Option<Uuid>,
        /// Whether it was ever submitted: a pro sees no drafts.
        submitted: bool,
        /// Whether its owner discarded it.
        discarded: bool,
    },
    /// One account.
    Account {
        /// Whose it is.
        id: Uuid,
    },
    /// One post.
    Post {
        /// Who wrote it.
        author: Uuid,
        /// Whether it was deleted.
        deleted: bool,
    },
    /// One comment.
    Comment {
        /// Who wrote it.
        author: Uuid,
        /// Whether it was deleted.
        deleted: bool,
    },
    /// The reaction of one user to one post.
    Reaction {
        /// Whose it is.
        user: Uuid,
    },
    /// One live event.
    Live {
        /// The organisation that runs it.
        organization: Uuid,
        /// Whether it left the draft.
        published: bool,
    },
    /// One organisation.
    Organization {
        /// What the actor may do there as a member; nothing for who is none.
        membership: Option<Permissions>,
    },
    /// One invitation to an organisation.
    Invitation {
        /// Whether it is for the actor.
        addressee: bool,
    },
    /// The running product itself: its log, its figures, its users, its projections.
    Instance,
}

/// The role under which `actor` may do `action` to `resource`; the first in the order of [`Role::ALL`] that allows it.
///
/// # Errors
/// [`Denial::Forbidden`] when the actor may at least see the resource or was about to create it,
/// [`Denial::Hidden`] otherwise.
pub fn can(actor: &Actor, action: Action, resource: &Resource) -> Result<Role, Denial> {
    if let Some(role) = granting_role(actor, action, resource) {
        return Ok(role);
    }
    let seen = match resource {
        Resource::Instance => true,
        _ => READS.into_iter().any(|read| granting_role(actor, read, resource).is_some()),
    };
    // Who is refused a creation learns nothing about what exists.
    Err(if seen || CREATIONS.contains(&action) { Denial::Forbidden } else { Denial::Hidden })
}

/// To be granted one of these is to see the resource.
const READS: [Action; 8] = [
    Action::ReadDossier,
    Action::ReadDossierMetadata,
    Action::ReadHistory,
    Action::ReadCard,
    Action::ReadPost,
    Action::ReadComment,
    Action::ReadLive,
    Action::ReadOrganization,
];

const CREATIONS: [Action; 6] = [
    Action::CreateDossier,
    Action::Register,
    Action::PublishPost,
    Action::WriteComment,
    Action::CreateLive,
    Action::CreateOrganization,
];

fn granting_role(actor: &Actor, action: Action, resource: &Resource) -> Option<Role> {
    actor.roles.iter().find(|role| match *resource {
        Resource::Dossier { .. } => on_dossier(*role, actor, action, resource),
        Resource::Account { id } => on_account(*role, action, id == actor.id),
        Resource::Post { author, deleted } => {
            *role == Role::Applicant && !deleted && on_post(action, author == actor.id)
        }
        Resource::Comment { author, deleted } => {
            *role == Role::Applicant && !deleted && on_comment(action, author == actor.id)
        }
        Resource::Reaction { user } => *role == Role::Applicant && action == Action::React && user == actor.id,
        Resource::Live { organization, published } => {
            on_live(*role, actor, action, organization == actor.organization, published)
        }
        Resource::Organization { membership } => on_organization(*role, action, membership),
        Resource::Invitation { addressee } => {
            *role == Role::Applicant && action == Action::AnswerInvitation && addressee
        }
        Resource::Instance => on_instance(*role, action),
    })
}

fn on_dossier(role: Role, actor: &Actor, action: Action, resource: &Resource) -> bool {
    use Action::*;
    let Resource::Dossier { owner, organization, reviewer, submitted, discarded } = *resource else {
        return false;
    };
    let own = owner == actor.id;
    let same_organization = organization == actor.organization;
    let assigned = reviewer == Some(actor.id);
    let on_desk = same_organization && (assigned || (reviewer.is_none() && submitted));
    // No one reviews what they own.
    let to_review = |permission| on_desk && !own && actor.may(permission);
    match (role, action) {
        (Role::Auditor, ReadDossier | ReadDossierMetadata | ReadHistory) => true,
        _ if discarded => false,
        (Role::Applicant, CreateDossier) => own && same_organization,
        (Role::Applicant, EditDossier | SubmitDossier | WithdrawDossier | DiscardDossier) => own,
        (Role::Applicant, ArchiveDossier) => own,
        (Role::Applicant, ReadDossier | ReadDossierMetadata | ReadHistory) => own,
        (Role::Pro, ReadDossier | ReadDossierMetadata) => on_desk,
        (Role::Pro, ReadHistory) => on_desk && assigned,
        (Role::Pro, StartReview | RequestChanges | CancelChangeRequest) => to_review(Permission::ReviewDossiers),
        (Role::Pro, DecideDossier | ReopenReview | ArchiveDossier) => to_review(Permission::DecideDossiers),
        (Role::Pro, AssignDossier) => to_review(Permission::AssignDossiers),
        (Role::Admin, ReadDossierMetadata | AssignDossier) => true,
        _ => false,
    }
}

fn on_account(role: Role, action: Action, own: bool) -> bool {
    match (role, action) {
        (_, Action::ReadCard) => true,
        (Role::Applicant, Action::Register | Action::ReadSelf | Action::EditSelf | Action::EraseSelf) => own,
        (Role::Admin, Action::ManageUsers) => true,
        _ => false,
    }
}

fn on_post(action: Action, own: bool) -> bool {
    match action {
        Action::ReadPost => true,
        Action::PublishPost | Action::EditPost | Action::DeletePost => own,
        _ => false,
    }
}

fn on_comment(action: Action, own: bool) -> bool {
    match action {
        Action::ReadComment => true,
        Action::WriteComment | Action::EditComment | Action::DeleteComment => own,
        _ => false,
    }
}

fn on_live(role: Role, actor: &Actor, action: Action, same_organization: bool, published: bool) -> bool {
    use Action::*;
    let runs = |permission| same_organization && actor.may(permission);
    match (role, action) {
        (Role::Applicant, ReadLive | RegisterForLive) => published,
        (Role::Organizer, ReadLive) => published || same_organization,
        (Role::Organizer, CreateLive | EditLive | PublishLive | CancelLive) => runs(Permission::ManageEvents),
        (Role::Organizer, ReadAttendees) => runs(Permission::ReadAttendees),
        (Role::Admin, ReadLive) => true,
        (Role::Admin, CreateLive | EditLive | PublishLive | CancelLive | ReadAttendees) => true,
        _ => false,
    }
}

fn on_organization(role: Role, action: Action, membership: Option<Permissions>) -> bool {
    use Action::*;
    let may = |permission| membership.is_some_and(|own| own.contains(permission));
    match (role, action) {
        (Role::Applicant, CreateOrganization) => true,
        (Role::Applicant, ReadOrganization | LeaveOrganization) => membership.is_some(),
        (Role::Applicant, ManageMembers) => may(Permission::ManageMembers),
        (Role::Applicant, EditOrganization) => may(Permission::ManageOrganization),
        // So that an organisation without an admin can have one again.
        (Role::Admin, ReadOrganization | ManageMembers) => true,
        _ => false,
    }
}

fn on_instance(role: Role, action: Action) -> bool {
    match action {
        Action::ReadLog => role == Role::Auditor,
        Action::ApproveBreakGlass => matches!(role, Role::Auditor | Role::Admin),
        Action::ReadAnalytics => matches!(role, Role::Analyst | Role::Admin),
        Action::ManageUsers | Action::ManageProjections => role == Role::Admin,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
