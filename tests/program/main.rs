//! The program `credentials`, as a process.

#![cfg(feature = "cli")]

#[path = "../authorization_server/mod.rs"]
mod authorization_server;
mod cli;
#[cfg(unix)]
mod gateway;
#[path = "../legacy/mod.rs"]
mod legacy;
#[path = "../support/mod.rs"]
mod support;
#[cfg(unix)]
#[path = "../thorough/mod.rs"]
mod thorough;
#[cfg(all(unix, feature = "tui"))]
mod tmux;
#[cfg(unix)]
#[path = "../wire/mod.rs"]
mod wire;

mod cli_accounts;
mod cli_allowance;
mod cli_backup;
mod cli_config;
mod cli_damaged_key;
mod cli_damaged_records;
mod cli_ending;
mod cli_first_vault;
mod cli_headers;
mod cli_hints;
mod cli_history;
mod cli_kept_key;
mod cli_key_places;
mod cli_keyring;
mod cli_left_out;
mod cli_list;
mod cli_login;
mod cli_login_keys;
mod cli_login_replace;
mod cli_logout;
mod cli_migrate;
mod cli_models;
mod cli_order;
mod cli_providers;
mod cli_proxy;
mod cli_quota;
mod cli_readme;
mod cli_renewal;
mod cli_root;
mod cli_rotate_key;
mod cli_shell;
mod cli_signals;
mod cli_status;
mod cli_strangers;
mod cli_test;
mod cli_test_renewal;
mod cli_test_verdicts;
mod cli_unwritable;
mod cli_vault;
mod cli_vault_check;
mod cli_warnings;
mod cli_why;
mod list_watch;
#[cfg(unix)]
mod many_hosts;
#[cfg(unix)]
#[path = "../engine/mod.rs"]
mod server;
mod tui_screen;
mod tui_sign_in;
mod tui_terminal;
