//! What is wrong is named with the way out, without a secret.

use std::path::Path;

use super::{PASSWORD, Place, SENTINEL_PASSWORD, let_in, let_only_in, with_tls};
use crate::cli::Run;
use crate::many_hosts::host;
use crate::server::Server;
use crate::server::sentinel::Sentinel;
use crate::server::tls::TlsServer;
use crate::wire::certified::Certified;

const WRONG: &str = "planted-wrong-password";

/// Runs a command with these passwords of the engine and of the Sentinels.
fn list_with(place: &Place, password: &str, of_sentinels: &str) -> Run {
    let home = place
        .by_environment(host())
        .variable("TOWER_CREDENTIALS_VAULT_PASSWORD", password)
        .variable("TOWER_CREDENTIALS_VAULT_SENTINEL_PASSWORD", of_sentinels);
    home.secret(WRONG);
    let run = home.run(["list"]).code(5);
    // What ends each command is said once.
    assert_eq!(run.stderr.matches("error: ").count(), 1, "{run:#?}");
    run
}

fn list(place: &Place) -> Run {
    list_with(place, PASSWORD, SENTINEL_PASSWORD)
}

const PASSWORDS: &str = "try: set TOWER_CREDENTIALS_VAULT_PASSWORD, or vault.password_command";

#[test]
fn a_wrong_password_of_an_engine_alone_or_of_a_cluster() {
    let Some(alone) = Server::start(&[]) else { return };
    let_only_in(&alone);
    let Some(cluster) = Server::start_cluster() else { return };
    let_only_in(&cluster);
    for url in [alone.url(), format!("{}?cluster=true", cluster.url())] {
        let port = url.split(['?', ':']).nth(2).unwrap().to_owned();
        let refuses = format!("127.0.0.1:{port} refuses the name or the password");
        list_with(&Place::new(url), WRONG, "").says(&refuses).says(PASSWORDS);
    }
    let nobody = Place { user: "", ..Place::new(alone.url()) };
    list_with(&nobody, "", "").says("wants a password").says(PASSWORDS);
}

#[test]
fn a_wrong_password_over_tls() {
    let files = tempfile::tempdir().unwrap();
    let Some((_engine, place)) = with_tls(files.path()) else { return };
    list_with(&place, WRONG, "").says("refuses the name or the password").says(PASSWORDS);
}

#[test]
fn the_password_of_the_sentinels_is_told_from_the_engines() {
    let Some(server) = Server::start(&[]) else { return };
    let sentinel = Sentinel::with_password(&server, SENTINEL_PASSWORD);
    let_in(&server);
    let place = Place::new(sentinel.url("main"));
    for of_sentinels in [WRONG, ""] {
        list_with(&place, PASSWORD, of_sentinels)
            .says(&format!(
                "the Sentinel 127.0.0.1:{} refuses the name or the password",
                sentinel.port()
            ))
            .says("try: set TOWER_CREDENTIALS_VAULT_SENTINEL_PASSWORD");
    }
    list_with(&place, WRONG, SENTINEL_PASSWORD)
        .says(&format!("127.0.0.1:{} refuses the name or the password", server.port()))
        .says(PASSWORDS);
}

#[test]
fn a_service_that_a_sentinel_does_not_know_whichever_sentinel_is_away() {
    let Some(server) = Server::start(&[]) else { return };
    let sentinel = Sentinel::with_password(&server, SENTINEL_PASSWORD);
    let there = format!("127.0.0.1:{}", sentinel.port());
    for sentinels in [there.clone(), format!("127.0.0.1:1,{there}"), format!("{there},127.0.0.1:1")] {
        let place = Place::new(format!("redis+sentinel://{sentinels}/other"));
        list(&place)
            .says(&format!("the Sentinel {there} knows no service \"other\""))
            .says("set its name in the engine's URL");
    }
    list(&Place::new("redis+sentinel://127.0.0.1:1/main".to_owned()))
        .says("the Sentinel 127.0.0.1:1 can't be reached")
        .says("try: start the engine");
}

#[test]
fn an_engine_that_is_taken_for_a_sentinel_or_a_cluster_and_a_sentinel_for_an_engine() {
    let Some(server) = Server::start(&[]) else { return };
    let_in(&server);
    let sentinel = Sentinel::of(&server);
    let engine = format!("127.0.0.1:{}", server.port());
    let place = Place { user: "", ..Place::new(format!("redis+sentinel://{engine}/main")) };
    list_with(&place, "", "").says(&format!("{engine} is no Sentinel")).says("without +sentinel");
    let there = format!("127.0.0.1:{}", sentinel.port());
    let place = Place { user: "", ..Place::new(format!("redis://{there}")) };
    list_with(&place, "", "")
        .says(&format!("{there} is a Sentinel"))
        .says(&format!("redis+sentinel://{there}/SERVICE"));
    let home = Place::new(format!("{}?cluster=true", server.url())).by_environment(host());
    home.run(["vault", "init"]).ok();
    home.run(["vault", "check"]).code(5).says("is no node of a cluster").says("leave out ?cluster=true");
}

#[test]
fn a_certificate_that_is_not_trusted_is_named_with_its_reason() {
    let files = tempfile::tempdir().unwrap();
    let Some((engine, _)) = with_tls(files.path()) else { return };
    let another = Certified::new().authority.pem();
    let untrusted = Place::with_tls(&engine, files.path(), &another);
    let systems = Place::new(untrusted.url.clone());
    for place in [&untrusted, &systems] {
        list(place)
            .says("has a certificate of an authority that is not trusted here")
            .says("vault.root_certificates in the settings");
    }
    let gone = |file: &Path| {
        let settings = format!("root_certificates = \"{}\"\n", file.display());
        Place { settings, ..Place::new(untrusted.url.clone()) }
    };
    let empty = files.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for (file, reason) in
        [("empty.pem", "no certificate of an authority was found"), ("none.pem", "No such file")]
    {
        let home = gone(&files.path().join(file)).by_environment(host());
        home.run(["list"]).code(2).says("vault.root_certificates is ").says(file).says(reason);
    }
}

#[test]
fn a_certificate_of_another_name_and_one_that_is_asked_of_clients() {
    let authority = Certified::new().authority;
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = |name: &str| {
        let parameters = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.signed_by(&key, &authority).unwrap().pem()
    };
    let files = tempfile::tempdir().unwrap();
    let start = |name: &str, options: &[&str]| {
        let engine = TlsServer::start(&certificate(name), &key.serialize_pem(), options)?;
        let_in(&engine.server);
        let place = Place::with_tls(&engine, files.path(), &authority.pem());
        Some((engine, place))
    };
    let Some((_engine, place)) = start("elsewhere.example", &["--tls-auth-clients", "no"]) else {
        return;
    };
    list(&place).says("has a certificate for other names").says("elsewhere.example");
    let authorities = files.path().join("authority.pem").display().to_string();
    let asking = ["--tls-auth-clients", "yes", "--tls-ca-cert-file", &authorities];
    let Some((_engine, place)) = start("127.0.0.1", &asking) else { return };
    list(&place).says("wants a certificate from its clients").says("`tls-auth-clients no`");
}
