//! From PostgreSQL's log to a script of `pgbench`.

/// One statement with the values it was run with: in text, and none for NULL.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Statement {
    sql: String,
    values: Vec<Option<String>>,
}

/// What was executed in `database`, in order.
pub(crate) fn statements(log: &str, database: &str) -> Vec<Statement> {
    // A line of the log behind the name of its process; of one entry those after the first begin with a tab.
    let mut entries: Vec<String> = Vec::new();
    for line in log.lines() {
        let Some((name, text)) = line.split_once(" │ ") else {
            continue;
        };
        if name.trim() != "postgres" {
            continue;
        }
        match (text.strip_prefix('\t'), entries.last_mut()) {
            (Some(more), Some(entry)) => {
                entry.push('\n');
                entry.push_str(more);
            }
            _ => entries.push(text.to_owned()),
        }
    }
    let of_database = format!("@{database} ");
    let mut found: Vec<Statement> = Vec::new();
    // Values are told of each step of a statement, in the entry after it.
    let mut executed = false;
    for entry in entries {
        let Some((_, said)) = entry.split_once(&of_database) else {
            continue;
        };
        let values = said.strip_prefix("DETAIL:");
        let values = values.and_then(|rest| rest.split_once("arameters: "));
        if let Some((_, values)) = values {
            if let Some(statement) = found.last_mut().filter(|_| executed) {
                statement.values = values_of(values);
            }
            continue;
        }
        let step = said.split_once(" ms  execute ");
        let sql = step.and_then(|(_, named)| named.split_once(": "));
        executed = sql.is_some();
        found.extend(sql.map(|(_, sql)| Statement {
            sql: sql.to_owned(),
            values: Vec::new(),
        }));
    }
    // A look at whether the database answers is no part of a page.
    found.retain(|statement| statement.sql != "SELECT 1 AS one");
    found
}

/// Of `$1 = NULL, $2 = 'it''s'`.
fn values_of(text: &str) -> Vec<Option<String>> {
    let mut values = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(" = ") {
        let Some(quoted) = after.strip_prefix('\'') else {
            values.push(None);
            rest = after;
            continue;
        };
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        let mut end = quoted.len();
        while let Some((at, character)) = characters.next() {
            if character != '\'' {
                value.push(character);
            } else if quoted[at + 1..].starts_with('\'') {
                value.push('\'');
                characters.next();
            } else {
                end = at + 1;
                break;
            }
        }
        values.push(Some(value));
        rest = &quoted[end..];
    }
    values
}

/// A script of `pgbench` and its variables: all that is not NULL is sent as a parameter, as the front-end does.
pub(crate) fn script(statements: &[Statement]) -> (String, Vec<(String, String)>) {
    let mut script = String::new();
    let mut variables = Vec::new();
    for (number, statement) in statements.iter().enumerate() {
        let mut sql = statement.sql.clone();
        // From the last on, as $1 is the beginning of $10.
        for (index, value) in statement.values.iter().enumerate().rev() {
            let parameter = format!("${}", index + 1);
            sql = match value {
                None => sql.replace(&parameter, "NULL"),
                Some(value) => {
                    let name = format!("s{number}_{}", index + 1);
                    let replaced = sql.replace(&parameter, &format!(":{name}"));
                    variables.push((name, value.clone()));
                    replaced
                }
            };
        }
        script += sql.trim().trim_end_matches(';');
        script += ";\n";
    }
    (script, variables)
}
