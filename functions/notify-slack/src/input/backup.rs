//! Jobs of AWS Backup: backups, copies, restores, recovery points. A later good job of the same kind for the same resource ends what a failed one began.
//!
//! Traps (AWS Backup developer guide, "Monitoring events using EventBridge"): a restore says `status` where the others say `state`, but `state` when it
//! is created; an ARN that is not there yet is `{}`; sizes are numbers or texts; a job that completed with a message did not do all of it.

use serde_json::Value;
use shared::finding::Severity;
use shared::human;

use super::envelope::Carried;
use super::event::{Event, Source, State};
use super::value::{Arn, any_text, at, cut, number, scalar, text, time};
use super::{console, tags};

/// The kinds, and what the id of each is called.
const KINDS: [(&str, &str, &str, &str); 4] = [
    ("Backup Job State Change", "backup", "backupJobId", "jobs/backup/details/"),
    ("Copy Job State Change", "copy", "copyJobId", "jobs/copy/details/"),
    ("Restore Job State Change", "restore", "restoreJobId", "jobs/restore/details/"),
    ("Recovery Point State Change", "recovery point", "recoveryPointArn", ""),
];

/// Reads an event of AWS Backup.
pub(super) fn read(carried: &Carried) -> Option<Event> {
    let (value, detail) = (&carried.value, &carried.value["detail"]);
    let kind = text(value, "detail-type")?;
    let (_, word, id_field, page) = KINDS.into_iter().find(|(name, ..)| *name == kind && value["source"] == "aws.backup")?;
    // An object where a text should be is one that is not there yet.
    let id = text(detail, id_field).or_else(|| scalar(&value["resources"][0])).unwrap_or_default();
    let status = any_text(detail, &["state", "status"]).map_or_else(|| "?".to_owned(), |state| state.to_uppercase());
    let message = text(detail, "statusMessage");
    let resource = any_text(detail, &["resourceArn", "sourceResourceArn", "createdResourceArn", "recoveryPointArn"]);
    let kind_of_resource = text(detail, "resourceType");
    let named = resource.as_deref().and_then(Arn::read);
    let name = named.as_ref().map(|arn| arn.name().to_owned()).or_else(|| resource.clone()).unwrap_or_else(|| id.clone());

    let (severity, state, what) = judge(word, &status, message.is_some());
    let mut event = carried.event(Source::Backup, if name.is_empty() { "AWS Backup" } else { &name }, what);
    event.severity = severity;
    let when = time(detail, "completionDate").filter(|_| state.is_some()).or_else(|| time(value, "time"));
    event.since = when.or_else(|| time(detail, "creationDate")).or(Some(carried.sent_at));
    if let (Some(state), Some(at)) = (state, event.since) {
        event.belongs_to(format!("backup:{word}:{}", resource.as_deref().unwrap_or(&id)), state, at);
    }
    if !id.is_empty() {
        event.duplicate_key = format!("backup:{id}:{status}:{}", message.as_deref().unwrap_or_default());
    }
    event.description = message.map(|message| cut(&message, 1_000));
    event.code("kind of resource", kind_of_resource);
    let size = ["bytesTransferred", "backupSizeInBytes"].iter().find_map(|field| number(detail, field)).filter(|bytes| *bytes > 0.0);
    event.words("size", size.map(|bytes| human::bytes(human::whole(bytes))));
    event.code("vault", any_text(detail, &["backupVaultName", "destinationBackupVaultArn", "backupVaultArn"]));
    event.moment("begun", time(detail, "creationDate").filter(|begun| Some(*begun) != event.since));
    event.code("of the plan", scalar(at(detail, "createdBy.backupPlanId")));
    if !page.is_empty() && !id.is_empty() {
        event.link("open the job", console::page(event.region.clone().as_deref(), "backup", &format!("/{page}{}", console::part(&id))));
    }
    event.small.extend(resource);
    tags::apply(&mut event, super::value::entries(&Value::Null));
    Some(event)
}

/// How bad a state is, what it does to the incident, and the sentence.
fn judge(word: &str, status: &str, has_message: bool) -> (Severity, Option<State>, String) {
    let restore_or = |critical: Severity| if word == "recovery point" { Severity::Warning } else { critical };
    match status {
        "COMPLETED" if has_message => (Severity::Warning, Some(State::Firing), format!("the {word} is done, but not all of it")),
        "COMPLETED" | "AVAILABLE" => (Severity::Note, Some(State::Resolved), format!("the {word} is done")),
        "FAILED" => (restore_or(Severity::Critical), Some(State::Firing), format!("the {word} failed")),
        "ABORTED" => (Severity::Warning, Some(State::Firing), format!("the {word} was cancelled")),
        "EXPIRED" if word == "recovery point" => {
            (Severity::Warning, None, "the recovery point should have been deleted and is still there".to_owned())
        }
        "EXPIRED" => (restore_or(Severity::Critical), Some(State::Firing), format!("the {word} did not begin within its time")),
        "PARTIAL" => (Severity::Warning, Some(State::Firing), format!("the {word} is not whole")),
        "DELETED" | "DELETING" => (Severity::Note, None, format!("the {word} is being deleted")),
        "CREATED" | "PENDING" | "RUNNING" | "ABORTING" | "CREATING" => (Severity::Note, None, format!("the {word} is {}", status.to_lowercase())),
        other => (Severity::Unknown, None, format!("the {word} is in the state {}", cut(other, 40))),
    }
}
