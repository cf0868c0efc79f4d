//! What the function is asked.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use shared::failure::{Failure, FailureKind};
use shared::key::{ArchiveKey, MANIFEST};

/// `{"kind":"verify", …}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// There is one kind; `version` is answered before it gets here.
    #[serde(rename = "kind")]
    _kind: Kind,
    /// The time that the schedule meant; ages are measured against it. Without it: when the run began.
    #[serde(default)]
    pub scheduled_at: Option<DateTime<Utc>>,
    /// Key of a manifest: only that backup is verified, to the last byte.
    #[serde(default)]
    manifest: Option<String>,
    /// How much is read to the last byte.
    #[serde(default)]
    deep: Option<Deep>,
    /// Nothing is written, and no data object is read.
    #[serde(default)]
    pub dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Verify,
}

/// How much is read to the last byte; everything is always compared with the listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Deep {
    /// As much as fits the time, the most urgent first.
    #[default]
    Share,
    /// Everything; what does not fit the time is a finding.
    All,
    /// Nothing.
    None,
}

/// What is to be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything that is promised.
    Everything(Deep),
    /// One backup.
    One(ArchiveKey),
}

impl Request {
    /// What is to be verified, of this instance.
    ///
    /// # Errors
    /// When the key is not that of a manifest of this instance, or the request contradicts itself.
    pub fn scope(&self, instance: &str) -> Result<Scope, Failure> {
        let Some(key) = &self.manifest else { return Ok(Scope::Everything(self.deep.unwrap_or_default())) };
        if self.deep.is_some() {
            return Err(bad("`manifest` and `deep` exclude each other: one backup is always read to the last byte"));
        }
        match ArchiveKey::parse(key) {
            Some((archive, MANIFEST)) if archive.instance == instance && archive.object(MANIFEST) == *key => Ok(Scope::One(archive)),
            _ => Err(bad(format!("`{key}` is not the key of a manifest of the instance {instance}"))),
        }
    }
}

fn bad(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::BadRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> Result<Request, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_schedule_asks_for_its_share() {
        let request = request(r#"{"kind":"verify","scheduledAt":"2026-11-24T06:00:00Z"}"#).expect("understood");
        assert_eq!(request.scope("app-db"), Ok(Scope::Everything(Deep::Share)));
        assert!(!request.dry_run);
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (json, named) in [
            (r#"{"kind":"verify","deeep":"all"}"#, "deeep"),
            (r#"{"kind":"verfy"}"#, "verfy"),
            (r#"{"kind":"verify","deep":"most"}"#, "most"),
            ("{}", "kind"),
        ] {
            let error = request(json).expect_err(json);
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn only_a_manifest_of_this_instance_is_taken() {
        let key = "dumps/app-db/a%2Fb/2026-11-23T02-00-00Z-0badcafe/manifest.json";
        let one = |key: &str| request(&format!(r#"{{"kind":"verify","manifest":"{key}"}}"#)).expect("understood").scope("app-db");
        assert!(matches!(one(key), Ok(Scope::One(archive)) if archive.database == "a/b"));
        for other in [
            key.replace("app-db", "other-db"),
            key.replace("manifest.json", "toc.dat"),
            key.replace("manifest.json", "x/manifest.json"),
            key.replace("dumps/", "verifications/"),
            key.replace("2026-11", "2026-13"),
            "manifest.json".to_owned(),
        ] {
            assert_eq!(one(&other).expect_err(&other).kind, FailureKind::BadRequest);
        }
        let both = request(&format!(r#"{{"kind":"verify","manifest":"{key}","deep":"none"}}"#)).expect("understood");
        assert_eq!(both.scope("app-db").expect_err("contradiction").kind, FailureKind::BadRequest);
    }
}
