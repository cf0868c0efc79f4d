//! Keys in a column name objects of S3 that are there. The keys stay in memory: only how many are missing is said, unless the check asks for values.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use futures_util::StreamExt as _;
use shared::key::segment_name;
use tokio::time::{Instant, timeout_at};

use super::check::Objects;
use super::outcome::{Count, Outcome};
use super::sql::VALUES_MAX;

/// Objects that are asked for at a time.
const PARALLEL: usize = 16;

/// What is known of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    There,
    Missing,
    /// It is said to be in another bucket than the check names.
    Elsewhere,
    Denied,
    /// S3 could not be asked.
    Unknown,
}

/// The key of an object as S3 knows it; `None`: it is in another bucket.
fn key(objects: &Objects, stored: &str) -> Option<String> {
    let decode = |text: &str| if objects.percent_encoded { segment_name(text) } else { text.to_owned() };
    match stored.strip_prefix("s3://") {
        Some(address) => {
            let (bucket, key) = address.split_once('/')?;
            (bucket == objects.bucket).then(|| decode(key))
        }
        None => Some(format!("{}{}", objects.prefix, decode(stored))),
    }
}

/// Looks for the objects; `None`: the time is over.
pub async fn judge(objects: &Objects, client: &Client, stored: &[String], show_values: bool, until: Instant) -> Option<Outcome> {
    // The stream owns what it looks for: a future over a borrowed closure could not be sent between threads.
    let looks = stored.iter().cloned().map(|stored| async move {
        let known = match key(objects, &stored) {
            Some(key) => look(client, &objects.bucket, &key).await,
            None => Known::Elsewhere,
        };
        (stored, known)
    });
    let all = futures_util::stream::iter(looks).buffer_unordered(PARALLEL).collect::<Vec<_>>();
    let found = timeout_at(until, all).await.ok()?;
    let count = |wanted: Known| found.iter().filter(|(_, known)| *known == wanted).count();
    if count(Known::Denied) > 0 {
        let help = format!(
            "allow the function s3:GetObject on arn:aws:s3:::{0}/{1}* and s3:ListBucket on arn:aws:s3:::{0}: without the second, S3 does not say that an object is missing",
            objects.bucket, objects.prefix
        );
        return Some(Outcome::NotChecked(
            format!("S3 refused to say of {} of {} objects whether they are there", count(Known::Denied), found.len()),
            Some(help),
        ));
    }
    if count(Known::Unknown) > 0 {
        return Some(Outcome::NotChecked(format!("S3 could not be asked for {} of {} objects", count(Known::Unknown), found.len()), None));
    }
    let (missing, elsewhere) = (count(Known::Missing), count(Known::Elsewhere));
    let value = u32::try_from(found.len()).ok().map(f64::from);
    if missing + elsewhere == 0 {
        return Some(Outcome::Holds { value });
    }
    let mut shown: Vec<String> = if show_values {
        found.iter().filter(|(_, known)| matches!(known, Known::Missing | Known::Elsewhere)).map(|(stored, _)| format!("{stored:.200}")).collect()
    } else {
        Vec::new()
    };
    shown.sort();
    shown.truncate(VALUES_MAX);
    let elsewhere = if elsewhere > 0 { format!("; {elsewhere} name another bucket") } else { String::new() };
    Some(Outcome::Fails {
        violations: Some(Count::exact((found.len() - count(Known::There)) as u64)),
        value,
        seen: format!("{missing} of {} objects that were looked for are not in s3://{}/{}{elsewhere}", found.len(), objects.bucket, objects.prefix),
        expected: format!("every key in {}.{} names an object", objects.table.subject(), objects.column),
        shown,
    })
}

async fn look(client: &Client, bucket: &str, key: &str) -> Known {
    // S3 has no object without a name, and answers for the bucket instead.
    if key.is_empty() {
        return Known::Missing;
    }
    match client.head_object().bucket(bucket).key(key).send().await {
        Ok(_) => Known::There,
        Err(error) if error.as_service_error().is_some_and(aws_sdk_s3::operation::head_object::HeadObjectError::is_not_found) => Known::Missing,
        // A HEAD has no body, so what it says is its status.
        Err(error) => match (error.raw_response().map(|response| response.status().as_u16()), error.code()) {
            (Some(404), _) | (_, Some("NoSuchKey")) => Known::Missing,
            (Some(403), _) => Known::Denied,
            _ => Known::Unknown,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::check::TableName;

    #[test]
    fn a_key_is_found_however_it_is_stored() {
        let objects = |percent_encoded| Objects {
            table: TableName { schema: "s".into(), name: "t".into() },
            column: "c".into(),
            bucket: "files".into(),
            prefix: "up/".into(),
            sample: 1,
            percent_encoded,
        };
        let of = |stored: &str, encoded| key(&objects(encoded), stored);
        assert_eq!(of("a b.pdf", false).as_deref(), Some("up/a b.pdf"));
        assert_eq!(of("a%20b.pdf", true).as_deref(), Some("up/a b.pdf"));
        assert_eq!(of("a%20b.pdf", false).as_deref(), Some("up/a%20b.pdf"));
        assert_eq!(of("s3://files/x/y%2Fz", true).as_deref(), Some("x/y/z"));
        assert_eq!(of("s3://other/x", false), None);
        assert_eq!(of("s3://files", false), None);
    }
}
