//! The real hands of the rotation of keys.

use chrono::{DateTime, Utc};
use shared::failure::{Failure, FailureKind};
use shared::secrets::SecretString;

use super::{Common, Tools};
use crate::definition::Keys;
use crate::hands::{Fence, Hands, Published};
use crate::identity::RotationId;
use crate::journal::{Journal, Refresh};
use crate::keys::{KeyHands, LiveKeys};
use crate::store::Store;
use crate::value::keys::{KeyRing, new_key};

/// Hands for the keys of an application.
pub struct SigningHands<'a> {
    common: Common<'a>,
    definition: &'a Keys,
    store: Store,
    ring: Option<KeyRing>,
    version: String,
}

impl<'a> SigningHands<'a> {
    /// Hands for a definition.
    ///
    /// # Errors
    /// When the definition names no place, or two.
    pub fn new(tools: &'a Tools<'a>, definition: &'a Keys) -> Result<Self, Failure> {
        let store = Store::new(tools.config, definition.parameter.as_deref(), definition.secret.as_deref())?;
        let common = Common::new(tools, &definition.name, &definition.consumers);
        Ok(Self { common, definition, store, ring: None, version: String::new() })
    }

    /// The store of the value.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Gives the lock back.
    pub async fn close(self) {
        self.common.close().await;
    }
}

impl Hands for SigningHands<'_> {
    fn now(&self) -> DateTime<Utc> {
        self.common.tools.run.now()
    }

    fn has_time(&self) -> bool {
        self.common.tools.has_time()
    }

    fn new_secret(&mut self) -> Result<SecretString, Failure> {
        Ok(new_key())
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

impl KeyHands for SigningHands<'_> {
    async fn live(&mut self, not_before: Option<&str>) -> Result<LiveKeys, Failure> {
        if let Some(version) = not_before {
            self.store.remember(version);
        }
        let live = self.store.live().await?;
        let ring = KeyRing::read(&self.definition.sign, &self.definition.verify, &live.value)?;
        let sign = ring.sign().clone();
        self.common.text = Some(live.value);
        self.ring = Some(ring);
        self.version.clone_from(&live.version);
        Ok(LiveKeys { sign, version: live.version })
    }

    fn phase(&self, old: &SecretString, new: &SecretString) -> Option<u8> {
        self.ring.as_ref().and_then(|ring| ring.phase(old, new))
    }

    async fn publish(&mut self, phase: u8, old: &SecretString, new: &SecretString, rotation: &RotationId) -> Result<Published, Failure> {
        let ring = self.ring.as_ref().ok_or_else(|| Failure::new(FailureKind::Other, "the live value was not read"))?;
        let text = ring.with_phase(phase, old, new)?;
        self.store.prepare().await?;
        self.common.tools.alive()?;
        // Each phase is a version of its own.
        let token = RotationId::of_token(rotation.as_str(), &phase.to_string()).token();
        if let Store::Secret(store) = &self.store {
            store.stage_pending(&token, &text).await?;
        }
        self.store.publish(&text, &self.version, Some(&token)).await
    }
}
