//! Constraints and indexes: what must wait for the data, and rows that an immediate check would refuse.

use super::{builder::Builder, tables::Plain};

/// Keys over tables that exist already.
pub(super) fn over(b: &mut Builder, tables: &[Plain]) {
    let first = &tables[0];
    if b.wants("index on an expression") {
        let index = b.name("index");
        b.say(&format!("CREATE INDEX {index} ON {} ((id % 7), lower({}) DESC NULLS LAST) WHERE id > 3", first.name, first.body));
    }
    if b.wants("statistics") {
        let statistics = b.name("stats");
        b.say(&format!("CREATE STATISTICS {statistics} (ndistinct, mcv) ON id, {} FROM {}", first.body, first.name));
    }
    if b.wants("not valid constraint") {
        let constraint = b.name("later");
        let last = &tables[tables.len() - 1];
        b.say(&format!("ALTER TABLE {} ADD CONSTRAINT {constraint} CHECK (id < 0) NOT VALID", last.name));
    }
    if b.wants("foreign key") {
        let name = b.name("child");
        let rows = b.between(1000, 2500);
        b.say(&format!("CREATE TABLE {name} (n int, parent bigint, body text)"));
        b.say(&format!("INSERT INTO {name} SELECT g, (SELECT max(id) FROM {}), repeat('k', 180) FROM generate_series(1, {rows}) AS g", first.name));
        b.say(&format!("ALTER TABLE {name} ADD FOREIGN KEY (parent) REFERENCES {} ON DELETE CASCADE", first.name));
        b.holds(&name, rows, rows * 210);
    }
}

/// Tables that exist for their keys.
pub(super) fn tables(b: &mut Builder) {
    if b.wants("self foreign key") {
        let name = b.name("tree");
        let rows = b.between(1000, 2500);
        b.say(&format!("CREATE TABLE {name} (id int PRIMARY KEY, parent int REFERENCES {name}, body text)"));
        b.say(&format!("INSERT INTO {name} SELECT g, NULLIF(g % {rows} + 1, g), repeat('s', 160) FROM generate_series(1, {rows}) AS g"));
        b.holds(&name, rows, rows * 190);
    }
    if b.wants("circular foreign keys") {
        let (left, right) = (b.name("circle"), b.name("circle"));
        for name in [&left, &right] {
            b.say(&format!("CREATE TABLE {name} (id int PRIMARY KEY, other int, body text)"));
            b.say(&format!("INSERT INTO {name} SELECT g, g, repeat('c', 130) FROM generate_series(1, 1500) AS g"));
            b.holds(name, 1500, 1500 * 160);
        }
        b.say(&format!("ALTER TABLE {left} ADD FOREIGN KEY (other) REFERENCES {right}"));
        b.say(&format!("ALTER TABLE {right} ADD FOREIGN KEY (other) REFERENCES {left} ON UPDATE SET NULL"));
    }
    if b.wants("deferred foreign key") {
        let (name, other) = (b.name("deferred"), b.name("target"));
        b.say(&format!("CREATE TABLE {other} (a int, b text, UNIQUE (a, b))"));
        b.say(&format!("CREATE TABLE {name} (a int, b text, UNIQUE (b, a) DEFERRABLE INITIALLY DEFERRED)"));
        b.say(&format!("INSERT INTO {other} SELECT g, 'b' FROM generate_series(1, 300) AS g"));
        b.say(&format!("INSERT INTO {name} SELECT g, 'b' FROM generate_series(1, 300) AS g"));
        b.holds(&name, 300, 300 * 30);
        b.holds(&other, 300, 300 * 30);
        // Last of all: no table may be altered while its deferred checks are pending, and none is made here.
        b.say_later(format!("ALTER TABLE {name} ADD FOREIGN KEY (a, b) REFERENCES {other} (a, b) MATCH FULL DEFERRABLE INITIALLY DEFERRED"));
    }
    if b.wants("exclusion constraint") {
        let name = b.name("excluded");
        b.say(&format!("CREATE TABLE {name} (r int4range, body text, EXCLUDE USING gist (r WITH &&) WHERE (body <> 'x'))"));
        b.say(&format!("INSERT INTO {name} SELECT int4range(g, g + 1), repeat('e', 100) FROM generate_series(1, 300) AS g"));
        b.holds(&name, 300, 300 * 130);
    }
    if b.wants("check no inherit") {
        let name = b.name("checked");
        let constraint = b.name("here");
        b.say(&format!("CREATE TABLE {name} (a int, b text, CONSTRAINT {constraint} CHECK (a < 100000 OR b = E'\\\\\\'') NO INHERIT)"));
        b.say(&format!("INSERT INTO {name} SELECT g, 'b' || g FROM generate_series(1, 400) AS g"));
        b.holds(&name, 400, 400 * 32);
    }
    if b.wants("nulls not distinct") {
        let name = b.name("nulls");
        b.say(&format!("CREATE TABLE {name} (a int, b int, UNIQUE NULLS NOT DISTINCT (a, b))"));
        b.say(&format!("INSERT INTO {name} SELECT NULLIF(g, 1), NULLIF(g % 2, 0) FROM generate_series(1, 300) AS g"));
        b.holds(&name, 300, 300 * 30);
    }
    if b.wants("key without overlaps") {
        let (rooms, stays) = (b.name("rooms"), b.name("stays"));
        b.say(&format!("CREATE TABLE {rooms} (room int4range, valid daterange, PRIMARY KEY (room, valid WITHOUT OVERLAPS))"));
        b.say(&format!("INSERT INTO {rooms} SELECT int4range(g, g + 1), '[2024-01-01,2025-01-01)' FROM generate_series(1, 250) AS g"));
        b.say(&format!("CREATE TABLE {stays} (room int4range, during daterange)"));
        b.say(&format!("INSERT INTO {stays} SELECT int4range(g, g + 1), '[2024-02-01,2024-02-03)' FROM generate_series(1, 250) AS g"));
        b.say(&format!("ALTER TABLE {stays} ADD FOREIGN KEY (room, PERIOD during) REFERENCES {rooms} (room, PERIOD valid)"));
        b.holds(&rooms, 250, 250 * 50);
        b.holds(&stays, 250, 250 * 50);
    }
    if b.wants("constraint not enforced") {
        let name = b.name("free");
        b.say(&format!("CREATE TABLE {name} (a int, b text, CHECK (a < 0) NOT ENFORCED)"));
        b.say(&format!("INSERT INTO {name} SELECT g, NULLIF('b' || g % 9, 'b3') FROM generate_series(1, 300) AS g"));
        b.say(&format!("ALTER TABLE {name} ADD NOT NULL b NOT VALID"));
        b.holds(&name, 300, 300 * 30);
    }
}
