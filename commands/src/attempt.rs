//! One attempt at a command: decide on the warm state, append or verify, and say what comes next.

use domain::{Aggregate, Command, Denial, DomainEvent, Role};
use event_store::{Append, Lineage, NewEvent, Refusal, StoreError, StreamHead, StreamId};
use tokio::time::timeout_at;
use uuid::Uuid;

use crate::warm::Commits;
use crate::{CommandError, Context, Executed, Inner, Outcome};

/// What comes after an attempt.
pub(crate) enum Next {
    /// The command is answered.
    Answer(Executed),
    /// The state was not what it seemed.
    DecideAgain,
}

/// What the aggregate, the policy or the caller's own condition said.
enum Decision<A: Aggregate> {
    Change { role: Role, events: Vec<A::Event> },
    Unchanged,
    Rejected(A::Error),
    Denied(Denial),
    WrongVersion,
}

/// A decision that appends nothing, and the version it was made on.
struct Standstill<A: Aggregate> {
    decision: Decision<A>,
    version: u64,
    commits: Commits,
    /// The losses of the log's tail that were known before the state was read.
    losses: u64,
}

impl Inner {
    /// `known_head` is the stream's version by a read that began after the command arrived, 0 before there is one.
    pub(crate) async fn attempt<A: Aggregate>(
        &self,
        id: Uuid,
        command: &A::Command,
        context: &Context,
        known_head: &mut u64,
    ) -> Result<Next, CommandError<A::Error>> {
        let stream = StreamId { aggregate_type: A::TYPE, id };
        let entry = self.warm.entry::<A>(id);
        let mut warm = entry.lock().await;
        warm.refresh(self, id, *known_head).await?;
        let (version, commits, losses) = (warm.version(), warm.commits(), warm.losses());
        let decision = decide(warm.state(), version, command, context);
        let Decision::Change { role, events } = decision else {
            drop(warm);
            let standstill = Standstill { decision, version, commits, losses };
            return self.stand_still(stream, standstill, context, known_head).await;
        };
        // From here on the state is ahead of the log; dropped on the way, the guard throws it away.
        let ahead = warm.advance(&events);
        let key = warm.state().partition_key(id);
        let (events, persons) = self.seal(stream, &events, role, command.name(), key, context).await?;
        warm.hold(&persons);
        let append = Append {
            stream,
            expected_version: version,
            known: true,
            losses,
            events,
            unchanged_position: 0,
            idempotency: context.idempotency.clone(),
            claims: context.claims.clone(),
            persons,
            lineage: warm.lineage(),
            deadline: context.deadline,
        };
        let pending = self.store.enqueue(append).await?;
        ahead.queued();
        drop(warm);
        let committed = pending.committed().await;
        if !matches!(committed, Ok(Ok(_))) {
            commits.broken();
        }
        match committed? {
            Ok(appended) => {
                let head = StreamHead { version: appended.version, position: appended.position };
                commits.reach(head);
                Ok(Next::Answer(executed(id, head, Outcome::Appended)))
            }
            Err(refusal) => self.refused(refusal, context).await,
        }
    }

    /// A refusal or a no-op appends nothing that would notice a stale state, so it is answered only when the stream
    /// was there after the command arrived, and after the commit of everything it was decided on.
    async fn stand_still<A: Aggregate>(
        &self,
        stream: StreamId,
        standstill: Standstill<A>,
        context: &Context,
        known_head: &mut u64,
    ) -> Result<Next, CommandError<A::Error>> {
        let Standstill { decision, version, commits, losses } = standstill;
        let committed = timeout_at(context.deadline, commits.reached(version)).await;
        if !committed.map_err(|_| CommandError::Contention)? {
            return Ok(Next::DecideAgain);
        }
        let head = self.store.stream_head(stream).await?;
        if self.store.continuity().losses() != losses {
            *known_head = 0;
            return Ok(Next::DecideAgain);
        }
        let fresh = head.version <= version || (*known_head > 0 && *known_head <= version);
        *known_head = (*known_head).max(head.version);
        if !fresh {
            return Ok(Next::DecideAgain);
        }
        if !matches!(decision, Decision::Unchanged)
            && let Some(executed) = self.replay(context).await?
        {
            return Ok(Next::Answer(executed));
        }
        match decision {
            Decision::Rejected(error) => Err(CommandError::Rejected(error)),
            Decision::Denied(denial) => Err(CommandError::Denied(denial)),
            Decision::WrongVersion => Err(CommandError::VersionMismatch { current: head.version }),
            Decision::Unchanged | Decision::Change { .. } => self.unchanged(stream, head, losses, context).await,
        }
    }

    /// Answers a no-op, and remembers the answer when the caller gave a key.
    async fn unchanged<E>(
        &self,
        stream: StreamId,
        head: StreamHead,
        losses: u64,
        context: &Context,
    ) -> Result<Next, CommandError<E>> {
        let answer = Next::Answer(executed(stream.id, head, Outcome::Unchanged));
        if context.idempotency.is_none() {
            return Ok(answer);
        }
        let record = Append {
            stream,
            expected_version: head.version,
            known: true,
            losses,
            events: Vec::new(),
            unchanged_position: head.position,
            idempotency: context.idempotency.clone(),
            claims: Vec::new(),
            persons: Vec::new(),
            lineage: Lineage::default(),
            deadline: context.deadline,
        };
        match self.store.append(record).await? {
            Ok(_) => Ok(answer),
            Err(refusal) => self.refused(refusal, context).await,
        }
    }

    async fn refused<E>(&self, refusal: Refusal, context: &Context) -> Result<Next, CommandError<E>> {
        match refusal {
            Refusal::Conflict => Ok(Next::DecideAgain),
            Refusal::PersonErased => Err(CommandError::PersonErased),
            Refusal::KeyUsed => Ok(self.replay(context).await?.map_or(Next::DecideAgain, Next::Answer)),
            // A rival in the same batch may have fallen itself, so only a claim that stands refuses.
            Refusal::ClaimTaken => {
                for claim in context.claims.iter().filter(|claim| !claim.release) {
                    let owner = self.store.claim_owner(claim.kind, &claim.value).await?;
                    if owner.is_some_and(|owner| owner != claim.owner) {
                        return Err(CommandError::ClaimTaken);
                    }
                }
                Ok(Next::DecideAgain)
            }
        }
    }

    /// What the caller's key was answered before, if it was.
    pub(crate) async fn replay<E>(&self, context: &Context) -> Result<Option<Executed>, CommandError<E>> {
        let Some(key) = &context.idempotency else { return Ok(None) };
        let Some(record) = self.store.idempotency_record(key.scope, &key.key).await? else { return Ok(None) };
        if record.digest != key.digest {
            return Err(CommandError::KeyReused);
        }
        let head = StreamHead { version: record.version, position: record.position };
        Ok(Some(executed(record.aggregate_id, head, Outcome::Replayed(record.status))))
    }

    async fn seal<E: DomainEvent>(
        &self,
        stream: StreamId,
        events: &[E],
        role: Role,
        command: &str,
        partition_key: Uuid,
        context: &Context,
    ) -> Result<(Vec<NewEvent>, Vec<Uuid>), StoreError> {
        let vault = self.store.vault();
        let metadata = to_json(&context.metadata(role, command, partition_key))?;
        let (metadata, mut persons) = vault.seal(stream, &metadata).await?;
        let mut sealed = Vec::with_capacity(events.len());
        for event in events {
            let (payload, theirs) = vault.seal(stream, &to_json(event)?).await?;
            persons.extend(theirs);
            sealed.push(NewEvent {
                event_id: Uuid::now_v7(),
                event_type: event.event_type().into(),
                schema_version: event.schema_version(),
                payload,
                metadata: metadata.clone(),
            });
        }
        persons.sort_unstable();
        persons.dedup();
        Ok((sealed, persons))
    }
}

fn decide<A: Aggregate>(state: &A, version: u64, command: &A::Command, context: &Context) -> Decision<A> {
    let role = match state.authorize(&context.actor, command) {
        Ok(role) => role,
        Err(denial) => return Decision::Denied(denial),
    };
    if context.if_match.is_some_and(|expected| expected != version) {
        return Decision::WrongVersion;
    }
    match state.decide(command.clone()) {
        Ok(events) if events.is_empty() => Decision::Unchanged,
        Ok(events) => Decision::Change { role, events },
        Err(error) => Decision::Rejected(error),
    }
}

fn executed(id: Uuid, head: StreamHead, outcome: Outcome) -> Executed {
    Executed { id, version: head.version, position: head.position, outcome }
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Invalid(error.to_string()))
}
