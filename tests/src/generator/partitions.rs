//! Partitioned tables and inheritance: rows that lie in another relation than the one they were put into.

use super::{
    builder::Builder,
    tables::{self, Size},
};

/// Splits a size over leaves and notes each; hash and list leaves get unequal shares, so the least is a guess kept low.
fn holds_leaves(b: &mut Builder, leaves: &[String], size: &Size) {
    for leaf in leaves {
        b.holds(leaf, size.rows / leaves.len(), size.bytes_min * 9 / 10 / leaves.len());
    }
}

pub(super) fn partitioned(b: &mut Builder) {
    if b.wants("partition by range") {
        range(b);
    }
    if b.wants("partition by list") {
        list(b);
    }
    if b.wants("partition by hash") {
        hash(b);
    }
    if b.wants("partition by hash on an enum") {
        hash_on_enum(b);
    }
    if b.wants("partition of several levels") {
        levels(b);
    }
    for (feature, statement) in [("partition attached with another column order", attached as fn(&mut Builder)), ("partition detached", detached)] {
        if b.wants(feature) {
            statement(b);
        }
    }
    if b.wants("default partition") {
        let (root, leaf) = (b.name("root"), b.name("only_default"));
        let size = tables::size(b, 1);
        b.say(&format!("CREATE TABLE {root} (k text, body text) PARTITION BY LIST (k)"));
        b.say(&format!("CREATE TABLE {leaf} PARTITION OF {root} DEFAULT"));
        b.say(&format!("INSERT INTO {root} SELECT NULLIF(g % 5, 0)::text, {} FROM generate_series(1, {}) AS g", tables::filling(&size), size.rows));
        holds_leaves(b, &[leaf], &size);
    }
    if b.wants("partitioned table without partitions") {
        let root = b.name("root");
        b.say(&format!("CREATE TABLE {root} (id int, at date NOT NULL) PARTITION BY RANGE (at, (id % 7))"));
    }
}

fn range(b: &mut Builder) {
    let (root, low, high) = (b.name("root"), b.name("low"), b.name("high"));
    let size = tables::size(b, 2);
    let middle = size.rows / 2 + 1;
    b.say(&format!("CREATE TABLE {root} (id bigint, body text, PRIMARY KEY (id)) PARTITION BY RANGE (id)"));
    b.say(&format!("CREATE TABLE {low} PARTITION OF {root} FOR VALUES FROM (MINVALUE) TO ({middle})"));
    b.say(&format!("CREATE TABLE {high} PARTITION OF {root} (body DEFAULT 'leaf') FOR VALUES FROM ({middle}) TO (MAXVALUE)"));
    b.say(&format!("INSERT INTO {root} SELECT g, {} FROM generate_series(1::bigint, {}) AS g", tables::filling(&size), size.rows));
    holds_leaves(b, &[low, high], &size);
}

fn list(b: &mut Builder) {
    let (root, odd, rest) = (b.name("root"), b.name("odd"), b.name("rest"));
    let size = tables::size(b, 2);
    b.say(&format!("CREATE TABLE {root} (k text, body text, n bigint) PARTITION BY LIST (k)"));
    b.say(&format!("CREATE TABLE {odd} PARTITION OF {root} FOR VALUES IN ('it''s', E'a\\\\b\\n', NULL)"));
    b.say(&format!("CREATE TABLE {rest} PARTITION OF {root} FOR VALUES IN ('x', '', '\"')"));
    b.say(&format!(
        "INSERT INTO {root} SELECT (ARRAY['it''s', 'x', NULL, '', E'a\\\\b\\n', '\"'])[1 + g % 6], {}, g FROM generate_series(1, {}) AS g",
        tables::filling(&size),
        size.rows
    ));
    holds_leaves(b, &[odd, rest], &size);
}

fn hash(b: &mut Builder) {
    let root = b.name("root");
    let modulus = b.between(2, 4);
    let size = tables::size(b, modulus);
    b.say(&format!("CREATE TABLE {root} (id bigint, body text) PARTITION BY HASH (id)"));
    let mut leaves = Vec::new();
    for remainder in 0..modulus {
        let leaf = b.name("hash");
        b.say(&format!("CREATE TABLE {leaf} PARTITION OF {root} FOR VALUES WITH (MODULUS {modulus}, REMAINDER {remainder})"));
        leaves.push(leaf);
    }
    b.say(&format!("INSERT INTO {root} SELECT g, {} FROM generate_series(1::bigint, {}) AS g", tables::filling(&size), size.rows));
    holds_leaves(b, &leaves, &size);
}

/// The hash of an enum value is that of its OID: a copy has other OIDs, and its rows lie in other leaves.
fn hash_on_enum(b: &mut Builder) {
    let (root, first, second) = (b.name("root"), b.name("enum"), b.name("enum"));
    let rows = b.between(1200, 2500);
    b.say(&format!("CREATE TABLE {root} (m mood, n bigint, body text) PARTITION BY HASH (m)"));
    b.say(&format!("CREATE TABLE {first} PARTITION OF {root} FOR VALUES WITH (MODULUS 2, REMAINDER 0)"));
    if b.wants("partition attached with another column order") {
        b.say(&format!("CREATE TABLE {second} (body text, n bigint, m mood)"));
        b.say(&format!("ALTER TABLE {root} ATTACH PARTITION {second} FOR VALUES WITH (MODULUS 2, REMAINDER 1)"));
    } else {
        b.say(&format!("CREATE TABLE {second} PARTITION OF {root} FOR VALUES WITH (MODULUS 2, REMAINDER 1)"));
    }
    // Which leaf gets how much depends on OIDs: nothing is promised of their sizes.
    b.say(&format!("INSERT INTO {root} SELECT (enum_range(NULL::mood))[1 + g % 4], g, repeat('e', 150) FROM generate_series(1, {rows}) AS g"));
}

fn levels(b: &mut Builder) {
    let (root, branch, leaf, other) = (b.name("root"), b.name("branch"), b.name("deep"), b.name("other"));
    let rows = b.between(1500, 3000);
    b.say(&format!("CREATE TABLE {root} (id bigint, at date, body text) PARTITION BY RANGE (at)"));
    b.say(&format!("CREATE TABLE {branch} PARTITION OF {root} FOR VALUES FROM ('2024-01-01') TO ('2025-01-01') PARTITION BY LIST ((id % 2))"));
    b.say(&format!("CREATE TABLE {leaf} PARTITION OF {branch} FOR VALUES IN (0)"));
    b.say(&format!("CREATE TABLE {other} PARTITION OF {branch} DEFAULT"));
    b.say(&format!("INSERT INTO {root} SELECT g, '2024-01-01'::date + (g % 360)::int, repeat(md5(g::text), 6) FROM generate_series(1, {rows}) AS g"));
    for name in [leaf, other] {
        b.holds(&name, rows / 2, rows / 2 * 225);
    }
}

fn attached(b: &mut Builder) {
    let (root, leaf) = (b.name("root"), b.name("attached"));
    let size = tables::size(b, 1);
    b.say(&format!("CREATE TABLE {root} (a bigint NOT NULL, gone int, body text, d numeric) PARTITION BY RANGE (a)"));
    b.say(&format!("ALTER TABLE {root} DROP gone"));
    b.say(&format!("CREATE TABLE {leaf} (d numeric, filler text, body text, a bigint NOT NULL)"));
    b.say(&format!("INSERT INTO {leaf} SELECT g / 3.0, 'f', {}, g FROM generate_series(1, {}) AS g", tables::filling(&size), size.rows));
    b.say(&format!("ALTER TABLE {leaf} DROP filler"));
    b.say(&format!("ALTER TABLE {root} ATTACH PARTITION {leaf} FOR VALUES FROM (1) TO (1000000)"));
    b.holds(&leaf, size.rows, size.bytes_min);
}

fn detached(b: &mut Builder) {
    let (root, leaf) = (b.name("root"), b.name("detached"));
    let size = tables::size(b, 1);
    // No key: a detached leaf keeps its NOT NULL constraint's name, which pg_dump 18 does not always write the same way again.
    b.say(&format!("CREATE TABLE {root} (id bigint, body text DEFAULT 'root') PARTITION BY RANGE (id)"));
    b.say(&format!("CREATE TABLE {leaf} PARTITION OF {root} FOR VALUES FROM (1) TO (1000000)"));
    b.say(&format!("INSERT INTO {root} SELECT g, {} FROM generate_series(1::bigint, {}) AS g", tables::filling(&size), size.rows));
    b.say(&format!("ALTER TABLE {root} DETACH PARTITION {leaf}"));
    b.holds(&leaf, size.rows, size.bytes_min);
}

/// Children with rows of their own; a column that comes late to the parent lies last in the child, and first in a copy.
pub(super) fn inherited(b: &mut Builder) {
    if !b.wants("inheritance") && !b.wants("inheritance from two parents") {
        return;
    }
    let (parent, child, late) = (b.name("parent"), b.name("child"), b.name("late"));
    b.say(&format!("CREATE TABLE {parent} (id int NOT NULL, shared text DEFAULT 'p', CHECK (id > 0))"));
    let parents = if b.wants("inheritance from two parents") {
        let second = b.name("parent");
        b.say(&format!("CREATE TABLE {second} (shared text, extra int DEFAULT 3)"));
        b.say(&format!("INSERT INTO {second} SELECT 's' || g, g FROM generate_series(1, 250) AS g"));
        b.holds(&second, 250, 250 * 30);
        format!("{second}, {parent}")
    } else {
        parent.clone()
    };
    b.say(&format!("CREATE TABLE {child} (own text, shared text DEFAULT 'c') INHERITS ({parents})"));
    b.say(&format!("ALTER TABLE {parent} ADD {late} int DEFAULT 5"));
    let rows = b.between(1300, 3000);
    b.say(&format!("INSERT INTO {parent} (id, shared) SELECT g, repeat('p', 150) FROM generate_series(1, {rows}) AS g"));
    b.say(&format!("INSERT INTO {child} (id, own, shared, {late}) SELECT g, repeat('o', 150), NULL, g FROM generate_series(1, {rows}) AS g"));
    for name in [parent, child] {
        b.holds(&name, rows, rows * 175);
    }
}
