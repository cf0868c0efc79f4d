//! One restored database: read to its end, then held against what is known of it.

use std::path::Path;
use std::time::Duration;

use shared::failure::{Context, Failure};
use shared::finding::{Finding, FindingKind};
use shared::manifest::Manifest;
use shared::store::Store;
use shared_postgres::Access;
use shared_postgres::client_program::ClientPrograms;
use shared_postgres::windows::Sizes;
use tokio::time::Instant;

use crate::checks::{self, definitions, engine, neighbours};
use crate::config::Settings;
use crate::plan::Plan;
use crate::reading;
use crate::result::WorkedDatabase;
use crate::work::places::{Places, Restored};

/// Of the function's fifteen minutes, what a piece of work may take before it is made smaller.
const WHOLE: Duration = Duration::from_mins(12);

/// What a look needs.
pub(super) struct Look<'a> {
    pub store: &'a Store,
    pub settings: &'a Settings,
    pub access: &'a Access,
    pub places: &'a Places,
    pub plan: &'a Plan,
    pub instance: &'a str,
}

/// What was seen.
pub(super) struct Looked {
    state: reading::State,
    before: Option<Manifest>,
    after: Option<Manifest>,
    pub findings: Vec<Finding>,
    pub figures: WorkedDatabase,
}

impl Look<'_> {
    fn job<'b>(&'b self, one: &'b Restored, expected: Option<&'b Manifest>) -> reading::Job<'b> {
        reading::Job {
            access: self.access,
            database: &one.database,
            ledger: &self.places.ledger,
            connections: self.settings.connections,
            expected,
            drill: self.plan.drill.as_str(),
            sizes: Sizes::default(),
            whole: WHOLE,
        }
    }

    /// Reads it; `None` when the time is over before its end.
    pub(super) async fn read(&self, one: &Restored, until: Instant) -> Result<Option<Looked>, Failure> {
        let (before, after) = match &one.archive {
            Some(_) => (None, None),
            None => neighbours(self.store, self.instance, &one.name, self.plan.source.data_at()).await?,
        };
        let expected = one.archive.as_ref().map(|(_, manifest)| manifest).or(before.as_ref()).or(after.as_ref());
        let state = reading::advance(&self.job(one, expected), until).await?;
        if !state.done {
            return Ok(None);
        }
        let rows = state.tables.values().map(|content| content.rows).sum();
        let figures =
            WorkedDatabase { name: one.name.clone(), tables: state.tables.len() as u64, rows, bytes: state.bytes, ..WorkedDatabase::default() };
        Ok(Some(Looked { findings: state.unreadable.clone(), state, before, after, figures }))
    }

    /// Compares and checks it; whether that is done.
    pub(super) async fn check(&self, one: &Restored, seen: &mut Looked, until: Instant) -> Result<bool, Failure> {
        if let Some((_, manifest)) = &one.archive {
            let wrong = checks::archive(&seen.state, manifest);
            seen.figures.exact = seen.figures.tables.saturating_sub(wrong.len() as u64);
            seen.findings.extend(wrong);
            return Ok(true);
        }
        let state = engine::advance(&self.job(one, None), until).await?;
        if !state.done {
            return Ok(false);
        }
        seen.figures.checked_relations = state.tables + state.indexes;
        seen.findings.extend(state.findings);
        let (wrong, facts) = checks::between(&seen.state, seen.before.as_ref(), seen.after.as_ref());
        seen.findings.extend(wrong);
        seen.figures.exact = facts.tables_exact;
        seen.figures.bounded = facts.tables_bounded;
        seen.figures.unknown = facts.tables_unknown;
        seen.findings.extend(self.definitions(one, seen).await?);
        if seen.before.is_none() && seen.after.is_none() && seen.figures.tables > 0 {
            let what = "no archive of this database exists, so nothing says how many rows there should be; everything was read";
            seen.findings
                .push(Finding::new(FindingKind::NotChecked, &one.name, what).hint("let `logical-dump` dump it: a drill then compares with it"));
        }
        Ok(true)
    }

    /// Definitions that the backups on both sides have, and the copy lacks.
    async fn definitions(&self, one: &Restored, seen: &Looked) -> Result<Vec<Finding>, Failure> {
        let Some((before, after)) = seen.before.as_ref().zip(seen.after.as_ref()) else { return Ok(Vec::new()) };
        let (old, new) = (neighbours::table_of_contents(self.store, before).await?, neighbours::table_of_contents(self.store, after).await?);
        let Some((old, new)) = old.zip(new) else { return Ok(Vec::new()) };
        let folder = tempfile::Builder::new().prefix("lifeboat-restore-drill-").tempdir().context("make a temporary folder")?;
        let programs = ClientPrograms::new(&self.settings.client_folder);
        let path: &Path = folder.path();
        let copy = definitions::of_copy(&programs, self.access, &one.database, self.plan.drill.as_str(), &before.server.encoding, path).await?;
        Ok(definitions::between(&old, &new, &copy))
    }
}
