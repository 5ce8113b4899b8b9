//! Which source wins, and what is refused.

use std::collections::BTreeMap;

use super::*;

/// Settings from words, variables, and the text of the file in the home.
struct Given {
    dir: tempfile::TempDir,
    variables: BTreeMap<&'static str, String>,
}

impl Given {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap().to_owned();
        Self { dir, variables: BTreeMap::from([("PILOT_HOME", home)]) }
    }

    fn file(self, text: &str) -> Self {
        std::fs::write(self.dir.path().join("config.toml"), text).unwrap();
        self
    }

    fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.variables.insert(name, value.to_owned());
        self
    }

    fn load(&self, words: &str) -> Result<Settings, SettingsError> {
        let args = ["pilot-daemon"].into_iter().chain(words.split_whitespace());
        Settings::load(args.map(OsString::from), |name| {
            self.variables.get(name).map(OsString::from)
        })
    }
}

/// The error with all its causes, as a user sees it.
fn told(error: SettingsError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[test]
fn without_a_word_everything_has_its_default() {
    let given = Given::new();

    let settings = given.load("").unwrap();

    let wanted = Settings {
        home: given.dir.path().to_owned(),
        socket: given.dir.path().join("pilot.sock"),
        config: None,
        registry: None,
        beacons: Vec::new(),
        listen: None,
        endpoint: None,
        public: false,
        port_mapping: true,
        jumbo_frames: true,
        inbox_quota: None,
        inbox_quota_per_peer: None,
        event_journal: 128_000_000,
        messages: InboxLimits::default(),
        name: None,
        tags: Tags::default(),
        log: "info".parse().unwrap(),
        log_format: LogFormat::Text,
    };
    assert_eq!(settings, wanted);
}

#[test]
fn the_commands_of_the_documents_are_understood() {
    let settings = Given::new()
        .load(
            "-registry-addr 34.148.103.117:9000 -beacon-addr 34.148.103.117:9001 \
             -endpoint 34.148.103.117:4000 -public --name backend --tag gpu=a100 --tag spot",
        )
        .unwrap();

    assert_eq!(settings.registry.as_ref().unwrap().to_string(), "34.148.103.117:9000");
    assert_eq!(shown_beacons(&settings), "34.148.103.117:9001");
    assert_eq!(settings.endpoint, Some("34.148.103.117:4000".parse().unwrap()));
    assert!(settings.public);
    assert_eq!(settings.name.unwrap().as_str(), "backend");
    assert_eq!(settings.tags.iter().count(), 2);
}

#[test]
fn the_limits_of_the_inbox_are_counts() {
    let given = Given::new().file("messages-limit = 7\nmessages-limit-per-peer = 5");
    let limits =
        |settings: &Settings| (settings.messages.messages, settings.messages.messages_per_peer);
    assert_eq!(limits(&given.load("").unwrap()), (7, 5));
    let given = given.variable("PILOT_MESSAGES_LIMIT", "6");
    assert_eq!(limits(&given.load("--messages-limit-per-peer 4").unwrap()), (6, 4));
    assert_eq!(limits(&given.load("-messages-limit 9").unwrap()), (9, 5));
    for wrong in ["0", "-1", "many", "5000000000"] {
        assert!(given.load(&format!("--messages-limit={wrong}")).is_err(), "{wrong}");
    }
}

type Shown = fn(&Settings) -> String;

fn shown_beacons(settings: &Settings) -> String {
    settings.beacons.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[test]
fn several_beacons_are_given_in_every_way() {
    let file = Given::new().file(r#"beacon-addr = ["a:1", "b:2"]"#);
    assert_eq!(shown_beacons(&file.load("").unwrap()), "a:1,b:2");
    let given = Given::new();
    let settings = given.load("-beacon-addr a:1 --beacon-addr b:2,c:3").unwrap();
    assert_eq!(shown_beacons(&settings), "a:1,b:2,c:3");
    assert!(given.load("-beacon-addr a:1,b").is_err());
}

#[test]
fn a_flag_beats_a_variable_beats_the_file() {
    let table: [(&str, &str, &str, &str, Shown); 11] = [
        ("socket", "/a", "/b", "/c", |s| s.socket.display().to_string()),
        ("registry-addr", "a:1", "b:1", "c:1", |s| s.registry.as_ref().unwrap().to_string()),
        ("beacon-addr", "a:1", "b:1,b:2", "c:1", shown_beacons),
        ("listen", "1.1.1.1:0", "1.1.1.1:2", "[::]:3", |s| s.listen.unwrap().to_string()),
        ("endpoint", "1.1.1.1:1", "1.1.1.1:2", "1.1.1.1:3", |s| s.endpoint.unwrap().to_string()),
        ("inbox-quota", "1", "2", "3", |s| s.inbox_quota.unwrap().to_string()),
        ("inbox-quota-per-peer", "1", "2", "3", |s| s.inbox_quota_per_peer.unwrap().to_string()),
        ("name", "a", "b", "c", |s| s.name.as_ref().unwrap().to_string()),
        ("tag", "k=a", "k=b", "k=c", |s| s.tags.iter().map(ToString::to_string).collect()),
        ("log", "error", "warn", "debug", |s| s.log.to_string()),
        ("log-format", "json", "text", "json", |s| format!("{:?}", s.log_format).to_lowercase()),
    ];
    for (name, in_file, in_variable, in_flag, shown) in table {
        let value = if name == "tag" { format!("[{in_file:?}]") } else { format!("{in_file:?}") };
        let variable = VARIABLES.iter().find(|(flag, _)| *flag == name).unwrap().1;
        let given = Given::new().file(&format!("{name} = {value}"));
        let settings = given.load("").unwrap();
        assert_eq!(shown(&settings), in_file);
        assert_eq!(settings.config, Some(given.dir.path().join("config.toml")));

        let given = given.variable(variable, in_variable);
        assert_eq!(shown(&given.load("").unwrap()), in_variable);
        assert_eq!(shown(&given.load(&format!("-{name} {in_flag}")).unwrap()), in_flag);

        let emptied = given.variable(variable, "");
        assert_eq!(shown(&emptied.load("").unwrap()), in_file, "empty is not set");
    }
}

#[test]
fn public_can_be_taken_back_at_every_level() {
    let given = Given::new().file("public = true");
    assert!(given.load("").unwrap().public);
    assert!(!given.load("--public=false").unwrap().public);

    let given = given.variable("PILOT_PUBLIC", "false");
    assert!(!given.load("").unwrap().public);
    assert!(given.load("-public --name x").unwrap().public);
}

#[test]
fn every_flag_has_a_variable_that_its_help_names_and_a_key() {
    let command = Layer::command();
    let flags: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    let mut listed: Vec<&str> = VARIABLES.iter().map(|(flag, _)| *flag).collect();
    listed.retain(|flag| flags.contains(flag));
    assert_eq!(listed, flags);
    assert_eq!(listed.len(), VARIABLES.len());

    for (flag, variable) in VARIABLES {
        let arg = command.get_arguments().find(|arg| arg.get_long() == Some(flag)).unwrap();
        let help = arg.get_help().unwrap().to_string();
        assert!(help.contains(&format!("[env: {variable}]")), "{flag}: {help}");
        let unknown = toml::from_str::<Layer>(&format!("{flag} = {{}}")).unwrap_err();
        let is_key = !unknown.to_string().contains("unknown field");
        assert_eq!(is_key, flag != "home" && flag != "config", "{flag}: {unknown}");
    }
}

#[test]
fn home_is_in_the_users_folder_unless_it_is_given() {
    let load = |words: &[&str], variables: &[(&str, &str)]| {
        let args = ["pilot-daemon"].iter().chain(words).map(OsString::from);
        Settings::load(args, |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
    };

    assert_eq!(load(&[], &[("HOME", "/h")]).unwrap().home, Path::new("/h/.pilot"));
    assert_eq!(load(&["--home", "/x"], &[("HOME", "/h")]).unwrap().home, Path::new("/x"));
    let relative = load(&["--home", "x"], &[]).unwrap();
    assert!(relative.home.is_absolute() && relative.socket.is_absolute());
    assert!(matches!(load(&[], &[]), Err(SettingsError::NoHome)));
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    let given = Given::new().file("name = \"from-home\"");
    let other = given.dir.path().join("other.toml");
    let words = format!("--config {}", other.display());

    let error = given.load(&words).unwrap_err();
    assert!(matches!(&error, SettingsError::ReadFile { path, .. } if *path == other), "{error:?}");

    std::fs::write(&other, "name = \"from-other\"").unwrap();
    let settings = given.load(&words).unwrap();
    assert_eq!(settings.name.unwrap().as_str(), "from-other");
    assert_eq!(settings.config, Some(other));
}

#[test]
fn what_makes_no_sense_is_refused_with_its_place() {
    let told_by_file = |text: &str| told(Given::new().file(text).load("").unwrap_err());
    assert!(told_by_file("nmae = \"x\"").contains("nmae"));
    assert!(told_by_file("name = \"Bad Name\"").contains("a-z"));
    assert!(told_by_file("listen = 9").contains("config.toml"));

    let error = Given::new().variable("PILOT_LISTEN", "nowhere").load("").unwrap_err();
    let text = told(error);
    assert!(text.contains("PILOT_LISTEN") && text.contains("nowhere"), "{text}");

    let flags = ["--listen x", "--registry-addr x", "--log a=b=c", "--nope", "--tag =", "stray"];
    for words in flags {
        let error = Given::new().load(words).unwrap_err();
        let SettingsError::Flags(error) = error else { panic!("{words}: {error:?}") };
        assert_eq!(error.exit_code(), 2, "{words}");
    }
    for endpoint in ["0.0.0.0:4000", "[::]:4000", "1.2.3.4:0"] {
        let error = Given::new().load(&format!("-endpoint {endpoint}")).unwrap_err();
        assert!(matches!(error, SettingsError::Endpoint { .. }), "{error:?}");
    }
    let tags: String = (0..33).map(|n| format!(" --tag k{n}=v")).collect();
    let error = Given::new().load(&tags).unwrap_err();
    assert!(matches!(error, SettingsError::TooManyTags { count: 33 }), "{error:?}");
}

#[test]
fn help_and_version_are_no_failures() {
    for words in ["-help", "--version"] {
        let SettingsError::Flags(error) = Given::new().load(words).unwrap_err() else {
            panic!("{words}")
        };
        assert_eq!(error.exit_code(), 0);
    }
}

const SAMPLE: &str = include_str!("../../../deploy/daemon.toml");

#[test]
fn the_sample_is_valid_and_its_lines_too_once_they_are_uncommented() {
    let given = Given::new();
    let defaults = given.load("").unwrap();
    let as_shipped = given.file(SAMPLE).load("").unwrap();
    assert_eq!(Settings { config: None, ..as_shipped }, defaults);

    // A key that is commented out has no blank after its hash.
    let all: String = SAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => format!("{key}\n"),
            Some(_) | None => format!("{line}\n"),
        })
        .collect();
    Given::new().file(&all).load("").unwrap();
    let keys: toml::Table = all.parse().unwrap();
    for (flag, _) in VARIABLES {
        assert_eq!(keys.contains_key(flag), flag != "home" && flag != "config", "{flag}");
    }
}
