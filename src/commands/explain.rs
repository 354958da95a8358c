//! `sortie explain`: the pages of the public error codes.

use protocol::error::Code;

use crate::exit::{Exit, Failure};
use crate::render;

/// Prints the page of a code, or the list of all.
pub(crate) fn run(code: Option<&str>) -> Result<Exit, Failure> {
    match code {
        Some(name) => {
            let code = Code::from_name(name).ok_or_else(|| unknown(name))?;
            render::line(code.page().trim_end())?;
        }
        None => {
            let row =
                |code: &Code| vec![code.to_string(), code.status().to_string(), code.title().to_owned()];
            let rows: Vec<Vec<String>> = Code::ALL.iter().map(row).collect();
            render::table(&["CODE", "STATUS", "MEANING"], &rows)?;
        }
    }
    Ok(Exit::Ok)
}

fn unknown(name: &str) -> Failure {
    let near: Vec<&str> =
        Code::ALL.iter().map(|code| code.as_str()).filter(|code| alike(code, name)).collect();
    let hint = match near.as_slice() {
        [] => "`sortie explain` lists them all".to_owned(),
        near => format!("did you mean {}? `sortie explain` lists them all", near.join(" or ")),
    };
    Failure::new(Exit::Usage, format!("there is no error code {name:?}")).hint(hint)
}

/// True if the two share a word, or one contains the other.
fn alike(code: &str, name: &str) -> bool {
    let common = |word: &str| word.len() > 3 && name.split('_').any(|other| other == word);
    (name.len() > 3 && code.contains(name)) || code.split('_').any(common)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_code_gets_its_neighbours() {
        let hint = unknown("handler_raise").hint.unwrap();
        assert!(hint.contains("handler_raised"), "{hint}");
        assert_eq!(unknown("zzz").hint.unwrap(), "`sortie explain` lists them all");
    }
}
