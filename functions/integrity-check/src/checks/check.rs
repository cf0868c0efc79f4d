//! A check as the team writes it: what is promised about which data, how much it matters, and whom to ask. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::finding::FindingKind;

/// A check that is written right.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Its name: its identity from night to night.
    pub name: String,
    /// Line of the file that it begins in, from 1.
    pub line: usize,
    /// The database that it is for; without it, for every database that is looked at.
    pub database: Option<String>,
    /// How much it matters when it fails.
    pub level: Level,
    /// Whom to ask.
    pub owner: Option<String>,
    /// Where it is written what to do.
    pub runbook: Option<String>,
    /// Whether values of rows may be shown, a few.
    pub show_values: bool,
    /// How long a statement of it may take.
    pub timeout: Duration,
    /// Only rows of which this is true.
    pub filter: Option<Sql>,
    /// What is promised.
    pub kind: Kind,
}

/// What is promised.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A query gives no row.
    Rows(Sql),
    /// A query gives one number, of which something holds.
    Scalar(Sql, Promise),
    /// Something holds of a number that the night's scan counted.
    Threshold(Measure, Promise),
    /// Something holds of every row of a table.
    Each(TableName, Rule),
    /// No two rows are equal in these columns; rows with a null in one of them are not compared, as PostgreSQL does not.
    Unique(TableName, Vec<String>),
    /// Every row refers to a row that is there.
    References(Reference),
    /// Every key in a column names an object of S3.
    Objects(Objects),
}

/// A rule for one column, which is judged row by row: all of a table are judged in one pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The column.
    pub column: String,
    /// What holds.
    pub holds: Holds,
}

/// What holds of the values of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Holds {
    /// They are among these.
    Accepted {
        /// The values.
        values: Vec<Literal>,
        /// Whether a null is fine.
        allow_null: bool,
    },
    /// The newest is at most so old.
    Fresh(Duration),
    /// They are not null.
    NotNull,
    /// They are not below the first and not above the second.
    Range(Option<Literal>, Option<Literal>),
    /// They match a regular expression.
    Pattern(String),
}

/// A value that the file holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// A number, as it is written.
    Number(String),
    /// A text; a boolean as PostgreSQL writes it.
    Text(String),
    /// A date or time, in ISO form.
    Time(String),
}

/// Rows that refer to rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The table that refers.
    pub table: TableName,
    /// Its columns.
    pub columns: Vec<String>,
    /// The table that is referred to.
    pub parent: TableName,
    /// Its columns, in the same order.
    pub parent_columns: Vec<String>,
}

/// Keys of S3 in a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objects {
    /// The table.
    pub table: TableName,
    /// The column.
    pub column: String,
    /// The bucket that the objects are in.
    pub bucket: String,
    /// What stands before a key that does not begin with `s3://`.
    pub prefix: String,
    /// How many are looked for: all, where there are no more; else a random sample.
    pub sample: u32,
    /// Whether keys are percent-encoded in the column.
    pub percent_encoded: bool,
}

/// A number of the night's scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// The table.
    pub table: TableName,
    /// The column, but for rows.
    pub column: Option<String>,
    /// Which number.
    pub metric: Metric,
}

/// Which number of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Rows of the table.
    Rows,
    /// Share of nulls, 0 to 1.
    NullShare,
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// Distinct values, estimated.
    Distinct,
}

/// What holds of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Promise {
    /// How it is compared.
    pub operator: Operator,
    /// With what.
    pub value: f64,
}

/// How a number is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
}

/// A table, by the names that the catalogs have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableName {
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
}

/// SQL that the team wrote; it stands between parentheses of ours, and ends nothing but itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sql {
    /// Its text.
    pub text: String,
    /// Line of the file that its text begins in.
    pub line: usize,
    /// Whether its lines are lines of the file.
    pub is_block: bool,
}

/// How much a check matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// Worth knowing.
    Note,
    /// Somebody should look this week.
    Warning,
    /// Somebody must look now.
    Critical,
}

impl Level {
    /// The kind of finding that a failure is.
    pub fn finding(self) -> FindingKind {
        match self {
            Self::Note => FindingKind::CheckNoted,
            Self::Warning => FindingKind::CheckWarned,
            Self::Critical => FindingKind::CheckFailed,
        }
    }
}

impl Operator {
    /// As the file and a person write it.
    pub const ALL: [(&'static str, Self); 6] =
        [("=", Self::Equal), ("!=", Self::NotEqual), ("<", Self::Less), ("<=", Self::AtMost), (">", Self::More), (">=", Self::AtLeast)];
}

impl Promise {
    /// Whether it holds. Of what is no number nothing holds.
    #[expect(clippy::float_cmp, reason = "the team asks for equality of what it counts")]
    pub fn holds(self, number: f64) -> bool {
        match self.operator {
            Operator::Equal => number == self.value,
            Operator::NotEqual => number != self.value && !number.is_nan(),
            Operator::Less => number < self.value,
            Operator::AtMost => number <= self.value,
            Operator::More => number > self.value,
            Operator::AtLeast => number >= self.value,
        }
    }

    /// `>= 10`.
    pub fn said(self) -> String {
        let sign = Operator::ALL.iter().find(|(_, operator)| *operator == self.operator).map_or("", |(sign, _)| sign);
        format!("{sign} {}", self.value)
    }
}

impl TableName {
    /// `SCHEMA.NAME`, for a person, and as [`crate::model::Table::subject`] has it.
    pub fn subject(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

impl Check {
    /// The table that it is about, where it is about one.
    pub fn table(&self) -> Option<&TableName> {
        match &self.kind {
            Kind::Rows(_) | Kind::Scalar(..) => None,
            Kind::Threshold(measure, _) => Some(&measure.table),
            Kind::Each(table, _) | Kind::Unique(table, _) => Some(table),
            Kind::References(reference) => Some(&reference.table),
            Kind::Objects(objects) => Some(&objects.table),
        }
    }

    /// The SQL that the team wrote in it: the query, or the filter.
    pub fn sql(&self) -> Option<&Sql> {
        match &self.kind {
            Kind::Rows(sql) | Kind::Scalar(sql, _) => Some(sql),
            _ => self.filter.as_ref(),
        }
    }

    /// The word for its kind in the file.
    pub fn kind_name(&self) -> &'static str {
        match &self.kind {
            Kind::Rows(_) | Kind::Scalar(..) => "sql",
            Kind::Threshold(..) => "threshold",
            Kind::Unique(..) => "unique",
            Kind::References(_) => "references",
            Kind::Objects(_) => "s3-objects",
            Kind::Each(_, rule) => match rule.holds {
                Holds::Accepted { .. } => "values",
                Holds::Fresh(_) => "fresh",
                Holds::NotNull => "not-null",
                Holds::Range(..) => "range",
                Holds::Pattern(_) => "pattern",
            },
        }
    }
}
