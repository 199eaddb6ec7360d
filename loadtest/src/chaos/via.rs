//! How an action reaches what it is meant for: the processes of `make run`, the hosts of `make lab`, or containers.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

/// The project of `compose.yaml`.
const PROJECT: &str = "quizstack";

/// Where the stack runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// Processes of `quiz-lab run`, by their names in the `lab.json` of this state folder.
    Lab(PathBuf),
    /// Hosts of `quiz-lab create`, by this program.
    Network(PathBuf),
    /// Containers of the project, from this folder, which has `compose.yaml` and `compose/bin`.
    Compose(PathBuf),
    /// Nothing but `run COMMAND`.
    Shell,
}

/// How an action is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// A program and its arguments.
    Command(Vec<String>),
    /// A signal for the process that has this name in the `lab.json` of the folder by then: it may have been started
    /// anew since.
    Signal {
        folder: PathBuf,
        process: String,
        signal: &'static str,
    },
}

impl Deed {
    /// The program and its arguments as of now.
    ///
    /// # Errors
    /// There is no such process now.
    pub fn command(&self) -> Result<Vec<String>, String> {
        match self {
            Self::Command(command) => Ok(command.clone()),
            Self::Signal {
                folder,
                process,
                signal,
            } => {
                let pid = pid(folder, process)?;
                Ok(owned(&["kill", "-s", signal, &pid.to_string()]))
            }
        }
    }
}

/// What `lab.json` says, as far as it matters here.
#[derive(Deserialize)]
struct Running {
    processes: Vec<Process>,
}

#[derive(Deserialize)]
struct Process {
    name: String,
    pid: Option<u32>,
}

impl FromStr for Via {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, path) = text.split_once(':').unwrap_or((text, ""));
        match (kind, path) {
            ("shell", "") => Ok(Self::Shell),
            ("lab", "") => Err("write the state folder as lab:/var/lib/quizstack".to_owned()),
            ("lab", path) => Ok(Self::Lab(path.into())),
            ("network", "") => Ok(Self::Network("quiz-lab".into())),
            ("network", path) => Ok(Self::Network(path.into())),
            ("compose", "") => Ok(Self::Compose(".".into())),
            ("compose", path) => Ok(Self::Compose(path.into())),
            _ => Err(
                "write lab:STATE-FOLDER (make run), network or network:PATH-OF-QUIZ-LAB (make lab), compose or \
                 compose:FOLDER (containers), or shell"
                    .to_owned(),
            ),
        }
    }
}

impl Via {
    /// The folder in which commands run.
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        match self {
            Self::Compose(folder) => Some(folder.clone()),
            _ => None,
        }
    }

    /// How an action is done here.
    ///
    /// # Errors
    /// Which actions there are, or that what it is for does not run.
    pub fn deed(&self, action: &str) -> Result<Deed, String> {
        let (verb, what) = action.split_once(' ').unwrap_or((action, ""));
        let what = what.trim();
        if what.is_empty() {
            return Err(self.unknown(action));
        }
        let command = |words: &[&str]| Ok(Deed::Command(owned(words)));
        if verb == "run" {
            return command(&["sh", "-c", what]);
        }
        if what.contains(char::is_whitespace) || what.starts_with('-') {
            return Err(self.unknown(action));
        }
        match (self, verb) {
            (Self::Lab(folder), "kill") => signal(folder, what, "KILL"),
            (Self::Lab(folder), "stop") => signal(folder, what, "TERM"),
            (Self::Lab(folder), "freeze") => signal(folder, what, "STOP"),
            (Self::Lab(folder), "thaw") => signal(folder, what, "CONT"),
            (Self::Network(program), "cut" | "restore" | "add" | "remove") => {
                command(&[&program.to_string_lossy(), verb, what])
            }
            (Self::Network(program), "stop" | "start") => {
                command(&[&program.to_string_lossy(), verb, "-M", what])
            }
            (Self::Compose(_), "kill" | "stop" | "start" | "restart") => {
                command(&["docker", verb, &container(what)])
            }
            (Self::Compose(_), "freeze") => command(&["docker", "pause", &container(what)]),
            (Self::Compose(_), "thaw") => command(&["docker", "unpause", &container(what)]),
            (Self::Compose(_), "scale" | "deploy" | "upgrade") => {
                command(&[&format!("compose/bin/{verb}"), what])
            }
            _ => Err(self.unknown(action)),
        }
    }

    fn unknown(&self, action: &str) -> String {
        let known = match self {
            Self::Lab(_) => {
                "kill, stop, freeze or thaw with the name of a process (quiz-1, nas2, lb, postgres)"
            }
            Self::Network(_) => {
                "cut, restore, stop, start, add or remove with the name of a host (s1, nas2, bbdd)"
            }
            Self::Compose(_) => {
                "kill, stop, start, restart, freeze or thaw with a service (quiz-2, nas1, lb), scale N, deploy TAG or \
                 upgrade TAG"
            }
            Self::Shell => "nothing else here",
        };
        format!("{action:?} is not known: write {known}; or run COMMAND")
    }
}

fn signal(folder: &Path, process: &str, signal: &'static str) -> Result<Deed, String> {
    // Refused before the run, not in the midst of it.
    pid(folder, process)?;
    Ok(Deed::Signal {
        folder: folder.to_owned(),
        process: process.to_owned(),
        signal,
    })
}

fn pid(folder: &Path, name: &str) -> Result<u32, String> {
    let path = folder.join("lab.json");
    let text = std::fs::read_to_string(&path).map_err(|error| {
        format!(
            "cannot read {}: {error}; does the stack run?",
            path.display()
        )
    })?;
    let running: Running = serde_json::from_str(&text)
        .map_err(|error| format!("{} is not what quiz-lab writes: {error}", path.display()))?;
    let names: Vec<&str> = running
        .processes
        .iter()
        .map(|process| process.name.as_str())
        .collect();
    let process = running
        .processes
        .iter()
        .find(|process| process.name == name)
        .ok_or_else(|| {
            format!(
                "there is no process {name:?}: write one of {}",
                names.join(", ")
            )
        })?;
    process
        .pid
        .ok_or_else(|| format!("{name} does not run at the moment"))
}

/// `quiz-2` is the second of `quiz`; the others are the only ones of their service.
fn container(name: &str) -> String {
    match name.strip_prefix("quiz-") {
        Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{PROJECT}-{name}")
        }
        _ => format!("{PROJECT}-{name}-1"),
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
