//! Where a night's work lies between its invocations: parts and an end, each an object of its own, for nothing in the bucket is ever written twice.
//!
//! ```text
//! integrity/INSTANCE/DATABASE/2026-11-23T01-00-00Z/part-0001.json.gz    what an invocation did
//! integrity/INSTANCE/DATABASE/2026-11-23T01-00-00Z/end.json.gz          what the night came to: no more of it
//! ```

use chrono::{DateTime, Datelike, Months, TimeDelta, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::failure::{Context, Failure};
use shared::key::segment;
use shared::report::{parse_slot_name, slot_name};
use shared::store::Store;

use crate::packed::{CONTENT_TYPE, pack, unpack};

/// The months in which the last night is looked for, this one included.
const MONTHS: u32 = 3;
/// A schedule comes late at times.
const SLACK: TimeDelta = TimeDelta::hours(1);

/// The nights of a database.
pub struct Nights<'a> {
    /// The bucket.
    pub store: &'a Store,
    /// The instance.
    pub instance: &'a str,
    /// The database.
    pub database: &'a str,
}

/// The parts of a night that is under way.
pub struct Parts<'a> {
    /// Of which database.
    pub nights: &'a Nights<'a>,
    /// Which night.
    pub slot: DateTime<Utc>,
    /// The number of the newest.
    pub newest: u32,
}

impl Parts<'_> {
    /// Writes the next part.
    ///
    /// # Errors
    /// When it cannot be written, or another invocation has written it.
    pub async fn write<T: Serialize>(&mut self, part: &T) -> Result<(), Failure> {
        self.newest += 1;
        let key = self.nights.part_key(self.slot, self.newest);
        self.nights.store.put(&key, pack(part)?, CONTENT_TYPE).await.map(|_| ())
    }
}

/// A night that has left something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// When it began.
    pub slot: DateTime<Utc>,
    /// The number of its newest part.
    pub parts: u32,
    /// Whether it has ended.
    pub has_ended: bool,
}

/// What an invocation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tonight {
    /// Begin a night.
    Begin,
    /// Go on with this one; the last time, if its time is over.
    GoOn {
        /// The night.
        known: Known,
        /// Whether this is the last invocation of it.
        is_last: bool,
    },
    /// First end this one as it is: nobody went on with it. Then begin.
    EndThenBegin(Known),
    /// This night has ended.
    Done(Known),
}

/// Decides. `asked_at` is when the schedule meant to ask, or when a person did, for whom a night that has ended is no reason not to begin another.
pub fn tonight(newest: Option<Known>, asked_at: DateTime<Utc>, by_schedule: bool, night: TimeDelta) -> Tonight {
    let Some(known) = newest else { return Tonight::Begin };
    let age = asked_at - known.slot;
    let is_over = age >= night + SLACK;
    match (known.has_ended, is_over) {
        (true, false) if by_schedule => Tonight::Done(known),
        (true, _) => Tonight::Begin,
        (false, true) => Tonight::EndThenBegin(known),
        (false, false) => Tonight::GoOn { known, is_last: age >= night },
    }
}

impl Nights<'_> {
    fn prefix(&self) -> String {
        format!("integrity/{}/{}/", segment(self.instance), segment(self.database))
    }

    fn part_key(&self, slot: DateTime<Utc>, number: u32) -> String {
        format!("{}{}/part-{number:04}.json.gz", self.prefix(), slot_name(slot))
    }

    fn end_key(&self, slot: DateTime<Utc>) -> String {
        format!("{}{}/end.json.gz", self.prefix(), slot_name(slot))
    }

    /// The newest nights, the newest first.
    ///
    /// # Errors
    /// When the bucket cannot be listed.
    pub async fn newest(&self, now: DateTime<Utc>) -> Result<Vec<Known>, Failure> {
        let mut nights: Vec<Known> = Vec::new();
        for back in 0..MONTHS {
            let month = now.date_naive().with_day(1).and_then(|day| day.checked_sub_months(Months::new(back))).unwrap_or_default();
            let listed = self.store.list(&format!("{}{}", self.prefix(), month.format("%Y-%m-"))).await.context("look for the last night")?;
            let mut of_month: Vec<Known> = Vec::new();
            for object in listed {
                let Some((slot, name)) = object.key.strip_prefix(&self.prefix()).and_then(|rest| rest.split_once('/')) else { continue };
                let Some(slot) = parse_slot_name(slot) else { continue };
                let number = name.strip_prefix("part-").and_then(|rest| rest.strip_suffix(".json.gz")).and_then(|number| number.parse().ok());
                // Listed in the order of the keys: a night's objects stand together.
                match of_month.last_mut().filter(|known| known.slot == slot) {
                    Some(known) => {
                        known.parts = known.parts.max(number.unwrap_or(0));
                        known.has_ended |= name == "end.json.gz";
                    }
                    None => of_month.push(Known { slot, parts: number.unwrap_or(0), has_ended: name == "end.json.gz" }),
                }
            }
            nights.extend(of_month.into_iter().rev());
            if nights.iter().any(|known| known.has_ended) {
                break;
            }
        }
        Ok(nights)
    }

    /// What a part says.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn part<T: DeserializeOwned>(&self, slot: DateTime<Utc>, number: u32) -> Result<Option<T>, Failure> {
        self.read(&self.part_key(slot, number)).await
    }

    /// How a night ended.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn end<T: DeserializeOwned>(&self, slot: DateTime<Utc>) -> Result<Option<T>, Failure> {
        self.read(&self.end_key(slot)).await
    }

    async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Failure> {
        let Some(bytes) = self.store.get(key).await? else { return Ok(None) };
        unpack(&bytes).map(Some).context(format!("read {}", self.store.address(key)))
    }

    /// Writes the end.
    ///
    /// # Errors
    /// When it cannot be written, or another invocation has written it.
    pub async fn write_end<T: Serialize>(&self, slot: DateTime<Utc>, end: &T) -> Result<(), Failure> {
        self.store.put(&self.end_key(slot), pack(end)?, CONTENT_TYPE).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NIGHT: TimeDelta = TimeDelta::minutes(150);

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).expect("a time") + TimeDelta::minutes(minutes)
    }

    fn known(has_ended: bool) -> Known {
        Known { slot: at(0), parts: 3, has_ended }
    }

    #[test]
    fn a_night_is_begun_gone_on_with_and_ended() {
        assert_eq!(tonight(None, at(0), true, NIGHT), Tonight::Begin);
        assert_eq!(tonight(Some(known(false)), at(20), true, NIGHT), Tonight::GoOn { known: known(false), is_last: false });
        assert_eq!(tonight(Some(known(false)), at(160), true, NIGHT), Tonight::GoOn { known: known(false), is_last: true });
        // What comes later in the same night has nothing to do.
        assert_eq!(tonight(Some(known(true)), at(160), true, NIGHT), Tonight::Done(known(true)));
        assert_eq!(tonight(Some(known(true)), at(24 * 60), true, NIGHT), Tonight::Begin);
        // Nobody came again: it ends as it is, when the next begins.
        assert_eq!(tonight(Some(known(false)), at(24 * 60), true, NIGHT), Tonight::EndThenBegin(known(false)));
    }

    #[test]
    fn a_person_begins_whenever_no_night_is_open() {
        assert_eq!(tonight(Some(known(true)), at(20), false, NIGHT), Tonight::Begin);
        assert_eq!(tonight(Some(known(false)), at(20), false, NIGHT), Tonight::GoOn { known: known(false), is_last: false });
    }

    #[test]
    fn the_longest_night_is_over_before_the_next() {
        let night = TimeDelta::minutes(1380);
        assert_eq!(tonight(Some(known(true)), at(24 * 60), true, night), Tonight::Begin);
    }
}
