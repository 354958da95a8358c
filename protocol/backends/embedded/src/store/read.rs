//! Reading jobs, events and lists.

use std::time::Duration;

use protocol::event::Event;
use protocol::id::{JobId, TenantId};
use protocol::job::{Attempt, Job};
use protocol::json::Json;
use protocol::ports::{EventsPage, JobFilter, JobsPage};
use protocol::state::JobState;
use protocol::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, ToSql};

use super::head::spec;
use crate::error::Failure;
use crate::values::{At, Text, Word, Written, rows};

/// See `Store::get`.
pub(super) fn get(
    file: &Connection,
    tenant: &TenantId,
    id: JobId,
    retention: Duration,
) -> Result<Option<Job>, Failure> {
    row(file, tenant, id, Timestamp::now(), retention)?.map(|row| job(file, row)).transpose()
}

/// The row of a job of that tenant whose retention isn't over.
pub(super) fn row(
    file: &Connection,
    tenant: &TenantId,
    id: JobId,
    now: Timestamp,
    retention: Duration,
) -> Result<Option<i64>, Failure> {
    let mut statement = file.prepare_cached(
        "SELECT row FROM jobs WHERE id = ?1 AND tenant = ?2 AND (finished_at IS NULL OR finished_at > ?3)",
    )?;
    let params = (Text(id), Text(tenant), At(before(now, retention)));
    Ok(statement.query_row(params, |row| row.get(0)).optional()?)
}

/// The whole job.
pub(super) fn job(file: &Connection, row: i64) -> Result<Job, Failure> {
    let mut statement = file.prepare_cached(
        "SELECT state, reason, cancel_requested, next_run_at, result, error, finished_at, dead_letter, last_seq
         FROM jobs WHERE row = ?1",
    )?;
    let (spec, attempts) = (spec(file, row)?, attempts(file, row)?);
    let job = statement.query_row([row], |row| {
        let Word(state) = row.get(0)?;
        Ok(Job {
            spec,
            state,
            reason: row.get::<_, Option<Word<_>>>(1)?.map(|Word(reason)| reason),
            attempts,
            cancel_requested: row.get(2)?,
            next_run_at: row.get::<_, Option<At>>(3)?.map(|At(at)| at),
            result: row.get::<_, Option<Written<Json>>>(4)?.map(|Written(result)| result),
            error: row.get::<_, Option<Written<_>>>(5)?.map(|Written(error)| error),
            finished_at: row.get::<_, Option<At>>(6)?.map(|At(at)| at),
            dead_letter: row.get(7)?,
            last_seq: row.get(8)?,
        })
    })?;
    Ok(job)
}

fn attempts(file: &Connection, job: i64) -> Result<Vec<Attempt>, Failure> {
    let mut statement = file.prepare_cached(
        "SELECT number, worker, started_at, ended_at, outcome, error, isolation FROM attempts WHERE job = ?1
         ORDER BY number",
    )?;
    let attempts = statement.query_map([job], |row| {
        let (Text(worker), At(started_at), Word(isolation)) = (row.get(1)?, row.get(2)?, row.get(6)?);
        Ok(Attempt {
            number: row.get(0)?,
            worker,
            isolation,
            started_at,
            ended_at: row.get::<_, Option<At>>(3)?.map(|At(at)| at),
            outcome: row.get::<_, Option<Word<_>>>(4)?.map(|Word(outcome)| outcome),
            error: row.get::<_, Option<Written<_>>>(5)?.map(|Written(error)| error),
        })
    })?;
    Ok(attempts.collect::<Result<_, _>>()?)
}

/// See `Store::events`.
pub(super) fn events(
    file: &Connection,
    tenant: &TenantId,
    id: JobId,
    retention: Duration,
    after: u64,
    limit: usize,
) -> Result<Option<EventsPage>, Failure> {
    let Some(row) = row(file, tenant, id, Timestamp::now(), retention)? else { return Ok(None) };
    // Past SQLite's largest number there are no events either.
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut statement = file.prepare_cached(
        "SELECT seq, kind, at, attempt, data FROM events WHERE job = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let events = statement.query_map((row, after, rows(limit)), |row| {
        let (Word(kind), At(at), Written(data)) = (row.get(1)?, row.get(2)?, row.get(4)?);
        Ok(Event { seq: row.get(0)?, kind, at, attempt: row.get(3)?, data })
    })?;
    let events = events.collect::<Result<Vec<_>, _>>()?;
    let seen = events.last().map_or(after, |event| i64::try_from(event.seq).unwrap_or(i64::MAX));
    let ended = file
        .prepare_cached("SELECT finished_at IS NOT NULL AND last_seq <= ?2 FROM jobs WHERE row = ?1")?
        .query_row((row, seen), |row| row.get(0))?;
    Ok(Some(EventsPage { events, ended }))
}

/// See `Store::list`.
pub(super) fn list(
    file: &Connection,
    tenant: &TenantId,
    filter: &JobFilter,
    retention: Duration,
) -> Result<JobsPage, Failure> {
    // One query for each state: each is answered from the order of an index, whatever the numbers.
    let states: Vec<_> = match filter.states.as_slice() {
        [] => vec![None],
        states => states.iter().copied().map(Some).collect(),
    };
    let mut found = Vec::new();
    for state in states {
        found.extend(matching(file, tenant, filter, state, retention)?);
    }
    found.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
    found.dedup();
    let more = found.len() > filter.limit;
    found.truncate(filter.limit);
    let next = found.last().filter(|_| more).map(|(id, _)| *id);
    let jobs = found.into_iter().map(|(_, row)| job(file, row)).collect::<Result<_, _>>()?;
    Ok(JobsPage { jobs, next })
}

/// The newest jobs of a state that pass the filter: one more than the page, to know whether there are more.
fn matching(
    file: &Connection,
    tenant: &TenantId,
    filter: &JobFilter,
    state: Option<JobState>,
    retention: Duration,
) -> Result<Vec<(JobId, i64)>, Failure> {
    // Jobs with a label are found in the order of the labels, all others in an index of their own.
    let (from, id) = match filter.label {
        Some(_) => (
            "labels CROSS JOIN jobs ON id = job WHERE labels.tenant = :tenant AND name = :name
             AND value = :value",
            "job",
        ),
        None => ("jobs WHERE tenant = :tenant", "id"),
    };
    let mut sql = format!("SELECT id, row FROM {from}");
    let (tenant, oldest) = (Text(tenant), At(before(Timestamp::now(), retention)));
    let (state, action) = (state.map(Word), filter.action.as_ref().map(Text));
    let (before, limit) = (filter.before.map(Text), rows(filter.limit.saturating_add(1)));
    let mut params: Vec<(&str, &dyn ToSql)> =
        vec![(":tenant", &tenant), (":oldest", &oldest), (":limit", &limit)];
    if let Some(state) = &state {
        sql.push_str(" AND state = :state");
        params.push((":state", state));
    }
    if let Some(action) = &action {
        sql.push_str(" AND action = :action");
        params.push((":action", action));
    }
    if let Some((name, value)) = &filter.label {
        params.extend([(":name", name as &dyn ToSql), (":value", value)]);
    }
    if filter.dead_letters {
        sql.push_str(" AND dead_letter = 1");
    }
    if let Some(before) = &before {
        sql.push_str(&format!(" AND {id} < :before"));
        params.push((":before", before));
    }
    sql.push_str(" AND (finished_at IS NULL OR finished_at > :oldest)");
    sql.push_str(&format!(" ORDER BY {id} DESC LIMIT :limit"));
    let mut statement = file.prepare_cached(&sql)?;
    let found = statement.query_map(params.as_slice(), |row| {
        let Text(id) = row.get(0)?;
        Ok((id, row.get(1)?))
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// The instant that long before `now`.
pub(super) fn before(now: Timestamp, age: Duration) -> Timestamp {
    let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(now.millis().saturating_sub(age))
}
