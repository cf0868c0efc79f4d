//! Who we are to the server, and how we reach it: TLS with a verified name always, plain text only to this very machine.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::failure::{Context, Failure, FailureKind};
use shared::secrets::{ExposeSecret, SecretString};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use crate::Connection;
use crate::error;

/// Time for a connection to be there: name look-up, TCP, TLS, password.
const CONNECT_SECONDS_MAX: u64 = 15;

/// How to reach a server: from the database URL in Parameter Store.
#[derive(Clone)]
pub struct Access {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Role.
    pub user: String,
    /// The database that the URL names.
    pub database: String,
    /// Certificates that the server's must descend from. `None` only for a server on this machine, which is reached in plain text.
    pub ca_file: Option<PathBuf>,
    password: SecretString,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotConnected {
    /// Who said no.
    pub cause: NoConnection,
    /// In words, with what to do where it is known; never with a password.
    pub failure: Failure,
}

/// Who said that there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoConnection {
    /// The server.
    Server {
        /// SQLSTATE.
        sqlstate: String,
        /// Its message.
        message: String,
    },
    /// The server speaks no TLS, or its certificate is not the right one.
    Tls,
    /// Nobody, or somebody on the way.
    Network,
    /// We ourselves: the CA file cannot be read, say.
    Settings,
}

impl NoConnection {
    fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(server) => {
                Self::Server { sqlstate: server.code().unwrap_or_default().into_owned(), message: server.message().to_owned() }
            }
            sqlx::Error::Tls(_) => Self::Tls,
            // So rustls says through a socket that a handshake failed.
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => Self::Tls,
            sqlx::Error::Configuration(_) => Self::Settings,
            _ => Self::Network,
        }
    }
}

impl Access {
    /// Reads `postgres://user:password@host:port/database`. A server on a loopback address that is given no CA file is reached in plain text.
    ///
    /// # Errors
    /// When it is not such a URL, or when the CA file is missing. The message never contains the URL.
    pub fn parse(url: &SecretString, ca_file: &Path) -> Result<Self, Failure> {
        let bad = |what: &str| {
            Failure::new(FailureKind::BadSettings, format!("the database URL {what}")).hint(
                "it must look like postgres://USER:PASSWORD@HOST:5432/DATABASE, with every special character of user and password percent-encoded",
            )
        };
        let parsed = Url::parse(url.expose_secret()).map_err(|error| bad(&format!("cannot be read: {error}")))?;
        if !matches!(parsed.scheme(), "postgres" | "postgresql") {
            return Err(bad("does not begin with postgres://"));
        }
        let decode = |text: &str, what: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8()
                .map(std::borrow::Cow::into_owned)
                .map_err(|_| bad(&format!("has a {what} that is not UTF-8")))
        };
        let host = parsed.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad("names no host"))?.trim_matches(['[', ']']).to_owned();
        let user = decode(parsed.username(), "user")?;
        let database = decode(parsed.path().trim_start_matches('/'), "database")?;
        if user.is_empty() || database.is_empty() {
            return Err(bad("names no user or no database"));
        }
        let password = SecretString::from(decode(parsed.password().unwrap_or_default(), "password")?);
        let plain = is_loopback(&host) && parsed.query_pairs().any(|(name, value)| name == "sslmode" && value == "disable");
        if !plain && !ca_file.is_file() {
            return Err(Failure::new(FailureKind::BadSettings, format!("the CA file {} does not exist", ca_file.display()))
                .hint("DATABASE_CA_FILE must name the RDS certificate bundle; it is part of the layer in layers/pg-client"));
        }
        Ok(Self { host, port: parsed.port().unwrap_or(5432), user, database, ca_file: (!plain).then(|| ca_file.to_owned()), password })
    }

    /// The same, from its parts.
    ///
    /// # Errors
    /// When there is no CA file and the server is on another machine.
    pub fn new(host: &str, port: u16, database: &str, ca_file: Option<PathBuf>, user: &str, password: SecretString) -> Result<Self, Failure> {
        let access = Self { host: String::new(), port, user: user.to_owned(), database: database.to_owned(), ca_file, password };
        access.at(host, port)
    }

    /// The same server and role with another password: a token of IAM, say.
    #[must_use]
    pub fn with_password(mut self, password: SecretString) -> Self {
        self.password = password;
        self
    }

    /// The same server as another role.
    #[must_use]
    pub fn with_user(mut self, user: &str, password: SecretString) -> Self {
        user.clone_into(&mut self.user);
        self.password = password;
        self
    }

    /// The same role on another server, which must show a certificate of the same authority.
    ///
    /// # Errors
    /// When that server is on another machine and this one is reached in plain text.
    pub fn at(mut self, host: &str, port: u16) -> Result<Self, Failure> {
        if self.ca_file.is_none() && !is_loopback(host) {
            return Err(Failure::new(FailureKind::BadSettings, format!("{host} is on another machine, and would be reached without TLS"))
                .hint("leave sslmode=disable out of the database URL, and give the CA file"));
        }
        (self.host, self.port) = (host.to_owned(), port);
        Ok(self)
    }

    /// Whether there is a password at all.
    pub fn has_password(&self) -> bool {
        !self.password.expose_secret().is_empty()
    }

    /// A connection to a database of the server, with the session's text settings not yet made (see [`crate::session`]).
    ///
    /// # Errors
    /// When it is not there in time, refused, or not the server that its certificate should name.
    pub async fn connect(&self, database: &str, application_name: &str) -> Result<Connection, Failure> {
        self.attempt(database, application_name, Duration::from_secs(CONNECT_SECONDS_MAX)).await.map_err(|not_connected| not_connected.failure)
    }

    /// The same for a caller to whom it matters who said no.
    ///
    /// # Errors
    /// As of [`Self::connect`].
    pub async fn attempt(&self, database: &str, application_name: &str, limit: Duration) -> Result<Connection, NotConnected> {
        let attempted = || format!("connect to database {database:?} at {}:{} as {}", self.host, self.port, self.user);
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&self.host)
            .port(self.port)
            .username(&self.user)
            .password(self.password.expose_secret())
            .database(database)
            .application_name(application_name)
            .extra_float_digits(3)
            .statement_cache_capacity(16)
            .ssl_mode(PgSslMode::Disable);
        if let Some(ca_file) = &self.ca_file {
            let pem = std::fs::read(ca_file).context(format!("read {}", ca_file.display()));
            let pem = pem.map_err(|failure| NotConnected { cause: NoConnection::Settings, failure: failure.context(attempted()) })?;
            options = options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert_from_pem(pem);
        }
        options = options.disable_statement_logging();
        match tokio::time::timeout(limit, options.connect()).await {
            Ok(result) => {
                result.map_err(|error| NotConnected { cause: NoConnection::of(&error), failure: error::failure(&error).context(attempted()) })
            }
            Err(_) => Err(NotConnected {
                cause: NoConnection::Network,
                failure: Failure::new(FailureKind::Unreachable, format!("no answer within {} s", limit.as_secs()))
                    .context(attempted())
                    .hint("check the security group of the instance, the subnets of the function, and that the instance is available"),
            }),
        }
    }

    /// The environment in which libpq's programs reach a database of the same server. The password is in it and in no argument.
    pub fn libpq_environment(&self, database: &str, application_name: &str) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            ("PGHOST", self.host.clone()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", self.user.clone()),
            ("PGPASSWORD", self.password.expose_secret().to_owned()),
            ("PGDATABASE", database.to_owned()),
            ("PGAPPNAME", application_name.to_owned()),
            ("PGCONNECT_TIMEOUT", CONNECT_SECONDS_MAX.to_string()),
            // The same text settings as our own sessions have (see `session`); pg_dump makes the others itself.
            ("PGTZ", "UTC".to_owned()),
            ("PGOPTIONS", "-c bytea_output=hex -c client_connection_check_interval=5s".to_owned()),
            // Messages are compared and shown: not in the language of whoever set up the machine.
            ("LC_ALL", "C".to_owned()),
        ];
        match &self.ca_file {
            Some(ca_file) => {
                environment.push(("PGSSLMODE", "verify-full".to_owned()));
                environment.push(("PGSSLROOTCERT", ca_file.display().to_string()));
            }
            None => environment.push(("PGSSLMODE", "disable".to_owned())),
        }
        environment
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Access, Failure> {
        Access::parse(&SecretString::from(url), Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")))
    }

    #[test]
    fn a_url_is_taken_apart_and_decoded() {
        let access = parse("postgres://me%40home:p%2Fw@db.example:6000/a%2Fb?x=1").expect("parse");
        assert_eq!((access.host.as_str(), access.port, access.user.as_str(), access.database.as_str()), ("db.example", 6000, "me@home", "a/b"));
        assert_eq!(access.password.expose_secret(), "p/w");
        assert!(access.ca_file.is_some());
    }

    #[test]
    fn plain_text_is_for_this_machine_only() {
        assert!(parse("postgres://u:p@127.77.0.1/app?sslmode=disable").expect("parse").ca_file.is_none());
        assert!(parse("postgres://u:p@db.example/app?sslmode=disable").expect("parse").ca_file.is_some());
        assert!(parse("postgres://u:p@127.77.0.1/app").expect("parse").ca_file.is_some());
    }

    #[test]
    fn another_role_password_or_server_keeps_the_rest() {
        let access = parse("postgres://u@db.example:6000/app").expect("parse");
        assert!(!access.has_password() && access.clone().with_password(SecretString::from("t")).has_password());
        let other = access.with_user("v", SecretString::from("w")).at("reader.example", 7000).expect("with TLS");
        assert_eq!((other.user.as_str(), other.password.expose_secret(), other.database.as_str()), ("v", "w", "app"));
        assert_eq!((other.host.as_str(), other.port, other.ca_file.is_some()), ("reader.example", 7000, true));
    }

    #[test]
    fn plain_text_does_not_follow_to_another_machine() {
        let access = parse("postgres://u:p@127.77.0.1/app?sslmode=disable").expect("parse");
        assert!(access.clone().at("127.77.0.2", 5432).is_ok());
        assert_eq!(access.at("db.example", 5432).err().map(|failure| failure.kind), Some(FailureKind::BadSettings));
    }

    #[test]
    fn a_mistake_is_named_and_the_password_is_not() {
        for wrong in
            ["", "mysql://u:secret@h/d", "postgres://u:secret@/d", "postgres://:secret@h/d", "postgres://u:secret@h/", "postgres://u:secret@h:port/d"]
        {
            let failure = parse(wrong).err().expect(wrong);
            assert!(!failure.to_string().contains("secret") && failure.hint.is_some(), "{failure}");
        }
    }
}
