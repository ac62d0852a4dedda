//! Where errors become problems: the one place that knows both sides.

use commands::CommandError;
use domain::rejection::RejectionKind;
use domain::{Aggregate, Denial, Rejection};
use event_store::StoreError;

use crate::problem::{Problem, codes};

/// What a client is told about a command of `A` that was not executed.
pub fn command_problem<A: Aggregate>(error: CommandError<A::Error>) -> Problem {
    match error {
        CommandError::Rejected(rejection) => rejection_problem(&rejection),
        CommandError::Denied(denial) => denied::<A>(denial),
        CommandError::VersionMismatch { current } => Problem::new(&codes::VERSION_MISMATCH)
            .with_current_version(current)
            .with_detail(format!("the version is {current} now"), format!("la version est maintenant {current}")),
        CommandError::KeyReused => Problem::new(&codes::IDEMPOTENCY_KEY_REUSED),
        CommandError::ClaimTaken => Problem::new(&codes::ACCOUNT_ADDRESS_TAKEN),
        CommandError::PersonErased => Problem::new(&codes::PERSON_ERASED),
        CommandError::Contention => Problem::new(&codes::COMMAND_CONTENTION).with_retry_after(1),
        CommandError::Store(error) => error.into(),
    }
}

/// What a client is told about a refusal by the policy.
pub fn denied<A: Aggregate>(denial: Denial) -> Problem {
    match denial {
        Denial::Hidden => not_found::<A>().with_denial(),
        Denial::Forbidden => Problem::new(&codes::ACCESS_FORBIDDEN),
    }
}

/// There is none, or none that the caller may see.
pub fn not_found<A: Aggregate>() -> Problem {
    Problem::new(codes::find(&format!("{}.not_found", A::TYPE)))
}

/// What a client is told about a refusal by an aggregate.
pub fn rejection_problem<R: Rejection>(rejection: &R) -> Problem {
    let code = match codes::find(rejection.code()) {
        code if *code == codes::INTERNAL => &codes::COMMAND_REFUSED,
        code => code,
    };
    let problem = Problem::new(code).with_detail(rejection.to_string(), rejection.french());
    match rejection.kind() {
        RejectionKind::Invalid(errors) => problem.with_status(422).with_errors(errors),
        RejectionKind::Transition { current_state, allowed_commands } => {
            problem.with_status(409).with_state(current_state, allowed_commands)
        }
        RejectionKind::Conflict => problem.with_status(409),
        RejectionKind::Forbidden => problem.with_status(403).with_denial(),
        RejectionKind::NotFound => problem.with_status(404),
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Lost(_) => {
                tracing::warn!(%error, "the event store did not answer");
                Self::new(&codes::STORE_UNAVAILABLE).with_retry_after(1)
            }
            StoreError::OutcomeUnknown => Self::new(&codes::STORE_OUTCOME_UNKNOWN).with_retry_after(1),
            StoreError::Invalid(_) => {
                tracing::warn!(%error, "the event store refused content that passed every check");
                Self::new(&codes::CONTENT_INVALID)
            }
            StoreError::Broken(_) | StoreError::Vault(_) => {
                tracing::error!(%error, "the event store is not as it should be");
                Self::new(&codes::INTERNAL)
            }
        }
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
    }
}
