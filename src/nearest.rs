//! The most similar of several names. The program has this file as a module, too.

/// Returns the most similar known name, if any is similar: one that begins with this name, or else the one with the fewest
/// different letters.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let changes = |known: &&str| (!known.starts_with(name), strsim::damerau_levenshtein(name, known));
    let nearest = known.into_iter().min_by_key(changes)?;
    // At most half of its letters may be typing errors.
    let is_near =
        |(differs, changes): (bool, usize)| !differs || changes <= 2.max(name.chars().count() / 2);
    is_near(changes(&nearest)).then(|| nearest.to_owned())
}
