//! The dossier rows of the matrix: role × action × own, same organisation, foreign.

use super::*;
use Action::*;

fn dossier(owner: Uuid, organization: Uuid, reviewer: Option<Uuid>, submitted: bool) -> Resource {
    Resource::Dossier { owner, organization, reviewer, submitted, discarded: false }
}

fn discarded(owner: Uuid) -> Resource {
    let (organization, reviewer, submitted) = (HOME, None, false);
    Resource::Dossier { owner, organization, reviewer, submitted, discarded: true }
}

/// The columns, in this order.
fn columns() -> [Resource; 10] {
    let third = Uuid::from_u128(3);
    [
        dossier(ME, HOME, None, false),          // own draft
        dossier(ME, HOME, None, true),           // own, submitted
        dossier(OTHER, HOME, None, false),       // same organisation, draft
        dossier(OTHER, HOME, None, true),        // same organisation, submitted, no reviewer
        dossier(OTHER, HOME, Some(ME), true),    // same organisation, assigned to me
        dossier(OTHER, HOME, Some(third), true), // same organisation, assigned to another
        dossier(OTHER, ABROAD, None, true),      // foreign, submitted, no reviewer
        dossier(OTHER, ABROAD, Some(ME), true),  // foreign, assigned to me
        discarded(ME),                           // own, discarded
        discarded(OTHER),                        // another's, discarded
    ]
}

const OWNERS: &[Action] = &[EditDossier, SubmitDossier, WithdrawDossier, DiscardDossier];
const REVIEW: &[Action] = &[StartReview, RequestChanges, CancelChangeRequest, DecideDossier, ReopenReview];
const READ: &[Action] = &[ReadDossier, ReadDossierMetadata];

const TABLE: &[(Role, &[Action], &str)] = &[
    (Role::Applicant, READ, "++--------"),
    (Role::Applicant, &[ReadHistory], "++--------"),
    (Role::Applicant, OWNERS, "++--------"),
    (Role::Applicant, &[ArchiveDossier], "++--------"),
    (Role::Applicant, &[CreateDossier], "++FFFFFFFF"),
    (Role::Applicant, REVIEW, "FF--------"),
    (Role::Applicant, &[AssignDossier], "FF--------"),
    (Role::Pro, READ, "-+-++-----"),
    (Role::Pro, &[ReadHistory], "-F-F+-----"),
    (Role::Pro, OWNERS, "-F-FF-----"),
    (Role::Pro, &[CreateDossier], "FFFFFFFFFF"),
    (Role::Pro, REVIEW, "-F-++-----"),
    (Role::Pro, &[AssignDossier, ArchiveDossier], "-F-++-----"),
    (Role::Auditor, READ, "++++++++++"),
    (Role::Auditor, &[ReadHistory], "++++++++++"),
    (Role::Auditor, OWNERS, "FFFFFFFFFF"),
    (Role::Auditor, REVIEW, "FFFFFFFFFF"),
    (Role::Auditor, &[CreateDossier, AssignDossier, ArchiveDossier], "FFFFFFFFFF"),
    (Role::Admin, &[ReadDossierMetadata, AssignDossier], "++++++++--"),
    (Role::Admin, &[ReadDossier, ReadHistory, ArchiveDossier], "FFFFFFFF--"),
    (Role::Admin, OWNERS, "FFFFFFFF--"),
    (Role::Admin, REVIEW, "FFFFFFFF--"),
    (Role::Admin, &[CreateDossier], "FFFFFFFFFF"),
];

#[test]
fn the_dossier_rows_of_the_matrix() {
    let mut table = TABLE.to_vec();
    for role in [Role::Analyst, Role::Moderator, Role::Organizer] {
        let others: &[Action] = &[ReadHistory, AssignDossier, ArchiveDossier];
        for actions in [READ, OWNERS, REVIEW, others] {
            table.push((role, actions, "----------"));
        }
        table.push((role, &[CreateDossier], "FFFFFFFFFF"));
    }
    let rest = [ReadHistory, ArchiveDossier, AssignDossier, CreateDossier];
    check_complete(&table, &[READ, OWNERS, REVIEW, &rest].concat());
    check(&table, &columns());
}

/// What members with one permission alone may do with a dossier that is assigned to them, or to nobody.
#[test]
fn a_permission_opens_its_own_cells_and_no_others() {
    let rows: &[(Action, Permission)] = &[
        (StartReview, Permission::ReviewDossiers),
        (RequestChanges, Permission::ReviewDossiers),
        (CancelChangeRequest, Permission::ReviewDossiers),
        (DecideDossier, Permission::DecideDossiers),
        (ReopenReview, Permission::DecideDossiers),
        (ArchiveDossier, Permission::DecideDossiers),
        (AssignDossier, Permission::AssignDossiers),
    ];
    let on_dossiers =
        [Permission::ReadDossiers, Permission::ReviewDossiers, Permission::DecideDossiers, Permission::AssignDossiers];
    for permission in Permission::ALL {
        let member = member([permission]);
        for assigned in [None, Some(ME)] {
            let here = dossier(OTHER, HOME, assigned, true);
            let seen = on_dossiers.contains(&permission);
            assert_eq!(can(&member, ReadDossier, &here).is_ok(), seen, "{permission:?}");
            for (action, needed) in rows {
                let expected = match () {
                    () if !seen => Err(Denial::Hidden),
                    () if *needed == permission => Ok(Role::Pro),
                    () => Err(Denial::Forbidden),
                };
                assert_eq!(can(&member, *action, &here), expected, "{permission:?} {action:?}");
                let there = dossier(OTHER, ABROAD, assigned, true);
                assert_eq!(can(&member, *action, &there), Err(Denial::Hidden), "{permission:?} {action:?}");
            }
        }
    }
}
