//! The real hands: what the rotation of a credential and of keys have in common.
//!
//! They carry out and look; they decide nothing. What they write to AWS they write only while the invocation can be alive: a process that was frozen and thaws
//! afterwards finds its time over, and its session ended.

mod credential;
mod signing;

use std::time::Duration;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
pub use credential::CredentialHands;
use shared::failure::{Failure, FailureKind};
use shared::lambda;
use shared::secrets::{self, SecretString};
use shared_postgres::Access;
pub use signing::SigningHands;
use tokio::time::Instant;

use crate::config::Settings;
use crate::consumers::{self, Consumers, Progress, Told};
use crate::database::{Holder, Session, Taken, access};
use crate::definition::Consumer;
use crate::hands::Fence;
use crate::journal::{Journal, Refresh};
use crate::store::Journals;

/// A step takes this at most: a wait for readers, with logins before and after it.
const STEP_MAX: Duration = Duration::from_secs(40);

/// What every rotation of an invocation works with.
pub struct Tools<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// The clients' configuration.
    pub config: &'a SdkConfig,
    /// The instance that the stack guards.
    pub instance: &'a str,
    /// Where the journals lie.
    pub journals: &'a Journals,
    /// Who is told.
    pub consumers: &'a Consumers,
    /// The invocation.
    pub run: &'a lambda::Run,
}

impl Tools<'_> {
    /// When Lambda has ended this process for sure.
    pub fn alive_until(&self) -> DateTime<Utc> {
        self.run.started_at + (self.run.deadline - self.run.started)
    }

    fn has_time(&self) -> bool {
        Instant::now() + STEP_MAX < self.run.work_until
    }

    /// Before each writing to AWS.
    fn alive(&self) -> Result<(), Failure> {
        if Instant::now() < self.run.deadline && self.run.now() < self.alive_until() {
            return Ok(());
        }
        Err(Failure::new(FailureKind::Deadline, "the time of this invocation is over: nothing more is written by it"))
    }

    /// How the rotator itself reaches the database.
    ///
    /// # Errors
    /// When its parameter is not there, or not a URL.
    pub async fn rotator(&self) -> Result<Rotator, Failure> {
        let ssm = aws_sdk_ssm::Client::new(self.config);
        let url = secrets::parameter(&ssm, &self.settings.rotator_url_parameter).await?;
        let uses_tokens = !Access::parse(&url, &self.settings.database_ca_file)?.has_password();
        Ok(Rotator { access: access::rotator(&url, &self.settings.database_ca_file, self.config).await?, uses_tokens })
    }
}

/// How the rotator reaches the database.
pub struct Rotator {
    /// Where, and as whom.
    pub access: Access,
    /// Whether it logs in with IAM's tokens, each of which is for one address.
    pub uses_tokens: bool,
}

/// One secret in one invocation.
struct Common<'a> {
    tools: &'a Tools<'a>,
    secret: &'a str,
    told: &'a [Consumer],
    access: Option<Access>,
    uses_tokens: bool,
    session: Option<Session>,
    /// The live text that was read last.
    text: Option<SecretString>,
}

impl<'a> Common<'a> {
    fn new(tools: &'a Tools<'a>, secret: &'a str, told: &'a [Consumer]) -> Self {
        Self { tools, secret, told, access: None, uses_tokens: false, session: None, text: None }
    }

    async fn fence(&mut self) -> Result<Fence, Failure> {
        // One at a time: an old session of ours would hold the lock against the new one.
        if let Some(old) = self.session.take() {
            old.close().await;
        }
        let Rotator { access, uses_tokens } = self.tools.rotator().await?;
        // Not the request's id: Lambda's retries have the same, and two at a time would each end the other's session.
        let holder = Holder { invocation: format!("{:08x}", rand::random::<u32>()), alive_until: self.tools.alive_until() };
        let taken = Session::take(&access, self.secret, &holder).await?;
        (self.access, self.uses_tokens) = (Some(access), uses_tokens);
        Ok(match taken {
            Taken::Ours(session) => {
                self.session = Some(session);
                Fence::Ours
            }
            Taken::Busy { who, until } => {
                let until = until.map_or(String::new(), |until| format!(", until {} at the latest", until.format("%H:%M:%S UTC")));
                Fence::Busy(format!("{who}{until}"))
            }
        })
    }

    /// The session, which must have been taken.
    fn session(&mut self) -> Result<&mut Session, Failure> {
        self.session.as_mut().ok_or_else(|| Failure::new(FailureKind::Other, "the lock was not taken"))
    }

    async fn write_journal(&mut self, journal: &Journal) -> Result<(), Failure> {
        self.tools.alive()?;
        // A journal that another run has put itself in the place of must not be written over: the lock says that there is none.
        self.session()?.still_ours().await?;
        if journal.is_open() && journal.published_at.is_none() {
            self.tools.journals.write(journal).await
        } else {
            self.tools.journals.note(journal).await
        }
    }

    async fn begin_refresh(&self, journal: &Journal) -> Result<Vec<Refresh>, Failure> {
        let value = self.text.as_ref().ok_or_else(|| Failure::new(FailureKind::Other, "the live value was not read"))?;
        let mut begun = Vec::new();
        for consumer in self.told {
            self.tools.alive()?;
            let told = Told {
                secret: self.secret,
                rotation: &journal.rotation,
                phase: journal.phase,
                value,
                published_at: journal.published_at.unwrap_or(journal.opened_at),
                earlier: None,
                now: self.tools.run.now(),
            };
            begun.push(self.tools.consumers.begin(consumer, told).await?);
        }
        Ok(begun)
    }

    async fn look_at_refresh(&self, begun: &mut [Refresh]) -> Result<Option<String>, Failure> {
        let mut failed = Vec::new();
        for (consumer, refresh) in self.told.iter().zip(begun.iter_mut()).filter(|(_, refresh)| refresh.done_at.is_none()) {
            match self.tools.consumers.look(consumer, refresh, self.tools.run.now()).await? {
                Progress::Done => refresh.done_at = Some(self.tools.run.now()),
                Progress::UnderWay => {}
                Progress::Failed(why) => failed.push(format!("{}: {why}", consumers::name(consumer))),
            }
        }
        Ok((!failed.is_empty()).then(|| failed.join("; ")))
    }

    async fn close(self) {
        if let Some(session) = self.session {
            session.close().await;
        }
    }
}
