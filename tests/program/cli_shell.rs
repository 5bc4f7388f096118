//! The program `credentials` as a good neighbour in a shell: help, completions, the manual page, colours, pipes,
//! directories, several at once.
#![cfg(feature = "cli")]

use std::io::Write;
use std::process::Stdio;

use tower_credentials::PoolKey;
use tower_credentials::vault::VaultExt;

use crate::cli::{Home, Run, end_of};

/// Runs a script with `$0` as the program.
fn shell(home: &Home, shell: &str, script: &str) -> Run {
    Run::of(home.script(shell, script).stdin(Stdio::null()).output().unwrap())
}

/// Every command's words, those of `vault` too, from the program's own help.
fn commands(home: &Home, of: &[&str]) -> Vec<Vec<String>> {
    let help = home.run([of, &["--help"]].concat()).ok().stdout;
    let Some((_, list)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    let lines = list.lines().take_while(|line| line.starts_with("  "));
    // A line that begins further in goes on with the description before it.
    let names = lines.filter(|line| !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let mut all = Vec::new();
    for name in names {
        let words = [of, &[name]].concat();
        all.push(words.iter().map(|word| (*word).to_owned()).collect());
        all.append(&mut commands(home, &words));
    }
    all
}

#[test]
fn every_command_has_help_in_both_lengths_a_manual_page_and_a_completion() {
    let home = Home::new();
    let commands = commands(&home, &[]);
    assert!(commands.len() > 10, "{commands:?}");
    let completions = home.run(["completions", "bash"]).ok().stdout;
    for command in &commands {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let name = words.join(" ");
        home.run([&words[..], &["--help"]].concat()).ok().prints(&format!("Usage: credentials {name}"));
        home.run([&words[..], &["-h"]].concat()).ok().prints(&format!("Usage: credentials {name}"));
        let page = home.run([&["man"], &words[..]].concat()).ok().stdout;
        assert!(
            page.contains(".SH NAME")
                && page.contains("Global options") | page.contains("GLOBAL OPTIONS"),
            "{page}"
        );
        assert!(completions.contains(words[words.len() - 1]), "{name}");
    }
    home.run(["man", "nonsense"]).code(3).says("nonsense");
    assert!(home.path().read_dir().unwrap().next().is_none(), "something was made");
}

#[test]
fn bash_takes_the_completions() {
    let home = Home::new();
    let script = "source <(\"$0\" completions bash) && COMP_WORDS=(credentials lo) COMP_CWORD=1 && \
                  _credentials credentials lo credentials && printf '%s\\n' \"${COMPREPLY[@]}\"";
    let run = shell(&home, "bash", script).ok();
    assert_eq!(run.stdout, "login\nlogout\n", "{run:?}");
    for name in ["zsh", "fish", "elvish", "powershell"] {
        home.run(["completions", name]).ok().prints("logout");
    }
}

#[tokio::test]
async fn completions_know_the_providers_and_the_accounts() {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    home.add("openai", "my key", "sk-secret-2").await;
    let complete = |words: &[&str]| {
        let mut arguments = vec!["__complete", "--"];
        arguments.extend(words);
        home.run(arguments).ok().stdout
    };
    assert_eq!(complete(&["show", "openai/"]), "openai/my key\nopenai/work\n");
    assert_eq!(complete(&["login", "an"]), "anthropic\n");
    assert_eq!(complete(&["vault", ""]), "");
    assert_eq!(complete(&["list", "-n", ""]), "default\n");
    assert_eq!(complete(&["why", "openai", "openai/w"]), "openai/work\n");
    assert_eq!(complete(&["why", "anthropic", ""]), "");
    assert_eq!(complete(&["show", "--unr"]), "");
    // A provider of which there are only stored accounts: nobody signs in to it, or asks it for its models.
    home.add("acme", "old", "sk-secret-3").await;
    for (command, expected) in [
        ("logout", "acme\nacme/old\n"),
        ("rm", "acme\nacme/old\n"),
        ("list", "acme\n"),
        ("status", "acme\n"),
        ("login", ""),
        ("models", ""),
        ("providers", ""),
    ] {
        assert_eq!(complete(&[command, "ac"]), expected, "{command}");
    }
    let script = "source <(\"$0\" completions bash) && COMP_WORDS=(\"$0\" show openai/) COMP_CWORD=2 && \
                  _credentials_and_accounts \"$0\" openai/ show && printf '%s\\n' \"${COMPREPLY[@]}\"";
    let run = shell(&home, "bash", script).ok();
    assert_eq!(run.stdout, "openai/my\\ key\nopenai/work\n", "{run:?}");
    for name in ["zsh", "fish"] {
        home.run(["completions", name]).ok().prints("__complete");
    }
    // Nobody is asked for a key while somebody types.
    let run = home
        .run(["--key-command", "sh -c 'echo asked >&2; false'", "__complete", "--", "show", "op"])
        .ok();
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("openai\n", ""));
    assert!(!home.run(["--help"]).ok().stdout.contains("__complete"));
}

#[test]
fn a_manual_page_has_lists_for_tables_and_names_no_page_that_is_not_there() {
    let home = Home::new();
    let page = home.run(["man"]).ok().stdout;
    assert!(!page.contains("(1)") && !page.contains("__complete"), "{page}");
    assert!(page.contains(".SH EXIT CODES\n.TP\n\\fB0\\fR\nsuccess\n"), "{page}");
    assert!(page.contains(".TP\n\\fBlogin\\fR\nAdd an account"), "{page}");
    assert!(page.contains("\\fBTOWER_CREDENTIALS_DIR\\fR\nthe vault"), "{page}");
    assert!(page.contains(".nf\ncredentials login openai \\-\\-api\\-key"), "{page}");
    home.run(["man", "vault"]).ok().prints("credentials man vault COMMAND writes");
}

#[test]
fn nothing_typed_and_nonsense_are_errors_with_the_usage() {
    let home = Home::new();
    home.run([""; 0]).code(2).says("Usage: credentials");
    home.run(["lsit"]).code(2).says("list");
    home.run(["list", "--jsno"]).code(2).says("--json");
    for command in ["pause", "resume", "reset"] {
        home.run([command])
            .code(2)
            .says(&format!("credentials {command} [OPTIONS] --all [ACCOUNT]...\n"));
    }
    // By the name that was typed.
    for (alias, name) in [("use", "activate"), ("rm", "logout"), ("ls", "list")] {
        let run = home.run([alias, "-dash"]).code(2).says(&format!("Usage: credentials {alias} "));
        assert!(!run.stderr.contains(name), "{run:#?}");
        home.run([name, "-dash"]).code(2).says(&format!("Usage: credentials {name} "));
    }
    // An account may have such a name.
    home.run(["activate", "use", "-dash"]).code(2).says("Usage: credentials activate ");
    home.run(["--version"]).ok().prints(env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn colours_are_for_terminals_unless_they_are_asked_for() {
    let mut home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    let is_coloured = |text: &str| text.contains("\u{1b}[");
    assert!(!is_coloured(&home.run(["list"]).ok().stdout));
    assert!(is_coloured(&home.run(["list", "--color", "always"]).ok().stdout));
    assert!(is_coloured(&end_of(home.terminal(["list"])).0));
    assert!(!is_coloured(&end_of(home.terminal(["list", "--color", "never"])).0));
    assert!(is_coloured(&end_of(home.terminal(["show", "nobody"])).0));
    home.set("NO_COLOR", "1");
    assert!(!is_coloured(&end_of(home.terminal(["list"])).0));
    assert!(!is_coloured(&end_of(home.terminal(["show", "nobody"])).0));
}

#[tokio::test]
async fn an_output_that_nobody_reads_is_no_failure_and_a_full_disk_is_one() {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    let run = shell(&home, "bash", "\"$0\" completions bash | true; echo ${PIPESTATUS[0]}");
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("0\n", ""));
    let run = shell(&home, "bash", "\"$0\" list | true; echo ${PIPESTATUS[0]}");
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("0\n", ""));
    shell(&home, "sh", "\"$0\" list > /dev/full").code(1).says("No space left");
    shell(&home, "sh", "\"$0\" list --json > /dev/full").code(1).says("No space left");
    for arguments in ["--help", "--version", "list --help"] {
        let run = shell(&home, "sh", &format!("\"$0\" {arguments} > /dev/full; echo $?"));
        assert_eq!(run.stdout, "1\n", "{arguments}");
    }
}

#[tokio::test]
async fn directories_are_the_platforms_and_can_be_named() {
    let mut home = Home::new();
    home.run_with(["login", "openai", "--api-key"], "sk-secret-1").ok();
    assert!(home.vault_directory().join("records").is_dir());
    assert!(home.key_file().is_file());

    let other = home.path().join("other");
    home.run_with(
        ["login", "openai", "--api-key", "--label", "there", "--vault", "other"],
        "sk-secret-2",
    )
    .ok();
    assert!(other.join("records").is_dir());
    home.set("TOWER_CREDENTIALS_DIR", other.to_str().unwrap());
    home.run(["list"]).ok().prints("there");
    home.run(["list", "--vault", home.vault_directory().to_str().unwrap()]).ok().prints("default");

    home.set("TOWER_CREDENTIALS_DIR", "");
    home.set("TOWER_CREDENTIALS_CONFIG", "");
    home.run(["list"]).ok().prints("default");
    let mut home = Home::new();
    for (name, directory) in [("XDG_DATA_HOME", "d"), ("XDG_CONFIG_HOME", "c"), ("XDG_CACHE_HOME", "k")]
    {
        home.set(name, home.path().join(directory).to_str().unwrap());
    }
    home.run_with(["login", "openai", "--api-key"], "sk-secret-1").ok();
    assert!(home.path().join("d/tower-credentials/vault/records").is_dir());
    assert!(home.path().join("c/tower-credentials/vault.key").is_file());
}

#[tokio::test]
async fn a_variable_with_our_prefix_is_used_or_named() {
    let mut home = Home::new();
    home.add("openai", "usual", "sk-secret-1").await;
    home.set("TOWER_CREDENTIALS_VAULT", "elsewhere");
    home.run(["vault", "path"]).ok().prints("vault:    elsewhere (none yet)");
    home.run(["list"]).ok().says("there is no vault in elsewhere yet");
    home.set("TOWER_CREDENTIALS_DIR", "elsewhere");
    home.run(["list"]).ok();
    home.set("TOWER_CREDENTIALS_DIR", "other");
    home.run(["list"]).code(2).says("TOWER_CREDENTIALS_DIR is other").says("TOWER_CREDENTIALS_VAULT");
    home.run(["list", "--vault", home.vault_directory().to_str().unwrap()]).ok().prints("usual");
    for name in ["TOWER_CREDENTIALS_DIR", "TOWER_CREDENTIALS_VAULT"] {
        home.set(name, "");
    }
    home.set("TOWER_CREDENTIALS_CONFG", "settings.toml");
    home.run(["list"]).code(2).says("TOWER_CREDENTIALS_CONFG").says("TOWER_CREDENTIALS_CONFIG");
    home.set("TOWER_CREDENTIALS_CONFG", "");
    home.run(["list"]).code(2);
    let mut home = Home::new();
    home.set("TOWER_CREDENTIALS_PAGER", "less");
    home.run(["list"]).ok().says("TOWER_CREDENTIALS_PAGER is not known, and does nothing");
}

#[tokio::test]
async fn a_key_beside_the_vault_is_suggested_if_the_usual_one_is_missing() {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    let vault = home.path().join("my vault");
    std::fs::rename(home.vault_directory(), &vault).unwrap();
    let key = home.path().join("my vault.key");
    std::fs::rename(home.key_file(), &key).unwrap();
    let run = home.run(["list", "--vault", vault.to_str().unwrap()]).code(5);
    let run = run.says("the key of the vault").says("is missing");
    run.says(&format!("try: add --key-file '{}'\n", key.display()));
    assert!(!home.key_file().exists(), "a key was made");
    home.run(["list", "--vault", vault.to_str().unwrap(), "--key-file", key.to_str().unwrap()]).ok();
}

#[tokio::test]
async fn settings_that_are_wrong_are_named() {
    let mut home = Home::new();
    home.settings("[providers.openai]\nmoed = \"api\"\n");
    home.run(["list"]).code(2).says("config.toml, line 2").says("`mode`");
    let other = home.path().join("other.toml");
    home.run(["list", "--config", "other.toml"]).code(3).says("other.toml");
    std::fs::File::create(&other).unwrap().write_all(b"[providers.acme]\ntype = \"generic\"\n").unwrap();
    home.run(["list", "acme", "--config", "other.toml"]).ok();
    home.set("TOWER_CREDENTIALS_CONFIG", other.to_str().unwrap());
    home.run(["list", "acme"]).ok();
}

/// Eight people, or scripts, begin at the same moment in an empty home.
#[tokio::test]
async fn programs_that_start_at_once_share_one_key_and_lose_nothing() {
    let home = Home::new();
    let spawn = |number: usize| {
        let label = format!("key-{number}");
        let mut command = home.command(["login", "openai", "--api-key", "--label", &label]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(format!("sk-secret-{number}").as_bytes()).unwrap();
        child
    };
    let children: Vec<_> = (0..8).map(spawn).collect();
    for child in children {
        Run::of(child.wait_with_output().unwrap()).ok();
    }
    let stored = home.vault().await.load_pool(PoolKey::new("openai")).await.unwrap();
    let mut keys: Vec<_> =
        stored.credentials.iter().map(|credential| credential.secret.token().expose()).collect();
    keys.sort_unstable();
    assert_eq!(keys, (0..8).map(|number| format!("sk-secret-{number}")).collect::<Vec<_>>());
    assert_eq!(stored.damaged, []);
}
