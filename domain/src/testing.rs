//! Given, when, then: the sentences in which an aggregate's rules are tested.

use crate::aggregate::Aggregate;

/// Starts a test sentence with what has happened so far.
pub fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let mut state = A::default();
    for event in events {
        state.apply(&event);
    }
    Given { state }
}

/// The state that the given events lead to.
pub struct Given<A> {
    state: A,
}

/// What the aggregate answered.
pub struct Outcome<A: Aggregate> {
    result: Result<Vec<A::Event>, A::Error>,
}

impl<A: Aggregate> Given<A> {
    /// Gives the command.
    pub fn when(self, command: A::Command) -> Outcome<A> {
        Outcome { result: self.state.decide(command) }
    }

    /// The state itself.
    pub fn state(self) -> A {
        self.state
    }
}

impl<A: Aggregate> Outcome<A> {
    /// Expects exactly these events.
    ///
    /// # Panics
    /// When the aggregate answered otherwise.
    pub fn then(self, expected: impl IntoIterator<Item = A::Event>) {
        let expected: Vec<_> = expected.into_iter().collect();
        assert_eq!(self.result, Ok(expected));
    }

    /// Expects that nothing had to change.
    ///
    /// # Panics
    /// When the aggregate answered otherwise.
    pub fn then_nothing(self) {
        assert_eq!(self.result, Ok(vec![]));
    }

    /// Expects this refusal.
    ///
    /// # Panics
    /// When the aggregate answered otherwise.
    pub fn then_rejected(self, expected: A::Error) {
        assert_eq!(self.result, Err(expected));
    }
}
