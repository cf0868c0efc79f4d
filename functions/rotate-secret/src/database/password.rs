//! New passwords, and the two changes that a rotation makes: a role gets a password, a role is taken out of use. Each is one transaction with its comment,
//! in which the mark of the rotation stands (see [`crate::identity`]).
//!
//! The server never sees a password: it is given a SCRAM verifier that is made here (RFC 5803), which it stores as it is.

use rand::TryRng as _;
use rand::rngs::SysRng;
use shared::failure::{Failure, FailureKind};
use shared::secrets::{ExposeSecret, SecretString};

use crate::database::roles::check_name;
use crate::database::server::Trouble;
use crate::database::session::Session;
use crate::database::text::{identifier, literal};

/// Letters and digits mean the same in a URL, in a shell, in JSON and in a connection string.
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// 62^40 is more than 2^238.
const CHARS: usize = 40;
/// Blocks of random bytes asked for at most: each gives 62 characters in the mean, so that two are seldom needed.
const BLOCKS_MAX: usize = 16;

/// What came of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It is committed.
    Yes,
    /// The answer did not come. Take a new session, which ends this one, and read the mark; make no new password, and forget none, before that.
    InDoubt(Failure),
}

/// What a server keeps of a password. It can be tried against guesses, so it is not shown either.
pub struct Verifier(SecretString);

/// A password from the operating system's generator.
///
/// # Errors
/// When the operating system has no randomness to give.
pub fn new_password() -> Result<SecretString, Failure> {
    let mut password = String::with_capacity(CHARS);
    for _ in 0..BLOCKS_MAX {
        let mut block = [0; 64];
        SysRng
            .try_fill_bytes(&mut block)
            .map_err(|error| Failure::from_error(FailureKind::Other, &error).context("ask the operating system for randomness"))?;
        // The first 248 values fall evenly on 62 characters; the others would not.
        let even = block.iter().filter(|byte| **byte < 248).map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
        password.extend(even.take(CHARS - password.len()));
        if password.len() == CHARS {
            return Ok(SecretString::from(password));
        }
    }
    Err(Failure::new(FailureKind::Other, "the operating system's randomness is not random"))
}

/// The verifier of a password, with a salt of its own.
pub fn verifier(password: &SecretString) -> Verifier {
    Verifier(SecretString::from(postgres_protocol::password::scram_sha_256(password.expose_secret().as_bytes())))
}

impl Session {
    /// Gives a role a password, lets it log in for ever, and sets its comment, in which the mark is: all of it or nothing.
    ///
    /// # Errors
    /// When the server refuses; then nothing happened.
    pub async fn set_password(&mut self, role: &str, password: &SecretString, comment: &str) -> Result<Committed, Failure> {
        self.alter(role, "LOGIN", &verifier(password), " VALID UNTIL 'infinity'", comment).await
    }

    /// Takes a role out of use: it may not log in, and has a password that nobody knows. Open sessions stay; see [`crate::database::Server::end_sessions`].
    ///
    /// # Errors
    /// When the server refuses; then nothing happened.
    pub async fn retire(&mut self, role: &str, comment: &str) -> Result<Committed, Failure> {
        self.alter(role, "NOLOGIN", &verifier(&new_password()?), "", comment).await
    }

    /// Only what changes is named: RDS refuses attributes that a master user may not give, also where they are as they were.
    async fn alter(&mut self, role: &str, login: &str, verifier: &Verifier, more: &str, comment: &str) -> Result<Committed, Failure> {
        // PostgreSQL would cut a name that is too long, and change another role.
        check_name(role)?;
        let (name, verifier, comment) = (identifier(role), literal(verifier.0.expose_secret()), literal(comment));
        let sql = format!("ALTER ROLE {name} {login} PASSWORD {verifier}{more}; COMMENT ON ROLE {name} IS {comment}");
        match self.server().change(&format!("change the role {role:?}"), sql).await {
            Ok(()) => Ok(Committed::Yes),
            Err(Trouble::InDoubt(failure)) => Ok(Committed::InDoubt(failure)),
            Err(Trouble::Refused(failure)) => Err(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn passwords_are_long_even_and_need_no_escaping() {
        let passwords: BTreeSet<String> = (0..2_000).map(|_| new_password().expect("a password").expose_secret().to_owned()).collect();
        assert_eq!(passwords.len(), 2_000);
        let mut seen = [0_u32; 128];
        for byte in passwords.iter().flat_map(|password| password.bytes()) {
            seen[usize::from(byte)] += 1;
        }
        assert!(passwords.iter().all(|password| password.len() == CHARS));
        // 80,000 characters, 1290 of each in the mean, with a standard deviation of 36.
        let counts: Vec<u32> = ALPHABET.iter().map(|byte| seen[usize::from(*byte)]).collect();
        assert!(counts.iter().all(|count| (1_000..1_600).contains(count)), "{counts:?}");
        assert_eq!(counts.iter().sum::<u32>(), 80_000);
    }

    #[test]
    fn a_verifier_has_a_salt_of_its_own_and_needs_no_escaping() {
        let password = SecretString::from("correct horse");
        let (one, other) = (verifier(&password).0, verifier(&password).0);
        assert_ne!(one.expose_secret(), other.expose_secret());
        assert!(one.expose_secret().starts_with("SCRAM-SHA-256$4096:") && !one.expose_secret().contains('\''));
    }
}
