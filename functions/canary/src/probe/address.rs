//! Where a URL leads: scheme, host and port. Two URLs of one origin may share a connection and see the same headers; two origins never do.

use rustls::pki_types::ServerName;
use url::{Host, Url};

/// An origin (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) is_tls: bool,
    pub(super) host: Host<String>,
    pub(super) port: u16,
}

impl Origin {
    /// `None` where a URL has no host or is of another scheme.
    pub(super) fn of(url: &Url) -> Option<Self> {
        let is_tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Some(Self { is_tls, host: url.host()?.to_owned(), port: url.port_or_known_default()? })
    }

    /// The name that the certificate must be for.
    pub(super) fn server_name(&self) -> Option<ServerName<'static>> {
        match &self.host {
            Host::Domain(name) => ServerName::try_from(name.clone()).ok(),
            Host::Ipv4(address) => Some(ServerName::from(std::net::IpAddr::from(*address))),
            Host::Ipv6(address) => Some(ServerName::from(std::net::IpAddr::from(*address))),
        }
    }

    /// The `Host` header: the port only where it is not the scheme's own (RFC 9110, section 7.2).
    pub(super) fn host_header(&self) -> String {
        let is_usual = self.port == if self.is_tls { 443 } else { 80 };
        if is_usual { self.host.to_string() } else { format!("{}:{}", self.host, self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_differ_in_scheme_host_and_port() {
        let of = |url: &str| Origin::of(&Url::parse(url).expect(url)).expect(url);
        assert_eq!(of("https://shop.example/a?b"), of("https://SHOP.example:443/"));
        for other in ["http://shop.example/", "https://shop.example:8443/", "https://www.shop.example/"] {
            assert_ne!(of("https://shop.example/"), of(other), "{other}");
        }
        assert_eq!([of("https://a.example/").host_header(), of("http://[::1]:81/").host_header()], ["a.example", "[::1]:81"]);
        assert!(of("https://10.0.0.7/").server_name().is_some() && Origin::of(&Url::parse("ftp://a.example/").expect("a URL")).is_none());
    }
}
