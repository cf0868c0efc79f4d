//! The live value: taken apart as far as a rotation needs it, and written again with another user and password and every other byte as it was.
//!
//! A team's own additions (query parameters, further fields, spacing, escapes that they chose) are theirs. So nothing here is parsed into a model and printed
//! again: what is replaced is found as a span of the text, and the result is read back before anybody gets it. Where libraries differ in what they make of
//! the user or the password, the value is refused with what to write instead: a rotation must not find out which of them an application uses.
//!
//! A value that libpq refuses is refused here too, if that concerns what we read (user, password, hosts, ports, database). In parameters that are not ours it is
//! left as it is: another library may want exactly that. Never printed, logged, or put into an error: not the value, not a piece of it.

mod fields;
mod json;
pub mod keys;
mod percent;
mod url;

use std::fmt;

use shared::failure::{Failure, FailureKind};
use shared::secrets::{ExposeSecret, SecretString};

use crate::definition::{Database, Fields};

/// How a credential is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// The whole value is a URL.
    Url,
    /// The value is a JSON object with fields of these names.
    Fields(Fields),
}

impl From<&Database> for Form {
    fn from(definition: &Database) -> Self {
        definition.fields.clone().map_or(Self::Url, Self::Fields)
    }
}

/// A server that a value names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Name, address without brackets, or folder of a socket.
    pub name: String,
    /// TCP port.
    pub port: u16,
}

/// What a value asks of TLS. We verify always; this is what its readers do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// `sslmode`, or what stands for it.
    pub mode: Option<String>,
    /// `sslrootcert`: where its readers find the certificates.
    pub root_certificate: Option<String>,
}

/// A credential of a PostgreSQL user, as it was found.
pub struct Value {
    text: SecretString,
    form: Form,
    content: Content,
}

/// What a value says, and where in its text user and password are replaced.
struct Content {
    user: String,
    password: Option<SecretString>,
    hosts: Vec<Host>,
    database: Option<String>,
    tls: Tls,
    /// Everything else that was understood, to be compared before and after.
    rest: Vec<(String, String)>,
    user_at: Place,
    password_at: Place,
}

/// Where something is written in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// What is replaced; empty where it is inserted.
    from: usize,
    /// Its end.
    to: usize,
    /// What has to stand before it.
    prefix: &'static str,
}

impl Value {
    /// Takes a value apart.
    ///
    /// # Errors
    /// When it is not written in this form, names no user, or can be read in two ways; the hint says how to write it. The text is in no message.
    pub fn read(form: &Form, text: &SecretString) -> Result<Self, Failure> {
        let content = match form {
            Form::Url => url::read(text.expose_secret())?,
            Form::Fields(names) => fields::read(names, text.expose_secret())?,
        };
        Ok(Self { text: text.clone(), form: form.clone(), content })
    }

    /// The text as it was read.
    pub const fn text(&self) -> &SecretString {
        &self.text
    }

    /// The user.
    pub fn user(&self) -> &str {
        &self.content.user
    }

    /// The password; none where the value has none, or an empty one.
    pub const fn password(&self) -> Option<&SecretString> {
        self.content.password.as_ref()
    }

    /// The servers in the value's order; none where it names none.
    pub fn hosts(&self) -> &[Host] {
        &self.content.hosts
    }

    /// The database. Without it, readers take the one that is called like the user.
    pub fn database(&self) -> Option<&str> {
        self.content.database.as_deref()
    }

    /// What the value asks of TLS.
    pub const fn tls(&self) -> &Tls {
        &self.content.tls
    }

    /// The text with another user and password, and every other byte as it was. What is the same stays as it is written, escapes and all.
    ///
    /// # Errors
    /// When the result would not say exactly this. Nothing is given out then.
    pub fn with(&self, user: &str, password: &SecretString) -> Result<SecretString, Failure> {
        let secret = password.expose_secret();
        if user.is_empty() || secret.is_empty() || user.contains('\0') || secret.contains('\0') {
            return Err(Failure::new(FailureKind::BadSettings, "an empty user or password, or one with a zero byte, cannot be written"));
        }
        if self.content.database.is_none() && user != self.content.user {
            return Err(bad("names no database, so that another user would be led to another database").hint("add the database's name to the value"));
        }
        let write = |text: &str| match self.form {
            Form::Url => percent::encode(text),
            Form::Fields(_) => json::escape(text),
        };
        let mut edits = Vec::new();
        if user != self.content.user {
            edits.push((&self.content.user_at, write(user)));
        }
        if self.content.password.as_ref().is_none_or(|old| old.expose_secret() != secret) {
            edits.push((&self.content.password_at, write(secret)));
        }
        let written = SecretString::from(splice(self.text.expose_secret(), edits));
        let again = Self::read(&self.form, &written).map_err(|failure| failure.context("read the value back that was just put together"))?;
        let says_it = again.content.user == user && again.content.password.as_ref().is_some_and(|found| found.expose_secret() == secret);
        if says_it && again.same_but_for_user_and_password(self) {
            return Ok(written);
        }
        Err(Failure::new(FailureKind::Corrupt, "the value that was put together does not say what it should, so it is not given out")
            .hint("this is a defect of Lifeboat: write the value in a plainer form, and report it"))
    }

    fn same_but_for_user_and_password(&self, other: &Self) -> bool {
        let (one, two) = (&self.content, &other.content);
        one.hosts == two.hosts && one.database == two.database && one.tls == two.tls && one.rest == two.rest
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content = &self.content;
        let mut shown = formatter.debug_struct("Value");
        shown.field("user", &content.user).field("hosts", &content.hosts).field("database", &content.database).finish_non_exhaustive()
    }
}

/// The text with each place replaced.
fn splice(text: &str, mut edits: Vec<(&Place, String)>) -> String {
    // From behind, so that what is before keeps its place; what is inserted where another ends comes behind it.
    edits.sort_by_key(|(place, _)| (place.from, place.to));
    let mut written = text.to_owned();
    for (place, new) in edits.into_iter().rev() {
        written.replace_range(place.from..place.to, &format!("{}{new}", place.prefix));
    }
    written
}

fn bad(what: &str) -> Failure {
    Failure::new(FailureKind::BadSettings, format!("the value {what}"))
}

#[cfg(test)]
#[path = "value/value_tests.rs"]
mod tests;
