//! Where copies of RDS snapshots go: first to another region of the account, then to another account; either may be missing.
//!
//! Two steps, because a shared encrypted snapshot can be copied within its region only (RDS User Guide, "Sharing encrypted snapshots"): the copy in the
//! other region is what the other account copies.

use crate::env::Reader;
use crate::failure::{Failure, FailureKind};

/// One copy, and from where it is made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// Region of the copy.
    pub region: String,
    /// Key that encrypts the copy: of its own region and account.
    pub key_arn: Option<String>,
    /// Role of the other account that makes the copy there; `None`: our own account.
    pub role_arn: Option<String>,
    /// Role of the other account that may delete the copy; for `retention` only.
    pub retention_role_arn: Option<String>,
}

impl Hop {
    /// `eu-west-1`, or `123456789012/eu-west-1` in another account: how tags and findings name it.
    pub fn name(&self) -> String {
        self.account().map_or_else(|| self.region.clone(), |account| format!("{account}/{}", self.region))
    }

    /// The other account, if it is in another.
    pub fn account(&self) -> Option<&str> {
        self.role_arn.as_deref().and_then(|arn| arn.split(':').nth(4))
    }
}

/// The copies of every snapshot, in the order in which they are made: each from the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destinations {
    /// None, one or two.
    pub hops: Vec<Hop>,
}

impl Destinations {
    /// Reads COPY_REGION, COPY_KEY_ARN, COPY_ACCOUNT_ROLE_ARN, COPY_ACCOUNT_KEY_ARN and COPY_ACCOUNT_RETENTION_ROLE_ARN; `home` is the region of the instance.
    pub fn read(reader: &mut Reader<'_>, home: &str) -> Self {
        let mut hops = Vec::new();
        let region = reader.optional("COPY_REGION");
        if let Some(region) = region.clone() {
            if region == home {
                reader.mistake(format!("COPY_REGION is {region}: that is where the instance is"));
            }
            hops.push(Hop { region, key_arn: reader.optional("COPY_KEY_ARN"), role_arn: None, retention_role_arn: None });
        }
        if let Some(role_arn) = reader.optional("COPY_ACCOUNT_ROLE_ARN") {
            let retention_role_arn = reader.optional("COPY_ACCOUNT_RETENTION_ROLE_ARN");
            for (name, arn) in [("COPY_ACCOUNT_ROLE_ARN", Some(&role_arn)), ("COPY_ACCOUNT_RETENTION_ROLE_ARN", retention_role_arn.as_ref())] {
                if let Some(arn) = arn.filter(|arn| account_of_role(arn).is_err()) {
                    reader.mistake(format!("{name} is `{arn}`: it must be the ARN of a role"));
                }
            }
            let region = region.unwrap_or_else(|| home.to_owned());
            hops.push(Hop { region, key_arn: reader.optional("COPY_ACCOUNT_KEY_ARN"), role_arn: Some(role_arn), retention_role_arn });
        }
        for hop in &hops {
            if let Some(key_region) = hop.key_arn.as_deref().and_then(|arn| arn.split(':').nth(3)).filter(|region| *region != hop.region) {
                reader.mistake(format!("the key of the copy in {} is in {key_region}: it must be in the copy's own region", hop.name()));
            }
        }
        Self { hops }
    }
}

/// The account in a role's ARN.
///
/// # Errors
/// When it is none.
pub fn account_of_role(arn: &str) -> Result<&str, Failure> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", _, "iam", "", account, role] if account.len() == 12 && role.starts_with("role/") => Ok(account),
        _ => Err(Failure::new(FailureKind::BadSettings, format!("`{arn}` is not the ARN of a role"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<Destinations, Failure> {
        let lookup = |name: &str| settings.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let mut reader = Reader::new(&lookup);
        let destinations = Destinations::read(&mut reader, "eu-central-1");
        reader.finish().map(|()| destinations)
    }

    #[test]
    fn another_region_comes_before_another_account() {
        assert_eq!(read(&[]).expect("nothing is asked for"), Destinations::default());
        let role = ("COPY_ACCOUNT_ROLE_ARN", "arn:aws:iam::210987654321:role/lifeboat-copy");
        let names = |settings: &[(&str, &str)]| read(settings).expect("right").hops.iter().map(Hop::name).collect::<Vec<_>>();
        assert_eq!(names(&[("COPY_REGION", "eu-west-1")]), ["eu-west-1"]);
        assert_eq!(names(&[role]), ["210987654321/eu-central-1"]);
        assert_eq!(names(&[("COPY_REGION", "eu-west-1"), role]), ["eu-west-1", "210987654321/eu-west-1"]);
    }

    #[test]
    fn what_cannot_work_is_said_before_the_first_copy() {
        for (settings, part) in [
            (&[("COPY_REGION", "eu-central-1")][..], "that is where the instance is"),
            (&[("COPY_ACCOUNT_ROLE_ARN", "lifeboat-copy")], "must be the ARN of a role"),
            (&[("COPY_REGION", "eu-west-1"), ("COPY_KEY_ARN", "arn:aws:kms:eu-north-1:123456789012:key/a")], "must be in the copy's own region"),
        ] {
            assert!(read(settings).expect_err("wrong").to_string().contains(part), "{settings:?}");
        }
    }
}
