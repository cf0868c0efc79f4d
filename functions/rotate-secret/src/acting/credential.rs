//! The real hands of the rotation of a credential.

use std::time::Duration;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use shared::failure::{Failure, FailureKind};
use shared::secrets::{ExposeSecret, SecretString};
use shared_postgres::Access;
use tokio::time::Instant;

use super::{Common, Tools};
use crate::database::login::everywhere;
use crate::database::password::{Committed, new_password};
use crate::database::readers::{Servers, servers};
use crate::database::{Login, Place, Server, access, parity};
use crate::definition::Database;
use crate::hands::{Credential, DatabaseHands, Fence, Hands, LiveValue, Published, Role};
use crate::identity::RotationId;
use crate::journal::{Journal, Refresh};
use crate::plan::{Death, Proof};
use crate::store::Store;
use crate::value::{Form, Value};

/// How long a reader may take until it has what the writer committed.
const READERS_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(250);
/// Name of sessions that only try a credential.
const TRIAL: &str = "lifeboat rotate-secret trial";
/// Name of sessions that look around.
const LOOK: &str = "lifeboat rotate-secret look";

/// Hands for one credential.
pub struct CredentialHands<'a> {
    common: Common<'a>,
    definition: &'a Database,
    store: Store,
    /// The live value that was read last.
    value: Option<Value>,
    servers: Option<Servers>,
    /// The token that Secrets Manager gave; without one, we choose.
    token: Option<String>,
    /// What the servers said, for the record.
    pub record: Vec<String>,
}

impl<'a> CredentialHands<'a> {
    /// Hands for a definition; `token` is Secrets Manager's, where it drives.
    ///
    /// # Errors
    /// When the definition names no place, or two.
    pub fn new(tools: &'a Tools<'a>, definition: &'a Database, token: Option<String>) -> Result<Self, Failure> {
        let store = Store::new(tools.config, definition.parameter.as_deref(), definition.secret.as_deref())?;
        let common = Common::new(tools, &definition.name, &definition.consumers);
        Ok(Self { common, definition, store, value: None, servers: None, token, record: Vec::new() })
    }

    /// The store of the value.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The live value that was read last.
    pub const fn value(&self) -> Option<&Value> {
        self.value.as_ref()
    }

    /// Gives the lock back.
    pub async fn close(self) {
        self.common.close().await;
    }

    /// Looks without the lock: for a dry run.
    pub(crate) fn reach(&mut self, rotator: super::Rotator) {
        (self.common.access, self.common.uses_tokens) = (Some(rotator.access), rotator.uses_tokens);
    }

    /// What signs tokens, where the rotator logs in with them.
    pub(crate) const fn tokens(&self) -> Option<&SdkConfig> {
        if self.common.uses_tokens { Some(self.common.tools.config) } else { None }
    }

    pub(crate) fn access(&self) -> Result<&Access, Failure> {
        self.common.access.as_ref().ok_or_else(|| Failure::new(FailureKind::Other, "the lock was not taken"))
    }

    /// Where the credential must work: on the writer, as the rotator reaches it; where the value leads; on every reader.
    pub(crate) async fn servers(&mut self) -> Result<Servers, Failure> {
        if let Some(servers) = &self.servers {
            return Ok(servers.clone());
        }
        let value = self.value.as_ref().ok_or_else(|| Failure::new(FailureKind::Other, "the live value was not read"))?;
        let database = value.database().unwrap_or(value.user()).to_owned();
        let writer = Place { database, ..Place::of(self.access()?) };
        let mut listed = self.definition.readers.clone();
        for host in value.hosts().iter().filter(|host| !host.name.starts_with('/')) {
            let place = writer.at(&host.name, host.port);
            if place != writer {
                listed.push(place.to_string());
            }
        }
        let rds = aws_sdk_rds::Client::new(self.common.tools.config);
        let found = servers(&rds, self.common.tools.instance, writer, &listed).await?;
        self.servers = Some(found.clone());
        Ok(found)
    }

    /// A session of the rotator on a server, in a database.
    async fn on(&self, place: &Place, database: &str) -> Result<Server, Failure> {
        let there = access::elsewhere(self.access()?, place, self.tokens()).await?;
        Server::connect(&there, database, LOOK).await
    }

    /// Whether what the live value leads to works, and if not, who says what.
    fn judge(logins: &[(Place, Login)]) -> Proof {
        let Some(((_, writer), readers)) = logins.split_first() else { return Proof::Unknown("there is no server to ask".to_owned()) };
        match writer {
            Login::Refused { sqlstate, .. } if sqlstate == "28P01" => return Proof::WrongPassword,
            Login::Refused { message, .. } => return Proof::Unfit(message.clone()),
            Login::CannotTell(failure) => return Proof::Unknown(said(failure)),
            Login::Accepted(seen) if seen.in_recovery => return Proof::Unknown("the rotator's URL leads to a standby".to_owned()),
            Login::Accepted(_) => {}
        }
        let not_yet: Vec<String> = readers
            .iter()
            .filter_map(|(place, login)| match login {
                Login::Accepted(_) => None,
                Login::Refused { message, .. } => Some(format!("{place}: {message}")),
                Login::CannotTell(failure) => Some(format!("{place}: {}", said(failure))),
            })
            .collect();
        if not_yet.is_empty() { Proof::Works } else { Proof::NotEverywhere(not_yet.join("; ")) }
    }

    fn note(&mut self, what: &str, logins: &[(Place, Login)]) {
        let now = self.common.tools.run.now();
        for (place, login) in logins {
            let said = match login {
                Login::Accepted(_) => "accepted".to_owned(),
                Login::Refused { sqlstate, .. } => format!("refused with {sqlstate}"),
                Login::CannotTell(failure) => format!("not known ({})", failure.kind.name()),
            };
            self.record.push(format!("{} {what} on {place}: {said}", now.format("%Y-%m-%dT%H:%M:%S%.3fZ")));
        }
    }
}

fn said(failure: &Failure) -> String {
    failure.hint.as_ref().map_or_else(|| failure.to_string(), |hint| format!("{failure} ({hint})"))
}

/// A change whose answer did not come: the next invocation reads the mark.
fn certain(committed: Committed) -> Result<(), Failure> {
    match committed {
        Committed::Yes => Ok(()),
        Committed::InDoubt(failure) => Err(failure.context("whether it was committed is not known; the mark will tell the next invocation")),
    }
}

impl Hands for CredentialHands<'_> {
    fn now(&self) -> DateTime<Utc> {
        self.common.tools.run.now()
    }

    fn has_time(&self) -> bool {
        self.common.tools.has_time()
    }

    fn new_secret(&mut self) -> Result<SecretString, Failure> {
        new_password()
    }

    fn token(&self, rotation: &RotationId) -> Option<String> {
        matches!(self.store, Store::Secret(_)).then(|| self.token.clone().unwrap_or_else(|| rotation.token()))
    }

    async fn fence(&mut self) -> Result<Fence, Failure> {
        self.common.fence().await
    }

    async fn journal(&mut self) -> Result<Option<Journal>, Failure> {
        self.common.tools.journals.read(self.common.secret).await
    }

    async fn write_journal(&mut self, journal: &Journal) -> Result<(), Failure> {
        self.common.write_journal(journal).await
    }

    async fn begin_refresh(&mut self, journal: &Journal) -> Result<Vec<Refresh>, Failure> {
        self.common.begin_refresh(journal).await
    }

    async fn look_at_refresh(&mut self, begun: &mut [Refresh]) -> Result<Option<String>, Failure> {
        self.common.look_at_refresh(begun).await
    }
}

impl DatabaseHands for CredentialHands<'_> {
    async fn live(&mut self, not_before: Option<&str>) -> Result<LiveValue, Failure> {
        if let Some(version) = not_before {
            self.store.remember(version);
        }
        let live = self.store.live().await?;
        let value = Value::read(&Form::from(self.definition), &live.value)?;
        let credential = Credential { user: value.user().to_owned(), password: value.password().cloned().unwrap_or_default() };
        self.common.text = Some(live.value);
        self.value = Some(value);
        Ok(LiveValue { credential, version: live.version })
    }

    async fn prepare(&mut self, credential: &Credential, journal: &Journal) -> Result<(), Failure> {
        self.store.prepare().await?;
        let (Store::Secret(store), Some(token)) = (&self.store, &journal.token) else { return Ok(()) };
        let value = self.value.as_ref().ok_or_else(|| Failure::new(FailureKind::Other, "the live value was not read"))?;
        let text = value.with(&credential.user, &credential.password)?;
        self.common.tools.alive()?;
        let staged = Value::read(&Form::from(self.definition), &store.stage_pending(token, &text).await?.value)?;
        if staged.user() == credential.user
            && staged.password().is_some_and(|password| password.expose_secret() == credential.password.expose_secret())
        {
            return Ok(());
        }
        Err(Failure::new(FailureKind::Conflict, format!("the version {token} of the secret holds another credential than the journal"))
            .hint("somebody else staged it: remove AWSPENDING from it, and rotate again"))
    }

    async fn publish(&mut self, credential: &Credential, from: &LiveValue, journal: &Journal) -> Result<Published, Failure> {
        let value = self.value.as_ref().ok_or_else(|| Failure::new(FailureKind::Other, "the live value was not read"))?;
        let text = value.with(&credential.user, &credential.password)?;
        self.common.tools.alive()?;
        self.store.publish(&text, &from.version, journal.token.as_deref()).await
    }

    async fn role(&mut self, user: &str) -> Result<Option<Role>, Failure> {
        let roles = self.common.session()?.server().roles(&[user]).await?;
        Ok(roles.into_iter().find(|role| role.exists).map(|role| Role { comment: role.comment }))
    }

    async fn set_password(&mut self, credential: &Credential, comment: &str) -> Result<(), Failure> {
        certain(self.common.session()?.set_password(&credential.user, &credential.password, comment).await?)
    }

    async fn retire(&mut self, user: &str, comment: &str) -> Result<(), Failure> {
        certain(self.common.session()?.retire(user, comment).await?)
    }

    async fn sessions(&mut self, user: &str, before: Option<DateTime<Utc>>) -> Result<Vec<String>, Failure> {
        let mut who = Vec::new();
        let tell = |place: &str, seen: crate::database::roles::SessionsSeen| {
            let from = seen.client_address.map_or(String::new(), |address| format!(" from {address}"));
            let name = if seen.application_name.is_empty() { "(without a name)" } else { &seen.application_name };
            format!("{} of {name}{from}{place}", seen.count)
        };
        let writers = self.common.session()?.server().sessions(user, before).await?;
        who.extend(writers.into_iter().map(|seen| tell("", seen)));
        for reader in self.servers().await?.readers {
            let there = async {
                let mut server = self.on(&reader, &self.access()?.database.clone()).await?;
                let seen = server.sessions(user, before).await;
                server.close().await;
                seen
            };
            match there.await {
                Ok(seen) => who.extend(seen.into_iter().map(|seen| tell(&format!(" on {reader}"), seen))),
                // Not known is not nobody.
                Err(failure) => who.push(format!("not known on {reader}: {}", said(&failure))),
            }
        }
        Ok(who)
    }

    async fn end_sessions(&mut self, user: &str, before: Option<DateTime<Utc>>) -> Result<(), Failure> {
        let ended = self.common.session()?.server().end_sessions(user, before).await?;
        self.record.push(format!("sessions of {user} ended on the writer: {ended:?}"));
        for reader in self.servers().await?.readers {
            let database = self.access()?.database.clone();
            let mut server = self.on(&reader, &database).await?;
            let ended = server.end_sessions(user, before).await;
            server.close().await;
            self.record.push(format!("sessions of {user} ended on {reader}: {:?}", ended?));
        }
        Ok(())
    }

    async fn prove(&mut self, credential: &Credential, takes_over_from: Option<&str>) -> Result<Proof, Failure> {
        let places = self.servers().await?.all();
        let begun = Instant::now();
        loop {
            let logins = everywhere(&places, &credential.user, &credential.password, TRIAL).await;
            self.note(&format!("the credential of {}", credential.user), &logins);
            match Self::judge(&logins) {
                Proof::Works => break,
                Proof::NotEverywhere(_) if begun.elapsed() < READERS_MAX => tokio::time::sleep(POLL).await,
                proof => return Ok(proof),
            }
        }
        let Some(from) = takes_over_from else { return Ok(Proof::Works) };
        let writer = &places[0];
        let mut server = self.on(writer, &writer.database).await?;
        let parity = parity::compare(&mut server, from, &credential.user).await;
        server.close().await;
        let parity = parity?;
        if parity.is_enough() {
            return Ok(Proof::Works);
        }
        let statements: Vec<&str> = parity.statements().collect();
        let what: Vec<&str> = parity.lacking.iter().chain(&parity.owned).map(|one| one.what.as_str()).collect();
        Ok(Proof::Unfit(format!("{} may not do all that {from} may: {}; run: {}", credential.user, what.join(", "), statements.join("; "))))
    }

    async fn prove_death(&mut self, credential: &Credential) -> Result<Death, Failure> {
        let places = self.servers().await?.all();
        let begun = Instant::now();
        loop {
            let logins = everywhere(&places, &credential.user, &credential.password, TRIAL).await;
            self.note(&format!("the old credential of {}", credential.user), &logins);
            if matches!(logins.first(), Some((_, Login::Accepted(_)))) {
                return Ok(Death::AliveOnWriter);
            }
            let alive: Vec<String> = logins
                .iter()
                .filter_map(|(place, login)| match login {
                    Login::Refused { .. } => None,
                    Login::Accepted(_) => Some(format!("{place} accepts it")),
                    Login::CannotTell(failure) => Some(format!("{place}: {}", said(failure))),
                })
                .collect();
            if alive.is_empty() {
                return Ok(Death::Everywhere);
            }
            if begun.elapsed() >= READERS_MAX {
                return Ok(Death::NotSeenEverywhere(alive.join("; ")));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
