//! A report for tests.

use shared::finding::{Finding, FindingKind};
use shared::report::{Outcome, Report, SCHEMA, Subject, Unit, parse_slot_name};

/// A report of backup-verify with so many findings.
pub(crate) fn report(findings: usize) -> Report {
    let started_at = parse_slot_name("2026-11-23T06-00-00Z").expect("time");
    let mut report = Report {
        schema: SCHEMA,
        id: "backup-verify.app-db.2026-11-23T06-00-00Z".into(),
        job: "backup-verify".into(),
        stage: "prod".into(),
        subject: Subject { instance: "app-db".into(), database: None },
        version: "0.1.0".into(),
        git_sha: "0123456789abcdef".into(),
        started_at,
        duration_seconds: 0.0,
        outcome: Outcome::Unknown,
        summary: "14 backups of 2 databases; 3 read to the last byte".into(),
        facts: Vec::new(),
        findings: Vec::new(),
        findings_left_out: 0,
        links: Vec::new(),
    };
    report.count("bytesRead", 1_234_567_890, Unit::Bytes);
    report.count("rowsCounted", 12_345, Unit::Count);
    report.seconds("backupAgeSecondsMax", 4.0 * 3_600.0);
    for number in 0..findings {
        let kind = if number % 2 == 0 { FindingKind::ObjectCorrupt } else { FindingKind::ObjectExtra };
        let subject = format!("dumps/app-db/app/2026-11-23T02-00-00Z-0badcafe/{number}.dat.zst");
        report.findings.push(Finding::new(kind, subject, "7 bytes").expected("8 bytes").hint("look for a copy"));
    }
    report.finish(started_at + chrono::TimeDelta::seconds(83));
    report
}
