//! Which value counts, and that every one can be set.

use clap::{CommandFactory as _, Parser as _};
use pilot_identity::NodeKey;
use zeroize::Zeroizing;

use super::*;

#[test]
fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
    let flags = Flags::try_parse_from(["pilot-rendezvous", "--network", "7"]).unwrap();
    let file: ConfigFile = toml::from_str(
        "network = 5\nstate-dir = '/tmp/x'\nregistry-listen = '[::1]:1'\nlimit-loopback = true",
    )
    .unwrap();

    let settings = Settings::resolve(&flags, &file).unwrap();

    assert_eq!(settings.network, 7);
    assert_eq!(settings.state_dir, PathBuf::from("/tmp/x"));
    assert_eq!(settings.registry_listen, "[::1]:1".parse().unwrap());
    assert!(settings.rates.limit_loopback);
    let default = Settings::new(settings.registry_listen, settings.state_dir);
    assert_eq!(settings.max_connections, default.max_connections);
}

pub(super) fn key() -> NodeKey {
    NodeKey::from_seed(&Zeroizing::new([1; 32]))
}

#[expect(clippy::unwrap_in_result, reason = "what cannot be read is a fault of the test")]
fn resolve(words: &[&str], file: &str) -> Result<Settings, SettingsError> {
    let words = ["pilot-rendezvous", "--state-dir", "/x"].iter().chain(words);
    let flags = Flags::try_parse_from(words).unwrap();
    Settings::resolve(&flags, &toml::from_str(file).unwrap())
}

#[test]
fn a_beacon_is_beside_the_registry_unless_it_is_put_elsewhere() {
    let listen = |words: &[&str]| resolve(words, "").unwrap().beacon.unwrap().listen.to_string();

    assert_eq!(listen(&[]), "0.0.0.0:9001");
    assert_eq!(listen(&["--registry-listen", "[::]:9000"]), "[::]:9001");
    assert_eq!(listen(&["--registry-listen", "127.0.0.1:0"]), "127.0.0.1:0");
    assert_eq!(listen(&["--registry-listen", "127.0.0.1:7"]), "127.0.0.1:0");
    assert_eq!(listen(&["--beacon-listen", "127.0.0.1:8"]), "127.0.0.1:8");
}

#[test]
fn a_beacon_can_do_less_and_be_limited_otherwise() {
    let file = "beacon-services = 'stun,punch'\nrelay-bytes-per-second = 0\nopen = true";
    let settings = resolve(&["--pair-bytes-per-second=7", "--stun-per-second=8"], file).unwrap();
    let beacon = settings.beacon.unwrap();

    assert_eq!(beacon.services, Services::STUN.with(Services::PUNCH));
    assert_eq!((beacon.client_rate, beacon.pair_rate), (ByteRate(0), ByteRate(7)));
    assert_eq!(beacon.stun_per_second.get(), 8);
    assert_eq!(settings.guests, Guests::Anybody);
    assert_eq!(resolve(&["--beacon-services=none"], "").unwrap().beacon, None);
}

#[test]
fn a_beacon_alone_must_know_whom_it_serves() {
    let id = key().id();
    let tickets = format!("ticket-key = ['{id}']");

    assert_eq!(resolve(&["--no-registry"], "").unwrap_err(), SettingsError::NobodyAdmitted);
    let with_tickets = resolve(&["--no-registry"], &tickets).unwrap();
    assert!(!with_tickets.has_registry);
    assert_eq!(with_tickets.guests, Guests::Of(vec![id]));
    let open = resolve(&["--open"], "no-registry = true").unwrap();
    assert_eq!((open.has_registry, open.guests), (false, Guests::Anybody));
    let nothing = resolve(&["--no-registry", "--open", "--beacon-services", "none"], "");
    assert_eq!(nothing.unwrap_err(), SettingsError::Nothing);
    assert!(resolve(&["--no-registry=false"], "no-registry = true").unwrap().has_registry);
}

#[test]
fn nodes_are_told_of_three_further_beacons_at_most() {
    let id = key().id();
    let beacon = |number: u8| format!("--beacon=b{number}.example:9001#{id}");
    let words: Vec<String> = (1..=4).map(beacon).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();

    let three = resolve(&words[..3], "").unwrap().beacons;
    assert_eq!(three[2].host.as_str(), "b3.example");
    assert_eq!(resolve(&words, "").unwrap_err(), SettingsError::TooManyBeacons);
    assert_eq!(
        resolve(&[&words[..], &["--beacon-services=none"]].concat(), "").unwrap().beacons.len(),
        4
    );
}

#[test]
fn the_port_of_https_is_tried_beside_the_usual_ones_and_others_are_required() {
    let listen = |words: &[&str]| {
        let at = resolve(words, "").unwrap().tcp_listen;
        at.into_iter().map(|at| (at.addr.to_string(), at.need)).collect::<Vec<_>>()
    };
    let tried = |addr: &str| vec![(addr.to_owned(), Need::Tried)];

    assert_eq!(listen(&[]), tried("0.0.0.0:443"));
    assert_eq!(listen(&["--registry-listen", "[::]:9000"]), tried("[::]:443"));
    assert_eq!(listen(&["--registry-listen", "127.0.0.1:0"]), []);
    let alone = ["--no-registry", "--open", "--beacon-listen", "127.0.0.1:9001"];
    assert_eq!(listen(&alone), tried("127.0.0.1:443"));
    let required = |addr: &str| (addr.to_owned(), Need::Required);
    let two = ["--tcp-listen", "127.0.0.1:1", "--tcp-listen=127.0.0.1:2"];
    assert_eq!(listen(&two), [required("127.0.0.1:1"), required("127.0.0.1:2")]);
}

#[test]
fn unknown_keys_and_impossible_values_are_refused() {
    for text in ["netwrok = 1", "network = 70000", "max-connections = 0", "config = 'x'"] {
        assert!(toml::from_str::<ConfigFile>(text).is_err(), "{text}");
    }
    for value in ["70000", "-1", ""] {
        let words = ["pilot-rendezvous".to_owned(), format!("--network={value}")];
        assert!(Flags::try_parse_from(words).is_err(), "{value}");
    }
}

#[test]
fn every_flag_has_a_variable_and_a_key() {
    Flags::command().debug_assert();
    for argument in Flags::command().get_arguments() {
        let Some(flag) = argument.get_long() else { continue };
        if ["help", "version"].contains(&flag) {
            continue;
        }
        assert!(argument.get_env().is_some(), "{flag} has no variable");
        let line = format!("{flag} = {{}}");
        let error = toml::from_str::<ConfigFile>(&line).unwrap_err().to_string();
        assert_eq!(error.contains("unknown field"), flag == "config", "{flag}: {error}");
    }
}

const SAMPLE: &str = include_str!("../../../deploy/rendezvous.toml");
const UNIT: &str = include_str!("../../../deploy/pilot-rendezvous.service");

#[test]
fn the_sample_is_valid_and_shows_the_default_of_every_key() {
    let resolve = |text: &str| {
        let file = toml::from_str(text).unwrap();
        let flags = Flags { state_dir: Some("/x".into()), ..Flags::default() };
        Settings::resolve(&flags, &file).unwrap()
    };
    // A key that is commented out has no blank after its hash.
    let all: String = SAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => {
                format!("{key}\n")
            }
            Some(_) | None => format!("{line}\n"),
        })
        .collect();

    assert_eq!(resolve(SAMPLE), resolve(""));
    assert_eq!(resolve(&all), resolve(""));
    let keys: toml::Table = all.parse().unwrap();
    for argument in Flags::command().get_arguments() {
        let Some(flag) = argument.get_long() else { continue };
        assert_eq!(keys.contains_key(flag), flag != "config", "{flag}");
    }
}

#[test]
fn the_unit_names_variables_that_are_read() {
    let command = Flags::command();
    let variables: Vec<_> =
        command.get_arguments().filter_map(|argument| argument.get_env()).collect();
    let mut named = 0;
    for line in UNIT.lines() {
        let Some(pair) = line.strip_prefix("Environment=") else { continue };
        let name = pair.split('=').next().unwrap();
        assert!(variables.contains(&std::ffi::OsStr::new(name)), "{name}");
        named += 1;
    }
    assert_eq!(named, 1);
}
