//! Whom we trust to say who a server is, and until when what a server shows will be believed.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use shared::failure::{Failure, FailureKind};

/// A way to connect with TLS.
pub struct Trust {
    verifier: Arc<WebPkiServerVerifier>,
    pub(super) config: Arc<ClientConfig>,
}

/// No certificate is looked at beyond that.
const YEARS_MAX: i64 = 50;

/// The certificates of a definition.
///
/// # Errors
/// When there is none, or one cannot be read.
pub fn authorities(pem: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(roots) }
}

impl Trust {
    /// In the authorities that this machine trusts, as every other client of it does.
    ///
    /// # Errors
    /// When the machine has none.
    pub fn machine() -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            return Err(Failure::new(FailureKind::Other, "this machine has no certificates of authorities, so no server can be believed"));
        }
        Self::new(roots)
    }

    /// In these authorities.
    ///
    /// # Errors
    /// When there is none among them.
    pub fn new(roots: RootCertStore) -> Result<Self, Failure> {
        let failed = |error: &dyn std::error::Error| Failure::from_error(FailureKind::Other, error).context("prepare TLS");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().map_err(|error| failed(&error))?;
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(|error| failed(&error))?;
        let mut config = builder.with_webpki_verifier(verifier.clone()).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A resumed session shows no certificate and takes less time: each handshake is a whole one.
        config.resumption = Resumption::disabled();
        Ok(Self { verifier, config: Arc::new(config) })
    }

    /// Until when this chain will be accepted for this name, to the second; `None` if it is not accepted now.
    ///
    /// The verifier itself is asked, with other times: so it is the whole chain's end, and an old intermediate beside a path that is good does not count.
    pub fn valid_until(&self, chain: &[CertificateDer<'_>], name: &ServerName<'_>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let (end_entity, intermediates) = chain.split_first()?;
        let is_good = |at: DateTime<Utc>| {
            let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.timestamp().unsigned_abs()));
            self.verifier.verify_server_cert(end_entity, intermediates, name, &[], at).is_ok()
        };
        let (mut good, mut bad) = (now, now + TimeDelta::days(365 * YEARS_MAX));
        if !is_good(good) {
            return None;
        }
        while (bad - good).num_seconds() > 1 {
            let middle = good + (bad - good) / 2;
            *(if is_good(middle) { &mut good } else { &mut bad }) = middle;
        }
        Some(good)
    }
}
