//! The columns of generated tables: a type, and an expression that yields a value for row `g`.
//!
//! Every expression is total: no row of any seed may raise an error.

use super::builder::{Builder, literal};

/// A column before it has a name.
pub(super) struct Kind {
    pub(super) sql_type: String,
    /// An expression over `g` (bigint, counting from 1).
    pub(super) value: String,
}

fn kind(sql_type: &str, value: String) -> Kind {
    Kind { sql_type: sql_type.to_owned(), value }
}

/// Strings at which an escape goes wrong.
const ODD_TEXTS: &[&str] = &[
    "",
    "\\.",
    "\\N",
    "\\",
    "\\\\",
    "\n",
    "\r",
    "\r\n",
    "\t",
    "\u{8}\u{b}\u{c}",
    "\u{1}\u{7f}",
    "NULL",
    " both ",
    "it's \"q\"",
    "a\n\\.\nb",
    "\\.\n\\.",
    "ends \\",
    "x\n\n",
    "$$",
    "{\"a\",NULL}",
    "é漢☃👩‍👩‍👧",
    "e\u{301}",
    "\u{feff}bom",
    "\u{2028}",
    "\\x41\\101\\t",
    "--;",
    "%s",
];

/// One of several values, by row: `(ARRAY[…]::type[])[…]`.
fn one_of(b: &mut Builder, sql_type: &str, values: &[&str]) -> String {
    let list = values.iter().map(|value| if *value == "NULL!" { "NULL".to_owned() } else { literal(value) }).collect::<Vec<_>>().join(", ");
    let (step, start) = (b.between(1, 40), b.below(values.len()));
    format!("(ARRAY[{list}]::text[])[1 + (g * {step} + g / 7 + {start}) % {}]::{sql_type}", values.len())
}

fn sometimes_null(b: &mut Builder, value: &str) -> String {
    let every = b.between(3, 17);
    format!("CASE WHEN g % {every} = 1 THEN NULL ELSE {value} END")
}

/// The features whose whole content is a kind of column.
pub(super) const COLUMN_FEATURES: &[&str] = &[
    "text with escapes",
    "null and empty",
    "float specials",
    "numeric specials",
    "timestamps",
    "intervals",
    "money",
    "boolean",
    "enum",
    "domain",
    "composite",
    "range type",
    "multirange",
    "array",
    "multi-dimensional array",
    "bytea",
    "json",
    "jsonb",
    "tsvector",
    "uuid and network types",
    "bit strings",
    "geometric types",
    "char types",
];

/// A column for one of [`COLUMN_FEATURES`]; `None` where the feature is none of them.
pub(super) fn column(b: &mut Builder, feature: &str) -> Option<Kind> {
    let salt = b.below(1_000_000);
    let column = match feature {
        "text with escapes" => {
            let value = one_of(b, "text", ODD_TEXTS);
            let tail = b.between(2, 9);
            kind("text", format!("{value} || CASE WHEN g % {tail} = 0 THEN g::text ELSE '' END"))
        }
        "null and empty" => {
            let sql_type = b.pick(&["text", "varchar(40)", "text COLLATE \"C\""]);
            kind(sql_type, format!("CASE (g + {salt}) % 3 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE 'v' || g % 5 END"))
        }
        "float specials" => {
            let sql_type = b.pick(&["double precision", "real"]);
            let odd = one_of(b, sql_type, &["NaN", "Infinity", "-Infinity", "-0", "0", "1e-37", "3.4e38", "0.1", "16777217", "NULL!"]);
            kind(sql_type, format!("CASE WHEN g % 2 = 0 THEN {odd} ELSE (g * {salt} / 7.0)::{sql_type} END"))
        }
        "numeric specials" => {
            let odd =
                one_of(b, "numeric", &["NaN", "Infinity", "-Infinity", "-0.0", "0", "1.000", "1e-30", "123456789012345678901234567890.5", "NULL!"]);
            kind("numeric", format!("CASE WHEN g % 3 = 0 THEN {odd} ELSE round(g * {salt} / 97.0, (g % 12)::int) END"))
        }
        "timestamps" => {
            let sql_type = b.pick(&["timestamptz", "timestamp", "date"]);
            let odd =
                one_of(b, sql_type, &["infinity", "-infinity", "0044-03-15 BC", "4713-01-01 BC", "9999-12-31", "2024-02-29", "1883-11-18", "NULL!"]);
            kind(
                sql_type,
                format!("CASE WHEN g % 4 = 0 THEN {odd} ELSE (timestamp '1990-01-01' + g * interval '{salt}.000001 seconds')::{sql_type} END"),
            )
        }
        "intervals" => {
            let odd = one_of(
                b,
                "interval",
                &["0", "-1 year 2 mons -3 days 04:05:06.789", "1 mon", "30 days", "24:00", "1 day", "-00:00:00.000001", "170000 years", "NULL!"],
            );
            kind("interval", format!("CASE WHEN g % 2 = 0 THEN {odd} ELSE g * interval '{salt} microseconds' END"))
        }
        "money" => kind("money", format!("((g * {salt} % 1000003 - 500000) / 100.0)::numeric(12, 2)::money")),
        "boolean" => {
            let value = sometimes_null(b, "g % 2 = 0");
            kind("boolean", value)
        }
        "enum" => kind("mood", format!("(enum_range(NULL::mood))[1 + (g + {salt}) % 4]")),
        "domain" => {
            let value = sometimes_null(b, "(g % 101)::int");
            kind("percentage", format!("({value})::percentage"))
        }
        "composite" => kind(
            "pair",
            format!("CASE g % 4 WHEN 0 THEN NULL WHEN 1 THEN ROW(NULL, NULL)::pair ELSE ROW(g::int, {})::pair END", literal("a\"b\\c,(d)\n")),
        ),
        "range type" => match b.below(3) {
            0 => kind(
                "int4range",
                format!("CASE g % 5 WHEN 0 THEN 'empty' WHEN 1 THEN '(,)' WHEN 2 THEN NULL ELSE int4range(g::int, g::int + {salt}) END"),
            ),
            1 => kind("numrange", format!("CASE WHEN g % 3 = 0 THEN '[NaN,NaN]' ELSE numrange(g / 7.0, g + {salt}, '(]') END")),
            _ => kind("labels", format!("CASE WHEN g % 3 = 0 THEN labels({}, NULL) ELSE labels('a', 'b' || g, '[]') END", literal("a,\"\\]"))),
        },
        "multirange" => kind(
            "int4multirange",
            format!(
                "CASE g % 4 WHEN 0 THEN '{{}}' WHEN 1 THEN '{{(,)}}' ELSE int4multirange(int4range(g::int, g::int + 2), int4range(g::int + 5, g::int + {salt} + 6)) END"
            ),
        ),
        "array" => match b.below(3) {
            0 => kind(
                "text[]",
                format!("CASE g % 4 WHEN 0 THEN '{{}}' WHEN 1 THEN NULL ELSE ARRAY['', NULL, 'NULL', g::text, {}] END", literal("a\"b\\c,{d}\n")),
            ),
            1 => kind("int[]", format!("CASE g % 3 WHEN 0 THEN '[-1:1]={{1,NULL,3}}' ELSE ARRAY[g::int, {salt}] END")),
            _ => kind("bytea[]", "ARRAY[decode(md5(g::text), 'hex'), NULL, '']".to_owned()),
        },
        "multi-dimensional array" => kind(
            "int[][]",
            format!(
                "CASE g % 3 WHEN 0 THEN '[2:3][-1:0]={{{{1,2}},{{3,NULL}}}}' WHEN 1 THEN '{{{{{{1}}}}}}' ELSE ARRAY[ARRAY[g::int, {salt}], ARRAY[NULL, 0]] END"
            ),
        ),
        "bytea" => kind(
            "bytea",
            format!(
                "CASE g % 5 WHEN 0 THEN '' WHEN 1 THEN NULL WHEN 2 THEN decode('5c2e0a00', 'hex') ELSE decode(md5((g + {salt})::text), 'hex') END"
            ),
        ),
        "json" => kind("json", format!("({} || g || '}}')::json", literal("{\"a\" :  1, \"a\":\t\"\\u0041\\\\ \\n\",\n \"g\": "))),
        "jsonb" => kind(
            "jsonb",
            format!(
                "CASE g % 6 WHEN 0 THEN 'null' WHEN 1 THEN NULL WHEN 2 THEN '[1.0, 1.00, -0]' ELSE jsonb_build_object('g', g, {}::text, {salt}) END",
                literal("k\"\\\n☃")
            ),
        ),
        "tsvector" => kind(
            "tsvector",
            format!(
                "CASE g % 3 WHEN 0 THEN {}::tsvector ELSE to_tsvector('simple', 'word' || g || ' and more ' || {salt}) END",
                literal("'it''s':1A,2 'back\\\\slash':3")
            ),
        ),
        "uuid and network types" => match b.below(3) {
            0 => kind("uuid", format!("md5((g + {salt})::text)::uuid")),
            1 => kind("inet", format!("('10.' || g % 256 || '.{}.1/' || 8 + g % 25)::inet", salt % 256)),
            _ => kind("macaddr", "substr(md5(g::text), 1, 12)::macaddr".to_owned()),
        },
        "bit strings" => kind("varbit", format!("CASE g % 3 WHEN 0 THEN ''::varbit ELSE ((g + {salt}) % 4096)::bit(12)::varbit END")),
        "geometric types" => kind("point", format!("CASE g % 3 WHEN 0 THEN '(NaN,-0)'::point ELSE point(g / 3.0, {salt}) END")),
        "char types" => match b.below(3) {
            0 => kind("char(12)", format!("CASE g % 3 WHEN 0 THEN '' WHEN 1 THEN ' x' ELSE (g + {salt})::text END")),
            1 => kind("\"char\"", format!("chr(1 + ((g + {salt}) % 126)::int)::\"char\"")),
            _ => kind("name", format!("('n' || g + {salt})::name")),
        },
        _ => return None,
    };
    Some(column)
}
