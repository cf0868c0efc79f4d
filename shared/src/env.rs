//! The settings of a function: read once, before the first event, with *all* mistakes reported together.
//!
//! The only place that reads the environment.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::failure::{Failure, FailureKind};

/// Reads settings and collects what is wrong with them.
pub struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    mistakes: Vec<String>,
}

impl<'a> Reader<'a> {
    /// A reader of any source of settings; a function uses [`process`].
    pub fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, mistakes: Vec::new() }
    }

    /// A text that must be there. Empty counts as missing.
    pub fn required(&mut self, name: &str) -> String {
        self.optional(name).unwrap_or_else(|| {
            self.mistakes.push(format!("{name} is missing"));
            String::new()
        })
    }

    /// A text that may be missing.
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// A value with a default.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, name: &str, default: T) -> T {
        let Some(text) = self.optional(name) else { return default };
        text.parse().unwrap_or_else(|error| {
            self.mistakes.push(format!("{name} is `{text}`: {error}"));
            default
        })
    }

    /// A number with a default and limits.
    pub fn number<T: FromStr<Err: Display> + PartialOrd + Display + Copy>(&mut self, name: &str, default: T, limits: RangeInclusive<T>) -> T {
        let value = self.parsed(name, default);
        if !limits.contains(&value) {
            self.mistakes.push(format!("{name} is {value}: it must be from {} to {}", limits.start(), limits.end()));
        }
        value
    }

    /// Adds a mistake that only the caller can see.
    pub fn mistake(&mut self, mistake: impl Into<String>) {
        self.mistakes.push(mistake.into());
    }

    /// Every mistake at once.
    ///
    /// # Errors
    /// When a setting is missing or wrong.
    pub fn finish(self) -> Result<(), Failure> {
        if self.mistakes.is_empty() {
            return Ok(());
        }
        Err(Failure::new(FailureKind::BadSettings, self.mistakes.join("; "))
            .hint("correct the parameters of the stack and deploy again; they are listed in DEPLOYMENT.md"))
    }
}

/// A variable of this process.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn process(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Which databases of the instance: `*`, or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Databases {
    /// All that accept connections.
    Every,
    /// These.
    Listed(Vec<String>),
}

impl FromStr for Databases {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == "*" {
            return Ok(Self::Every);
        }
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
        if names.is_empty() { Err("name at least one database, or `*` for all".to_owned()) } else { Ok(Self::Listed(names)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_reported_at_once() {
        let lookup = |name: &str| match name {
            "CONNECTIONS" => Some("99".to_owned()),
            "SLICE_BYTES" => Some("many".to_owned()),
            _ => None,
        };
        let mut reader = Reader::new(&lookup);
        reader.required("LIFEBOAT_BUCKET");
        reader.number("CONNECTIONS", 2, 1..=32);
        reader.number("SLICE_BYTES", 8192_u64, 8192..=u64::MAX);
        let failure = reader.finish().expect_err("three mistakes");
        assert_eq!(failure.kind, FailureKind::BadSettings);
        for part in ["LIFEBOAT_BUCKET is missing", "CONNECTIONS is 99: it must be from 1 to 32", "SLICE_BYTES is `many`"] {
            assert!(failure.to_string().contains(part), "{failure}");
        }
    }

    #[test]
    fn databases_are_all_or_a_list() {
        assert_eq!("*".parse(), Ok(Databases::Every));
        assert_eq!("app, other".parse(), Ok(Databases::Listed(vec!["app".into(), "other".into()])));
        assert!(" , ".parse::<Databases>().is_err());
    }
}
