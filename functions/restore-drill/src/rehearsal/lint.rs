//! Known dangers that are read from the text: the rules of the linter squawk. What the rehearsal measures is judged by its measure; a rule says how to
//! write it instead, and warns of what no copy can show, such as the application that still uses the old name.

use serde::{Deserialize, Serialize};
use squawk_linter::{Linter, Rule};
use squawk_syntax::SourceFile;

use super::files::File;

/// Rules about what hurts a running application. Not those about style.
const RULES: [Rule; 24] = [
    Rule::AddingFieldWithDefault,
    Rule::AddingForeignKeyConstraint,
    Rule::AddingNotNullableField,
    Rule::AddingRequiredField,
    Rule::AddingSerialPrimaryKeyField,
    Rule::BanConcurrentIndexCreationInTransaction,
    Rule::BanDropColumn,
    Rule::BanDropDatabase,
    Rule::BanDropFunction,
    Rule::BanDropNotNull,
    Rule::BanDropSchema,
    Rule::BanDropTable,
    Rule::BanDropType,
    Rule::BanDropView,
    Rule::BanTruncateCascade,
    Rule::ChangingColumnType,
    Rule::ConstraintMissingNotValid,
    Rule::DisallowedUniqueConstraint,
    Rule::RenamingColumn,
    Rule::RenamingTable,
    Rule::RequireConcurrentIndexCreation,
    Rule::RequireConcurrentIndexDeletion,
    Rule::RequireConcurrentPartitionDetach,
    Rule::RequireConcurrentReindex,
];

/// A rule that a statement breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lint {
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// The rule, by squawk's name.
    pub rule: String,
    /// What is dangerous.
    pub message: String,
    /// How to write it instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// The rules that a file breaks. A comment of squawk's (`-- squawk-ignore RULE`) silences a rule, but nothing that is measured.
pub fn lint(file: &File) -> Vec<Lint> {
    let parse = SourceFile::parse(&file.text);
    let mut lints: Vec<Lint> = Linter::from(RULES)
        .lint(&parse, &file.text)
        .into_iter()
        .map(|violation| Lint {
            file: file.name.clone(),
            line: file.line_of(usize::from(violation.text_range.start())),
            rule: violation.code.to_string(),
            message: violation.message,
            help: violation.help,
        })
        .collect();
    // A constraint with two names breaks a rule twice.
    lints.dedup();
    lints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<String> {
        lint(&File { name: "1.sql".into(), text: text.into() }).into_iter().map(|lint| lint.rule).collect()
    }

    #[test]
    fn the_known_dangers_have_their_rule() {
        for (text, rule) in [
            ("create index i on t (a);", "require-concurrent-index-creation"),
            ("alter table t add column a int not null;", "adding-required-field"),
            ("alter table t alter column a type bigint;", "changing-column-type"),
            ("alter table t rename column a to b;", "renaming-column"),
            ("alter table t rename to u;", "renaming-table"),
            ("drop table t;", "ban-drop-table"),
            ("alter table t drop column a;", "ban-drop-column"),
            ("alter table t alter column a set not null;", "adding-not-nullable-field"),
            ("alter table t add constraint f foreign key (a) references u (a);", "adding-foreign-key-constraint"),
        ] {
            assert!(rules(text).iter().any(|seen| seen == rule), "{text}: {:?}", rules(text));
        }
    }

    #[test]
    fn the_safe_way_breaks_no_rule() {
        for text in [
            "create index concurrently i on t (a);",
            "alter table t add column a int;",
            "alter table t add constraint f foreign key (a) references u (a) not valid;",
            "alter table t validate constraint f;",
            "create table u (a bigint primary key, b text);",
            "-- squawk-ignore renaming-table\nalter table t rename to u;",
        ] {
            assert_eq!(rules(text), Vec::<String>::new(), "{text}");
        }
    }
}
