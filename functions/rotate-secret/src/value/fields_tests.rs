//! Drawn objects, with every form of number, string and spacing that JSON has: two fields are other ones afterwards, and nothing else.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value as Json;
use shared::secrets::{ExposeSecret, SecretString};

use crate::definition::Fields;
use crate::value::{Form, Value};

const SEED: u64 = 11;
const DRAWN: usize = 3_000;
const ATOMS: [&str; 14] = [
    "null",
    "true",
    "-0",
    "1.50",
    "1E+2",
    "12345678901234567890123",
    "\"\"",
    "\"}],{[:\"",
    "\"\\\"\\\\\"",
    "\"\\u00e4\\ud83d\\udd11\"",
    "\"ä 漢\"",
    "{}",
    "[]",
    "[ ]",
];

fn pick<'a>(rng: &mut StdRng, from: &[&'a str]) -> &'a str {
    from[rng.random_range(0..from.len())]
}

fn blank(rng: &mut StdRng) -> String {
    (0..rng.random_range(0..3)).map(|_| pick(rng, &[" ", "\t", "\n", "\r\n"])).collect()
}

fn json(rng: &mut StdRng, depth: usize) -> String {
    let kind = if depth == 0 { 0 } else { rng.random_range(0..4) };
    let count = rng.random_range(1..4);
    match kind {
        0 | 1 => pick(rng, &ATOMS).to_owned(),
        2 => {
            let items: Vec<String> = (0..count).map(|_| format!("{}{}{}", blank(rng), json(rng, depth - 1), blank(rng))).collect();
            format!("[{}]", items.join(","))
        }
        _ => {
            let members: Vec<String> = (0..count).map(|at| member(rng, &format!("\"password{at}\""), None, depth - 1)).collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

fn member(rng: &mut StdRng, name: &str, value: Option<&str>, depth: usize) -> String {
    let value = value.map_or_else(|| json(rng, depth), str::to_owned);
    format!("{}{name}{}:{}{value}{}", blank(rng), blank(rng), blank(rng), blank(rng))
}

#[test]
fn two_fields_are_other_ones_and_every_other_byte_stays() {
    let mut rng = StdRng::seed_from_u64(SEED);
    for _ in 0..DRAWN {
        let user = pick(&mut rng, &["\"username\"", "\"user\\u006eame\""]);
        let mut members = vec![(user, Some("\"shop_a\"")), ("\"password\"", Some("\"old \\u0022pa\\\\ss\"")), ("\"dbname\"", Some("\"shop\""))];
        members.extend((0..rng.random_range(0..5)).map(|at| (["\"a\"", "\"b\"", "\"c\"", "\"d\"", "\"e\""][at], None)));
        for at in (1..members.len()).rev() {
            members.swap(at, rng.random_range(0..=at));
        }
        // The marks stand where the two values are: the text before and after differs there alone.
        let written: Vec<String> = members
            .iter()
            .map(|(name, value)| {
                let marked = match *value {
                    Some("\"shop_a\"") => Some("<user>"),
                    Some(value) if value.starts_with("\"old") => Some("<password>"),
                    other => other,
                };
                member(&mut rng, name, marked, 3)
            })
            .collect();
        let template = format!("{}{{{}}}{}", blank(&mut rng), written.join(","), blank(&mut rng));
        let fill = |user: &str, password: &str| template.replace("<user>", user).replace("<password>", password);
        let (before, after) = (fill("\"shop_a\"", "\"old \\u0022pa\\\\ss\""), fill("\"shop_b\"", "\"new\\\"\\\\\""));
        let value = Value::read(&Form::Fields(Fields::default()), &SecretString::from(before.as_str()))
            .unwrap_or_else(|failure| panic!("seed {SEED}: {before}: {failure}"));
        assert_eq!((value.user(), value.password().map(ExposeSecret::expose_secret)), ("shop_a", Some("old \"pa\\ss")));
        let rotated = value.with("shop_b", &SecretString::from("new\"\\")).unwrap_or_else(|failure| panic!("seed {SEED}: {before}: {failure}"));
        assert_eq!(rotated.expose_secret(), after, "seed {SEED}");
        assert_eq!(serde_json::from_str::<Json>(rotated.expose_secret()).expect("JSON")["password"], "new\"\\");
    }
}
