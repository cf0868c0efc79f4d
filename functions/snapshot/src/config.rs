//! The settings: where copies go, how old backups may be, what the instance should be like.

use chrono::TimeDelta;
use shared::destination::Destinations;
use shared::env::Reader;
use shared::snapshot::Owner;

/// RDS refuses more copies at a time to one region ("Quotas for Amazon RDS", RDS User Guide).
const COPIES_IN_PROGRESS_MAX: usize = 20;

/// What the operator promises, and what is known before anything is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Whose snapshots.
    pub owner: Owner,
    /// The instance's region.
    pub home: String,
    /// Where copies go.
    pub destinations: Destinations,
    /// How old the newest daily snapshot may be.
    pub snapshot_age_max: TimeDelta,
    /// How old the newest copy may be, in each place.
    pub copy_age_max: TimeDelta,
    /// How many copies may be under way in a region, whoever began them.
    pub copies_in_progress_max: usize,
    /// What may be lost by a recovery to the latest point in time.
    pub recovery_point_max: TimeDelta,
    /// For how many days point-in-time recovery must reach back.
    pub backup_days_min: i32,
    /// ARNs of keys that archives and their replica are encrypted with.
    pub archive_keys: Vec<String>,
}

impl Promise {
    /// Reads the destinations, SNAPSHOT_MAX_AGE_HOURS, COPY_MAX_AGE_HOURS, COPIES_IN_PROGRESS_MAX, RECOVERY_POINT_MAX_MINUTES, BACKUP_RETENTION_MIN_DAYS,
    /// BACKUP_KEY_ARN and REPLICA_KEY_ARN.
    pub fn read(reader: &mut Reader<'_>, stage: &str, instance: &str, home: &str) -> Self {
        Self {
            // RDS keeps identifiers in small letters, whatever was typed.
            owner: Owner { stage: stage.to_owned(), instance: instance.to_ascii_lowercase() },
            home: home.to_owned(),
            destinations: Destinations::read(reader, home),
            snapshot_age_max: TimeDelta::hours(reader.number("SNAPSHOT_MAX_AGE_HOURS", 26, 1..=8760)),
            copy_age_max: TimeDelta::hours(reader.number("COPY_MAX_AGE_HOURS", 30, 1..=8760)),
            copies_in_progress_max: reader.number("COPIES_IN_PROGRESS_MAX", COPIES_IN_PROGRESS_MAX, 1..=COPIES_IN_PROGRESS_MAX),
            recovery_point_max: TimeDelta::minutes(reader.number("RECOVERY_POINT_MAX_MINUTES", 30, 6..=1440)),
            backup_days_min: reader.number("BACKUP_RETENTION_MIN_DAYS", 7, 1..=35),
            archive_keys: [reader.optional("BACKUP_KEY_ARN"), reader.optional("REPLICA_KEY_ARN")].into_iter().flatten().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<Promise, String> {
        let lookup = |name: &str| settings.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let mut reader = Reader::new(&lookup);
        let promise = Promise::read(&mut reader, "prod", "App-Db", "eu-central-1");
        reader.finish().map(|()| promise).map_err(|failure| failure.to_string())
    }

    #[test]
    fn what_is_not_set_has_a_default() {
        let promise = read(&[]).expect("defaults are right");
        assert_eq!((promise.snapshot_age_max, promise.copy_age_max), (TimeDelta::hours(26), TimeDelta::hours(30)));
        assert_eq!((promise.copies_in_progress_max, promise.backup_days_min, promise.recovery_point_max), (20, 7, TimeDelta::minutes(30)));
        assert_eq!((promise.owner.instance.as_str(), promise.destinations.hops.len(), promise.archive_keys.len()), ("app-db", 0, 0));
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let wrong = [
            ("SNAPSHOT_MAX_AGE_HOURS", "0"),
            ("COPY_MAX_AGE_HOURS", "x"),
            ("COPIES_IN_PROGRESS_MAX", "21"),
            ("RECOVERY_POINT_MAX_MINUTES", "5"),
            ("BACKUP_RETENTION_MIN_DAYS", "36"),
            ("COPY_REGION", "eu-central-1"),
        ];
        let said = read(&wrong).expect_err("six mistakes");
        for (name, _) in wrong {
            assert!(said.contains(name), "{said}");
        }
    }
}
