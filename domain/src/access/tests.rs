//! The policy as tables: `+` allowed, `F` forbidden (403), `-` hidden (404).

use super::*;

const ME: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);
const HOME: Uuid = Uuid::from_u128(8);
const ABROAD: Uuid = Uuid::from_u128(9);

fn actor(role: Role) -> Actor {
    Actor::new(ME, [role].into_iter().collect(), HOME)
}

fn mark(role: Role, action: Action, resource: &Resource) -> char {
    match can(&actor(role), action, resource) {
        Ok(granted) => {
            assert_eq!(granted, role);
            '+'
        }
        Err(Denial::Forbidden) => 'F',
        Err(Denial::Hidden) => '-',
    }
}

/// Checks every action of a row against every resource: one column of `cells` per resource.
fn check(table: &[(Role, &[Action], &str)], resources: &[Resource]) {
    for (role, actions, cells) in table {
        for action in *actions {
            let marks: String = resources.iter().map(|it| mark(*role, *action, it)).collect();
            assert_eq!(marks, *cells, "{role:?} {action:?}");
        }
    }
}

/// Checks that the rows name every role with every action exactly once.
fn check_complete(table: &[(Role, &[Action], &str)], actions: &[Action]) {
    for role in Role::ALL {
        for action in actions {
            let rows = table.iter().filter(|row| row.0 == role && row.1.contains(action));
            assert_eq!(rows.count(), 1, "{role:?} {action:?}");
        }
    }
}

fn member(permissions: impl IntoIterator<Item = Permission>) -> Actor {
    Actor::member(ME, [Role::Applicant].into_iter().collect(), HOME, permissions.into_iter().collect())
}

mod dossiers;

const ACCOUNT: [Action; 6] =
    [Action::ReadCard, Action::Register, Action::ReadSelf, Action::EditSelf, Action::EraseSelf, Action::ManageUsers];

#[test]
fn accounts() {
    let mine: &[Action] = &[Action::Register, Action::ReadSelf, Action::EditSelf, Action::EraseSelf];
    let card: &[Action] = &[Action::ReadCard];
    let manage: &[Action] = &[Action::ManageUsers];
    let mut table = vec![(Role::Applicant, card, "++"), (Role::Applicant, mine, "+F")];
    table.extend([(Role::Applicant, manage, "FF"), (Role::Admin, card, "++")]);
    table.extend([(Role::Admin, mine, "FF"), (Role::Admin, manage, "++")]);
    for role in [Role::Pro, Role::Auditor, Role::Analyst, Role::Moderator, Role::Organizer] {
        table.extend([(role, card, "++"), (role, mine, "FF"), (role, manage, "FF")]);
    }
    check_complete(&table, &ACCOUNT);
    check(&table, &[Resource::Account { id: ME }, Resource::Account { id: OTHER }]);
}

#[test]
fn the_instance() {
    use Action::*;
    let all = [ReadLog, ApproveBreakGlass, ReadAnalytics, ManageUsers, ManageProjections];
    let granted = |role: Role| -> &[Action] {
        match role {
            Role::Auditor => &[ReadLog, ApproveBreakGlass],
            Role::Analyst => &[ReadAnalytics],
            Role::Admin => &[ApproveBreakGlass, ReadAnalytics, ManageUsers, ManageProjections],
            Role::Applicant | Role::Pro | Role::Moderator | Role::Organizer => &[],
        }
    };
    for role in Role::ALL {
        for action in all {
            let expected = if granted(role).contains(&action) { '+' } else { 'F' };
            assert_eq!(mark(role, action, &Resource::Instance), expected, "{role:?} {action:?}");
        }
    }
}

#[test]
fn posts_comments_and_reactions() {
    use Action::*;
    let post = |author, deleted| Resource::Post { author, deleted };
    let posts = [post(ME, false), post(OTHER, false), post(ME, true), post(OTHER, true)];
    check(
        &[
            (Role::Applicant, &[ReadPost], "++--"),
            (Role::Applicant, &[EditPost, DeletePost], "+F--"),
            (Role::Applicant, &[PublishPost], "+FFF"),
        ],
        &posts,
    );
    let comment = |author, deleted| Resource::Comment { author, deleted };
    let comments = [comment(ME, false), comment(OTHER, false), comment(ME, true), comment(OTHER, true)];
    check(
        &[
            (Role::Applicant, &[ReadComment], "++--"),
            (Role::Applicant, &[EditComment, DeleteComment], "+F--"),
            (Role::Applicant, &[WriteComment], "+FFF"),
        ],
        &comments,
    );
    let reactions = [Resource::Reaction { user: ME }, Resource::Reaction { user: OTHER }];
    check(&[(Role::Applicant, &[React], "+-")], &reactions);
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Applicant) {
        check(&[(role, &[ReadPost, EditPost, DeletePost], "----")], &posts);
        check(&[(role, &[ReadComment, EditComment, DeleteComment], "----")], &comments);
        check(&[(role, &[React], "--")], &reactions);
    }
}

#[test]
fn live_events() {
    use Action::*;
    let live = |organization, published| Resource::Live { organization, published };
    let resources = [live(HOME, false), live(HOME, true), live(ABROAD, false), live(ABROAD, true)];
    let run: &[Action] = &[EditLive, PublishLive, CancelLive, ReadAttendees];
    let mut table = vec![
        (Role::Applicant, &[ReadLive, RegisterForLive] as &[Action], "-+-+"),
        (Role::Applicant, run, "-F-F"),
        (Role::Applicant, &[CreateLive], "FFFF"),
        (Role::Organizer, &[ReadLive], "++-+"),
        (Role::Organizer, run, "++-F"),
        (Role::Organizer, &[CreateLive], "++FF"),
        (Role::Organizer, &[RegisterForLive], "FF-F"),
        (Role::Admin, &[ReadLive, CreateLive], "++++"),
        (Role::Admin, run, "++++"),
        (Role::Admin, &[RegisterForLive], "FFFF"),
    ];
    for role in [Role::Pro, Role::Auditor, Role::Analyst, Role::Moderator] {
        table.extend([(role, run, "----"), (role, &[CreateLive], "FFFF")]);
        table.push((role, &[ReadLive, RegisterForLive], "----"));
    }
    let all = [ReadLive, RegisterForLive, CreateLive];
    check_complete(&table, &[&all, run].concat());
    check(&table, &resources);
}

#[test]
fn a_permission_on_live_events_opens_its_own_cells() {
    use Action::*;
    let draft = |organization| Resource::Live { organization, published: false };
    for permission in Permission::ALL {
        let member = member([permission]);
        let sees = matches!(permission, Permission::ManageEvents | Permission::ReadAttendees);
        assert_eq!(can(&member, ReadLive, &draft(HOME)).is_ok(), sees, "{permission:?}");
        for action in [CreateLive, EditLive, PublishLive, CancelLive] {
            let may = permission == Permission::ManageEvents;
            assert_eq!(can(&member, action, &draft(HOME)).is_ok(), may, "{permission:?} {action:?}");
            assert!(can(&member, action, &draft(ABROAD)).is_err(), "{permission:?} {action:?}");
        }
        let may = permission == Permission::ReadAttendees;
        assert_eq!(can(&member, ReadAttendees, &draft(HOME)).is_ok(), may, "{permission:?}");
    }
}

#[test]
fn organizations() {
    use Action::*;
    let organization = |membership: Option<&[Permission]>| Resource::Organization {
        membership: membership.map(|permissions| permissions.iter().copied().collect()),
    };
    let others: Vec<Permission> = Permission::ALL
        .into_iter()
        .filter(|it| !matches!(it, Permission::ManageMembers | Permission::ManageOrganization))
        .collect();
    // Foreign; a member with everything but what follows; one who manages members; one who manages the organisation.
    let resources = [
        organization(None),
        organization(Some(&others)),
        organization(Some(&[Permission::ManageMembers])),
        organization(Some(&[Permission::ManageOrganization])),
    ];
    let mut table = vec![
        (Role::Applicant, &[CreateOrganization] as &[Action], "++++"),
        (Role::Applicant, &[ReadOrganization, LeaveOrganization], "-+++"),
        (Role::Applicant, &[ManageMembers], "-F+F"),
        (Role::Applicant, &[EditOrganization], "-FF+"),
        (Role::Admin, &[ReadOrganization, ManageMembers], "++++"),
        (Role::Admin, &[CreateOrganization, LeaveOrganization, EditOrganization], "FFFF"),
    ];
    for role in [Role::Pro, Role::Auditor, Role::Analyst, Role::Moderator, Role::Organizer] {
        table.push((role, &[CreateOrganization], "FFFF"));
        table.push((role, &[ReadOrganization, LeaveOrganization, ManageMembers, EditOrganization], "----"));
    }
    let all = [CreateOrganization, ReadOrganization, LeaveOrganization, ManageMembers, EditOrganization];
    check_complete(&table, &all);
    check(&table, &resources);
    let invitations = [Resource::Invitation { addressee: true }, Resource::Invitation { addressee: false }];
    for role in Role::ALL {
        let cells = if role == Role::Applicant { "+-" } else { "--" };
        check(&[(role, &[AnswerInvitation], cells)], &invitations);
    }
}

#[test]
fn roles_for_the_whole_instance_go_along_and_the_others_stay_at_home() {
    let at_home = Actor::new(ME, Role::ALL.into_iter().collect(), HOME);
    assert_eq!(at_home.permissions.iter().count(), 6, "all but those over an organisation itself");
    let guest = Actor::member(ME, at_home.roles, ABROAD, Permissions::default());
    let kept: Vec<Role> = guest.roles.into();
    assert_eq!(kept, [Role::Applicant, Role::Auditor, Role::Analyst, Role::Moderator, Role::Admin]);
    let pro = Actor::member(ME, Roles::default(), ABROAD, [Permission::AssignDossiers].into_iter().collect());
    assert!(pro.roles.contains(Role::Pro) && !pro.roles.contains(Role::Organizer));
    assert_eq!(serde_json::to_value(pro.permissions).unwrap(), serde_json::json!(["assignDossiers"]));
}

#[test]
fn the_role_is_the_first_that_allows_it() {
    let roles = [Role::Admin, Role::Pro, Role::Applicant].into_iter().collect();
    let actor = Actor::new(ME, roles, HOME);
    assert_eq!(can(&actor, Action::ReadCard, &Resource::Account { id: OTHER }), Ok(Role::Applicant));
    assert_eq!(can(&actor, Action::ManageUsers, &Resource::Instance), Ok(Role::Admin));
}

#[test]
fn no_role_no_access() {
    let actor = Actor::new(ME, Roles::default(), HOME);
    let mine = Resource::Account { id: ME };
    assert_eq!(can(&actor, Action::ReadSelf, &mine), Err(Denial::Hidden));
}
