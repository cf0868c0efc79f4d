//! Is a copy what its source is? By what RDS says of both, and by the key that was asked for. Pure.

use shared::destination::Hop;

use crate::observed::{Observed, Snapshot};

/// What differs, in words; empty: it is the same.
pub fn differences(copy: &Snapshot, source: &Snapshot, hop: &Hop, observed: &Observed) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, seen: String, expected: String| {
        if seen != expected {
            found.push(format!("{what} is {seen}, not {expected}"));
        }
    };
    compare("the instance", copy.instance.clone(), source.instance.clone());
    compare("the engine", copy.engine.clone(), source.engine.clone());
    compare("the engine's version", copy.engine_version.clone(), source.engine_version.clone());
    compare("the storage", format!("{} GiB", copy.allocated_gib), format!("{} GiB", source.allocated_gib));
    let encryption = |is: bool| if is { "encrypted" } else { "not encrypted" }.to_owned();
    compare("it", encryption(copy.encrypted), encryption(source.encrypted || hop.key_arn.is_some()));
    // "Doesn't change when the snapshot is copied" (API reference, DBSnapshot). RDS may know it of the copy with another fraction of a second.
    if let Some(original) = source.original_created_at {
        let moment =
            |at: Option<chrono::DateTime<chrono::Utc>>| at.map_or_else(|| "unknown".to_owned(), |at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string());
        compare("the moment of its data", moment(copy.original_created_at), moment(Some(original)));
    }
    if let Some(asked) = &hop.key_arn {
        let meant = observed.key(asked).map_or(asked, |key| &key.arn);
        compare("the key", copy.key_arn.clone().unwrap_or_else(|| "none".to_owned()), meant.clone());
    }
    if let Some(seen) = &copy.source_arn {
        compare("what RDS says it was copied from", seen.clone(), source.arn.clone());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{now, observed, region_hop, snapshot};

    type Change = (&'static str, fn(&mut Snapshot));

    #[test]
    fn each_difference_is_named() {
        let (hop, source) = (region_hop(), snapshot("", now()));
        let copy = source.copied(&hop);
        let seen = observed(Vec::new(), Vec::new());
        assert_eq!(differences(&copy, &source, &hop, &seen), Vec::<String>::new());
        let changes: [Change; 8] = [
            ("instance", |copy| copy.instance = "other".to_owned()),
            ("engine is", |copy| copy.engine = "mysql".to_owned()),
            ("version", |copy| copy.engine_version = "16.1".to_owned()),
            ("storage", |copy| copy.allocated_gib = 21),
            ("not encrypted", |copy| copy.encrypted = false),
            ("moment", |copy| copy.original_created_at = None),
            ("key", |copy| copy.key_arn = Some("arn:aws:kms:eu-west-1:111111111111:key/other".to_owned())),
            ("copied from", |copy| copy.source_arn = Some("arn:aws:rds:eu-central-1:111111111111:snapshot:other".to_owned())),
        ];
        for (part, change) in changes {
            let mut other = copy.clone();
            change(&mut other);
            let found = differences(&other, &source, &hop, &seen);
            assert!(found.len() == 1 && found[0].contains(part), "{part}: {found:?}");
        }
    }

    #[test]
    fn an_alias_means_the_key_behind_it() {
        let (mut hop, source) = (region_hop(), snapshot("", now()));
        let copy = source.copied(&hop);
        let mut seen = observed(Vec::new(), Vec::new());
        let alias = "arn:aws:kms:eu-west-1:111111111111:alias/copies".to_owned();
        seen.keys[1].asked.clone_from(&alias);
        hop.key_arn = Some(alias);
        assert_eq!(differences(&copy, &source, &hop, &seen), Vec::<String>::new());
    }
}
