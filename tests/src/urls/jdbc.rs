//! JDBC's rules for a URL, as pgjdbc has them (`Driver.parseURL`, `URLCoder`, `PGPropertyUtil.translatePGServiceToPGProperty`): written here a second time, apart from
//! what is tested.

use std::collections::BTreeMap;

use super::Reading;

/// The properties that a URL gives.
pub(super) fn read(url: &str) -> Reading {
    let (server, arguments) = url.split_once('?').unwrap_or((url, ""));
    let server = server.strip_prefix("jdbc:postgresql:")?;
    let mut properties = BTreeMap::new();
    if server == "//" || server == "///" {
    } else if let Some(server) = server.strip_prefix("//") {
        if server.matches('/').count() != 1 {
            return None;
        }
        let (addresses, database) = server.split_once('/')?;
        if !database.is_empty() {
            properties.insert("PGDBNAME".to_owned(), decode(database)?);
        }
        let (mut hosts, mut ports) = (Vec::new(), Vec::new());
        for address in addresses.split(',') {
            match address.rfind(':') {
                Some(colon) if address.rfind(']').is_none_or(|bracket| bracket < colon) => {
                    let port: u16 = address[colon + 1..].parse().ok()?;
                    ports.push(port.to_string());
                    hosts.push(if colon == 0 { "localhost" } else { &address[..colon] });
                }
                _ => {
                    ports.push("5432".to_owned());
                    hosts.push(address);
                }
            }
        }
        properties.insert("PGHOST".to_owned(), hosts.join(","));
        properties.insert("PGPORT".to_owned(), ports.join(","));
    } else if server.starts_with('/') {
        return None;
    } else {
        properties.insert("PGDBNAME".to_owned(), decode(server)?);
    }
    for token in arguments.split('&').filter(|token| !token.is_empty()) {
        let Some((name, value)) = token.split_once('=') else {
            properties.insert(token.to_owned(), String::new());
            continue;
        };
        let server_property = format!("PG{}", name.to_uppercase());
        let is_server = ["PGHOST", "PGPORT", "PGDBNAME"].contains(&server_property.as_str());
        properties.insert(if is_server { server_property } else { name.to_owned() }, decode(value)?);
    }
    Some(properties)
}

/// `java.net.URLDecoder` for UTF-8: a plus is a space, a broken escape an error, broken UTF-8 a replacement.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut left = text.bytes();
    while let Some(byte) = left.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [left.next()?, left.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
