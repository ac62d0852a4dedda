//! Never overbooked, first come first served: against a model with two plain lists.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Register(u128),
    Unregister(u128),
    SetCapacity(Option<u32>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0u128..12).prop_map(Step::Register),
        3 => (0u128..12).prop_map(Step::Unregister),
        1 => proptest::option::weighted(0.9, 1u32..6).prop_map(Step::SetCapacity),
    ]
}

#[derive(Default)]
struct Model {
    capacity: Option<u32>,
    confirmed: Vec<Uuid>,
    waiting: Vec<Uuid>,
}

impl Model {
    fn take(&mut self, step: &Step) {
        match *step {
            Step::Register(n) => {
                if !self.confirmed.contains(&user(n)) && !self.waiting.contains(&user(n)) {
                    self.waiting.push(user(n));
                }
            }
            Step::Unregister(n) => {
                self.confirmed.retain(|it| *it != user(n));
                self.waiting.retain(|it| *it != user(n));
            }
            Step::SetCapacity(capacity) => {
                if capacity.is_none_or(|capacity| capacity as usize >= self.confirmed.len()) {
                    self.capacity = capacity;
                }
            }
        }
        let seats = self.capacity.map_or(usize::MAX, |capacity| capacity as usize);
        while self.confirmed.len() < seats && !self.waiting.is_empty() {
            self.confirmed.push(self.waiting.remove(0));
        }
    }
}

fn command(step: &Step) -> LiveCommand {
    match *step {
        Step::Register(n) => register(n),
        Step::Unregister(n) => unregister(n),
        Step::SetCapacity(capacity) => set_capacity(capacity),
    }
}

proptest! {
    #[test]
    fn seats_and_waiting_list_are_those_of_the_model(
        capacity in proptest::option::weighted(0.9, 1u32..6),
        steps in vec(step(), 0..80),
    ) {
        let mut live = crate::testing::given::<Live>([created(capacity), published()]).state();
        let mut replayed = live.clone();
        let mut model = Model { capacity, ..Model::default() };
        for step in &steps {
            for event in live.decide(command(step)).unwrap_or_default() {
                live.apply(&event);
                let stored = serde_json::to_string(&event).unwrap();
                replayed.apply(&serde_json::from_str(&stored).unwrap());
                let plan = live.plan().unwrap();
                let seats = plan.details.capacity.map_or(usize::MAX, |seats| seats as usize);
                prop_assert!(plan.registrations.confirmed() <= seats);
            }
            model.take(step);
            let plan = live.plan().unwrap();
            prop_assert_eq!(plan.details.capacity, model.capacity);
            prop_assert_eq!(plan.registrations.confirmed(), model.confirmed.len());
            prop_assert_eq!(plan.registrations.waiting(), model.waiting.len());
            for user in &model.confirmed {
                prop_assert_eq!(plan.registrations.place(*user), Some(Place::Confirmed));
            }
            let turns: Vec<_> = model.waiting.iter().map(|it| plan.registrations.place(*it)).collect();
            let rising = turns.windows(2).all(|pair| match pair {
                [Some(Place::Waiting(one)), Some(Place::Waiting(next))] => one < next,
                _ => false,
            });
            prop_assert!(rising);
        }
        prop_assert_eq!(replayed, live);
    }

    #[test]
    fn repeating_a_registration_changes_nothing(steps in vec(step(), 0..40), step in step()) {
        let mut live = crate::testing::given::<Live>([created(Some(2)), published()]).state();
        for step in steps.iter().chain([&step]) {
            for event in live.decide(command(step)).unwrap_or_default() {
                live.apply(&event);
            }
        }
        if let Ok(events) = live.decide(command(&step)) {
            prop_assert_eq!(events, vec![]);
        }
    }
}
