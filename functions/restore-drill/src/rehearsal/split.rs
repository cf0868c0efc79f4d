//! A file's statements, and which of them run in one transaction: as psql, sqlx and alembic would run it. Pure.
//!
//! Boundaries come from a parser of PostgreSQL's language, never from looking for semicolons. What it cannot read, and what needs psql itself,
//! is refused with its line: a rehearsal of something else than the migration would be worth nothing.

use squawk_syntax::ast::{self, AstNode as _};
use squawk_syntax::{SourceFile, SyntaxKind, SyntaxNode};

use super::files::File;

const STATEMENTS_MAX: usize = 20_000;

/// One statement of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Line in its file, from 1.
    pub line: usize,
    /// Its text.
    pub text: String,
    /// What it would destroy; empty for most.
    pub destroys: Vec<String>,
    /// What it changes beyond its database: a role, a database, a setting of the server.
    pub reaches_out: bool,
    /// A setting of the session, which the file's later transactions have too.
    pub is_setting: bool,
    alone: Option<Alone>,
}

/// Why a statement cannot be in a transaction, which is also how its outcome is known when nobody was there at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alone {
    /// CREATE INDEX CONCURRENTLY: a new index, valid or not.
    CreateIndex,
    /// DROP INDEX CONCURRENTLY: an index less.
    DropIndex,
    /// REINDEX CONCURRENTLY: other indexes, all valid.
    Reindex,
    /// VACUUM FULL, CLUSTER of everything: other files.
    Rewrite,
    /// VACUUM: safe to run again.
    Vacuum,
    /// Anything else: nothing tells.
    Other,
}

/// What runs at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    /// In one transaction.
    Transaction(Vec<Statement>),
    /// By itself, outside any transaction.
    Alone(Statement, Alone),
}

impl Unit {
    /// Its statements.
    pub fn statements(&self) -> &[Statement] {
        match self {
            Self::Transaction(statements) => statements,
            Self::Alone(statement, _) => std::slice::from_ref(statement),
        }
    }
}

/// Why a file cannot be rehearsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Line, from 1.
    pub line: usize,
    /// What is there.
    pub seen: String,
    /// What to do.
    pub hint: &'static str,
}

/// Takes a file apart.
///
/// # Errors
/// Everything that keeps it from being rehearsed.
pub fn split(file: &File) -> Result<Vec<Unit>, Vec<Unfit>> {
    let parse = SourceFile::parse(&file.text);
    let mut unfit: Vec<Unfit> = Vec::new();
    if let Some(error) = parse.errors().first() {
        // What follows the first error is often only its echo.
        return Err(vec![unreadable(file, &parse.tree(), usize::from(error.range().start()), error.message())]);
    }
    let mut units = Vec::new();
    let mut open: Option<Vec<Statement>> = None;
    let mut loose = Vec::new();
    let mut has_own_transactions = false;
    for (count, statement) in parse.tree().stmts().enumerate() {
        let line = file.line_of(first_offset(statement.syntax()));
        let mut refuse = |seen: &str, hint| unfit.push(Unfit { line, seen: seen.to_owned(), hint });
        if count >= STATEMENTS_MAX {
            refuse("more statements than a rehearsal takes", "split the file");
            break;
        }
        match &statement {
            ast::Stmt::EmptyStmt(_) => {}
            ast::Stmt::Begin(begin) => {
                has_own_transactions = true;
                if begin.transaction_mode_list().is_some() {
                    refuse("BEGIN with an isolation level or an access mode is not rehearsed", "begin it plainly");
                }
                if open.is_some() {
                    refuse("BEGIN inside a transaction", "end the one before it with COMMIT");
                }
                units.extend(std::mem::take(&mut loose).into_iter().map(by_itself));
                open = Some(Vec::new());
            }
            ast::Stmt::Commit(_) => match open.take() {
                Some(statements) => units.push(Unit::Transaction(statements)),
                None => refuse("COMMIT without BEGIN", "begin the transaction in the same file"),
            },
            ast::Stmt::Rollback(_) | ast::Stmt::SavepointCreate(_) | ast::Stmt::ReleaseSavepoint(_) | ast::Stmt::PrepareTransaction(_) => {
                refuse("ROLLBACK, SAVEPOINT and PREPARE TRANSACTION are not rehearsed", "a migration goes forward: leave it out");
            }
            ast::Stmt::SetTransaction(_) => refuse("SET TRANSACTION is not rehearsed", "leave it out"),
            ast::Stmt::Copy(copy) if uses_client(copy.syntax()) => unfit.push(from_client(line)),
            _ => open.as_mut().unwrap_or(&mut loose).push(describe(&statement, line)),
        }
    }
    if open.is_some() {
        unfit.push(Unfit {
            line: file.line_of(file.text.len()),
            seen: "a transaction is begun and never committed".to_owned(),
            hint: "end it with COMMIT",
        });
    }
    if !unfit.is_empty() {
        return Err(unfit);
    }
    // sqlx's mark for a file without a transaction of its own.
    let is_marked = file.text.starts_with("-- no-transaction");
    if has_own_transactions || is_marked || loose.iter().any(|statement| statement.alone.is_some()) {
        units.extend(loose.into_iter().map(by_itself));
    } else {
        units.push(Unit::Transaction(loose));
    }
    units.retain(|unit| !unit.statements().is_empty());
    Ok(units)
}

/// What an error of the parser comes from.
fn unreadable(file: &File, tree: &SourceFile, offset: usize, message: &str) -> Unfit {
    let data_of = tree.stmts().find(|statement| matches!(statement, ast::Stmt::Copy(copy) if uses_client(copy.syntax())));
    if let Some(copy) = data_of.map(|statement| first_offset(statement.syntax())).filter(|copy| *copy < offset) {
        return from_client(file.line_of(copy));
    }
    let line = file.line_of(offset);
    let text = file.text.lines().nth(line - 1).unwrap_or_default().trim_start();
    if text.starts_with('\\') {
        let command = text.split_whitespace().next().unwrap_or_default();
        return Unfit { line, seen: format!("{command} is a command of psql, not SQL"), hint: "write out what it does: a migration is SQL only" };
    }
    Unfit { line, seen: format!("cannot be read as SQL: {message}"), hint: "correct it, or put what is unusual into a file of its own" }
}

fn from_client(line: usize) -> Unfit {
    Unfit { line, seen: "COPY from or to the client is not rehearsed".to_owned(), hint: "write the rows as INSERT … VALUES" }
}

/// Outside a transaction, a block or a procedure may commit by itself: then it cannot be inside anything of ours.
fn by_itself(statement: Statement) -> Unit {
    let may_commit = ["do", "call"].iter().any(|word| statement.text.split_whitespace().next().is_some_and(|first| first.eq_ignore_ascii_case(word)));
    match statement.alone {
        Some(alone) => Unit::Alone(statement, alone),
        None if may_commit => Unit::Alone(statement, Alone::Other),
        None => Unit::Transaction(vec![statement]),
    }
}

fn describe(statement: &ast::Stmt, line: usize) -> Statement {
    let node = statement.syntax();
    let start = first_offset(node) - usize::from(node.text_range().start());
    let text = node.text().to_string()[start..].trim_end().trim_end_matches(';').to_owned();
    let is_local = has(node, SyntaxKind::LOCAL_KW);
    let is_setting = matches!(statement, ast::Stmt::Set(_) | ast::Stmt::Reset(_) | ast::Stmt::SetRole(_) | ast::Stmt::ResetRole(_)) && !is_local;
    Statement { line, text, destroys: destroys(statement), reaches_out: reaches_out(statement), is_setting, alone: alone(statement) }
}

/// Where the statement begins, behind comments and space.
fn first_offset(node: &SyntaxNode) -> usize {
    let first = node.descendants_with_tokens().filter_map(squawk_syntax::SyntaxElement::into_token).find(|token| !token.kind().is_trivia());
    usize::from(first.map_or_else(|| node.text_range().start(), |token| token.text_range().start()))
}

fn has(node: &SyntaxNode, kind: SyntaxKind) -> bool {
    node.descendants_with_tokens().any(|element| element.kind() == kind)
}

fn uses_client(node: &SyntaxNode) -> bool {
    has(node, SyntaxKind::STDIN_KW) || has(node, SyntaxKind::STDOUT_KW)
}

/// Source: every call of `PreventInTransactionBlock` in PostgreSQL's `src/backend`.
fn alone(statement: &ast::Stmt) -> Option<Alone> {
    let node = statement.syntax();
    let is_concurrent = has(node, SyntaxKind::CONCURRENTLY_KW);
    match statement {
        ast::Stmt::CreateIndex(_) if is_concurrent => Some(Alone::CreateIndex),
        ast::Stmt::DropIndex(_) if is_concurrent => Some(Alone::DropIndex),
        ast::Stmt::Reindex(reindex) => {
            let is_wide = matches!(
                reindex.reindex_target(),
                Some(
                    ast::ReindexTarget::ReindexTargetDatabase(_)
                        | ast::ReindexTarget::ReindexTargetSchema(_)
                        | ast::ReindexTarget::ReindexTargetSystem(_)
                )
            );
            (is_concurrent || is_wide).then_some(if is_concurrent { Alone::Reindex } else { Alone::Rewrite })
        }
        ast::Stmt::Vacuum(_) => Some(if has(node, SyntaxKind::FULL_KW) { Alone::Rewrite } else { Alone::Vacuum }),
        ast::Stmt::Cluster(cluster) => (cluster.table_name_ref().is_none() && cluster.cluster_legacy().is_none()).then_some(Alone::Rewrite),
        ast::Stmt::AlterTable(_) if is_concurrent => Some(Alone::Other),
        ast::Stmt::CreateDatabase(_)
        | ast::Stmt::DropDatabase(_)
        | ast::Stmt::CreateTablespace(_)
        | ast::Stmt::DropTablespace(_)
        | ast::Stmt::AlterSystem(_)
        | ast::Stmt::CreateSubscription(_)
        | ast::Stmt::AlterSubscription(_)
        | ast::Stmt::DropSubscription(_)
        | ast::Stmt::Discard(_) => Some(Alone::Other),
        _ => None,
    }
}

fn reaches_out(statement: &ast::Stmt) -> bool {
    matches!(
        statement,
        ast::Stmt::CreateDatabase(_)
            | ast::Stmt::AlterDatabase(_)
            | ast::Stmt::DropDatabase(_)
            | ast::Stmt::CreateTablespace(_)
            | ast::Stmt::AlterTablespace(_)
            | ast::Stmt::DropTablespace(_)
            | ast::Stmt::CreateRole(_)
            | ast::Stmt::CreateUser(_)
            | ast::Stmt::CreateGroup(_)
            | ast::Stmt::AlterRole(_)
            | ast::Stmt::AlterUser(_)
            | ast::Stmt::AlterGroup(_)
            | ast::Stmt::DropRole(_)
            | ast::Stmt::DropUser(_)
            | ast::Stmt::DropGroup(_)
            | ast::Stmt::DropOwned(_)
            | ast::Stmt::Reassign(_)
            | ast::Stmt::AlterSystem(_)
            | ast::Stmt::CreateSubscription(_)
            | ast::Stmt::AlterSubscription(_)
            | ast::Stmt::DropSubscription(_)
            | ast::Stmt::SetSessionAuth(_)
    )
}

/// What cannot be had back without a backup.
fn destroys(statement: &ast::Stmt) -> Vec<String> {
    let mut destroyed = Vec::new();
    let mut add = |what: &str| destroyed.push(what.to_owned());
    match statement {
        ast::Stmt::DropTable(_) => add("DROP TABLE"),
        ast::Stmt::DropSchema(_) => add("DROP SCHEMA"),
        ast::Stmt::DropDatabase(_) => add("DROP DATABASE"),
        ast::Stmt::DropOwned(_) => add("DROP OWNED"),
        ast::Stmt::DropExtension(_) => add("DROP EXTENSION"),
        ast::Stmt::DropType(_) | ast::Stmt::DropDomain(_) if has(statement.syntax(), SyntaxKind::CASCADE_KW) => add("DROP … CASCADE"),
        ast::Stmt::Truncate(_) => add("TRUNCATE"),
        ast::Stmt::AlterTable(alter) => {
            for action in alter.actions() {
                match action {
                    ast::AlterTableAction::DropColumn(_) => add("DROP COLUMN"),
                    ast::AlterTableAction::AlterColumn(column) => {
                        if let Some(ast::AlterColumnOption::SetType(to)) = column.option()
                            && has(to.syntax(), SyntaxKind::USING_KW)
                        {
                            add("TYPE … USING, which computes every value anew");
                        }
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
    // In a WITH too.
    for node in statement.syntax().descendants() {
        if ast::Delete::cast(node.clone()).is_some_and(|delete| delete.where_clause_or_current_of().is_none()) {
            add("DELETE without WHERE");
        } else if ast::Update::cast(node).is_some_and(|update| update.where_clause_or_current_of().is_none()) {
            add("UPDATE without WHERE");
        }
    }
    destroyed
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;
