//! The last nights from the bucket: listed by month, fetched a few at a time, taken in line by line. An object that cannot be read is left out and said:
//! a night less is better than no night.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};

use chrono::{DateTime, Datelike as _, Days, NaiveDate, Utc};
use flate2::read::MultiGzDecoder;
use futures_util::{StreamExt as _, stream};
use shared::failure::Failure;
use shared::report::{parse_slot_name, slot_name};
use shared::store::{Listed, Store};

use super::line::Line;
use super::past::{NIGHTS_MAX, Past};
use super::{TableTonight, prefix};

/// What the history may take of an invocation's memory.
pub const BYTES_MAX: usize = 60 << 20;
/// Objects that are fetched at a time, and bytes of them.
const FETCHES_MAX: usize = 8;
const FETCHED_BYTES_MAX: u64 = 4 << 20;
/// An object that is larger is not a night's; nor is what is longer, unpacked or as a line.
const OBJECT_BYTES_MAX: u64 = 64 << 20;
const UNPACKED_BYTES_MAX: u64 = 2 << 30;
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Runs of one date that are looked at.
const RUNS_MAX: usize = 4;

/// Reads the nights before `slot`, for the tables of tonight.
///
/// # Errors
/// When the bucket cannot be listed or an object cannot be fetched.
pub async fn read(
    store: &Store,
    instance: &str,
    database: &str,
    slot: DateTime<Utc>,
    tables: &[TableTonight],
    bytes_max: usize,
) -> Result<Past, Failure> {
    let mut listed = Vec::new();
    for month in months(slot.date_naive()) {
        listed.extend(store.list(&format!("{}date={month}-", prefix(instance, database))).await?);
    }
    let nights = nights(listed, slot);
    let slots: Vec<DateTime<Utc>> = nights.iter().filter_map(|runs| runs.last().map(|(slot, _)| *slot)).collect();
    let largest = nights.iter().flatten().map(|(_, object)| object.size_bytes).max().unwrap_or_default().max(1);
    let at_once = usize::try_from(FETCHED_BYTES_MAX / largest).unwrap_or(FETCHES_MAX).clamp(1, FETCHES_MAX);
    let mut past = Past::new(&slots, tables, bytes_max.saturating_sub(usize::try_from(largest).unwrap_or(usize::MAX).saturating_mul(at_once)));
    let newest = nights.len().saturating_sub(1);
    let objects = nights.into_iter().enumerate().flat_map(|(night, runs)| runs.into_iter().map(move |(_, object)| (night, object)));
    let mut fetched = stream::iter(objects)
        .map(|(night, object)| async move {
            if object.size_bytes > OBJECT_BYTES_MAX {
                return Ok((night, object.key, None));
            }
            store.get(&object.key).await.map(|bytes| (night, object.key, bytes))
        })
        .buffered(at_once);
    while let Some(one) = fetched.next().await {
        let (night, key, bytes) = one?;
        let is_whole = bytes.is_some_and(|bytes| take(&mut past, night, &bytes, night == newest));
        if !is_whole {
            past.unreadable.push(key);
        }
    }
    Ok(past)
}

/// The same from objects that are at hand, each with its slot, the oldest first.
pub fn unpack(objects: &[(DateTime<Utc>, Vec<u8>)], tables: &[TableTonight], bytes_max: usize) -> Past {
    let objects = &objects[objects.len().saturating_sub(NIGHTS_MAX)..];
    let slots: Vec<DateTime<Utc>> = objects.iter().map(|(slot, _)| *slot).collect();
    let mut past = Past::new(&slots, tables, bytes_max);
    for (night, (slot, bytes)) in objects.iter().enumerate() {
        if !take(&mut past, night, bytes, night + 1 == objects.len()) {
            past.unreadable.push(slot_name(*slot));
        }
    }
    past
}

/// The months that the nights can lie in.
fn months(date: NaiveDate) -> Vec<String> {
    let first = date.checked_sub_days(Days::new(NIGHTS_MAX as u64)).unwrap_or(date);
    let (mut year, mut month, mut months) = (first.year(), first.month(), Vec::new());
    while (year, month) <= (date.year(), date.month()) && months.len() <= 4 {
        months.push(format!("{year:04}-{month:02}"));
        (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    }
    months
}

/// The runs of each date before this one, the oldest first. Of several runs of a date all count: what a later one did not reach, an earlier one may have.
fn nights(listed: Vec<Listed>, slot: DateTime<Utc>) -> Vec<Vec<(DateTime<Utc>, Listed)>> {
    let mut dates: BTreeMap<NaiveDate, Vec<(DateTime<Utc>, Listed)>> = BTreeMap::new();
    for object in listed {
        let name = object.key.rsplit('/').next().and_then(|name| name.strip_suffix(".json.gz"));
        let Some(at) = name.and_then(parse_slot_name).filter(|at| at.date_naive() < slot.date_naive()) else { continue };
        dates.entry(at.date_naive()).or_default().push((at, object));
    }
    let mut nights: Vec<_> = dates.into_values().collect();
    nights.drain(..nights.len().saturating_sub(NIGHTS_MAX));
    for runs in &mut nights {
        runs.sort_by_key(|(at, _)| *at);
        runs.drain(..runs.len().saturating_sub(RUNS_MAX));
    }
    nights
}

/// Takes in an object. False: it is not one, or not to its end; what could be read counts.
fn take(past: &mut Past, night: usize, bytes: &[u8], is_newest: bool) -> bool {
    let mut reader = BufReader::with_capacity(1 << 16, MultiGzDecoder::new(bytes).take(UNPACKED_BYTES_MAX));
    let (mut line, mut is_whole) = (Vec::new(), true);
    loop {
        line.clear();
        match (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) => return is_whole,
            // A table with nulls, say, in its name is one line less, not a night less.
            Ok(_) => match serde_json::from_slice::<Line<'_>>(&line) {
                Ok(line) => past.take(night, &line, is_newest),
                Err(_) => is_whole = false,
            },
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_months_cover_the_nights() {
        let date = |text: &str| text.parse::<NaiveDate>().expect("a date");
        assert_eq!(months(date("2026-11-23")), ["2026-09", "2026-10", "2026-11"]);
        assert_eq!(months(date("2027-01-02")), ["2026-10", "2026-11", "2026-12", "2027-01"]);
        assert_eq!(months(date("2026-03-04")), ["2025-12", "2026-01", "2026-02", "2026-03"]);
    }

    #[test]
    fn a_date_is_a_night_and_todays_own_is_none() {
        let slot = |text| parse_slot_name(text).expect("a slot");
        let object = |key: &str| Listed { key: format!("x/{key}"), size_bytes: 1, modified_at: DateTime::default() };
        let listed = [
            "2026-11-20T02-00-00Z.json.gz",
            "2026-11-22T14-00-00Z.json.gz",
            "2026-11-22T02-00-00Z.json.gz",
            "2026-11-23T01-00-00Z.json.gz",
            "notes.txt",
        ];
        let found = nights(listed.map(object).to_vec(), slot("2026-11-23T02-00-00Z"));
        let names: Vec<Vec<&str>> = found.iter().map(|runs| runs.iter().map(|(_, object)| &object.key[2..15]).collect()).collect();
        assert_eq!(names, [vec!["2026-11-20T02"], vec!["2026-11-22T02", "2026-11-22T14"]]);
    }
}
