//! Keys that an application signs with, and the three values by which a new one takes over.
//!
//! ```text
//! before    {sign: K1, verify: [others]}
//! phase 1   {sign: K1, verify: [others, K2]}     everybody learns to accept K2
//! phase 2   {sign: K2, verify: [K1, others]}     K2 signs; what K1 signed is accepted
//! phase 3   {sign: K2, verify: [others]}         K1 is nothing any more
//! ```
//!
//! In every phase, whoever reads one value accepts what is signed by readers of the value before and of the value after. Other keys in the list, and all other
//! fields, keep their bytes. A parameter that is a bare key cannot do this, and is refused: it holds one key, so that a fleet of which a part has read the new
//! one refuses the other part's signatures.

use std::ops::Range;

use rand::RngExt as _;
use rand::distr::Alphanumeric;
use shared::failure::{Failure, FailureKind};
use shared::secrets::{ExposeSecret, SecretString};

use super::json::{self, Member};
use super::{bad, fields};

/// 62 characters to choose from are 5.95 bits each: 44 of them are 262 bits.
const LENGTH: usize = 44;

/// A new key of more than 256 bits, in letters and digits: they need no escape in any place.
pub fn new_key() -> SecretString {
    SecretString::from(rand::rng().sample_iter(Alphanumeric).take(LENGTH).map(char::from).collect::<String>())
}

/// The live keys, as they were found.
pub struct KeyRing {
    text: SecretString,
    sign: SecretString,
    sign_at: Range<usize>,
    verify: Vec<SecretString>,
    elements: Vec<Range<usize>>,
    verify_at: Range<usize>,
    names: (String, String),
}

impl KeyRing {
    /// Takes the keys apart, by the names of their fields.
    ///
    /// # Errors
    /// When it is not a JSON object with a string and a list of strings of these names; the hint says how to write it.
    pub fn read(sign: &str, verify: &str, text: &SecretString) -> Result<Self, Failure> {
        let example = format!("write {{\"{sign}\": \"THE KEY IN USE\", \"{verify}\": []}}, and let the application accept the keys of the list, too");
        let exposed = text.expose_secret();
        let members = json::members(exposed).ok_or_else(|| bad("is not a JSON object, and a bare key cannot be changed in phases").hint(&example))?;
        let needed = |name: &str| -> Result<&Member, Failure> {
            fields::one(&members, name)?.ok_or_else(|| bad(&format!("has no field {name:?}")).hint(&example))
        };
        let (sign_member, verify_member) = (needed(sign)?, needed(verify)?);
        let key = |range: &Range<usize>| json::string(exposed, range).map(SecretString::from);
        let signing = key(&sign_member.value).filter(|key| !key.expose_secret().is_empty());
        let signing = signing.ok_or_else(|| bad(&format!("has a field {sign:?} that is not a key in quotes")).hint(&example))?;
        let elements = json::elements(exposed, &verify_member.value);
        let accepted = elements.as_ref().and_then(|elements| elements.iter().map(key).collect::<Option<Vec<_>>>());
        let Some((elements, accepted)) = elements.zip(accepted) else {
            return Err(bad(&format!("has a field {verify:?} that is not a list of keys in quotes")).hint(&example));
        };
        Ok(Self {
            text: text.clone(),
            sign: signing,
            sign_at: sign_member.value.clone(),
            verify: accepted,
            elements,
            verify_at: verify_member.value.clone(),
            names: (sign.to_owned(), verify.to_owned()),
        })
    }

    /// The key that is signed with.
    pub const fn sign(&self) -> &SecretString {
        &self.sign
    }

    /// Whether this key is in the list of those that are accepted beside.
    pub fn accepts(&self, key: &SecretString) -> bool {
        self.verify.iter().any(|accepted| accepted.expose_secret() == key.expose_secret())
    }

    /// How far the change from one key to another is: 0 before it, then the phase whose value this is. None if another key signs: somebody else wrote it.
    pub fn phase(&self, current: &SecretString, new: &SecretString) -> Option<u8> {
        let signs = |key: &SecretString| self.sign.expose_secret() == key.expose_secret();
        match (signs(current), signs(new)) {
            (true, false) => Some(u8::from(self.accepts(new))),
            (false, true) => Some(if self.accepts(current) { 2 } else { 3 }),
            _ => None,
        }
    }

    /// The text of a phase, from whichever this is.
    ///
    /// # Errors
    /// When there is no such phase, the two keys are one, or the result would not say what it should. Nothing is given out then.
    pub fn with_phase(&self, phase: u8, old: &SecretString, new: &SecretString) -> Result<SecretString, Failure> {
        if !(1..=3).contains(&phase) || old.expose_secret() == new.expose_secret() || new.expose_secret().is_empty() {
            return Err(Failure::new(FailureKind::BadRequest, "keys are changed in the phases 1 to 3, from one key to another"));
        }
        if self.phase(old, new).is_none() {
            return Err(bad("has another key to sign with than the two that are exchanged: somebody else wrote it"));
        }
        let text = self.text.expose_secret();
        let is_of = |key: &SecretString, of: &SecretString| key.expose_secret() == of.expose_secret();
        let others = self.verify.iter().zip(&self.elements).filter(|(key, _)| !is_of(key, old) && !is_of(key, new));
        let mut list: Vec<String> = others.map(|(_, at)| text[at.clone()].to_owned()).collect();
        match phase {
            1 => list.push(json::escape(new.expose_secret())),
            2 => list.insert(0, json::escape(old.expose_secret())),
            _ => {}
        }
        let signing = if phase == 1 { old } else { new };
        let mut edits = vec![(self.verify_at.clone(), self.list(&list))];
        if !is_of(&self.sign, signing) {
            edits.push((self.sign_at.clone(), json::escape(signing.expose_secret())));
        }
        edits.sort_by_key(|(at, _)| at.start);
        let mut written = text.to_owned();
        for (at, said) in edits.into_iter().rev() {
            written.replace_range(at, &said);
        }
        let written = SecretString::from(written);
        let again = Self::read(&self.names.0, &self.names.1, &written)
            .map_err(|failure| failure.context("read the keys back that were just put together"))?;
        if again.phase(old, new) == Some(phase) && again.others(old, new) == self.others(old, new) {
            return Ok(written);
        }
        Err(Failure::new(FailureKind::Corrupt, "the keys that were put together do not say what they should, so they are not given out"))
    }

    /// A list in the spacing of the one that is there. An equal one keeps its bytes.
    fn list(&self, elements: &[String]) -> String {
        let text = self.text.expose_secret();
        let present: Vec<&str> = self.elements.iter().map(|at| &text[at.clone()]).collect();
        if present == elements {
            return text[self.verify_at.clone()].to_owned();
        }
        if elements.is_empty() {
            return "[]".to_owned();
        }
        let (before, after) = match (self.elements.first(), self.elements.last()) {
            (Some(first), Some(last)) => (&text[self.verify_at.start..first.start], &text[last.end..self.verify_at.end]),
            _ => ("[", "]"),
        };
        let between = match self.elements.as_slice() {
            [one, two, ..] => text[one.end..two.start].to_owned(),
            _ => format!(",{}", if before.len() > 1 { &before[1..] } else { " " }),
        };
        format!("{before}{}{after}", elements.join(&between))
    }

    fn others(&self, old: &SecretString, new: &SecretString) -> Vec<&str> {
        let taking_part = [old.expose_secret(), new.expose_secret()];
        self.verify.iter().map(ExposeSecret::expose_secret).filter(|key| !taking_part.contains(key)).collect()
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
