//! Licence expressions of crates: SPDX's `AND`, `OR`, `WITH` and parentheses, and the older `/` for `OR`.

use std::collections::BTreeSet;

/// The licences that are needed to satisfy an expression, chosen from those allowed; `None` when that is not possible.
pub(super) fn satisfy(expression: &str, allowed: &BTreeSet<String>) -> Option<BTreeSet<String>> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { tokens: &tokens, at: 0, allowed };
    let needed = parser.either();
    if parser.at == tokens.len() && !tokens.is_empty() { needed } else { None }
}

struct Parser<'a> {
    tokens: &'a [&'a str],
    at: usize,
    allowed: &'a BTreeSet<String>,
}

impl Parser<'_> {
    fn accept(&mut self, token: &str) -> bool {
        let is_next = self.tokens.get(self.at) == Some(&token);
        self.at += usize::from(is_next);
        is_next
    }

    fn either(&mut self) -> Option<BTreeSet<String>> {
        let mut needed = self.both();
        while self.accept("OR") {
            let other = self.both();
            needed = needed.or(other);
        }
        needed
    }

    fn both(&mut self) -> Option<BTreeSet<String>> {
        let mut needed = self.one();
        while self.accept("AND") {
            let other = self.one();
            needed = needed.zip(other).map(|(mut needed, other)| {
                needed.extend(other);
                needed
            });
        }
        needed
    }

    fn one(&mut self) -> Option<BTreeSet<String>> {
        if self.accept("(") {
            let inner = self.either();
            return if self.accept(")") { inner } else { None };
        }
        let mut name = self.name()?;
        if self.accept("WITH") {
            name = format!("{name} WITH {}", self.name()?);
        }
        self.allowed.contains(&name).then(|| BTreeSet::from([name]))
    }

    fn name(&mut self) -> Option<String> {
        let name = self.tokens.get(self.at).map(|name| (*name).to_owned());
        // Beyond the end: an expression that stops in the middle is not one, whatever the half that is there says.
        self.at = if name.is_some() { self.at + 1 } else { usize::MAX };
        name
    }
}

#[test]
fn an_expression_is_satisfied_by_what_is_allowed_and_by_nothing_else() {
    let allowed: BTreeSet<String> = ["MIT", "ISC", "Apache-2.0"].map(str::to_owned).into();
    for good in [
        "MIT",
        "MIT OR GPL-3.0",
        "GPL-3.0/MIT",
        "ISC AND (GPL-3.0 OR MIT)",
        "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
        "(MIT OR GPL-3.0) AND ISC",
    ] {
        assert!(satisfy(good, &allowed).is_some(), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT ISC", "Apache-2.0 WITH LLVM-exception", "MIT OR", "ISC AND (GPL-3.0 OR MPL-2.0)"] {
        assert!(satisfy(bad, &allowed).is_none(), "{bad}");
    }
}
