//! Changes of parameters and secrets: notes, but for what failed. Values are never in these events; names are, and that is all that is shown.

use shared::finding::Severity;

use super::console;
use super::envelope::Carried;
use super::event::{Event, Source, State};
use super::value::{Arn, any_text, at, cut, scalar, text, time};

/// Reads a change of Parameter Store or Secrets Manager.
pub(super) fn read(carried: &Carried) -> Option<Event> {
    let value = &carried.value;
    match (value["source"].as_str()?, value["detail-type"].as_str()?) {
        ("aws.ssm", "Parameter Store Change") => parameter(carried),
        ("aws.ssm", "Parameter Store Policy Action") => policy(carried),
        ("aws.secretsmanager", kind) => secret(carried, kind),
        _ => None,
    }
}

fn parameter(carried: &Carried) -> Option<Event> {
    let (value, detail) = (&carried.value, &carried.value["detail"]);
    let name = text(detail, "name")?;
    let operation = text(detail, "operation").unwrap_or_default();
    let (severity, what) = match operation.as_str() {
        "Create" => (Severity::Note, "the parameter was made".to_owned()),
        "Update" => (Severity::Note, "the parameter has a new value".to_owned()),
        "Delete" => (Severity::Warning, "the parameter was deleted: whatever reads it will fail".to_owned()),
        "LabelParameterVersion" => (Severity::Note, "a version of the parameter has a new label".to_owned()),
        other => (Severity::Note, format!("the parameter was changed ({})", cut(other, 40))),
    };
    let mut event = carried.event(Source::Parameter, &name, what);
    event.severity = severity;
    event.since = time(value, "time").or(Some(carried.sent_at));
    event.code("type", text(detail, "type"));
    event.description = text(detail, "description").map(|text| cut(&text, 500));
    if operation != "Delete" {
        event.link("open the parameter", console::parameter(event.region.clone().as_deref(), &name));
    }
    event.small.extend(scalar(&value["resources"][0]));
    Some(event)
}

/// A parameter's policy: it expires, or nobody changed it for long.
fn policy(carried: &Carried) -> Option<Event> {
    let (value, detail) = (&carried.value, &carried.value["detail"]);
    let name = any_text(detail, &["parameter-name", "name"])?;
    let kind = text(detail, "policy-type").unwrap_or_default();
    let (severity, what) = match kind.as_str() {
        "Expiration" => (Severity::Critical, "the parameter has expired, and was deleted".to_owned()),
        "ExpirationNotification" => (Severity::Warning, "the parameter will expire".to_owned()),
        "NoChangeNotification" => (Severity::Warning, "the parameter has not been changed for longer than it may".to_owned()),
        other => (Severity::Warning, format!("a policy of the parameter was carried out ({})", cut(other, 40))),
    };
    let mut event = carried.event(Source::Parameter, &name, what);
    event.severity = severity;
    event.since = time(value, "time").or(Some(carried.sent_at));
    event.description = any_text(detail, &["action-reason", "action-status"]).map(|text| cut(&text, 500));
    event.link("open the parameter", console::parameter(event.region.clone().as_deref(), &name));
    event.small.extend(scalar(&value["resources"][0]));
    Some(event)
}

/// The name of a secret, without the six signs that Secrets Manager puts behind it in an ARN.
fn named(name: &str) -> &str {
    let end = name.rsplit_once('-').filter(|(_, end)| end.len() == 6 && end.chars().all(|char| char.is_ascii_alphanumeric()));
    end.map_or(name, |(name, _)| name)
}

fn secret(carried: &Carried, kind: &str) -> Option<Event> {
    let (value, detail) = (&carried.value, &carried.value["detail"]);
    let arn = [
        scalar(&value["resources"][0]),
        any_text(detail, &["additionalEventData.SecretId", "requestParameters.secretId", "responseElements.arn", "responseElements.aRN"]),
    ];
    let arn = arn.into_iter().flatten().next();
    let name = text(detail, "name")
        .or_else(|| arn.as_deref().map(|arn| Arn::read(arn).map_or_else(|| arn.to_owned(), |arn| named(arn.name()).to_owned())))?;
    let happened =
        if kind == "Secret Label Updated" { "Secret Label Updated".to_owned() } else { text(detail, "eventName").unwrap_or_else(|| kind.to_owned()) };
    let (severity, state, what) = match happened.as_str() {
        "Secret Label Updated" => (
            Severity::Note,
            None,
            format!("the secret has a new value ({})", text(detail, "labelUpdated").unwrap_or_else(|| "AWSCURRENT".to_owned())),
        ),
        "RotationSucceeded" => (Severity::Note, Some(State::Resolved), "the rotation is done".to_owned()),
        "RotationFailed" => (Severity::Critical, Some(State::Firing), "the rotation failed: the old value is still in use".to_owned()),
        "RotationAbandoned" => (Severity::Warning, Some(State::Firing), "the rotation was given up".to_owned()),
        "RotationStarted" => (Severity::Note, None, "a rotation begins".to_owned()),
        "DeleteSecret" | "StartSecretVersionDelete" | "SecretVersionDeletion" => (Severity::Warning, None, "the secret will be deleted".to_owned()),
        "CancelSecretDeletion" | "RestoreSecret" => (Severity::Note, None, "the secret will not be deleted after all".to_owned()),
        "EndSecretVersionDelete" => (Severity::Warning, None, "a version of the secret was deleted".to_owned()),
        "PutSecretValue" | "UpdateSecret" => (Severity::Note, None, "the secret was given a new value".to_owned()),
        "PutResourcePolicy" | "DeleteResourcePolicy" => (Severity::Warning, None, "who may read the secret was changed".to_owned()),
        other => (Severity::Note, None, format!("something was done with the secret ({})", cut(other, 60))),
    };
    let mut event = carried.event(Source::Secret, &name, what);
    event.severity = severity;
    event.since = time(detail, "eventTime").or_else(|| time(value, "time")).or(Some(carried.sent_at));
    if let (Some(state), Some(at)) = (state, event.since) {
        event.belongs_to(format!("secret:{}:rotation", arn.as_deref().unwrap_or(&name)), state, at);
    }
    event.description = any_text(detail, &["errorMessage", "errorCode", "additionalEventData.ErrorMessage"]).map(|text| cut(&text, 500));
    event.code("by", scalar(at(detail, "userIdentity.arn")));
    event.code("version", any_text(detail, &["versionId", "additionalEventData.ClientRequestToken"]));
    event.link("open the secret", console::secret(event.region.clone().as_deref(), &name));
    event.small.extend(arn);
    Some(event)
}
