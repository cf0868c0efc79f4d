//! Findings of GuardDuty and Security Hub, and what AWS Health says: plain events, said in the words of whoever found them.

use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::finding::Severity;

use super::console;
use super::envelope::Carried;
use super::event::{Event, Runbook, Source, State};
use super::tags;
use super::value::{any_text, at, count, cut, list, number, scalar, text, time};
use crate::config::is_link;

/// Resources that are named.
const NAMED_MAX: usize = 5;

/// Reads a finding of GuardDuty or Security Hub, or an event of AWS Health.
pub(super) fn read(carried: &Carried) -> Option<Event> {
    let value = &carried.value;
    match (value["source"].as_str()?, value["detail-type"].as_str()?) {
        ("aws.guardduty", "GuardDuty Finding") => guard_duty(carried),
        ("aws.securityhub", kind) if kind.starts_with("Security Hub Findings") => security_hub(carried),
        ("aws.health", kind) if kind.starts_with("AWS Health") => health(carried),
        _ => None,
    }
}

fn guard_duty(carried: &Carried) -> Option<Event> {
    let (value, detail) = (&carried.value, &carried.value["detail"]);
    let id = text(detail, "id")?;
    let title = any_text(detail, &["title", "type"])?;
    let what = any_text(detail, &["description", "title"]).unwrap_or_default();
    let mut event = carried.event(Source::GuardDuty, title, what);
    // GuardDuty user guide, "Severity levels": 7 and more is high, 4 and more is medium.
    event.severity = match number(detail, "severity") {
        Some(score) if score >= 7.0 => Severity::Critical,
        Some(score) if score >= 4.0 => Severity::Warning,
        Some(_) => Severity::Note,
        None => Severity::Unknown,
    };
    let first = time(detail, "service.eventFirstSeen").or_else(|| time(detail, "createdAt"));
    let last = time(detail, "updatedAt").or_else(|| time(value, "time")).unwrap_or(carried.sent_at);
    event.since = first.or(Some(last));
    let is_archived = at(detail, "service.archived").as_bool() == Some(true);
    event.belongs_to(format!("guardduty:{id}"), if is_archived { State::Resolved } else { State::Firing }, last);
    event.duplicate_key = format!("guardduty:{id}@{}", last.timestamp_millis());
    event.code("type", text(detail, "type"));
    event.words("seen", count(detail, "service.count").filter(|times| *times > 1).map(|times| format!("{times} times")));
    event.code("resource", any_text(detail, &["resource.resourceType"]));
    event.link(
        "open the finding",
        console::page(event.region.clone().as_deref(), "guardduty", &format!("/findings?search=id%3D{}", console::part(&id))),
    );
    event.small.extend(text(detail, "arn"));
    Some(event)
}

fn security_hub(carried: &Carried) -> Option<Event> {
    let (value, detail) = (&carried.value, &carried.value["detail"]);
    let findings = list(detail, "findings");
    let worst = findings.iter().max_by(|a, b| severity_of(a).cmp(&severity_of(b)))?;
    let title = text(worst, "Title").unwrap_or_else(|| "a finding of Security Hub".to_owned());
    let mut event = carried.event(Source::SecurityHub, title, any_text(worst, &["Description", "Title"]).unwrap_or_default());
    event.severity = severity_of(worst);
    let at = time(worst, "UpdatedAt").or_else(|| time(value, "time")).unwrap_or(carried.sent_at);
    event.since = time(worst, "FirstObservedAt").or_else(|| time(worst, "CreatedAt")).or(Some(at));
    // Several at once are no single incident: each of them comes again by itself when it changes.
    if let (Some(id), 1) = (text(worst, "Id"), findings.len()) {
        event.belongs_to(format!("securityhub:{id}"), if is_over(worst) { State::Resolved } else { State::Firing }, at);
        event.duplicate_key = format!("securityhub:{id}@{}", at.timestamp_millis());
    }
    event.words("and", (findings.len() > 1).then(|| format!("{} more findings", findings.len() - 1)));
    let resources: Vec<String> = list(worst, "Resources").iter().take(NAMED_MAX).filter_map(|resource| text(resource, "Id")).collect();
    event.code("resource", (!resources.is_empty()).then(|| resources.join(", ")));
    event.code("found by", any_text(worst, &["ProductName", "GeneratorId"]));
    event.code("workflow", text(worst, "Workflow.Status"));
    event.advice = text(worst, "Remediation.Recommendation.Text").map(|text| cut(&text, 500));
    event.runbook = text(worst, "Remediation.Recommendation.Url").filter(|url| is_link(url)).map(Runbook::Address);
    event.link("open Security Hub", console::page(event.region.clone().as_deref(), "securityhub", "/findings"));
    event.small.extend(text(worst, "Id"));
    Some(event)
}

/// Labels of the AWS Security Finding Format.
fn severity_of(finding: &Value) -> Severity {
    if is_over(finding) {
        return Severity::Note;
    }
    match text(finding, "Severity.Label").map(|label| label.to_uppercase()).as_deref() {
        Some("CRITICAL" | "HIGH") => Severity::Critical,
        Some("MEDIUM" | "LOW") => Severity::Warning,
        Some("INFORMATIONAL") => Severity::Note,
        _ => Severity::Unknown,
    }
}

fn is_over(finding: &Value) -> bool {
    finding["RecordState"] == "ARCHIVED"
        || ["RESOLVED", "SUPPRESSED"].iter().any(|over| at(finding, "Workflow.Status") == over)
        || at(finding, "Compliance.Status") == "PASSED"
}

fn health(carried: &Carried) -> Option<Event> {
    let (value, detail) = (&carried.value, &carried.value["detail"]);
    let code = text(detail, "eventTypeCode")?;
    let service = text(detail, "service").unwrap_or_default();
    let descriptions = list(detail, "eventDescription");
    let english = descriptions.iter().find(|one| one["language"].as_str().is_some_and(|language| language.starts_with("en")));
    let what = english.or(descriptions.first()).and_then(|one| text(one, "latestDescription")).unwrap_or_else(|| code.clone());
    let category = text(detail, "eventTypeCategory").unwrap_or_default();
    let mut event = carried.event(
        Source::Health,
        format!("{service}: {}", code.trim_start_matches("AWS_").trim_start_matches(&format!("{service}_")).replace('_', " ").to_lowercase()),
        what,
    );
    event.severity = match category.as_str() {
        "issue" => Severity::Critical,
        "accountNotification" | "scheduledChange" | "investigation" => Severity::Warning,
        _ => Severity::Note,
    };
    event.since = time(detail, "startTime").or_else(|| time(value, "time"));
    let changed: DateTime<Utc> = time(detail, "lastUpdatedTime").or_else(|| time(value, "time")).unwrap_or(carried.sent_at);
    let arn = text(detail, "eventArn");
    let key = arn.clone().unwrap_or_else(|| code.clone());
    match detail["statusCode"].as_str() {
        Some("closed") => event.belongs_to(format!("health:{key}"), State::Resolved, changed),
        Some("open") => event.belongs_to(format!("health:{key}"), State::Firing, changed),
        _ => {}
    }
    event.duplicate_key = format!("health:{key}@{}#{}", changed.timestamp_millis(), text(detail, "page").unwrap_or_default());
    if event.since.is_some_and(|since| since > carried.sent_at) {
        event.moment("begins", event.since);
        event.since = Some(changed);
    }
    event.moment("ends", time(detail, "endTime"));
    let entities: Vec<String> = list(detail, "affectedEntities").iter().take(NAMED_MAX).filter_map(|entity| text(entity, "entityValue")).collect();
    event.code("concerns", (!entities.is_empty()).then(|| entities.join(", ")));
    event.words("of pages", text(detail, "totalPages").filter(|pages| pages != "1" && pages.chars().all(|char| char.is_ascii_digit())));
    event.region = any_text(detail, &["eventRegion"]).filter(|region| super::value::is_region(region)).or(event.region.take());
    event.link("open AWS Health", Some("https://health.aws.amazon.com/health/home#/account/dashboard/open-issues".to_owned()));
    event.small.extend(arn.or_else(|| scalar(&value["resources"][0])));
    tags::apply(&mut event, super::value::entries(at(detail, "eventMetadata")));
    Some(event)
}
