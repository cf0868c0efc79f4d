//! URLs as people write them, drawn from a seed: every scheme, every place for user and password, every way to escape.

use rand::RngExt;
use rand::rngs::StdRng;

/// A URL, and the credential that it is to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The URL.
    pub url: String,
    /// The new user.
    pub user: String,
    /// The new password.
    pub password: String,
}

impl Case {
    /// Whether JDBC reads it, and nobody else.
    pub fn is_jdbc(&self) -> bool {
        self.url.starts_with("jdbc:")
    }
}

const SCHEMES: [&str; 7] = ["postgres", "postgresql", "postgresql+psycopg", "postgresql+asyncpg", "postgresql+psycopg2", "postgis", "postgres"];
const TEXTS: [char; 44] = [
    'a', 'B', 'z', '0', '9', '_', '-', '.', '~', '!', '$', '&', '\'', '(', ')', '*', '+', ',', ';', '=', ':', '@', '/', '?', '#', '[', ']', '%', ' ',
    '"', '<', '>', '\\', '^', '`', '{', '|', '}', 'ä', 'ß', '漢', 'é', '🔑', 'Ω',
];
/// What stands in a userinfo without an escape, and everybody reads the same.
const PLAIN_IN_FRONT: &str = "aBz09_-.~!$&'()*+,;=äß漢éΩ🔑";
/// The same in a query.
const PLAIN_IN_QUERY: &str = "aBz09_-.~!$'()*,;:@/?[]äß漢éΩ🔑";
/// The same in a path.
const PLAIN_IN_PATH: &str = "aBz09_-.~!$'()*,;:äß漢éΩ🔑";
/// The same in JDBC's, where a plus is a space to its only reader.
const PLAIN_IN_JDBC: &str = "aBz09_-.~!$'()*+,;:#@/?[]äß漢éΩ🔑";
const PARAMETERS: [&str; 14] = [
    "sslmode=require",
    "sslmode=verify-full",
    "sslrootcert=/etc/ssl/rds%20ca.pem",
    "application_name=shop+web",
    "application_name=shop%2Bweb%25",
    "options=-c%20statement_timeout%3D5s",
    "options=-c%20search_path%3Da%2Cb",
    "connect_timeout=10",
    "target_session_attrs=read-write",
    "ssl=true",
    "keepalives=1",
    "application_name=%c3%a4",
    "sslpassword=p%40ss",
    "fallback_application_name=a@b",
];
/// Those of other libraries, which libpq refuses.
const FOREIGN: [&str; 4] = ["schema=public", "pool=5", "empty=", "x=1;y"];

/// One case.
pub(super) fn case(rng: &mut StdRng) -> Case {
    let mut url = if rng.random_ratio(1, 5) { jdbc(rng) } else { uri(rng) };
    // A line break right behind the credential is refused.
    let ends_in_it = url.rsplit('&').next().is_some_and(|last| last.contains("user=") || last.contains("password="));
    if rng.random_ratio(1, 40) && !ends_in_it {
        url.push_str(pick(rng, &["\n", "\r\n", " "]));
    }
    let user = match rng.random_range(0..4) {
        0 => "shop_b".to_owned(),
        1 => "shop-b.x".to_owned(),
        _ => text(rng, 1, 12),
    };
    let password = if rng.random_ratio(1, 4) { text(rng, 1, 30) } else { (0..43).map(|_| pick(rng, &["a", "Z", "7", "q"])).collect() };
    Case { url, user, password }
}

fn pick<'a>(rng: &mut StdRng, from: &[&'a str]) -> &'a str {
    from[rng.random_range(0..from.len())]
}

fn text(rng: &mut StdRng, least: usize, most: usize) -> String {
    let count = rng.random_range(least..=most);
    (0..count).map(|_| TEXTS[rng.random_range(0..TEXTS.len())]).collect()
}

/// Escaped where it must be, and here and there where it need not be, in either case.
fn escape(rng: &mut StdRng, text: &str, plain: &str) -> String {
    let (more, lower) = (rng.random_ratio(1, 4), rng.random_bool(0.5));
    let mut written = String::new();
    for character in text.chars() {
        if plain.contains(character) && !(more && rng.random_ratio(1, 3)) {
            written.push(character);
            continue;
        }
        for byte in character.to_string().bytes() {
            written.push_str(&if lower { format!("%{byte:02x}") } else { format!("%{byte:02X}") });
        }
    }
    written
}

fn hosts(rng: &mut StdRng, is_jdbc: bool) -> String {
    let one = |rng: &mut StdRng| {
        let mut host = match rng.random_range(0..16) {
            0 => "10.20.30.40".to_owned(),
            1 => "[2001:db8::7]".to_owned(),
            2 if !is_jdbc => "[fe80::1%25eth0]".to_owned(),
            3 if !is_jdbc => "%2Fvar%2Frun%2Fpostgresql".to_owned(),
            4 => "localhost".to_owned(),
            _ => "db-1.cluster-x.eu-central-1.rds.amazonaws.com".to_owned(),
        };
        if rng.random_bool(0.6) {
            host.push_str(&format!(":{}", rng.random_range(1024..65535)));
        }
        host
    };
    let count = if rng.random_ratio(1, 6) { rng.random_range(2..4) } else { 1 };
    (0..count).map(|_| one(rng)).collect::<Vec<_>>().join(",")
}

fn shuffle(rng: &mut StdRng, items: &mut [String]) {
    for at in (1..items.len()).rev() {
        items.swap(at, rng.random_range(0..=at));
    }
}

/// Further parameters, each of its name once.
fn parameters(rng: &mut StdRng) -> Vec<String> {
    let mut names = Vec::new();
    let mut chosen = Vec::new();
    let is_foreign = rng.random_ratio(1, 10);
    for at in 0..rng.random_range(0..5) {
        let parameter = if is_foreign && at == 0 { pick(rng, &FOREIGN) } else { pick(rng, &PARAMETERS) };
        let name = parameter.split('=').next();
        if !names.contains(&name) {
            names.push(name);
            chosen.push(parameter.to_owned());
        }
    }
    chosen
}

fn uri(rng: &mut StdRng) -> String {
    let (user, password) = (text(rng, 1, 12), text(rng, 1, 20));
    let mut query = parameters(rng);
    let mut front = String::new();
    let user_in_front = rng.random_ratio(5, 6);
    if user_in_front {
        front = escape(rng, &user, PLAIN_IN_FRONT);
    } else {
        query.push(format!("user={}", escape(rng, &user, PLAIN_IN_QUERY)));
    }
    match rng.random_range(0..12) {
        0 => {}
        1 if user_in_front => front.push(':'),
        2 => query.push(format!("password={}", escape(rng, &password, PLAIN_IN_QUERY))),
        // A colon in a password needs no escape.
        3 if user_in_front => front.push_str(&format!(":{}:x", escape(rng, &password, PLAIN_IN_FRONT))),
        _ if user_in_front => front.push_str(&format!(":{}", escape(rng, &password, PLAIN_IN_FRONT))),
        _ => query.push(format!("password={}", escape(rng, &password, PLAIN_IN_QUERY))),
    }
    let mut url = format!("{}://", pick(rng, &SCHEMES));
    if user_in_front {
        url.push_str(&format!("{front}@"));
    }
    if rng.random_ratio(1, 12) {
        query.push("host=db.example".to_owned());
        query.push("port=6000".to_owned());
    } else {
        url.push_str(&hosts(rng, false));
    }
    let database = text(rng, 1, 10).replace('/', "x");
    if rng.random_ratio(1, 12) {
        query.push(format!("dbname={}", escape(rng, &database, PLAIN_IN_QUERY)));
        // libpq looks for an `@` as far as the first slash.
        if !user_in_front || rng.random_bool(0.5) {
            url.push('/');
        }
    } else {
        url.push_str(&format!("/{}", escape(rng, &database, PLAIN_IN_PATH)));
    }
    shuffle(rng, &mut query);
    if !query.is_empty() {
        url.push_str(&format!("?{}", query.join("&")));
    }
    url
}

fn jdbc(rng: &mut StdRng) -> String {
    let mut query = parameters(rng);
    let (user, password) = (text(rng, 1, 16), text(rng, 1, 20));
    query.push(format!("user={}", escape(rng, &user, PLAIN_IN_JDBC)));
    if rng.random_ratio(9, 10) {
        let written = escape(rng, &password, PLAIN_IN_JDBC);
        query.push(format!("password={}", if rng.random_bool(0.5) { written.replace("%20", "+") } else { written }));
    }
    shuffle(rng, &mut query);
    let database = text(rng, 1, 10).replace('/', "x");
    let database = escape(rng, &database, PLAIN_IN_PATH);
    let place = if rng.random_ratio(1, 10) { database } else { format!("//{}/{database}", hosts(rng, true)) };
    format!("jdbc:postgresql:{place}?{}", query.join("&"))
}
