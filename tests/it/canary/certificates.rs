//! Certificates of a test's own: an authority, and what it issues for a server, good and bad.

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What a server shows, and the key that it proves it with.
pub(super) struct Shown {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// An authority.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    now: DateTime<Utc>,
}

/// Days in whole: a certificate begins and ends at midnight.
fn day(params: &mut CertificateParams, now: DateTime<Utc>, from_days: i64, to_days: i64) {
    let at = |days: i64| {
        let day = now + TimeDelta::days(days);
        date_time_ymd(day.year(), u8::try_from(day.month()).expect("a month"), u8::try_from(day.day()).expect("a day"))
    };
    (params.not_before, params.not_after) = (at(from_days), at(to_days));
}

impl Authority {
    pub(super) fn new(name: &str, now: DateTime<Utc>) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        day(&mut params, now, -100, 4_000);
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("an authority"), now }
    }

    /// As a definition holds it.
    pub(super) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// For these names, from so many days from now to so many.
    pub(super) fn issue(&self, names: &[&str], from_days: i64, to_days: i64) -> Shown {
        leaf(&self.issuer, self.now, names, from_days, to_days)
    }

    /// For these names and for long, by an intermediate authority that itself runs out after so many days.
    pub(super) fn issue_by_intermediate(&self, names: &[&str], intermediate_to_days: i64) -> Shown {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(rcgen::DnType::CommonName, "an intermediate");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        day(&mut params, self.now, -50, intermediate_to_days);
        let key = KeyPair::generate().expect("a key");
        let intermediate = CertifiedIssuer::signed_by(params, key, &self.issuer).expect("an intermediate");
        let mut shown = leaf(&intermediate, self.now, names, -10, 300);
        shown.chain.push(intermediate.der().clone());
        shown
    }
}

fn leaf(issuer: &CertifiedIssuer<'static, KeyPair>, now: DateTime<Utc>, names: &[&str], from_days: i64, to_days: i64) -> Shown {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("parameters");
    params.distinguished_name.push(rcgen::DnType::CommonName, "a server");
    day(&mut params, now, from_days, to_days);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    Shown { chain: vec![certificate.der().clone()], key }
}
