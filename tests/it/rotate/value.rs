//! URLs survive a rotation in libpq, psycopg, urllib, sqlx and JDBC alike. `bench/src/bin/soak.rs` draws as many as one asks for.

use rotate_secret::value::{Form, Value};
use shared::secrets::SecretString;
use tests::urls::{Case, rotate, rotate_drawn};
use tests::world::{python, run};

const SEED: u64 = 7;
const DRAWN: usize = 5_000;

/// Known to have broken rotations, and what is near them.
const ADVERSARIAL: [&str; 44] = [
    "postgres://u:p@h/db",
    "postgres://u@h/db",
    "postgres://u:@h/db",
    "postgres://u:a:b:c@h/db",
    "postgres://u:%40@h/db",
    "postgres://u%40home:p@h/db",
    "postgres://u:%25%2525@h/db",
    "postgres://u:%2525@h/db",
    "postgres://u:p%2Fq@h/db",
    "postgres://u:p%3Fq%23r@h/db",
    "postgres://u:p%5Bq%5D@h/db",
    "postgres://u:p%20q@h/db",
    "postgres://u:p+q@h/db",
    "postgres://u:p%2Bq@h/db",
    "postgres://u:!$&'()*,;=@h/db",
    "postgres://u:\"<>\\^`{|}@h/db",
    "postgres://u%3Av:p@h/db",
    "postgres://пользователь:пароль@h/db",
    "postgres://%D0%BF:%f0%9f%94%91@h/%d0%b1",
    "postgres://u:p@[::1]/db",
    "postgres://u:p@[2001:db8::7]:6000/db",
    "postgres://u:p@[fe80::1%25eth0]:6000/db",
    "postgres://u:p@h1:5432,h2:5433,h3/db?target_session_attrs=read-write",
    "postgres://u:p@h1,h2/db?port=6000",
    "postgres://u:p@%2Fvar%2Frun%2Fpostgresql/db",
    "postgres://u:p@/db?host=%2Fvar%2Frun&port=6000",
    "postgres:///db?host=/var/run&user=u&password=p",
    "postgres://h/db?user=u%40v&password=%25%26%3D%2B",
    "postgres://h/db?password=p&user=u",
    "postgres://:p@h/db?user=u",
    "postgres://u@h/db?password=",
    "postgres://u:p@h/db?options=-c%20search_path%3Da%2Cb%20-c%20x%3D1",
    "postgres://u:p@h/db?sslmode=verify-full&sslrootcert=/etc/rds%20ca/%C3%A4.pem",
    "postgres://u:p@h/db?application_name=a@b:c/d",
    "postgres://u:p@h/db?application_name=a+b%2Bc",
    "postgres://u:p@h/db?schema=public&pgbouncer=true",
    "postgres://u:p@h/d%2Fb%3Fc%25d",
    "postgresql+psycopg://u:p@h/db?sslmode=require",
    "postgresql+asyncpg://u:p@h/db?ssl=require",
    "postgis://u:p@h/db",
    "postgres://u:p@h/db\n",
    "jdbc:postgresql://h1:5432,[::1]:6000/d%2Bb?user=u+v&password=%25%26+%2B%3D&ssl=true",
    "jdbc:postgresql:db?password=p%c3%a4&user=u",
    "jdbc:postgresql://h/db?password=a=b#c?d&loginTimeout=10&user=u",
];
const CREDENTIALS: [(&str, &str); 4] = [("shop_b", "Abc123"), ("u", "Abc123"), ("shop b@/:?#[]%+&=", "%25@/:?#[]&=+ \"\\ä🔑"), ("%41", "%%")];

#[test]
fn adversarial_urls_survive_a_rotation_in_every_reader() {
    run(async {
        let cases: Vec<Case> = ADVERSARIAL
            .iter()
            .flat_map(|url| CREDENTIALS.map(|(user, password)| Case { url: (*url).to_owned(), user: user.to_owned(), password: password.to_owned() }))
            .collect();
        let rotated = rotate(&python().await, &cases).await;
        assert!(rotated.wrong.is_empty(), "{:#?}", rotated.wrong);
        // A reader that refuses everything would prove nothing.
        for (reader, least) in [("libpq", 140), ("psycopg", 140), ("urllib", 140), ("sqlx", 120), ("jdbc", 12)] {
            assert!(rotated.counts.of(&format!("{reader} reads")) >= least, "{reader}: {}", rotated.counts);
        }
    });
}

#[test]
fn drawn_urls_survive_a_rotation_in_every_reader() {
    run(async {
        let rotated = rotate_drawn(&python().await, SEED, DRAWN).await;
        assert!(rotated.wrong.is_empty(), "seed {SEED}: {} wrong, {:#?}", rotated.wrong.len(), &rotated.wrong[..rotated.wrong.len().min(5)]);
        for reader in ["libpq", "psycopg", "urllib", "sqlx", "jdbc"] {
            assert!(rotated.counts.of(&format!("{reader} reads")) >= DRAWN / 20, "{reader}: {}", rotated.counts);
        }
    });
}

/// What a careless rotation writes is noticed: each mistake is planted in a URL that was shown clean.
#[test]
fn planted_mistakes_are_noticed() {
    run(async {
        let python = python().await;
        let clean = Case {
            url: "postgres://u%2Fv:p%40q@h1:6000,h2/d%2Fb?sslmode=require&options=-c%20a%3Db".into(),
            user: "w".into(),
            password: "n/x".into(),
        };
        assert!(rotate(&python, std::slice::from_ref(&clean)).await.wrong.is_empty());
        let good =
            Value::read(&Form::Url, &SecretString::from(clean.url.as_str())).expect("read").with("w", &SecretString::from("n/x")).expect("written");
        let good = shared::secrets::ExposeSecret::expose_secret(&good).to_owned();
        assert!(tests::urls::compare(&python, &clean, &good).await.is_empty());
        for (planted, from, to) in [
            ("a password that is not escaped", "n%2Fx", "n/x"),
            ("escaped twice", "n%2Fx", "n%252Fx"),
            ("the old user", "//w:", "//u%2Fv:"),
            ("a host that is lost", "h1:6000,h2", "h1:6000"),
            ("a database that is escaped twice", "d%2Fb", "d%252Fb"),
            ("an option that is lost", "&options=-c%20a%3Db", ""),
            ("an option that is decoded", "-c%20a%3Db", "-c a=b"),
        ] {
            assert!(good.contains(from), "{planted}");
            let wrong = tests::urls::compare(&python, &clean, &good.replace(from, to)).await;
            assert!(!wrong.is_empty(), "{planted} is not noticed");
        }
    });
}
