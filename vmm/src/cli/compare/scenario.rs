//! A scenario file: groups, programs, and what is done to them when.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::scale::{BadAmount, Scale};

/// A scenario, as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    /// What it shows, in one line.
    pub(super) title: String,
    /// Guest memory at scale 1, a size.
    pub(super) memory: String,
    /// Seconds that are still watched after the last step.
    #[serde(default = "one_second")]
    pub(super) tail: f64,
    /// Options of `vmcg up` to cross, each with the values to try.
    #[serde(default)]
    pub(super) options: BTreeMap<String, Vec<String>>,
    /// Groups, parents before children.
    #[serde(rename = "group")]
    pub(super) groups: Vec<Group>,
    /// Programs, by name.
    #[serde(rename = "program", default)]
    pub(super) programs: Vec<Program>,
    /// Moves of tasks.
    #[serde(rename = "move", default)]
    pub(super) moves: Vec<Move>,
    /// Writes to control files.
    #[serde(rename = "limit", default)]
    pub(super) limits: Vec<Limit>,
}

/// A group and what is written into its files when it is made.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    /// Path below the root.
    pub(super) path: String,
    /// Its limit, a size that is scaled; none leaves it as it is made.
    pub(super) limit: Option<String>,
    /// Other control files and their contents.
    #[serde(default)]
    pub(super) files: BTreeMap<String, String>,
}

/// When a step is due.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct When {
    /// Seconds after the start, or after what `after` names.
    #[serde(default)]
    pub(super) at: f64,
    /// A program that has to have said its first line, or ended, before.
    pub(super) after: Option<String>,
}

/// A program to start.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Program {
    /// What other steps call it.
    pub(super) name: String,
    /// Group it starts in.
    pub(super) group: String,
    /// The program and its arguments; `{SIZE}` is scaled and given in bytes. A name that ends in
    /// `.c` is compiled first; a path is relative to the scenario's.
    pub(super) run: Vec<String>,
    /// When it starts.
    #[serde(flatten)]
    pub(super) when: When,
}

/// A task to move.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Move {
    /// The program whose first task moves.
    pub(super) program: Option<String>,
    /// Instead: the group whose youngest task moves.
    pub(super) youngest_of: Option<String>,
    /// Where to.
    pub(super) to: String,
    /// When.
    #[serde(flatten)]
    pub(super) when: When,
}

/// A limit to set.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Limit {
    /// Whose.
    pub(super) group: String,
    /// What it is set to, a size that is scaled.
    pub(super) limit: String,
    /// When.
    #[serde(flatten)]
    pub(super) when: When,
}

/// Why a scenario cannot be played.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum BadScenario {
    #[error("cannot read scenario {}: {why}", path.display())]
    Unreadable { path: PathBuf, why: std::io::Error },
    #[error("scenario {}: {}", path.display(), why.to_string().replace('\n', " ").trim())]
    Syntax { path: PathBuf, why: Box<toml::de::Error> },
    #[error("scenario {}: {what} names {kind} '{name}', and there is none", path.display())]
    Unknown { path: PathBuf, what: String, kind: &'static str, name: String },
    #[error("scenario {}: a time has to be a number of seconds from 0 to 3600, not {time}", path.display())]
    Time { path: PathBuf, time: f64 },
    #[error("scenario {}: a move names either a program or youngest_of", path.display())]
    Mover { path: PathBuf },
    #[error("scenario {}: program '{name}' has nothing to run", path.display())]
    NoProgram { path: PathBuf, name: String },
    #[error("scenario {}: '{text}': {why}", path.display())]
    Amount { path: PathBuf, text: String, why: BadAmount },
}

/// Longest time a scenario may ask for, in seconds.
const TIME_MAX_S: f64 = 3600.0;

impl Scenario {
    /// Reads and checks a scenario.
    ///
    /// # Errors
    /// [`BadScenario`] names what is wrong with it.
    pub(super) fn read(path: &Path, scale: Scale) -> Result<Self, BadScenario> {
        let text = fs::read_to_string(path)
            .map_err(|why| BadScenario::Unreadable { path: path.to_owned(), why })?;
        let scenario: Self = toml::from_str(&text)
            .map_err(|why| BadScenario::Syntax { path: path.to_owned(), why: Box::new(why) })?;
        scenario.check(path, scale)?;
        Ok(scenario)
    }

    fn check(&self, path: &Path, scale: Scale) -> Result<(), BadScenario> {
        for when in self.times() {
            self.check_time(path, when)?;
        }
        let starts = self.programs.iter().map(|program| ("program", &program.group));
        let ends = self.moves.iter().map(|one| ("move", &one.to));
        let limits = self.limits.iter().map(|one| ("limit", &one.group));
        let youngest =
            self.moves.iter().filter_map(|one| Some(("move", one.youngest_of.as_ref()?)));
        for (what, name) in starts.chain(ends).chain(limits).chain(youngest) {
            if !self.groups.iter().any(|group| group.path == *name) {
                return Err(unknown(path, what, "group", name));
            }
        }
        for one in &self.moves {
            if one.program.is_some() == one.youngest_of.is_some() {
                return Err(BadScenario::Mover { path: path.to_owned() });
            }
        }
        let named = self.moves.iter().filter_map(|one| Some(("move", one.program.as_ref()?)));
        let waited = self.times().filter_map(|when| Some(("after", when.after.as_ref()?)));
        for (what, name) in named.chain(waited) {
            if !self.programs.iter().any(|program| program.name == *name) {
                return Err(unknown(path, what, "program", name));
            }
        }
        if let Some(empty) = self.programs.iter().find(|program| program.run.is_empty()) {
            let name = empty.name.clone();
            return Err(BadScenario::NoProgram { path: path.to_owned(), name });
        }
        self.check_amounts(path, scale)
    }

    /// Every size can be scaled.
    fn check_amounts(&self, path: &Path, scale: Scale) -> Result<(), BadScenario> {
        let bad = |text: &str| {
            let text = text.to_owned();
            move |why| BadScenario::Amount { path: path.to_owned(), text, why }
        };
        let limits = self.limits.iter().map(|one| &one.limit);
        let first = self.groups.iter().filter_map(|group| group.limit.as_ref());
        for text in limits.chain(first).chain([&self.memory]) {
            scale.size(text).map_err(bad(text))?;
        }
        for word in self.programs.iter().flat_map(|program| &program.run) {
            scale.word(word).map_err(bad(word))?;
        }
        Ok(())
    }

    fn times(&self) -> impl Iterator<Item = &When> {
        let starts = self.programs.iter().map(|program| &program.when);
        let moves = self.moves.iter().map(|one| &one.when);
        starts.chain(moves).chain(self.limits.iter().map(|one| &one.when))
    }

    fn check_time(&self, path: &Path, when: &When) -> Result<(), BadScenario> {
        for time in [when.at, self.tail] {
            if !(0.0..=TIME_MAX_S).contains(&time) {
                return Err(BadScenario::Time { path: path.to_owned(), time });
            }
        }
        Ok(())
    }
}

fn one_second() -> f64 {
    1.0
}

fn unknown(path: &Path, what: &str, kind: &'static str, name: &str) -> BadScenario {
    let (path, what, name) = (path.to_owned(), what.to_owned(), name.to_owned());
    BadScenario::Unknown { path, what, kind, name }
}

#[cfg(test)]
mod tests {
    use super::super::programs::prepare;
    use super::*;

    const GOOD: &str = r#"
        title = "t"
        memory = "64M"
        [options]
        recharge = ["none", "lazy"]
        [[group]]
        path = "A"
        limit = "32M"
        [[group]]
        path = "B"
        [[program]]
        name = "task"
        group = "A"
        run = ["hog.c", "{8M}"]
        [[move]]
        program = "task"
        after = "task"
        at = 0.5
        to = "B"
        [[limit]]
        group = "B"
        limit = "1M"
        at = 2.0
    "#;

    fn read(text: &str) -> Result<Scenario, String> {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("s.toml");
        fs::write(&path, text).unwrap();
        Scenario::read(&path, Scale::default()).map_err(|why| why.to_string())
    }

    #[test]
    fn a_scenario_is_read_as_written() {
        let scenario = read(GOOD).unwrap();
        assert_eq!(scenario.options["recharge"], ["none", "lazy"]);
        assert_eq!(scenario.moves[0].when.after.as_deref(), Some("task"));
        assert_eq!((scenario.groups.len(), scenario.limits.len()), (2, 1));
    }

    #[test]
    fn the_scenarios_that_are_shipped_can_be_played_at_any_scale() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scenarios");
        let entries = fs::read_dir(shipped).unwrap().map(|entry| entry.unwrap().path());
        let is_scenario = |path: &PathBuf| path.extension().is_some_and(|end| end == "toml");
        let paths: Vec<_> = entries.filter(is_scenario).collect();
        assert_eq!(paths.len(), 4, "{paths:?}");
        for (path, scale) in paths.iter().flat_map(|path| ["1", "1/8", "8"].map(|s| (path, s))) {
            let scenario = Scenario::read(path, scale.parse().unwrap()).unwrap();
            let place = tempfile::tempdir().unwrap();
            let near = path.parent().unwrap();
            let programs = prepare(&scenario, near, place.path(), scale.parse().unwrap());
            assert_eq!(programs.unwrap().len(), scenario.programs.len(), "{}", path.display());
        }
    }

    #[test]
    fn what_is_wrong_with_a_scenario_is_named() {
        for (from, to, words) in [
            ("program = \"task\"", "program = \"nobody\"", "'nobody'"),
            ("to = \"B\"", "to = \"C\"", "'C'"),
            ("program = \"task\"", "program = \"task\"\nyoungest_of = \"A\"", "either"),
            ("at = 0.5", "at = -1.0", "-1"),
            ("limit = \"1M\"", "limit = \"1Q\"", "1Q"),
            ("{8M}", "{8Q}", "8Q"),
            ("memory = \"64M\"", "", "memory"),
            ("path = \"B\"", "path = \"B\"\nlimmit = \"1M\"", "limmit"),
            ("run = [\"hog.c\", \"{8M}\"]", "run = []", "nothing to run"),
        ] {
            let message = read(&GOOD.replace(from, to)).unwrap_err();
            assert!(message.contains(words), "{words}: {message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
        assert!(Scenario::read(Path::new("/nowhere.toml"), Scale::default()).is_err());
    }
}
