//! What is rotated: a list that the team writes, in TOML, in one parameter of Parameter Store.
//!
//! ```toml
//! [[database]]                                # a credential of a PostgreSQL user
//! name = "shop"
//! parameter = "/shop/prod/DATABASE_URL"       # or: secret = "shop/prod/database", of Secrets Manager
//! users = ["shop_a", "shop_b"]                # an alternating pair; or, where a pair is impossible: user = "shop"
//! cadence = "monthly"                         # default: quarterly
//! consumers = [{ ecs = "cluster/service" }, { lambda = "worker", variable = "DATABASE_URL" }]
//!
//! [[keys]]                                    # keys that an application signs with
//! name = "session"
//! parameter = "/shop/prod/keys"
//! lifetime-hours = 336                        # how long what was signed with the old key must be accepted
//! consumers = [{ elastic-beanstalk = "shop-prod" }]
//! ```

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use shared::failure::{Failure, FailureKind};

/// All that is rotated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Definitions {
    /// Credentials of PostgreSQL users.
    #[serde(default)]
    pub database: Vec<Database>,
    /// Keys of applications.
    #[serde(default)]
    pub keys: Vec<Keys>,
}

/// A credential of a PostgreSQL user, or of a pair of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Database {
    /// Its name in requests, journals and messages.
    pub name: String,
    /// The parameter that holds it.
    pub parameter: Option<String>,
    /// The secret of Secrets Manager that holds it: name or ARN.
    pub secret: Option<String>,
    /// The pair of users, one of which is in use.
    pub users: Option<[String; 2]>,
    /// The one user.
    pub user: Option<String>,
    /// Whether something beyond the database knows the user by name (RDS Proxy with IAM, `pg_hba`, audit rules), so that a pair cannot be used.
    #[serde(default)]
    pub bound_to_user: bool,
    /// Names of the fields, where the value is a JSON object; without it, the value is a URL.
    pub fields: Option<Fields>,
    /// Further servers on which a new credential must work before it is given out: `host:port`. Read replicas that RDS knows are found by themselves.
    #[serde(default)]
    pub readers: Vec<String>,
    /// How often.
    #[serde(default)]
    pub cadence: Cadence,
    /// How long the old user of a pair may still log in at least, in hours: whoever cannot be told must have read the new value by then.
    #[serde(default = "grace_hours")]
    pub grace_hours: u32,
    /// Who must be told.
    #[serde(default)]
    pub consumers: Vec<Consumer>,
}

/// The names of the fields of a JSON object. The defaults are those of Secrets Manager's database secrets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Fields {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
    /// The host; it may be missing in the value: then it is that of the rotator's own connection.
    pub host: String,
    /// The port; like the host.
    pub port: String,
    /// The database; like the host.
    pub database: String,
}

impl Default for Fields {
    fn default() -> Self {
        Self { user: "username".into(), password: "password".into(), host: "host".into(), port: "port".into(), database: "dbname".into() }
    }
}

/// Keys that an application signs and verifies with, in one JSON object: the key to sign with, and a list of further keys that are accepted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Keys {
    /// Its name in requests, journals and messages.
    pub name: String,
    /// The parameter that holds them.
    pub parameter: Option<String>,
    /// The secret of Secrets Manager that holds them: name or ARN.
    pub secret: Option<String>,
    /// The field with the key to sign with.
    #[serde(default = "sign")]
    pub sign: String,
    /// The field with the further keys that are accepted.
    #[serde(default = "verify")]
    pub verify: String,
    /// How long what was signed with the old key must be accepted, in hours.
    pub lifetime_hours: u32,
    /// How often.
    #[serde(default)]
    pub cadence: Cadence,
    /// How long until consumers that cannot be told have read a new value at the latest, in hours. Without it: 24 where no consumers are listed, else none.
    pub grace_hours: Option<u32>,
    /// Who must be told.
    #[serde(default)]
    pub consumers: Vec<Consumer>,
}

/// How often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cadence {
    /// Four times a year.
    #[default]
    Quarterly,
    /// Every month.
    Monthly,
}

impl Cadence {
    /// After how many days a rotation is overdue: the longest period and a tenth of it.
    pub const fn overdue_days(self) -> i64 {
        match self {
            Self::Quarterly => 102,
            Self::Monthly => 35,
        }
    }
}

/// Who reads the value and must be told that there is a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, untagged)]
pub enum Consumer {
    /// An ECS service, `cluster/service`: its tasks are replaced.
    Ecs {
        /// `cluster/service`.
        ecs: String,
    },
    /// An environment of Elastic Beanstalk: its app servers are restarted.
    Beanstalk {
        /// The environment's name.
        #[serde(rename = "elastic-beanstalk")]
        elastic_beanstalk: String,
    },
    /// A Lambda function: the value is written to a variable of its environment.
    Lambda {
        /// Name or ARN.
        lambda: String,
        /// The variable.
        variable: String,
    },
    /// A URL that is called with POST, over TLS; 2xx means that the new value is in use.
    Url {
        /// The URL.
        url: String,
    },
}

/// Names are part of parameters' names.
const NAME_CHARS_MAX: usize = 60;
/// PostgreSQL cuts longer names (NAMEDATALEN).
const USER_BYTES_MAX: usize = 63;

impl Definitions {
    /// Reads them, and names every mistake.
    ///
    /// # Errors
    /// When it is not TOML of this form (the message has line and column), or says what cannot be.
    pub fn read(text: &str) -> Result<Self, Failure> {
        let bad = |what: String| Failure::new(FailureKind::BadSettings, what).hint("see DEPLOYMENT.md, \"Rotation\", for the form");
        let definitions: Self = toml::from_str(text).map_err(|error| bad(format!("the definitions are not understood: {error}")))?;
        let mistakes = definitions.mistakes();
        if mistakes.is_empty() { Ok(definitions) } else { Err(bad(mistakes.join("; "))) }
    }

    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let (mut names, mut places) = (BTreeSet::new(), BTreeSet::new());
        let credentials = self.database.iter().map(|one| (&one.name, &one.parameter, &one.secret, &one.consumers));
        let keys = self.keys.iter().map(|one| (&one.name, &one.parameter, &one.secret, &one.consumers));
        for (name, parameter, secret, consumers) in credentials.chain(keys) {
            let mut wrong = |what: String| mistakes.push(format!("{name:?}: {what}"));
            if name.is_empty()
                || name.len() > NAME_CHARS_MAX
                || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            {
                wrong(format!("a name has letters, digits, - and _, at most {NAME_CHARS_MAX}"));
            }
            if !names.insert(name.as_str()) {
                wrong("the name is there twice".to_owned());
            }
            match (parameter, secret) {
                (Some(place), None) | (None, Some(place)) if !place.is_empty() => {
                    if !places.insert(place.as_str()) {
                        wrong(format!("{place} is rotated by another definition, too"));
                    }
                }
                _ => wrong("it needs either `parameter` or `secret`".to_owned()),
            }
            for consumer in consumers {
                if let Some(what) = consumer.mistake() {
                    wrong(what);
                }
            }
        }
        for database in &self.database {
            if let Err(what) = database.users() {
                mistakes.push(format!("{:?}: {what}", database.name));
            }
        }
        for keys in &self.keys {
            if keys.sign == keys.verify {
                mistakes.push(format!("{:?}: `sign` and `verify` are two fields", keys.name));
            }
        }
        mistakes
    }
}

impl Database {
    /// The users: one, or a pair.
    ///
    /// # Errors
    /// In words, when that is not what the definition names.
    pub fn users(&self) -> Result<Vec<String>, String> {
        let users = match (&self.users, &self.user) {
            (Some(pair), None) => pair.to_vec(),
            (None, Some(user)) => vec![user.clone()],
            _ => return Err("it needs either `users = [\"a\", \"b\"]` or `user = \"a\"`".to_owned()),
        };
        if let Some(user) = users.iter().find(|user| user.is_empty() || user.len() > USER_BYTES_MAX) {
            return Err(format!("the user {user:?} must have 1 to {USER_BYTES_MAX} bytes"));
        }
        if users.len() == 2 && users[0] == users[1] {
            return Err("the two users are the same".to_owned());
        }
        if users.len() == 2 && self.bound_to_user {
            return Err("`bound-to-user` says that a consumer knows the user by name: then a pair cannot be used; write `user`".to_owned());
        }
        Ok(users)
    }
}

impl Consumer {
    fn mistake(&self) -> Option<String> {
        match self {
            Self::Ecs { ecs } if ecs.split('/').count() != 2 || ecs.split('/').any(str::is_empty) => {
                Some(format!("`ecs = {ecs:?}` must be cluster/service"))
            }
            Self::Beanstalk { elastic_beanstalk } if elastic_beanstalk.is_empty() => Some("`elastic-beanstalk` is empty".to_owned()),
            Self::Lambda { lambda, variable } if lambda.is_empty() || variable.is_empty() => {
                Some("`lambda` and `variable` must both be named".to_owned())
            }
            Self::Url { url } if !url.starts_with("https://") && !url.starts_with("http://127.0.0.1") => {
                Some("a `url` must begin with https://".to_owned())
            }
            _ => None,
        }
    }
}

const fn grace_hours() -> u32 {
    24
}

fn sign() -> String {
    "SECRET_KEY".to_owned()
}

fn verify() -> String {
    "SECRET_KEY_FALLBACKS".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [[database]]
        name = "shop"
        parameter = "/shop/prod/DATABASE_URL"
        users = ["shop_a", "shop_b"]
        cadence = "monthly"
        consumers = [{ ecs = "cluster/service" }, { lambda = "worker", variable = "DATABASE_URL" }, { url = "https://shop.example/reload" }]

        [[keys]]
        name = "session"
        secret = "shop/prod/keys"
        lifetime-hours = 336
        consumers = [{ elastic-beanstalk = "shop-prod" }]
    "#;

    #[test]
    fn what_a_team_writes_is_read() {
        let read = Definitions::read(GOOD).expect("definitions");
        assert_eq!(read.database[0].users(), Ok(vec!["shop_a".to_owned(), "shop_b".to_owned()]));
        assert_eq!((read.database[0].cadence, read.database[0].grace_hours, read.keys[0].cadence), (Cadence::Monthly, 24, Cadence::Quarterly));
        assert_eq!(read.keys[0].consumers, [Consumer::Beanstalk { elastic_beanstalk: "shop-prod".to_owned() }]);
        assert_eq!(read.database[0].consumers.len(), 3);
    }

    #[test]
    fn every_mistake_is_named() {
        for (from, to, says) in [
            ("name = \"shop\"", "name = \"a shop\"", "a name has letters"),
            ("name = \"session\"", "name = \"shop\"", "twice"),
            ("parameter = ", "paramter = ", "line 4"),
            ("secret = \"shop/prod/keys\"", "", "either `parameter` or `secret`"),
            ("shop/prod/keys", "/shop/prod/DATABASE_URL", "another definition"),
            ("[\"shop_a\", \"shop_b\"]", "[\"shop_a\", \"shop_a\"]", "the same"),
            ("users = [\"shop_a\", \"shop_b\"]", "", "either `users"),
            ("users = ", "bound-to-user = true\nusers = ", "bound-to-user"),
            ("cluster/service", "service", "cluster/service"),
            ("https://", "http://", "https://"),
            ("lambda = \"worker\", variable", "lambda = \"worker\", varable", "line 7"),
            ("monthly", "weekly", "line 6"),
        ] {
            let wrong = GOOD.replace(from, to);
            assert_ne!(wrong, GOOD, "{from}");
            let failure = Definitions::read(&wrong).expect_err(to);
            assert!(failure.to_string().contains(says), "{to}: {failure}");
        }
    }
}
