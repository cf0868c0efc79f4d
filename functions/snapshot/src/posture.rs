//! Is the instance itself as recoverable as it should be? Pure.

use chrono::{DateTime, TimeDelta, Utc};
use shared::finding::{Finding, FindingKind};
use shared::human::duration;

use crate::config::Promise;
use crate::observed::{Instance, Key};

/// Certificates are renewed by RDS only after somebody chose the next authority; that takes a maintenance window.
const CERTIFICATE_DAYS_MIN: i64 = 60;

/// What should be otherwise.
pub fn judge(instance: &Instance, promise: &Promise, now: DateTime<Utc>) -> Vec<Finding> {
    let found = |kind, seen: String| Finding::new(kind, &instance.id, seen);
    let mut findings = Vec::new();
    if instance.backup_days < promise.backup_days_min {
        let seen = match instance.backup_days {
            0 => "automated backups are off: there is no recovery to a point in time".to_owned(),
            days => format!("automated backups are kept for {days} days"),
        };
        let hint = "set the instance's backup retention period; from 0 to more than 0 is an outage of some seconds, so choose the moment";
        findings.push(found(FindingKind::AutomatedBackupsOff, seen).expected(format!("{} days or more", promise.backup_days_min)).hint(hint));
    }
    if let Some(lag) = recovery_point_lag(instance, now).filter(|lag| *lag > promise.recovery_point_max) {
        let seen = format!("the latest moment that can be restored is {} ago: so much would be lost now", duration(lag));
        let hint =
            "see the instance's events and log: a full disk, a very long transaction or very much load hold it up; it has to catch up by itself";
        findings.push(found(FindingKind::RecoveryPointLags, seen).expected(format!("at most {}", duration(promise.recovery_point_max))).hint(hint));
    }
    if instance.backup_days > 0 && instance.latest_restorable_at.is_none() && instance.status == "available" {
        let seen = "automated backups are on, but there is no moment yet that can be restored".to_owned();
        findings
            .push(found(FindingKind::RecoveryPointLags, seen).hint("wait for the first automated backup; if it stays so, see the instance's events"));
    }
    if !instance.encrypted {
        let hint = "an instance cannot be encrypted later: copy a snapshot of it with a KMS key, restore the copy, and switch over";
        findings.push(found(FindingKind::StorageNotEncrypted, "its storage is not encrypted, nor are its snapshots".to_owned()).hint(hint));
    }
    if !instance.deletion_protection {
        let seen = "it can be deleted by one call, and its automated backups with it".to_owned();
        findings.push(found(FindingKind::DeletionProtectionOff, seen).hint("switch deletion protection on: it needs no restart"));
    }
    if !instance.multi_az {
        let seen =
            "it runs in one availability zone: if that fails, it is restored, not switched over; and a snapshot stops it for some seconds".to_owned();
        findings.push(found(FindingKind::SingleAvailabilityZone, seen));
    }
    if instance.publicly_accessible {
        let hint = "switch public accessibility off, and reach it through the VPC";
        findings.push(found(FindingKind::PubliclyAccessible, "it has an address in the internet".to_owned()).hint(hint));
    }
    findings.extend(certificate(instance, now));
    findings.extend(instance.maintenance.iter().map(|action| {
        let at = action.at.map_or_else(String::new, |at| format!(", by {} at the latest", at.format("%Y-%m-%d %H:%M UTC")));
        let about = if action.description.is_empty() { String::new() } else { format!(" ({})", action.description) };
        found(FindingKind::MaintenancePending, format!("{}{about} is pending{at}", action.action))
            .hint("apply it in a maintenance window of your own choice, after a snapshot")
    }));
    findings
}

fn certificate(instance: &Instance, now: DateTime<Utc>) -> Option<Finding> {
    let until = instance.certificate_until.filter(|until| *until - now < TimeDelta::days(CERTIFICATE_DAYS_MIN))?;
    let authority = instance.certificate_authority.as_deref().unwrap_or("unknown");
    let seen = format!("the server's certificate, of the authority {authority}, runs out on {}", until.format("%Y-%m-%d"));
    let hint = "choose the next certificate authority for the instance (see which one the clients' bundle has first), and let RDS apply it";
    Some(Finding::new(FindingKind::CertificateExpires, &instance.id, seen).expected(format!("{CERTIFICATE_DAYS_MIN} days or more")).hint(hint))
}

/// What would be lost by a recovery to the latest moment: the live recovery point.
pub fn recovery_point_lag(instance: &Instance, now: DateTime<Utc>) -> Option<TimeDelta> {
    let at = instance.latest_restorable_at.filter(|_| instance.backup_days > 0)?;
    Some((now - at).max(TimeDelta::zero()))
}

/// A key that does not work, or soon will not.
pub fn judge_key(key: &Key) -> Option<Finding> {
    if key.is_usable() && key.deletion_at.is_none() {
        return None;
    }
    let at = key.deletion_at.map_or_else(String::new, |at| format!(", it will be deleted on {}", at.format("%Y-%m-%d")));
    let seen = format!("the key of {} is {}{at}: what is encrypted with it cannot be read without it", key.used_for, key.state);
    let hint = match key.state.as_str() {
        "PendingDeletion" => "cancel the deletion at once (kms:CancelKeyDeletion), then enable the key: after it, the backups are lost",
        "Disabled" => "enable the key (kms:EnableKey)",
        _ => "see the key's state in KMS's console; an imported key may have lost its material",
    };
    Some(Finding::new(FindingKind::KeyUnusable, &key.arn, seen).expected("Enabled").hint(hint))
}

#[cfg(test)]
mod tests {
    use shared::finding::Severity;

    use super::*;
    use crate::observed::Maintenance;
    use crate::samples::{instance, now, observed, promise};

    fn kinds(change: impl FnOnce(&mut Instance)) -> Vec<FindingKind> {
        let mut seen = instance();
        change(&mut seen);
        judge(&seen, &promise(Vec::new()), now()).into_iter().map(|finding| finding.kind).collect()
    }

    #[test]
    fn an_instance_as_it_should_be_has_no_finding() {
        assert_eq!(kinds(|_| {}), []);
    }

    #[test]
    fn each_thing_that_should_be_otherwise_is_found_once() {
        assert_eq!(kinds(|seen| seen.backup_days = 6), [FindingKind::AutomatedBackupsOff]);
        assert_eq!(kinds(|seen| seen.backup_days = 0), [FindingKind::AutomatedBackupsOff]);
        assert_eq!(kinds(|seen| seen.latest_restorable_at = Some(now() - TimeDelta::minutes(31))), [FindingKind::RecoveryPointLags]);
        assert_eq!(kinds(|seen| seen.latest_restorable_at = None), [FindingKind::RecoveryPointLags]);
        assert_eq!(kinds(|seen| seen.encrypted = false), [FindingKind::StorageNotEncrypted]);
        assert_eq!(kinds(|seen| seen.deletion_protection = false), [FindingKind::DeletionProtectionOff]);
        assert_eq!(kinds(|seen| seen.multi_az = false), [FindingKind::SingleAvailabilityZone]);
        assert_eq!(kinds(|seen| seen.publicly_accessible = true), [FindingKind::PubliclyAccessible]);
        assert_eq!(kinds(|seen| seen.certificate_until = Some(now() + TimeDelta::days(59))), [FindingKind::CertificateExpires]);
        let action = Maintenance { action: "system-update".to_owned(), description: String::new(), at: None };
        assert_eq!(kinds(|seen| seen.maintenance.push(action)), [FindingKind::MaintenancePending]);
    }

    #[test]
    fn a_clock_that_is_behind_makes_no_negative_lag() {
        assert_eq!(recovery_point_lag(&instance(), now() - TimeDelta::days(2)), Some(TimeDelta::zero()));
        assert_eq!(recovery_point_lag(&instance(), now()), Some(TimeDelta::minutes(5)));
    }

    #[test]
    fn a_key_that_goes_away_is_found_before_it_is_gone() {
        let mut key = observed(Vec::new(), Vec::new()).keys.remove(0);
        assert_eq!(judge_key(&key), None);
        for state in ["Disabled", "PendingDeletion", "PendingImport", "Unavailable"] {
            state.clone_into(&mut key.state);
            let finding = judge_key(&key).expect(state);
            assert_eq!((finding.kind, finding.severity), (FindingKind::KeyUnusable, Severity::Critical));
        }
    }
}
