//! The settings: what must exist, how old it may be, and how often it is read again.

use chrono::TimeDelta;
use shared::env::{Databases, Reader};

/// What the operator promises about the backups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The databases that must have a backup.
    pub databases: Databases,
    /// How old the newest backup of a database may be, from the slot that it fills.
    pub age_max: TimeDelta,
    /// Within what time every backup is read again from its first byte to its last.
    pub reread: TimeDelta,
}

impl Promise {
    /// Reads DATABASES, BACKUP_MAX_AGE_HOURS and REREAD_DAYS.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            databases: reader.parsed("DATABASES", Databases::Every),
            age_max: TimeDelta::hours(reader.number("BACKUP_MAX_AGE_HOURS", 26, 1..=2400)),
            reread: TimeDelta::days(reader.number("REREAD_DAYS", 30, 1..=365)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_setting_is_named_and_a_missing_one_has_a_default() {
        let mut reader = Reader::new(&|_| None);
        assert_eq!(Promise::read(&mut reader), Promise { databases: Databases::Every, age_max: TimeDelta::hours(26), reread: TimeDelta::days(30) });
        reader.finish().expect("defaults are right");
        for (name, wrong) in
            [("DATABASES", ","), ("BACKUP_MAX_AGE_HOURS", "0"), ("BACKUP_MAX_AGE_HOURS", "2401"), ("REREAD_DAYS", "366"), ("REREAD_DAYS", "x")]
        {
            let lookup = |asked: &str| (asked == name).then(|| wrong.to_owned());
            let mut reader = Reader::new(&lookup);
            Promise::read(&mut reader);
            assert!(reader.finish().expect_err("wrong").to_string().contains(name), "{name}={wrong}");
        }
    }
}
