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
    (Role::Pro, READ, "-+-++--+--"),
    (Role::Pro, &[ReadHistory], "-F-F+--+--"),
    (Role::Pro, OWNERS, "-F-FF--F--"),
    (Role::Pro, &[CreateDossier], "FFFFFFFFFF"),
    (Role::Pro, REVIEW, "-F-++--+--"),
    (Role::Pro, &[AssignDossier, ArchiveDossier], "-F-++--+--"),
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
