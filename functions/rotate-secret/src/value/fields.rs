//! A credential as fields of a JSON object, as Secrets Manager's database secrets have it.
//!
//! An object that says the credential a second time, as a whole URL beside the fields, is refused: one of the two would be left behind, and nobody can tell which of
//! them the application reads.

use serde_json::Value as Json;
use shared::failure::Failure;
use shared::secrets::SecretString;

use super::json::{self, Member};
use super::{Content, Host, Place, Tls, bad, percent, url};
use crate::definition::Fields;

const PORT: u16 = 5432;
/// A text as long as this is not equal to a password by chance.
const TELLING_LENGTH: usize = 12;

/// Takes a JSON object apart.
pub(super) fn read(names: &Fields, text: &str) -> Result<Content, Failure> {
    let members =
        json::members(text).ok_or_else(|| bad("is not a JSON object").hint("leave out `fields` in the definition if the value is a URL"))?;
    let one = |name: &str| one(&members, name);
    let needed = |name: &str, what: &str| {
        let member = one(name)?.ok_or_else(|| {
            bad(&format!("has no field {name:?} for the {what}"))
                .hint("add the field, or give the names that the value has in `fields` of the definition")
        })?;
        let said = json::string(text, &member.value);
        said.map(|said| (said, member)).ok_or_else(|| bad(&format!("has a field {name:?} that is not a string")).hint("write it in quotes"))
    };
    let (user, user_member) = needed(&names.user, "user")?;
    let (password, password_member) = needed(&names.password, "password")?;
    if user.is_empty() {
        return Err(bad(&format!("has an empty field {:?}", names.user)).hint("write the user that is in use"));
    }
    let optional = |name: &str| -> Result<Option<String>, Failure> {
        let Some(member) = one(name)? else { return Ok(None) };
        match serde_json::from_str(&text[member.value.clone()]) {
            Ok(Json::String(said)) => Ok(Some(said).filter(|said| !said.is_empty())),
            Ok(Json::Number(number)) => Ok(Some(number.to_string())),
            Ok(Json::Null) => Ok(None),
            _ => Err(bad(&format!("has a field {name:?} that is neither a string nor a number"))),
        }
    };
    let port = match optional(&names.port)? {
        Some(port) => port.parse().map_err(|_| bad(&format!("has a field {:?} that is not a port", names.port)))?,
        None => PORT,
    };
    let hosts = optional(&names.host)?.map(|name| Host { name, port }).into_iter().collect();
    let database = optional(&names.database)?;
    let replaced = [&names.user, &names.password];
    let mut rest = Vec::new();
    for member in members.iter().filter(|member| !replaced.contains(&&member.name)) {
        let raw = &text[member.value.clone()];
        let parsed: Json = serde_json::from_str(raw).map_err(|_| bad("is not a JSON object"))?;
        if let Some(place) = repeats(&parsed, &user, &password, &member.name) {
            return Err(bad(&format!("says the credential twice: in its fields and in {place:?}, which would be left behind"))
                .hint("keep one of the two: let the application put the URL together, or make the whole value a URL and leave out `fields`"));
        }
        rest.push((member.name.clone(), raw.to_owned()));
    }
    let place = |member: &Member| Place { from: member.value.start, to: member.value.end, prefix: "" };
    let (user_at, password_at) = (place(user_member), place(password_member));
    let password = Some(password).filter(|password| !password.is_empty()).map(SecretString::from);
    Ok(Content { user, password, hosts, database, tls: Tls::default(), rest, user_at, password_at })
}

/// The member of this name. Of two, some readers take the first and some the last.
pub(super) fn one<'a>(members: &'a [Member], name: &str) -> Result<Option<&'a Member>, Failure> {
    let mut found = members.iter().filter(|member| member.name == name);
    let first = found.next();
    if found.next().is_some() {
        return Err(bad(&format!("has the field {name:?} twice")).hint("remove one of them"));
    }
    Ok(first)
}

/// Where, at any depth, the credential is said again.
fn repeats(json: &Json, user: &str, password: &str, path: &str) -> Option<String> {
    match json {
        Json::String(said) => {
            let is_text_of_its_own = said.contains("://") || said.contains("password=");
            let has_password = !password.is_empty() && (said.contains(password) || said.contains(&percent::encode(password)));
            let is_ours = is_text_of_its_own && (has_password || url::read(said).is_ok_and(|content| content.user == user));
            (is_ours || (said == password && password.len() >= TELLING_LENGTH)).then(|| path.to_owned())
        }
        Json::Array(items) => items.iter().enumerate().find_map(|(at, item)| repeats(item, user, password, &format!("{path}[{at}]"))),
        Json::Object(members) => members.iter().find_map(|(name, member)| repeats(member, user, password, &format!("{path}.{name}"))),
        _ => None,
    }
}

#[cfg(test)]
#[path = "fields_tests.rs"]
mod tests;
