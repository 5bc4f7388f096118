//! A window in front of the list.

use ratatui::layout::Rect;
use ratatui::widgets::{Block, BorderType, Clear, Widget};

use super::paint::{Canvas, Theme, cut};

/// Opens a window in the middle, with room for so much, and returns its inside.
pub(super) fn open<'a>(
    canvas: &'a mut Canvas<'_>,
    title: &str,
    width: usize,
    height: usize,
) -> Canvas<'a> {
    let size = |wanted: usize, most: u16| u16::try_from(wanted).unwrap_or(most).min(most);
    let screen = canvas.area;
    let (width, height) = (size(width + 4, screen.width), size(height + 2, screen.height));
    let area = Rect {
        x: screen.x + (screen.width - width) / 2,
        y: screen.y + (screen.height - height) / 2,
        width,
        height,
    };
    Clear.render(area, canvas.buffer);
    let title = format!(" {} ", cut(title, usize::from(width).saturating_sub(6)));
    let block =
        Block::bordered().border_type(BorderType::Rounded).title(title).title_style(Theme::strong());
    let inside = block.inner(area);
    block.render(area, canvas.buffer);
    let (x, width) = (inside.x + 1, inside.width.saturating_sub(1));
    canvas.within(Rect { x: x.min(screen.right()), width, ..inside })
}
