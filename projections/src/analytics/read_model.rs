//! The read models that analysts ask for by name: typed columns, and the query that fills them. None holds anything
//! personal; days and times are UTC.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::postgres::PgRow;
use sqlx::{Error, Row};
use uuid::Uuid;

use Kind::{Day, Flag, Id, Integer, Number, Text, Time};

/// A read model.
#[derive(Debug)]
pub struct ReadModel {
    /// Its name in addresses.
    pub name: &'static str,
    /// What a row of it is.
    pub about: &'static str,
    /// Its columns, in order.
    pub columns: &'static [Column],
    /// Fills them; `given` holds `smallest`, `first` and `last`.
    query: &'static str,
}

/// A column.
#[derive(Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What it says.
    pub about: &'static str,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs)] // the values of the same names
pub enum Kind {
    Text,
    Id,
    Integer,
    Number,
    Day,
    Time,
    Flag,
}

/// One value of a row; none where there is nothing, or nothing that may be shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing.
    None,
    /// Words.
    Text(String),
    /// An id.
    Id(Uuid),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// A day, UTC.
    Day(NaiveDate),
    /// A moment, to the microsecond.
    Time(DateTime<Utc>),
    /// Yes or no.
    Flag(bool),
}

/// What a read model is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Groups of fewer are not shown.
    pub smallest: i64,
    /// The first day, of those read models that have days.
    pub first: NaiveDate,
    /// The last day, of the same.
    pub last: NaiveDate,
}

impl ReadModel {
    /// The read model of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        READ_MODELS.iter().find(|model| model.name == name)
    }

    /// The query for its rows, each beside the checkpoint; at least one row, `present` when it is one of the read
    /// model's. It takes the smallest group, and the first and last day.
    pub(super) fn query(&self) -> &'static str {
        static QUERIES: LazyLock<BTreeMap<&str, String>> =
            LazyLock::new(|| READ_MODELS.iter().map(|model| (model.name, model.written_out())).collect());
        QUERIES.get(self.name).map_or("", String::as_str)
    }

    fn written_out(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|column| format!("r.\"{}\"", column.name)).collect();
        format!(
            "select c.*, r.present, {} from checkpoint_of('analytics') c
             left join lateral (
                 with given as (select $1::bigint as smallest, $2::date as first, $3::date as last)
                 select true as present, q.* from ({}) q) r on true",
            columns.join(", "),
            self.query
        )
    }

    /// A row's values; none when it only brings the checkpoint.
    ///
    /// # Errors
    /// When the row is not one of this read model.
    pub fn cells(&self, row: &PgRow) -> Result<Option<Vec<Cell>>, Error> {
        if row.try_get::<Option<bool>, _>("present")?.is_none() {
            return Ok(None);
        }
        self.columns.iter().map(|column| cell(column, row)).collect::<Result<_, _>>().map(Some)
    }
}

fn cell(column: &Column, row: &PgRow) -> Result<Cell, Error> {
    let name = column.name;
    Ok(match column.kind {
        Text => row.try_get::<Option<String>, _>(name)?.map(Cell::Text),
        Id => row.try_get::<Option<Uuid>, _>(name)?.map(Cell::Id),
        Integer => row.try_get::<Option<i64>, _>(name)?.map(Cell::Integer),
        Number => row.try_get::<Option<f64>, _>(name)?.map(Cell::Number),
        Day => row.try_get::<Option<NaiveDate>, _>(name)?.map(Cell::Day),
        Time => row.try_get::<Option<DateTime<Utc>>, _>(name)?.map(Cell::Time),
        Flag => row.try_get::<Option<bool>, _>(name)?.map(Cell::Flag),
    }
    .unwrap_or(Cell::None))
}

const fn column(name: &'static str, kind: Kind, about: &'static str) -> Column {
    Column { name, kind, about }
}

/// Every read model.
pub static READ_MODELS: [ReadModel; 11] = [
    ReadModel {
        name: "dossiers",
        about: "A dossier that is not discarded, as it is now.",
        columns: &[
            column("id", Id, "The dossier."),
            column("organizationId", Id, "Where it is reviewed."),
            column("category", Text, "What it asks for."),
            column("status", Text, "How far it has come."),
            column("reviewerId", Id, "Who reviews it."),
            column("archived", Flag, "Whether it was put away."),
            column("createdAt", Time, "When it was begun."),
            column("submittedAt", Time, "When it was last submitted."),
            column("reviewStartedAt", Time, "When its review last began."),
            column("decidedAt", Time, "When it was decided, while that stands."),
            column("outcome", Text, "How, while that stands."),
            column("changeRequests", Integer, "How often changes were asked for."),
        ],
        query: "select id, organization_id as \"organizationId\", category, status, reviewer_id as \"reviewerId\", archived,
                    created_at as \"createdAt\", submitted_at as \"submittedAt\", review_started_at as \"reviewStartedAt\",
                    decided_at as \"decidedAt\", outcome, change_requests as \"changeRequests\"
                from analytics.dossiers order by id",
    },
    ReadModel {
        name: "dossierFunnel",
        about: "How far the dossiers of a month and category have come.",
        columns: &[
            column("month", Day, "The first day of the month in which they were begun."),
            column("category", Text, "What they ask for."),
            column("created", Integer, "How many were begun."),
            column("submitted", Integer, "How many of them were submitted."),
            column("reviewed", Integer, "How many came to be reviewed."),
            column("accepted", Integer, "How many are accepted."),
            column("refused", Integer, "How many are refused."),
            column("closed", Integer, "How many are closed."),
            column("withdrawn", Integer, "How many were withdrawn."),
        ],
        query: "select month, category, shown(created, smallest) as created, shown(submitted, smallest) as submitted,
                    shown(reviewed, smallest) as reviewed, shown(accepted, smallest) as accepted,
                    shown(refused, smallest) as refused, shown(closed, smallest) as closed,
                    shown(withdrawn, smallest) as withdrawn
                from given, (
                    select date_trunc('month', created_at at time zone 'UTC')::date as month, category,
                        count(*) as created, count(submitted_at) as submitted, count(review_started_at) as reviewed,
                        count(*) filter (where status = 'accepted') as accepted,
                        count(*) filter (where status = 'refused') as refused,
                        count(*) filter (where status = 'closed') as closed,
                        count(*) filter (where status = 'withdrawn') as withdrawn
                    from analytics.dossiers group by 1, 2) f
                where created >= smallest order by month, category",
    },
    ReadModel {
        name: "processingTimes",
        about: "How long it took from the last submission to the decision. Where month, category or reviewer is null, the \
                row is about all of them.",
        columns: &[
            column("month", Day, "The first day of the month of the decision."),
            column("category", Text, "What was asked for."),
            column("reviewerId", Id, "Who decided."),
            column("decisions", Integer, "How many decisions."),
            column("medianHours", Number, "Half of them took no longer."),
            column("p90Hours", Number, "Nine in ten of them took no longer."),
        ],
        // A group is also left out where those beside it that are too small could be told from what is left of their
        // sum: the smallest go until what is missing is itself large enough.
        query: "select month, category, \"reviewerId\", decisions, \"medianHours\", \"p90Hours\"
                from (
                    select *, sum(decisions) over (partition by level, month
                            order by decisions, category, \"reviewerId\" rows unbounded preceding) - decisions as beside,
                        sum(decisions) over (partition by level, category, \"reviewerId\"
                            order by decisions, month rows unbounded preceding) - decisions as before
                    from given, (
                        select month, category, reviewer_id as \"reviewerId\", count(*) as decisions,
                            percentile_cont(0.5) within group (order by hours) as \"medianHours\",
                            percentile_cont(0.9) within group (order by hours) as \"p90Hours\",
                            grouping(month, category, reviewer_id) as level
                        from (
                            select date_trunc('month', decided_at at time zone 'UTC')::date as month, category, reviewer_id,
                                greatest(extract(epoch from decided_at - submitted_at), 0)::float8 / 3600 as hours
                            from analytics.dossiers where decided_at is not null and submitted_at is not null) d
                        group by grouping sets
                            ((), (month), (category), (reviewer_id), (month, category), (month, reviewer_id))) g) p
                where decisions >= smallest and (beside = 0 or beside >= smallest) and (before = 0 or before >= smallest)
                order by month nulls first, category nulls first, \"reviewerId\" nulls first",
    },
    ReadModel {
        name: "changeReasons",
        about: "How often changes were asked for in a month, and why.",
        columns: &[
            column("month", Day, "Its first day."),
            column("category", Text, "What was asked for."),
            column("reason", Text, "Why: incorrect, incomplete or outdated."),
            column("requests", Integer, "How often."),
        ],
        query: "select date_trunc('month', day::timestamp)::date as month, category, reason,
                    sum(requests)::bigint as requests
                from given, analytics.change_requests group by 1, 2, 3, smallest
                having sum(requests) >= smallest order by 1, 2, 3",
    },
    ReadModel {
        name: "dossiersByStatus",
        about: "How many dossiers are in a status now.",
        columns: &[column("status", Text, "The status."), column("dossiers", Integer, "How many.")],
        query: "select status, shown(count(*), smallest) as dossiers from given, analytics.dossiers
                group by status, smallest order by status",
    },
    ReadModel {
        name: "dossiersByDay",
        about: "How many dossiers entered a status on a day.",
        columns: &[
            column("day", Day, "The day."),
            column("status", Text, "The status."),
            column("category", Text, "What the dossiers ask for."),
            column("entered", Integer, "How many."),
        ],
        query: "select day, status, category, shown(entered, smallest) as entered from given, analytics.status_days
                where day >= first and day <= last order by day, status, category",
    },
    ReadModel {
        name: "timeInStatus",
        about: "How long dossiers stayed in a status before they left it.",
        columns: &[
            column("status", Text, "The status."),
            column("category", Text, "What the dossiers ask for."),
            column("stays", Integer, "How many stays have ended."),
            column("totalMs", Integer, "How long they were together, in milliseconds."),
        ],
        query: "select status, category, shown(stays, smallest) as stays,
                    case when stays >= smallest then total_ms end as \"totalMs\"
                from given, analytics.status_durations order by status, category",
    },
    ReadModel {
        name: "decisionsByReviewer",
        about: "How often a reviewer decided.",
        columns: &[
            column("reviewerId", Id, "The reviewer."),
            column("accepted", Integer, "How often they accepted."),
            column("refused", Integer, "How often they refused."),
            column("closed", Integer, "How often they closed."),
        ],
        query: "select reviewer_id as \"reviewerId\",
                    shown(coalesce(sum(decisions) filter (where outcome = 'accepted'), 0)::bigint, smallest) as accepted,
                    shown(coalesce(sum(decisions) filter (where outcome = 'refused'), 0)::bigint, smallest) as refused,
                    shown(coalesce(sum(decisions) filter (where outcome = 'closed'), 0)::bigint, smallest) as closed
                from given, analytics.reviewer_decisions group by reviewer_id, smallest order by reviewer_id",
    },
    ReadModel {
        name: "registrations",
        about: "How many accounts were opened on a day.",
        columns: &[column("day", Day, "The day."), column("registered", Integer, "How many.")],
        query: "select day, shown(registered, smallest) as registered from given, analytics.registration_days
                where day >= first and day <= last order by day",
    },
    ReadModel {
        name: "community",
        about: "What the community did on a day.",
        columns: &[
            column("day", Day, "The day."),
            column("posts", Integer, "Posts published."),
            column("comments", Integer, "Comments written."),
            column("likes", Integer, "Likes given."),
            column("unlikes", Integer, "Likes taken back."),
        ],
        query: "select day, shown(posts, smallest) as posts, shown(comments, smallest) as comments,
                    shown(likes, smallest) as likes, shown(unlikes, smallest) as unlikes
                from given, analytics.community_days where day >= first and day <= last order by day",
    },
    ReadModel {
        name: "liveEvents",
        about: "How a live event was taken up.",
        columns: &[
            column("id", Id, "The live event."),
            column("organizationId", Id, "Who holds it."),
            column("status", Text, "draft, scheduled or cancelled."),
            column("startsAt", Time, "When it begins."),
            column("capacity", Integer, "How many seats there are; null without a limit."),
            column("confirmed", Integer, "How often somebody got a seat."),
            column("waitlisted", Integer, "How often somebody came to wait for one."),
            column("cancelled", Integer, "How often somebody gave a seat or a place back."),
        ],
        query: "select id, organization_id as \"organizationId\", status, starts_at as \"startsAt\", capacity,
                    shown(confirmed, smallest) as confirmed, shown(waitlisted, smallest) as waitlisted,
                    shown(cancelled, smallest) as cancelled
                from given, analytics.live_events order by starts_at, id",
    },
];
