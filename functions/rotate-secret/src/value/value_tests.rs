use super::*;

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

fn read(url: &str) -> Value {
    Value::read(&Form::Url, &secret(url)).unwrap_or_else(|failure| panic!("{url}: {failure}"))
}

fn rotated(url: &str) -> String {
    read(url).with("shop_b", &secret("NewPass123")).unwrap_or_else(|failure| panic!("{url}: {failure}")).expose_secret().to_owned()
}

fn host(name: &str, port: u16) -> Host {
    Host { name: name.to_owned(), port }
}

#[test]
fn every_place_of_a_credential_is_written_and_nothing_else() {
    for (before, after) in [
        ("postgres://a:p@h/db", "postgres://shop_b:NewPass123@h/db"),
        ("postgresql://a:p@h:6000/db?sslmode=require&x=%c3%a4", "postgresql://shop_b:NewPass123@h:6000/db?sslmode=require&x=%c3%a4"),
        ("postgresql+psycopg://a:p@h/db", "postgresql+psycopg://shop_b:NewPass123@h/db"),
        ("postgresql+asyncpg://a:p@h/db", "postgresql+asyncpg://shop_b:NewPass123@h/db"),
        ("postgis://a:p@h/db", "postgis://shop_b:NewPass123@h/db"),
        // No password, an empty one, a colon in it.
        ("postgres://a@h/db", "postgres://shop_b:NewPass123@h/db"),
        ("postgres://a:@h/db", "postgres://shop_b:NewPass123@h/db"),
        ("postgres://a:p:q@h/db", "postgres://shop_b:NewPass123@h/db"),
        // In the query, in part or whole.
        ("postgres://h/db?user=a&password=p&sslmode=require", "postgres://h/db?user=shop_b&password=NewPass123&sslmode=require"),
        ("postgres://h/db?password=p&x=1&user=a", "postgres://h/db?password=NewPass123&x=1&user=shop_b"),
        ("postgres://a@h/db?password=p", "postgres://shop_b@h/db?password=NewPass123"),
        ("postgres://h/db?user=a@b&password=p/q?r[s]&x=1", "postgres://h/db?user=shop_b&password=NewPass123&x=1"),
        ("postgres://h/db?x=1&user=a", "postgres://h/db?x=1&user=shop_b&password=NewPass123"),
        ("postgres://:p@h/db?user=a", "postgres://:NewPass123@h/db?user=shop_b"),
        // What frameworks and editors leave behind.
        ("postgres://a:p@h/db\n", "postgres://shop_b:NewPass123@h/db\n"),
        ("postgres://a:p@h/db?\r\n", "postgres://shop_b:NewPass123@h/db?\r\n"),
        ("postgres://a:p@h1,h2:6000,[::1]:7000/db", "postgres://shop_b:NewPass123@h1,h2:6000,[::1]:7000/db"),
        ("postgres://a:p@/db?host=%2Fvar%2Frun", "postgres://shop_b:NewPass123@/db?host=%2Fvar%2Frun"),
        ("postgres://a:p@%2Fvar%2Frun/db", "postgres://shop_b:NewPass123@%2Fvar%2Frun/db"),
        ("postgres://a:p@h/db?sslrootcert=/a b/c.pem", "postgres://shop_b:NewPass123@h/db?sslrootcert=/a b/c.pem"),
        ("postgres://a:p@h/db?broken=%zz&also", "postgres://shop_b:NewPass123@h/db?broken=%zz&also"),
        ("postgres://a%2f:%25%40%3A@h/d%20b", "postgres://shop_b:NewPass123@h/d%20b"),
        ("jdbc:postgresql://h:5432/db?user=a&password=p", "jdbc:postgresql://h:5432/db?user=shop_b&password=NewPass123"),
        ("jdbc:postgresql://h/db?ssl=true&user=a", "jdbc:postgresql://h/db?ssl=true&user=shop_b&password=NewPass123"),
        ("jdbc:postgresql:db?password=a+b%2B#&user=a", "jdbc:postgresql:db?password=NewPass123&user=shop_b"),
    ] {
        assert_eq!(rotated(before), after, "{before}");
        assert_eq!(rotated(after), after, "a second time: {before}");
    }
}

#[test]
fn a_url_is_taken_apart_as_its_readers_do() {
    let value = read("postgresql://us%65r:p%2Fw%25@h1,h2:6000,[fe80::1%25eth0]:7000/d%2Fb?sslmode=verify-full&sslrootcert=/c%20d");
    assert_eq!((value.user(), value.password().map(ExposeSecret::expose_secret)), ("user", Some("p/w%")));
    assert_eq!(value.hosts(), [host("h1", 5432), host("h2", 6000), host("fe80::1%eth0", 7000)]);
    assert_eq!(value.database(), Some("d/b"));
    assert_eq!(*value.tls(), Tls { mode: Some("verify-full".into()), root_certificate: Some("/c d".into()) });
    let value = read("postgres://ignored:1/ignored?host=a,b&port=6000&dbname=db&user=u&ssl=true");
    assert_eq!((value.hosts(), value.database()), (&[host("a", 6000), host("b", 6000)][..], Some("db")));
    assert_eq!((value.tls().mode.as_deref(), value.password().is_none()), (Some("require"), true));
    assert_eq!(read("postgres://u@/db?hostaddr=10.0.0.1").hosts(), [host("10.0.0.1", 5432)]);
    assert!(read("postgres://u@").hosts().is_empty());
    let value = read("jdbc:postgresql://h1:1,[::1]:2/d+b?PGPORT=7&user=a+b&password=c%2Bd");
    assert_eq!((value.user(), value.password().map(ExposeSecret::expose_secret), value.database()), ("a b", Some("c+d"), Some("d b")));
    assert_eq!(value.hosts(), [host("h1", 7), host("::1", 7)]);
}

#[test]
fn what_stays_the_same_stays_as_it_is_written() {
    let url = "postgres://sh%6Fp_b:p%c3%a4ss@h/db";
    let same = read(url).with("shop_b", &secret("päss")).expect("the same");
    assert_eq!(same.expose_secret(), url);
    let other = read(url).with("shop_b", &secret("new:/@ä")).expect("another");
    assert_eq!(other.expose_secret(), "postgres://sh%6Fp_b:new%3A%2F%40%C3%A4@h/db");
}

#[test]
fn a_url_that_libraries_read_in_two_ways_is_refused_without_a_word_of_it() {
    for url in [
        "",
        " postgres://u:canary@h/db",
        "mysql://u:canary@h/db",
        "POSTGRES://u:canary@h/db",
        "postgres:u:canary@h/db",
        "host=h user=u password=canary",
        "postgres://h/db",
        "postgres://:canary@h/db",
        "postgres://u:can@ary@h/db",
        "postgres://u:can/ary@h/db",
        "postgres://u:can?ary@h/db",
        "postgres://u:can#ary@h/db",
        "postgres://u:can[ary@h/db",
        "postgres://u:can ary@h/db",
        "postgres://u:canary%@h/db",
        "postgres://u:canary%zz@h/db",
        "postgres://u:canary%00@h/db",
        "postgres://u:canary%ff@h/db",
        "postgres://u:can\nary@h/db",
        "postgres://u:can\tary@h/db",
        "postgres://u:canary@h/db#canary",
        "postgres://u:canary@h/db?user=v",
        "postgres://u:canary@h/db?password=canary",
        "postgres://h/db?user=u&user=v&password=canary",
        "postgres://h/db?user=u&password=can+ary",
        "postgres://h/db?user=u&password=canary\n",
        "postgres://h?user=u@v&password=canary",
        "postgres://u:canary@[::1/db",
        "postgres://u:canary@[]/db",
        "postgres://u:canary@[::1]x/db",
        "postgres://u:canary@[fe80::1%eth0]/db",
        "postgres://u:canary@h:port/db",
        "postgres://u:canary@h1,h2/db?port=1,2,3",
        "postgres://u:canary@h:70000/db",
        "jdbc:postgresql://u:canary@h/db",
        "jdbc:postgresql://h/db?password=canary",
        "jdbc:postgresql://h?user=u&password=canary",
        "jdbc:postgresql://h/a/b?user=u&password=canary",
        "jdbc:postgresql:/db?user=u&password=canary",
        "jdbc:postgresql://h/db?user=u&password=canary%z",
        "jdbc:mysql://h/db?user=u&password=canary",
    ] {
        let failure = Value::read(&Form::Url, &secret(url)).err().unwrap_or_else(|| panic!("{url:?} is taken"));
        assert!(!failure.to_string().contains("can") || failure.to_string().contains("cannot"), "{failure}");
        assert!(!format!("{failure:?}").contains("canary") && failure.hint.is_some(), "{failure:?}");
    }
}

#[test]
fn another_user_must_not_mean_another_database() {
    let value = read("postgres://a:canary@h");
    let failure = value.with("shop_b", &secret("new")).expect_err("no database");
    assert!(failure.hint.is_some() && !failure.to_string().contains("canary"));
    assert_eq!(value.with("a", &secret("new")).expect("the same user").expose_secret(), "postgres://a:new@h");
    for (user, password) in [("", "x"), ("a", ""), ("a\0", "x"), ("a", "x\0")] {
        assert!(value.with(user, &secret(password)).is_err());
    }
}

fn fields(json: &str) -> Result<Value, Failure> {
    Value::read(&Form::Fields(Fields::default()), &secret(json))
}

#[test]
fn fields_are_written_and_every_other_byte_stays() {
    for (before, after) in [
        (r#"{"username":"a","password":"p","dbname":"d"}"#, r#"{"username":"shop_b","password":"New\"Pass\\","dbname":"d"}"#),
        (
            "{ \"password\" : \"p\\u0061\",\n\t\"dbname\": \"d\", \"x\": {\"password\": \"inner\", \"y\": [1.50, 1E2, -0]},\r\n \"username\":\"a\" }\n",
            "{ \"password\" : \"New\\\"Pass\\\\\",\n\t\"dbname\": \"d\", \"x\": {\"password\": \"inner\", \"y\": [1.50, 1E2, -0]},\r\n \"username\":\"shop_b\" }\n",
        ),
        (
            r#"{"engine":"postgres","username":"a","pass\u0077ord":"","dbname":"db","n":123456789012345678901234567890,"s":"}],\"{"}"#,
            r#"{"engine":"postgres","username":"shop_b","pass\u0077ord":"New\"Pass\\","dbname":"db","n":123456789012345678901234567890,"s":"}],\"{"}"#,
        ),
    ] {
        let written =
            fields(before).and_then(|value| value.with("shop_b", &secret("New\"Pass\\"))).unwrap_or_else(|failure| panic!("{before}: {failure}"));
        assert_eq!(written.expose_secret(), after);
    }
    let value = fields(r#"{"username":"a","password":"p","host":"h","port":"6000","dbname":"db"}"#).expect("read");
    assert_eq!((value.user(), value.hosts(), value.database()), ("a", &[host("h", 6000)][..], Some("db")));
}

#[test]
fn fields_that_cannot_be_written_are_refused_without_a_word_of_them() {
    for json in [
        "",
        "canary",
        "[]",
        "{",
        "{\"username\":\"a\",\"password\":\"canary\"} x",
        r#"{"username":"a"}"#,
        r#"{"password":"canary"}"#,
        r#"{"username":"","password":"canary"}"#,
        r#"{"username":1,"password":"canary"}"#,
        r#"{"username":"a","password":["canary"]}"#,
        r#"{"username":"a","password":"canary","password":"canary"}"#,
        r#"{"username":"a","password":"canary","port":"canary"}"#,
        r#"{"username":"a","password":"canary","host":["canary"]}"#,
        // The credential a second time, wherever it is.
        r#"{"username":"a","password":"canary","DATABASE_URL":"postgres://a:canary@h/db"}"#,
        r#"{"username":"a","password":"canary@","url":"postgres://a:canary%40@h/db"}"#,
        r#"{"username":"a","password":"canary","deep":[{"url":"postgres://a:older@h/db"}]}"#,
        r#"{"username":"a","password":"canary","dsn":"host=h user=a password=canary"}"#,
        r#"{"username":"a","password":"canary-canary","again":"canary-canary"}"#,
    ] {
        let failure = fields(json).err().unwrap_or_else(|| panic!("{json} is taken"));
        assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
    }
    assert!(fields(r#"{"username":"postgres","password":"postgres","engine":"postgres","home":"https://shop.example"}"#).is_ok());
}

#[test]
fn a_value_is_printed_without_its_password() {
    for value in [read("postgres://u:canary@h/db?sslpassword=canary"), fields(r#"{"username":"u","password":"canary","x":"canary"}"#).expect("read")]
    {
        assert!(!format!("{value:?}").contains("canary"));
    }
}
