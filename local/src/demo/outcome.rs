//! How the story went: steps with their times, claims with what was seen, and the figures; as a table, as JSON and as a page.

use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::failure::{Context, Failure};
use shared::report::Report;
use shared_postgres::proof::Proof;

use super::{Sabotage, page};
use crate::slack::Message;
use crate::world::Done;

/// A sentence that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// What should be so.
    pub claim: String,
    /// Whether it is.
    pub holds: bool,
    /// What was seen.
    pub seen: String,
}

/// A chapter of the story.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// What was done.
    pub what: String,
    /// How long it took.
    pub seconds: f64,
    /// What came of it, for a person.
    pub result: String,
}

/// What was backed up, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Size of the database on the server.
    pub database_bytes: u64,
    /// Rows as COPY text.
    pub text_bytes: u64,
    /// Size of the archive.
    pub archive_bytes: u64,
    /// Objects of the archive, its manifest included.
    pub archive_objects: usize,
    /// Tables with rows of their own.
    pub tables: usize,
    /// Their rows.
    pub rows: u64,
    /// From the firing of the schedule to the report.
    pub dump_seconds: f64,
    /// The same for the verification.
    pub verify_seconds: f64,
    /// `pg_restore -j4`.
    pub restore_seconds: Option<f64>,
    /// Counts and digests of the copy.
    pub proof_seconds: Option<f64>,
}

/// A restore drill, as it wrote itself down.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drill {
    /// What was restored.
    pub what: String,
    /// Its result.
    pub result: serde_json::Value,
    /// Its page, for an auditor.
    #[serde(skip)]
    pub page: String,
}

/// How it all went.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub seconds: f64,
    /// The file that was guarded instead of the shop.
    pub sql: Option<String>,
    /// How the backup was spoilt.
    pub sabotage: Option<Sabotage>,
    /// What was spoilt.
    pub spoilt: Option<String>,
    /// What was set up.
    pub preparation: Vec<Done>,
    /// What was done.
    pub steps: Vec<Step>,
    /// What was checked.
    pub claims: Vec<Claim>,
    /// In numbers.
    pub figures: Figures,
    /// Lifeboat's own reports.
    pub reports: Vec<Report>,
    /// The restore drills.
    pub drills: Vec<Drill>,
    /// The page of a night.
    #[serde(skip)]
    pub night: Option<String>,
    /// What the copy was compared for.
    pub proof: Option<Proof>,
    /// What Slack got.
    pub slack: Vec<Message>,
    /// What the local cloud does not do as AWS does.
    pub not_as_on_aws: Vec<String>,
}

impl Outcome {
    /// Whether every claim holds. A spoilt backup is never fine, also when that was noticed as it should be.
    pub fn holds(&self) -> bool {
        self.sabotage.is_none() && !self.claims.is_empty() && self.claims.iter().all(|claim| claim.holds)
    }

    /// Writes `report.json` and `index.html`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), Failure> {
        fs::create_dir_all(folder).context(format!("create {}", folder.display()))?;
        let json = serde_json::to_vec_pretty(self).context("write report.json")?;
        fs::write(folder.join("report.json"), json).context("write report.json")?;
        for drill in &self.drills {
            let name = format!("drill-{}.html", drill.what);
            fs::write(folder.join(&name), &drill.page).context(format!("write {name}"))?;
        }
        if let Some(night) = &self.night {
            fs::write(folder.join("night.html"), night).context("write night.html")?;
        }
        fs::write(folder.join("index.html"), page::page(self).into_string()).context("write index.html")
    }

    /// For the terminal.
    pub fn summary(&self, folder: &Path) -> String {
        let mut lines = vec![String::new()];
        for step in &self.steps {
            lines.push(format!("{:>8.2} s  {}: {}", step.seconds, step.what, step.result));
        }
        for drill in &self.drills {
            lines.push(String::new());
            lines.push(format!("  the drill of the {}, phase by phase:", drill.what));
            for phase in drill.result["phases"].as_array().into_iter().flatten() {
                let (name, seconds) = (phase["name"].as_str().unwrap_or_default(), phase["seconds"].as_f64().unwrap_or_default());
                lines.push(format!("{seconds:>8.2} s  until {name}"));
            }
        }
        lines.push(String::new());
        for claim in &self.claims {
            lines.push(format!("  {}  {} ({})", if claim.holds { "holds " } else { "BROKEN" }, claim.claim, claim.seen));
        }
        lines.push(String::new());
        let held = self.claims.iter().filter(|claim| claim.holds).count();
        let verdict = match &self.spoilt {
            Some(spoilt) => format!("Sabotage: {spoilt}."),
            None if self.holds() => "Restored and proved.".to_owned(),
            None => "NOT proved.".to_owned(),
        };
        lines.push(format!("{verdict} {held} of {} claims hold, {:.1} s in all.", self.claims.len(), self.seconds));
        lines.push(format!("Report: {}", folder.join("index.html").display()));
        lines.join("\n")
    }
}
