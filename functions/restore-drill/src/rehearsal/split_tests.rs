use super::*;

fn units(text: &str) -> Vec<Unit> {
    split(&File { name: "1.sql".into(), text: text.into() }).unwrap_or_else(|unfit| panic!("{text}: {unfit:?}"))
}

/// `T2` for a transaction of two statements, `A` for one alone.
fn shape(text: &str) -> String {
    let shapes = units(text).into_iter().map(|unit| match unit {
        Unit::Transaction(statements) => format!("T{}", statements.len()),
        Unit::Alone(..) => "A".to_owned(),
    });
    shapes.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_file_runs_as_its_tool_would_run_it() {
    for (text, expected) in [
        ("create table a (b int); insert into a values (1);", "T2"),
        ("create table a (b int)", "T1"),
        ("-- nothing\n", ""),
        ("begin; create table a (b int); insert into a values (1); commit; begin; drop table a; commit;", "T2 T1"),
        ("BEGIN;\nalter table a add b int;\nCOMMIT;\ncreate index concurrently i on a (b);\nselect 1", "T1 A T1"),
        ("set lock_timeout = '1s'; create index concurrently i on a (b);", "T1 A"),
        ("drop index concurrently i", "A"),
        ("reindex index concurrently i", "A"),
        ("reindex (concurrently) table t", "A"),
        ("vacuum t", "A"),
        ("vacuum full t", "A"),
        ("reindex table t", "T1"),
        ("cluster t using i", "T1"),
        ("alter type e add value 'x'", "T1"),
        ("do $$ begin perform 1; end $$; select 1", "T2"),
        ("-- no-transaction\ndo $$ begin commit; end $$; select 1", "A T1"),
        ("select ';', $x$ ; $x$, e'\\';' /* ; */; select 2", "T2"),
        ("create function f() returns int language plpgsql as $$ begin return 1; end; $$; select 1", "T2"),
        ("create function f() returns int begin atomic; select 1; end; select 1", "T2"),
    ] {
        assert_eq!(shape(text), expected, "{text}");
    }
}

#[test]
fn texts_and_lines_are_those_of_the_file() {
    let statements: Vec<Statement> =
        units("-- first\n\ncreate table a (b int);\n/* second */ insert into a\nvalues (1) ;").iter().flat_map(Unit::statements).cloned().collect();
    assert_eq!((statements[0].line, statements[0].text.as_str()), (3, "create table a (b int)"));
    assert_eq!((statements[1].line, statements[1].text.trim()), (4, "insert into a\nvalues (1)"));
}

#[test]
fn what_only_psql_does_is_refused_with_its_line() {
    for (text, line) in [
        ("select 1;\n\\i other.sql\n", 2),
        ("\\set x 1\nselect 1;", 1),
        ("select 1;\n\n\\connect other\n", 3),
        ("select 1;\ncopy t from stdin;", 2),
        ("select 1;\ncopy t from stdin;\n1\t2\n\\.\n", 2),
        ("begin; rollback;", 1),
        ("begin;\nselect 1;", 2),
        ("select 1;\ncommit;", 2),
        ("savepoint a;", 1),
        ("begin isolation level serializable; commit;", 1),
        ("creat table a (b int);", 1),
    ] {
        let unfit = split(&File { name: "1.sql".into(), text: text.into() }).expect_err(text);
        assert_eq!(unfit[0].line, line, "{text}: {unfit:?}");
        assert!(!unfit[0].hint.is_empty());
    }
}

#[test]
fn what_destroys_is_seen_and_what_does_not_is_not() {
    for (text, count) in [
        ("drop table a", 1),
        ("alter table a drop column b, drop c", 2),
        ("truncate a", 1),
        ("delete from a", 1),
        ("update a set b = 1", 1),
        ("with x as (delete from a returning *) select * from x", 1),
        ("alter table a alter b type int using b::int", 1),
        ("drop schema s", 1),
        ("delete from a where true", 0),
        ("update a set b = 1 where c", 0),
        ("drop index i", 0),
        ("alter table a drop constraint c", 0),
        ("alter table a alter b type bigint", 0),
    ] {
        assert_eq!(units(text)[0].statements()[0].destroys.len(), count, "{text}");
    }
}

#[test]
fn a_setting_of_the_session_is_told_from_one_of_the_transaction() {
    for (text, expected) in
        [("set search_path = a", true), ("set local search_path = a", false), ("set role a", true), ("select 1", false), ("reset all", true)]
    {
        assert_eq!(units(text)[0].statements()[0].is_setting, expected, "{text}");
    }
}
