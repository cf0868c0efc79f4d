//! A stack that rotates a shop's credential and keys, with the roles that DEPLOYMENT.md makes.

use local::cloud::REGION;
use local::database::{self, literal, with_database, with_user};
use serde_json::{Value, json};
use shared::report::Report;

use crate::drills::stage::{DATABASE, Stage};

/// Where the credential lies.
pub const PARAMETER: &str = "/shop/dev/DATABASE_URL";
/// Where the keys lie.
pub const KEYS: &str = "/shop/dev/keys";
/// The first password.
pub const FIRST: &str = "first-never-to-be-printed";

/// A stack that rotates the shop's credential.
pub struct Shop {
    /// The stack.
    pub stage: Stage,
    /// For parameters.
    pub ssm: aws_sdk_ssm::Client,
}

impl Shop {
    /// Deploys it, with the definition of the credential.
    pub async fn new(definition: &str) -> Self {
        Self::of_major(17, definition).await
    }

    /// The same, on an instance of a major.
    pub async fn of_major(major: u32, definition: &str) -> Self {
        let stage = Stage::of_major(major, |account| {
            let arn = |name: &str| format!("arn:aws:ssm:{REGION}:{account}:parameter{name}");
            vec![("RotatedParameterArns", format!("{},{}", arn(PARAMETER), arn(KEYS)))]
        })
        .await;
        let ssm = aws_sdk_ssm::Client::new(&stage.cloud.sdk_config(&stage.account));
        let shop = Self { stage, ssm };
        shop.users().await;
        let definitions = format!("{definition}\n[[keys]]\nname = \"session\"\nparameter = \"{KEYS}\"\nlifetime-hours = 0\ngrace-hours = 0\n");
        shop.put("/lifeboat/dev/rotation", &definitions).await;
        shop.put(KEYS, &json!({"SECRET_KEY": "k1", "SECRET_KEY_FALLBACKS": [], "OTHER": 1}).to_string()).await;
        shop
    }

    /// The pair, the group that owns, and the rotator, as the master user makes them.
    async fn users(&self) {
        let instance = &self.stage.instance;
        let url = with_database(&instance.master_url, DATABASE).expect("a URL");
        let mut master = database::connect(instance, &url).await.expect("connect");
        let sql = format!(
            "CREATE ROLE shop NOLOGIN; CREATE ROLE shop_a LOGIN PASSWORD {first} IN ROLE shop; CREATE ROLE shop_b LOGIN IN ROLE shop;
             ALTER ROLE shop_a SET role = shop; ALTER ROLE shop_b SET role = shop;
             CREATE ROLE rotator LOGIN CREATEROLE PASSWORD {first}; GRANT shop_a, shop_b TO rotator WITH ADMIN OPTION;
             GRANT pg_monitor, pg_signal_backend TO rotator; GRANT SELECT ON orders TO shop",
            first = literal(FIRST)
        );
        database::run(&mut master, &sql).await.expect("make the users");
        let url = |user: &str| with_user(&url, user, FIRST).expect("a URL");
        self.put("/lifeboat/dev/rotator-url", &url("rotator")).await;
        self.put(PARAMETER, &format!("{}?application_name=shop", url("shop_a"))).await;
    }

    /// Writes a SecureString.
    pub async fn put(&self, name: &str, value: &str) {
        self.stage.cloud.put_secret(&self.stage.account, name, value).await.expect("store a parameter");
    }

    /// Reads a SecureString.
    pub async fn get(&self, name: &str) -> String {
        let answer = self.ssm.get_parameter().name(name).with_decryption(true).send().await.expect("read a parameter");
        answer.parameter.and_then(|parameter| parameter.value).expect("a value")
    }

    /// Invokes the function as an operator does.
    pub async fn ask(&self, request: Value) -> Report {
        let answer = self.stage.ask("RotateSecretFunctionName", &request).await.unwrap_or_else(|error| panic!("{request}: {error:#}"));
        serde_json::from_value(answer).expect("a report")
    }

    /// The journal of a secret.
    pub async fn journal(&self, name: &str) -> Value {
        serde_json::from_str(&self.get(&format!("/lifeboat/dev/rotations/{name}")).await).expect("a journal")
    }

    /// The user that the live value names, which must log in with it.
    pub async fn live(&self) -> (String, String) {
        let url = self.get(PARAMETER).await;
        assert!(url.ends_with("?application_name=shop"), "the rest stays as it was: {url}");
        let mut connection =
            database::connect(&self.stage.instance, &url).await.unwrap_or_else(|error| panic!("the live value does not log in: {error}"));
        let user: String = sqlx::query_scalar("SELECT session_user::text").fetch_one(&mut connection).await.expect("ask");
        (user, url)
    }

    /// Whether a URL lets in.
    pub async fn logs_in(&self, url: &str) -> bool {
        database::connect(&self.stage.instance, url).await.is_ok()
    }
}

/// The definition of a pair, whose old user may be retired at once.
pub const PAIR: &str = r#"
[[database]]
name = "shop"
parameter = "/shop/dev/DATABASE_URL"
users = ["shop_a", "shop_b"]
grace-hours = 0
"#;
