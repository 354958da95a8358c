//! How much isolation is wanted, and what follows from what the host has. Nothing is weakened silently: with
//! `required`, a missing piece is an error; with `best-effort`, it is named.

use std::fmt;
use std::str::FromStr;

use crate::host::{Finding, Piece};

/// How much isolation handlers must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// All of it, or the worker doesn't start.
    #[default]
    Required,
    /// What the host has.
    BestEffort,
    /// None: handlers are processes of the worker's user.
    None,
}

/// What a worker does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Namespaces, a file system of its own, the egress gate, limits that need them.
    pub namespaces: bool,
    /// The filter of system calls.
    pub filter: bool,
    /// What `best-effort` goes without.
    pub missing: Vec<Finding>,
}

/// Pieces that `required` needs and the host doesn't have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(pub Vec<Finding>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this host can't isolate handlers as `isolation = required` demands; missing:")?;
        let (following, first): (Vec<&Finding>, Vec<_>) =
            self.0.iter().partition(|finding| finding.follows());
        for Finding { piece, problem } in first {
            let problem = problem.as_deref().unwrap_or("missing");
            write!(f, "\n  - {} ({problem}). To mend it: {}", piece.name(), piece.mend())?;
        }
        if !following.is_empty() {
            let names: Vec<_> = following.iter().map(|finding| finding.piece.name()).collect();
            write!(f, "\n  - what needs user namespaces: {}", names.join(", "))?;
        }
        write!(
            f,
            "\n`sortie doctor` shows all pieces; --isolation best-effort runs with what there is, at your own risk"
        )
    }
}

impl std::error::Error for Missing {}

/// What to do on a host with these findings.
pub fn decide(wanted: Isolation, findings: Vec<Finding>) -> Result<Plan, Missing> {
    if wanted == Isolation::None {
        return Ok(Plan { namespaces: false, filter: false, missing: Vec::new() });
    }
    let missing: Vec<_> = findings.into_iter().filter(|finding| finding.problem.is_some()).collect();
    if wanted == Isolation::Required && !missing.is_empty() {
        return Err(Missing(missing));
    }
    let lacks = |piece: &dyn Fn(Piece) -> bool| missing.iter().any(|finding| piece(finding.piece));
    Ok(Plan {
        // One without the other is no sandbox: without a mount namespace a process namespace hides nothing.
        namespaces: !lacks(&|piece| !matches!(piece, Piece::Filter | Piece::NoNewPrivileges | Piece::Kernel)),
        filter: !lacks(&|piece| matches!(piece, Piece::Filter | Piece::NoNewPrivileges)),
        missing,
    })
}

impl FromStr for Isolation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "required" => Ok(Self::Required),
            "best-effort" => Ok(Self::BestEffort),
            "none" => Ok(Self::None),
            other => Err(format!("{other:?} is neither required, best-effort nor none")),
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Required => "required",
            Self::BestEffort => "best-effort",
            Self::None => "none",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::PIECES;

    fn host(without: Option<Piece>) -> Vec<Finding> {
        let problem = |piece| (Some(piece) == without).then(|| "switched off".to_owned());
        PIECES.iter().map(|&piece| Finding { piece, problem: problem(piece) }).collect()
    }

    #[test]
    fn required_takes_a_whole_host_and_names_each_missing_piece_with_its_mend() {
        let plan = decide(Isolation::Required, host(None)).unwrap();
        assert!(plan.namespaces && plan.filter && plan.missing.is_empty());
        for &piece in PIECES {
            let message = decide(Isolation::Required, host(Some(piece))).unwrap_err().to_string();
            assert!(message.contains(piece.name()) && message.contains(piece.mend()), "{message}");
        }
    }

    #[test]
    fn best_effort_goes_without_and_says_so() {
        for &piece in PIECES {
            let plan = decide(Isolation::BestEffort, host(Some(piece))).unwrap();
            assert_eq!(plan.missing.len(), 1, "{piece:?}");
        }
        let plan = decide(Isolation::BestEffort, host(Some(Piece::Network))).unwrap();
        assert!(!plan.namespaces && plan.filter);
        let plan = decide(Isolation::BestEffort, host(Some(Piece::Filter))).unwrap();
        assert!(plan.namespaces && !plan.filter);
    }

    #[test]
    fn none_asks_for_nothing() {
        let plan = decide(Isolation::None, host(Some(Piece::User))).unwrap();
        assert!(!plan.namespaces && !plan.filter);
    }
}
