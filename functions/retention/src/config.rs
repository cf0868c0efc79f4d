//! The settings: what is kept, how much a run may delete, and where copies lie.

use shared::destination::Destinations;
use shared::env::{Databases, Reader};

use crate::plan::Policies;
use crate::policy::Policy;

/// The bucket that S3 replicates archives to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Its name.
    pub bucket: String,
    /// Its region.
    pub region: String,
}

/// What the operator set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What is kept.
    pub policies: Policies,
    /// So many of the newest good ones of every sort are always kept.
    pub floor: usize,
    /// So many deletions in a run.
    pub deletions_max: usize,
    /// From this share of the quota of manual snapshots on it is said.
    pub quota_warn_percent: u32,
    /// Where snapshots are copied to.
    pub destinations: Destinations,
    /// Where archives are replicated to.
    pub replica: Option<Replica>,
    /// The databases that must have archives.
    pub databases: Databases,
}

const GENERATIONS: &str = "daily=14,weekly=8,monthly=12";

impl Settings {
    /// Reads them all; `home` is the region of the stack.
    pub fn read(reader: &mut Reader<'_>, home: &str) -> Self {
        let policies = Policies {
            daily: reader.parsed("SNAPSHOT_RETENTION", default(GENERATIONS)),
            pre_deploy: reader.parsed("PRE_DEPLOY_RETENTION", default("last=20")),
            copies: reader.parsed("COPY_RETENTION", default(GENERATIONS)),
            archives: reader.parsed("ARCHIVE_RETENTION", default("daily=14,weekly=8,monthly=12,yearly=3")),
        };
        let replica = reader.optional("REPLICA_BUCKET").map(|bucket| Replica { bucket, region: reader.required("REPLICA_REGION") });
        Self {
            policies,
            floor: reader.number("RETENTION_FLOOR", 3, 1..=100),
            deletions_max: reader.number("RETENTION_DELETIONS_MAX", 10, 1..=100),
            quota_warn_percent: reader.number("SNAPSHOT_QUOTA_WARN_PERCENT", 80, 1..=100),
            destinations: Destinations::read(reader, home),
            replica,
            databases: reader.parsed("DATABASES", Databases::Every),
        }
    }
}

fn default(text: &str) -> Policy {
    text.parse().expect("the defaults are policies")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<Settings, String> {
        let lookup = |name: &str| settings.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let mut reader = Reader::new(&lookup);
        let settings = Settings::read(&mut reader, "eu-central-1");
        reader.finish().map(|()| settings).map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_defaults_keep_generations() {
        let settings = read(&[]).expect("the defaults are right");
        assert_eq!(settings.policies.daily.to_string(), GENERATIONS);
        assert_eq!(settings.policies.pre_deploy.to_string(), "last=20");
        assert_eq!(settings.policies.archives.to_string(), "daily=14,weekly=8,monthly=12,yearly=3");
        assert_eq!((settings.floor, settings.deletions_max, settings.replica), (3, 10, None));
        let replica = read(&[("REPLICA_BUCKET", "b"), ("REPLICA_REGION", "eu-west-1")]).expect("right").replica.expect("a replica");
        assert_eq!((replica.bucket.as_str(), replica.region.as_str()), ("b", "eu-west-1"));
    }

    #[test]
    fn a_policy_that_keeps_nothing_is_refused_before_anything_is_looked_at() {
        for (name, wrong) in [
            ("SNAPSHOT_RETENTION", "daily=0"),
            ("PRE_DEPLOY_RETENTION", " "),
            ("COPY_RETENTION", "last=0,yearly=0"),
            ("ARCHIVE_RETENTION", "14 days"),
            ("RETENTION_FLOOR", "0"),
            ("RETENTION_DELETIONS_MAX", "101"),
            ("SNAPSHOT_QUOTA_WARN_PERCENT", "0"),
            ("DATABASES", ","),
        ] {
            assert!(read(&[(name, wrong)]).expect_err(wrong).contains(name), "{name}={wrong}");
        }
        assert!(read(&[("REPLICA_BUCKET", "b")]).expect_err("where is it?").contains("REPLICA_REGION is missing"));
    }
}
