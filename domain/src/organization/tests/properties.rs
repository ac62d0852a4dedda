//! Whatever members do to each other: there is an admin, and nobody ends up with more than somebody had to give.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Join(u128, MemberRole),
    ChangeRole(u128, MemberRole, u128),
    Remove(u128, u128),
    Define(Vec<Permission>, u128),
}

fn role() -> impl Strategy<Value = MemberRole> {
    prop_oneof![proptest::sample::select(MemberRole::BUILT_IN.to_vec()), Just(MemberRole::Custom("custom".to_owned())),]
}

fn step() -> impl Strategy<Value = Step> {
    let permissions = proptest::sample::subsequence(Permission::ALL.to_vec(), 0..=8);
    prop_oneof![
        (2u128..6, role()).prop_map(|(user, role)| Step::Join(user, role)),
        (1u128..6, role(), 1u128..6).prop_map(|(user, role, by)| Step::ChangeRole(user, role, by)),
        (1u128..6, 1u128..6).prop_map(|(user, by)| Step::Remove(user, by)),
        (permissions, 1u128..6).prop_map(|(permissions, by)| Step::Define(permissions, by)),
    ]
}

fn commands(step: &Step) -> (Uuid, Vec<OrganizationCommand>) {
    let by = |n: u128| Uuid::from_u128(n);
    match step.clone() {
        Step::Join(user, role) => (ADA, vec![invite(ADDRESS, role, ADA), accept(by(user), at())]),
        Step::ChangeRole(user, role, giver) => (by(giver), vec![change_role(by(user), role, by(giver))]),
        Step::Remove(user, giver) => (by(giver), vec![remove(by(user), by(giver))]),
        Step::Define(permissions, giver) => (by(giver), vec![define("custom", &permissions, by(giver))]),
    }
}

proptest! {
    #[test]
    fn there_is_always_an_admin_and_nobody_raises_themselves(steps in vec(step(), 1..60)) {
        let mut organization = given::<Organization>([created(), defined("custom", &[])]).state();
        for step in &steps {
            let (by, commands) = commands(step);
            for command in commands {
                let actor = Actor::new(by, [Role::Applicant].into_iter().collect(), Uuid::nil());
                let answered = matches!(command, OrganizationCommand::Accept { .. });
                if !answered && organization.authorize(&actor, &command).is_err() {
                    continue;
                }
                let before = organization.permissions_of(by);
                for event in organization.decide(command).unwrap_or_default() {
                    organization.apply(&event);
                }
                let after = organization.permissions_of(by);
                if !answered && let (Some(before), Some(after)) = (before, after) {
                    prop_assert!(before.cover(after), "{step:?}");
                }
            }
            let charter = organization.charter().unwrap();
            prop_assert!(charter.members.values().any(|role| *role == MemberRole::Admin), "{step:?}");
            prop_assert!(charter.members.values().all(|role| role.permissions(&charter.roles).is_some()));
        }
    }
}
