//! Drills of copies that are sound: none may find anything.

use local::database::{self, with_database};
use restore_drill::checks::neighbours;
use serde_json::json;
use shared::finding::{Finding, FindingKind, Severity};

use super::copy::{Copy, Source, dump};
use crate::bed::{Bed, report};
use crate::checks::{fetch, restored_copy};
use crate::soak::mutations::create_generated;
use crate::world::{unique, world};

/// Two drills for each seed: of the database itself between two backups, and of a restored archive. Seed 0 is an empty database.
pub async fn clean_drills(seeds: std::ops::Range<u64>) -> (usize, Vec<String>) {
    let (mut drills, mut wrong) = (0, Vec::new());
    for seed in seeds {
        let major = if seed.is_multiple_of(2) { 17 } else { 18 };
        let (bed, instance) = (Bed::new().await, world().await.server(major).await);
        let (source, copy) = (format!("clean_{seed}_{}", unique()), format!("clean_copy_{seed}_{}", unique()));
        if seed == 0 {
            database::create(&instance, &source).await.expect("create");
        } else {
            create_generated(&instance, &source, seed).await;
        }
        let url = |database: &str| with_database(&instance.admin_url, database).expect("a URL");
        let before = dump(&bed, &instance, &url(&source), &source).await;
        let outcome =
            bed.dump(&instance, &url(&source), &json!({"kind": "dump", "databases": [source], "scheduledAt": "2026-11-23T03:00:00Z"})).await;
        let after = fetch(&bed, &report(outcome), &source).await;
        let old = neighbours::table_of_contents(&bed.store, &before).await.expect("read").expect("a table of contents");
        let new = neighbours::table_of_contents(&bed.store, &after.manifest).await.expect("read").expect("a table of contents");
        restored_copy(&instance, &after, &source, &copy, &[&["-j2"]]).await;
        let drilled = [
            Copy { database: source.clone(), source: Source::Snapshot(Box::new((before, after.manifest.clone(), old, new.clone()))) },
            Copy { database: copy.clone(), source: Source::Archive(Box::new((after.manifest.clone(), new))) },
        ];
        for drilled in drilled {
            let findings = drilled.findings(&instance, &url(&drilled.database)).await;
            // The generator makes constraints that are not valid, which every copy has too.
            let findings: Vec<&Finding> =
                findings.iter().filter(|finding| finding.severity > Severity::Note && finding.kind != FindingKind::ConstraintNotTrusted).collect();
            if !findings.is_empty() {
                wrong.push(format!("seed {seed} on {major}, {}: {findings:#?}", drilled.database));
            }
            drills += 1;
        }
        database::drop(&instance, &copy).await.expect("drop");
        database::drop(&instance, &source).await.expect("drop");
    }
    (drills, wrong)
}
