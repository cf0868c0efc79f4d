use super::*;

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

fn ring(text: &str) -> KeyRing {
    KeyRing::read("SECRET_KEY", "SECRET_KEY_FALLBACKS", &secret(text)).unwrap_or_else(|failure| panic!("{text}: {failure}"))
}

#[test]
fn a_new_key_is_long_enough_and_needs_no_escape() {
    let keys: std::collections::BTreeSet<String> = (0..1000).map(|_| new_key().expose_secret().to_owned()).collect();
    assert_eq!(keys.len(), 1000);
    assert!(keys.iter().all(|key| key.len() == LENGTH && key.bytes().all(|byte| byte.is_ascii_alphanumeric())));
    let seen: std::collections::BTreeSet<char> = keys.iter().flat_map(|key| key.chars()).collect();
    assert_eq!(seen.len(), 62, "every letter and digit");
    assert!(62_f64.log2() * f64::from(u8::try_from(LENGTH).expect("small")) >= 256.0);
}

#[test]
fn the_three_values_and_every_other_byte() {
    for (texts, others) in [
        (
            [
                r#"{"SECRET_KEY": "K1", "SECRET_KEY_FALLBACKS": []}"#,
                r#"{"SECRET_KEY": "K1", "SECRET_KEY_FALLBACKS": ["K2"]}"#,
                r#"{"SECRET_KEY": "K2", "SECRET_KEY_FALLBACKS": ["K1"]}"#,
                r#"{"SECRET_KEY": "K2", "SECRET_KEY_FALLBACKS": []}"#,
            ],
            0,
        ),
        (
            [
                "{\"n\": 1.50,\n \"SECRET_KEY_FALLBACKS\" :[\"\\u0041\",  \"B\"],\"SECRET_KEY\":\"K1\"}\n",
                "{\"n\": 1.50,\n \"SECRET_KEY_FALLBACKS\" :[\"\\u0041\",  \"B\",  \"K2\"],\"SECRET_KEY\":\"K1\"}\n",
                "{\"n\": 1.50,\n \"SECRET_KEY_FALLBACKS\" :[\"K1\",  \"\\u0041\",  \"B\"],\"SECRET_KEY\":\"K2\"}\n",
                "{\"n\": 1.50,\n \"SECRET_KEY_FALLBACKS\" :[\"\\u0041\",  \"B\"],\"SECRET_KEY\":\"K2\"}\n",
            ],
            2,
        ),
    ] {
        let (old, new) = (secret("K1"), secret("K2"));
        for (phase, text) in texts.iter().enumerate() {
            assert_eq!(ring(text).phase(&old, &new).map(usize::from), Some(phase), "{text}");
            // From wherever it is, to wherever it should be: forwards, again, and in an incident at once to the end.
            for target in 1..=3 {
                let written = ring(text).with_phase(target, &old, &new).expect("a phase");
                assert_eq!(written.expose_secret(), texts[usize::from(target)], "from {phase} to {target}");
            }
        }
        assert_eq!(ring(texts[0]).others(&old, &new).len(), others);
    }
}

/// Whoever reads one value accepts what is signed by readers of the value before and after.
#[test]
fn no_two_neighbours_refuse_each_other() {
    let (old, new) = (secret("K1"), secret("K2"));
    let before = ring(r#"{"SECRET_KEY":"K1","SECRET_KEY_FALLBACKS":["K0"]}"#);
    let values: Vec<KeyRing> = std::iter::once(before.text.clone())
        .chain((1..=3).map(|phase| before.with_phase(phase, &old, &new).expect("a phase")))
        .map(|text| ring(text.expose_secret()))
        .collect();
    let accepts = |reader: &KeyRing, key: &SecretString| reader.sign().expose_secret() == key.expose_secret() || reader.accepts(key);
    for pair in values.windows(2) {
        let is_last = pair[1].phase(&old, &new) == Some(3);
        assert!(accepts(&pair[0], pair[1].sign()));
        // The last step is taken when nothing that the old key signed lives any more: both sign with the new one.
        assert!(accepts(&pair[1], pair[0].sign()) || is_last);
        assert!(!is_last || pair[0].sign().expose_secret() == new.expose_secret());
        assert!(pair[1].accepts(&secret("K0")));
    }
}

#[test]
fn somebody_elses_key_is_noticed() {
    let (old, new) = (secret("K1"), secret("K2"));
    let other = ring(r#"{"SECRET_KEY":"K9","SECRET_KEY_FALLBACKS":["K1","K2"]}"#);
    assert_eq!(other.phase(&old, &new), None);
    assert!(other.with_phase(2, &old, &new).is_err());
    let ours = ring(r#"{"SECRET_KEY":"K1","SECRET_KEY_FALLBACKS":[]}"#);
    assert!(ours.with_phase(0, &old, &new).is_err() && ours.with_phase(4, &old, &new).is_err() && ours.with_phase(1, &old, &old).is_err());
}

#[test]
fn what_cannot_hold_two_keys_is_refused_with_what_to_write() {
    for text in [
        "canary",
        "\"canary\"",
        r#"{"SECRET_KEY":"canary"}"#,
        r#"{"SECRET_KEY_FALLBACKS":["canary"]}"#,
        r#"{"SECRET_KEY":"canary","SECRET_KEY_FALLBACKS":"canary"}"#,
        r#"{"SECRET_KEY":["canary"],"SECRET_KEY_FALLBACKS":[]}"#,
        r#"{"SECRET_KEY":"canary","SECRET_KEY_FALLBACKS":[["canary"]]}"#,
        r#"{"SECRET_KEY":"canary","SECRET_KEY":"canary","SECRET_KEY_FALLBACKS":[]}"#,
        r#"{"SECRET_KEY":"","SECRET_KEY_FALLBACKS":["canary"]}"#,
    ] {
        let failure = KeyRing::read("SECRET_KEY", "SECRET_KEY_FALLBACKS", &secret(text)).err().unwrap_or_else(|| panic!("{text} is taken"));
        assert!(!format!("{failure:?}").contains("canary") && failure.hint.is_some(), "{failure:?}");
    }
}
