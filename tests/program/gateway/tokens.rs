//! `credentials token` and `credentials env`: an account's token, for scripts.

use tower_credentials::{OAuthTokens, PoolKey};

use crate::cli::{Home, end_of};

#[tokio::test]
async fn the_token_is_that_of_the_next_request_whatever_header_carries_it() {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    home.add("anthropic", "work", "sk-secret-2").await;
    home.add_to(PoolKey::new("anthropic"), "max", OAuthTokens::new("oauth-secret-3")).await;
    for (arguments, token) in [
        (&["token", "openai"][..], "sk-secret-1\n"),
        (&["token", "anthropic/work"], "sk-secret-2\n"),
        (&["token", "anthropic/max"], "oauth-secret-3\n"),
        (&["env", "openai"], "export OPENAI_API_KEY=sk-secret-1\n"),
        (&["env", "openai", "--variable", "A_b1"], "export A_b1=sk-secret-1\n"),
    ] {
        let run = home.run_showing(arguments, "").ok();
        assert_eq!(run.stdout, token, "{arguments:?}");
        home.check(&run.stderr);
    }
    for name in ["1a", "a-b", "", "A=B", "a b"] {
        let variable = format!("--variable={name}");
        home.run(["env", "openai", &variable]).code(2).says("--variable");
    }
    home.run(["token", "google"]).code(3).says("try: credentials login google");
    home.settings("[providers.acme]\ntype = \"generic\"\norigins = [\"https://api.acme.example\"]\n");
    home.add("acme", "work", "a'b $c").await;
    home.run(["env", "acme"]).code(2).says("--variable NAME");
}

#[tokio::test]
async fn a_terminal_is_refused_without_the_flag() {
    let home = Home::new();
    home.add("openai", "work", "sk-secret-1").await;
    for command in ["token", "env"] {
        let (shown, code) = end_of(home.terminal([command, "openai"]));
        assert_eq!(code, 2, "{shown}");
        assert!(shown.contains("--show"), "{shown}");
        home.check(&shown);
        let (shown, code) = end_of(home.terminal([command, "openai", "--show"]));
        assert_eq!(code, 0, "{shown}");
        assert!(shown.contains("sk-secret-1"), "{shown}");
    }
}
