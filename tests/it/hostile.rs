//! What broke Pilot Protocol, and what broke into it, each as a test.
//!
//! Here is what only whole programs show. The tests of one room are where the
//! rule is; this table says where to find each. `it` is this folder.
//!
//! | what broke it | test |
//! |---|---|
//! | a closed connection makes both ends answer each other for ever | `it/hostile/datagrams.rs::a_closed_tunnel_leaves_silence`, `crates/transport/tests/it/endings.rs::after_a_close_there_is_silence` |
//! | after a kill the peer stays unreachable for minutes | `it/rendezvous/reach.rs`, `crates/transport/tests/it/endings.rs::a_restarted_peer_resets_its_old_connections_at_once` |
//! | submitting to a peer that is down fails and stores nothing | `it/crash.rs::a_task_for_a_worker_that_is_away_is_taken_at_once_and_outlives_its_manager` |
//! | results are marked done before they were sent | `it/crash.rs::a_result_is_kept_through_restarts_until_its_submitter_has_it`, `crates/tasks/tests/crash` |
//! | more than ten new connections a second are dropped | `it/hostile/peers.rs::a_hundred_connections_in_a_burst_all_work` |
//! | submitter and worker disagree about a task for ever | `it/crash.rs::a_task_ends_once_with_its_result_whoever_is_killed_whenever`, `crates/tasks/tests/crash` |
//! | an acknowledged registration is lost by a kill, its id given to another key | `rendezvous/tests/it/program.rs::a_kill_in_a_storm_of_registrations_loses_none_that_was_acknowledged`, `rendezvous/src/registry/tests/addresses.rs::a_released_number_is_never_given_again` |
//! | shutdown hangs when the registry is down | `it/hostile/home.rs::a_daemon_stops_at_once_while_its_rendezvous_is_dead_or_hangs_and_peers_are_gone` |
//! | one slow reader stalls unrelated peers | `it/hostile/peers.rs::a_peer_that_reads_nothing_holds_nobody_else_up`, `rendezvous/src/registry/tests/presence.rs::a_slow_reader_gets_the_newest_once` |
//! | throughput collapses when the socket buffer overflows | `it/hostile/peers.rs::a_receiver_that_pauses_gets_large_tasks_all_the_same` |
//!
//! | what broke into it | test |
//! |---|---|
//! | a forged plaintext packet is accepted | `it/hostile/datagrams.rs::a_flood_of_forged_datagrams_changes_nothing_and_stops_no_work`, `crates/transport/tests/it/datagrams.rs` |
//! | `../` in a task id or file name | `it/hostile/names.rs`, `it/hostile/peers.rs::a_name_that_leaves_its_folder_is_refused_on_the_wire`, `proto/src/file_name.rs`, `proto/src/component.rs`, `it/hostile/files.rs` |
//! | an unsolicited "accept" makes its sender trusted | `it/hostile/strangers.rs::an_unsolicited_accept_makes_nobody_trusted`, `crates/trust/src/tests/hostile.rs` |
//! | a forged revocation removes a third party's trust | `it/hostile/strangers.rs::nobody_revokes_the_trust_of_others`, `crates/trust/src/tests/hostile.rs` |
//! | one datagram with a huge counter kills a tunnel | `it/hostile/datagrams.rs::replayed_altered_and_truncated_datagrams_disturb_no_tunnel` |
//! | a replayed handshake resets one | the same, `crates/transport/tests/it/endings.rs::another_key_on_the_same_port_cannot_reset` |
//! | registering a key without holding it | a registration names no key but that of its connection: `crates/transport/tests/it/impostors.rs`, `it/hostile/strangers.rs::a_node_that_lost_its_key_is_another_node_whatever_it_claims` |
//! | signatures that cover the name of an operation only | `crates/identity/src/{grant,receipt}.rs`, `it/hostile/strangers.rs::a_replayed_grant_is_refused_by_its_serial_and_brings_nothing_back` |
//! | scores, e-mail, an unauthenticated relay | there are none of these yet |

mod attached;
mod breaking;
mod datagrams;
mod events;
mod files;
mod home;
mod logs;
mod messages;
mod names;
mod peers;
mod proxy;
mod puppet;
mod strangers;
