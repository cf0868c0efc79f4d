//! A credential as a URL: libpq's form with the schemes that frameworks have added to it, and JDBC's.
//!
//! The rules are those of the readers themselves: `conninfo_uri_parse_options` of libpq (src/interfaces/libpq/fe-connect.c), `Driver.parseURL` of pgjdbc, and the WHATWG
//! URL and Python's `urllib` that stand behind the other drivers. Where they disagree about the user or the password (a raw `@`, `/`, `?`, `#` or space, a `+` in
//! a query, something said twice), the URL is refused: it works with the driver in use, and nobody can tell from here which one that is.

use std::ops::Range;

use shared::failure::Failure;
use shared::secrets::SecretString;

use super::percent::{decode, decode_form};
use super::{Content, Host, Place, Tls, bad};

const PORT: u16 = 5432;
const SCHEMES: [&str; 5] = ["postgres://", "postgresql://", "postgresql+psycopg://", "postgresql+asyncpg://", "postgis://"];
/// Further drivers of SQLAlchemy and their like differ in nothing that is read here.
const WITH_DRIVER: [&str; 2] = ["postgresql+", "postgres+"];
const JDBC: &str = "jdbc:postgresql:";
const LOOKS_LIKE: &str = "it must look like postgres://USER:PASSWORD@HOST:5432/DATABASE, or jdbc:postgresql://HOST:5432/DATABASE?user=USER&password=PASSWORD, \
                          with every special character of user and password percent-encoded";

/// A pair of the query: decoded name, and where its value is.
struct Pair {
    name: String,
    value: Range<usize>,
}

/// What a URL says about the servers, before it is joined with the query.
#[derive(Default)]
struct Servers {
    user: Option<Range<usize>>,
    password: Option<Range<usize>>,
    hosts: String,
    ports: String,
    database: Option<String>,
}

/// Takes a URL apart.
pub(super) fn read(text: &str) -> Result<Content, Failure> {
    // A line break at the end is the editor's, and stays. Spaces before the scheme make libpq take the text for something else.
    let url = text.trim_end_matches([' ', '\t', '\r', '\n']);
    if url.chars().any(char::is_control) {
        return Err(wrong("has a line break, or another control character, in it"));
    }
    let is_jdbc = url.starts_with(JDBC);
    let (servers, query_at) = if is_jdbc { jdbc(url)? } else { uri(url)? };
    let pairs = pairs(url, query_at, is_jdbc);
    let read = |range: &Range<usize>| if is_jdbc { decode_form(&url[range.clone()]) } else { decode(&url[range.clone()]) };
    let last = |name: &str| pairs.iter().rev().find(|pair| pair.name == name).map(|pair| &pair.value);
    let (user_at, user_in_query) = single(servers.user.as_ref(), &pairs, "user")?;
    let (password_at, password_in_query) = single(servers.password.as_ref(), &pairs, "password")?;
    let user_at = user_at.filter(|at| !at.is_empty()).ok_or_else(|| wrong("names no user"))?;
    for (range, in_query) in [(Some(&user_at), user_in_query), (password_at.as_ref(), password_in_query)] {
        let Some(range) = range else { continue };
        let raw = &url[range.clone()];
        let differing: &[char] = match (is_jdbc, in_query) {
            (true, _) => &[],
            (false, true) => &[' ', '+'],
            (false, false) => &[' ', '/', '?', '#', '@', '[', ']'],
        };
        if raw.contains(differing) {
            return Err(wrong("has a user or password with a special character that is not percent-encoded; libraries read it differently"));
        }
        if range.end == url.len() && url.len() < text.len() {
            return Err(
                bad("ends in a line break or space right after user or password").hint("remove it: to some readers it belongs to the password")
            );
        }
    }
    let user = read(&user_at).ok_or_else(|| wrong("has a user with a broken escape"))?;
    let password = match &password_at {
        Some(range) => Some(read(range).ok_or_else(|| wrong("has a password with a broken escape"))?).filter(|password| !password.is_empty()),
        None => None,
    };
    let said = |name: &str| match last(name) {
        Some(range) => read(range).map(Some).ok_or_else(|| wrong(&format!("has a parameter `{name}` with a broken escape"))),
        None => Ok(None),
    };
    let hosts = said("host")?.or(Some(servers.hosts).filter(|hosts| !hosts.is_empty()));
    let hosts = match hosts {
        Some(hosts) => Some(hosts),
        None => said("hostaddr")?,
    };
    let ports = said("port")?.unwrap_or(servers.ports);
    let hosts = together(&hosts.unwrap_or_default(), &ports).ok_or_else(|| wrong("has a port that is not a number, or not a port for each host"))?;
    let database = said("dbname")?.or(servers.database).filter(|database| !database.is_empty());
    let lenient = |names: &[&str]| names.iter().find_map(|name| last(name)).and_then(read);
    let mode = lenient(&["sslmode", "ssl-mode"]).or_else(|| lenient(&["ssl"]).map(|ssl| if ssl == "true" { "require".to_owned() } else { ssl }));
    let tls = Tls { mode, root_certificate: lenient(&["sslrootcert", "ssl-root-cert", "ssl-ca"]) };
    let rest = pairs.iter().filter(|pair| pair.name != "user" && pair.name != "password");
    let rest = rest.map(|pair| (pair.name.clone(), url[pair.value.clone()].to_owned())).collect();
    let password_at = match password_at {
        Some(at) => Place { from: at.start, to: at.end, prefix: "" },
        None => Place { from: user_at.end, to: user_at.end, prefix: if user_in_query { "&password=" } else { ":" } },
    };
    let user_at = Place { from: user_at.start, to: user_at.end, prefix: "" };
    Ok(Content { user, password: password.map(SecretString::from), hosts, database, tls, rest, user_at, password_at })
}

fn wrong(what: &str) -> Failure {
    bad(what).hint(LOOKS_LIKE)
}

/// libpq's form: what it says, and where its query begins.
fn uri(url: &str) -> Result<(Servers, Option<usize>), Failure> {
    let known = SCHEMES.iter().find_map(|scheme| url.starts_with(scheme).then_some(scheme.len()));
    let with_driver = || {
        let (scheme, _) = url.split_once("://")?;
        let driver = WITH_DRIVER.iter().find_map(|prefix| scheme.strip_prefix(prefix))?;
        (!driver.is_empty() && driver.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')).then_some(scheme.len() + 3)
    };
    let begin = known.or_else(with_driver).ok_or_else(|| wrong("does not begin with postgres:// or another scheme of PostgreSQL"))?;
    if url.contains('#') {
        return Err(bad("has a `#` in it, which is the end to some libraries and a character to others").hint("write %23"));
    }
    let end = url[begin..].find(['/', '?']).map_or(url.len(), |at| begin + at);
    // libpq looks for the `@` as far as the first slash, and does not stop at a question mark: without one in front, it finds one in the query.
    let looked_at = url[begin..].find('/').map_or(url.len(), |at| begin + at);
    let in_front = url[begin..end].matches('@').count();
    if in_front > 1 || in_front == 0 && url[end..looked_at].contains('@') {
        return Err(wrong("has an `@` that is not percent-encoded (as %40)"));
    }
    let mut servers = Servers::default();
    let mut at = begin;
    if let Some(length) = url[begin..end].find('@') {
        at = begin + length + 1;
        let colon = url[begin..begin + length].find(':').map_or(begin + length, |colon| begin + colon);
        servers.user = Some(begin..colon);
        servers.password = (colon < begin + length).then_some(colon + 1..begin + length);
    }
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for server in url[at..end].split(',') {
        let (host, rest) = if let Some(inner) = server.strip_prefix('[') {
            inner.split_once(']').filter(|(host, _)| !host.is_empty()).ok_or_else(|| wrong("has an IPv6 address whose bracket is not closed"))?
        } else {
            server.split_at(server.find(':').unwrap_or(server.len()))
        };
        if !rest.is_empty() && !rest.starts_with(':') {
            return Err(wrong("has something behind an IPv6 address that is not a port"));
        }
        hosts.push(host);
        ports.push(rest.strip_prefix(':').unwrap_or_default());
    }
    servers.hosts = decode(&hosts.join(",")).ok_or_else(|| wrong("has a host with a broken escape (a zone is written %25eth0)"))?;
    servers.ports = decode(&ports.join(",")).ok_or_else(|| wrong("has a port with a broken escape"))?;
    let query = url[end..].find('?').map(|question| end + question);
    if url[end..].starts_with('/') {
        let path = &url[end + 1..query.unwrap_or(url.len())];
        servers.database = Some(decode(path).ok_or_else(|| wrong("has a database with a broken escape"))?);
    }
    Ok((servers, query.map(|question| question + 1)))
}

/// JDBC's form. User and password are parameters, and nothing else.
fn jdbc(url: &str) -> Result<(Servers, Option<usize>), Failure> {
    let end = url.find('?').unwrap_or(url.len());
    let query = (end < url.len()).then_some(end + 1);
    let place = &url[JDBC.len()..end];
    let mut servers = Servers::default();
    let Some(network) = place.strip_prefix("//") else {
        if place.starts_with('/') {
            return Err(wrong("has one slash where there must be two"));
        }
        servers.database = Some(decode_form(place).ok_or_else(|| wrong("has a database with a broken escape"))?);
        return Ok((servers, query));
    };
    if network.is_empty() || network == "/" {
        return Ok((servers, query));
    }
    let Some((addresses, database)) = network.split_once('/').filter(|(_, database)| !database.contains('/')) else {
        return Err(wrong("must have one slash behind its hosts"));
    };
    if addresses.contains('@') {
        return Err(
            bad("has user and password before the host, where JDBC does not look for them").hint("write them as parameters: ?user=…&password=…")
        );
    }
    servers.database = Some(decode_form(database).ok_or_else(|| wrong("has a database with a broken escape"))?);
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for address in addresses.split(',') {
        let colon = address.rfind(':').filter(|colon| address.rfind(']').is_none_or(|bracket| bracket < *colon));
        let (host, port) = colon.map_or((address, ""), |colon| (&address[..colon], &address[colon + 1..]));
        hosts.push(host.trim_start_matches('[').trim_end_matches(']'));
        ports.push(port);
    }
    (servers.hosts, servers.ports) = (hosts.join(","), ports.join(","));
    Ok((servers, query))
}

/// The query's pairs that have a `=`. The others are nobody's user.
fn pairs(url: &str, query_at: Option<usize>, is_jdbc: bool) -> Vec<Pair> {
    let Some(mut at) = query_at else { return Vec::new() };
    let mut pairs = Vec::new();
    for token in url[at..].split('&') {
        if let Some((name, value)) = token.split_once('=') {
            let begin = at + name.len() + 1;
            let decoded = if is_jdbc { None } else { decode(name) };
            let mut name = decoded.unwrap_or_else(|| name.to_owned());
            // pgjdbc knows these three in any case, with and without its prefix.
            if is_jdbc {
                let lower = name.to_ascii_lowercase();
                let plain = lower.strip_prefix("pg").unwrap_or(&lower);
                if matches!(plain, "host" | "port" | "dbname") {
                    plain.clone_into(&mut name);
                }
            }
            pairs.push(Pair { name, value: begin..begin + value.len() });
        }
        at += token.len() + 1;
    }
    pairs
}

/// The one place that says this, and whether it is in the query.
fn single(in_front: Option<&Range<usize>>, pairs: &[Pair], name: &str) -> Result<(Option<Range<usize>>, bool), Failure> {
    let mut said: Vec<(Range<usize>, bool)> = in_front.filter(|range| !range.is_empty()).map(|range| (range.clone(), false)).into_iter().collect();
    said.extend(pairs.iter().filter(|pair| pair.name == name).map(|pair| (pair.value.clone(), true)));
    match said.len() {
        // An empty one, which is to be filled.
        0 => Ok((in_front.cloned(), false)),
        1 => Ok(said.remove(0)).map(|(range, in_query)| (Some(range), in_query)),
        _ => Err(bad(&format!("says the {name} twice, and libraries differ in which they take")).hint("say it once")),
    }
}

/// Hosts with their ports, as libpq joins them: no port, one for all, or one for each, which may be empty.
fn together(hosts: &str, ports: &str) -> Option<Vec<Host>> {
    if hosts.is_empty() {
        return Some(Vec::new());
    }
    let (hosts, ports): (Vec<&str>, Vec<&str>) = (hosts.split(',').collect(), ports.split(',').collect());
    if ports.len() != 1 && ports.len() != hosts.len() {
        return None;
    }
    let port = |at: usize| {
        let port = if ports.len() == 1 { ports[0] } else { ports[at] };
        if port.is_empty() { Some(PORT) } else { port.parse().ok() }
    };
    hosts.iter().enumerate().map(|(at, name)| Some(Host { name: (*name).to_owned(), port: port(at)? })).collect()
}
