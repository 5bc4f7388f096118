//! Sets the mode of a provider in the settings file.

use std::fs;
use std::io;

use toml_edit::{DocumentMut, Item, Table, value};
use tower_credentials::Mode;

use crate::account::setting;
use crate::context::Context;
use crate::failure::Failure;
use crate::{files, output};

/// Sets the mode of a provider, and leaves everything else in the file as it is, comments included.
pub(crate) fn set_mode(context: &Context, provider: &str, mode: Mode) -> Result<(), Failure> {
    let path = &context.places.config;
    let unread = |error: &dyn std::fmt::Display| {
        let what = setting(provider, "mode");
        Failure::failed(format!("could not change {}", path.display()))
            .because(error)
            .way_out(format!("set {what} = \"{}\" in it", mode.as_str()))
    };
    // Behind a link, the file itself is replaced.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.map_err(|error| unread(&error))?,
    };
    let changed = with_mode(&text, provider, mode).map_err(|error| unread(&error))?;
    super::make_directory_of(path).map_err(|error| unread(&error))?;
    files::write(path, changed.as_bytes(), true)?;
    #[cfg(unix)]
    files::give_to_owner(path, &context.places.own);
    output::say(format_args!(
        "{} = \"{}\" in {}",
        setting(provider, "mode"),
        mode.as_str(),
        output::path(path)
    ));
    Ok(())
}

/// Returns the settings with this mode of the provider.
fn with_mode(text: &str, provider: &str, mode: Mode) -> Result<String, String> {
    let mut document: DocumentMut = text.parse().map_err(|_| "it is not TOML".to_owned())?;
    let table = |item: &mut Item, name: &str, is_implicit: bool| -> Result<(), String> {
        let mut new = Table::new();
        // A table of tables alone has no line of its own.
        new.set_implicit(is_implicit);
        let parent = item.as_table_like_mut().ok_or("`providers` is no table")?;
        parent.entry(name).or_insert(Item::Table(new));
        Ok(())
    };
    table(document.as_item_mut(), "providers", true)?;
    table(&mut document["providers"], provider, false)?;
    let settings = document["providers"][provider].as_table_like_mut();
    settings.ok_or("the provider's settings are no table")?.insert("mode", value(mode.as_str()));
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use tower_credentials::Mode;

    use super::with_mode;

    #[test]
    fn only_the_mode_is_changed() {
        for (before, after) in [
            ("", "[providers.acme]\nmode = \"all\"\n"),
            (
                "# mine\n[vault]\nkeyring = true # yes\n",
                "# mine\n[vault]\nkeyring = true # yes\n\n[providers.acme]\nmode = \"all\"\n",
            ),
            (
                "[providers.acme] # a\norigins = [\"https://a.example\"]\n\n[providers.b]\nmode = \"api\"\n",
                "[providers.acme] # a\norigins = [\"https://a.example\"]\nmode = \"all\"\n\n[providers.b]\nmode = \"api\"\n",
            ),
            ("[providers]\nacme = { mode = \"api\" }\n", "[providers]\nacme = { mode = \"all\" }\n"),
        ] {
            assert_eq!(with_mode(before, "acme", Mode::All).unwrap(), after);
        }
        assert!(with_mode("providers = 1", "acme", Mode::All).is_err());
        assert!(with_mode("secret = TOP", "acme", Mode::All).is_err_and(|error| !error.contains("TOP")));
    }
}
