//! What is shown before there is an account: the way to the first one.

use super::paint::{Canvas, Theme};

pub(super) fn draw(canvas: &mut Canvas<'_>) {
    let top = canvas.height().saturating_sub(8) / 2;
    let line = canvas.lines(3, top, ["There are no accounts yet."], Theme::strong());
    let line = canvas.lines(
        3,
        line + 1,
        ["Press n to add the first one: sign in, or paste an API key."],
        Theme::plain(),
    );
    canvas.lines(
        3,
        line + 1,
        ["A vault and a key for it are made then, and where they are is said."],
        Theme::quiet(),
    );
}
