//! Texts in colour, put where there is room. All that is drawn goes through here.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use crate::tui::state::account::Level;

/// The styles of the screen. A sign or a word always says the same as a colour.
#[derive(Clone, Copy)]
pub(in crate::tui) struct Theme {
    pub(in crate::tui) has_colors: bool,
}

impl Theme {
    pub(super) fn of(self, level: Level) -> Style {
        let color = |color| if self.has_colors { Style::new().fg(color) } else { Style::new() };
        match level {
            Level::Good => color(Color::Green),
            Level::Doubtful => color(Color::Yellow),
            Level::Bad => color(Color::Red).add_modifier(Modifier::BOLD),
            Level::Quiet => Style::new().add_modifier(Modifier::DIM),
        }
    }

    pub(super) fn plain() -> Style {
        Style::new()
    }

    pub(super) fn strong() -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn quiet() -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn chosen() -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}

/// Returns how many cells a text takes.
pub(super) fn width(text: &str) -> usize {
    match text.is_ascii() {
        true => text.len(),
        false => console::measure_text_width(text),
    }
}

/// Returns the text, cut with a mark if there is no room for all of it.
pub(super) fn cut(text: &str, room: usize) -> std::borrow::Cow<'_, str> {
    match width(text) <= room {
        true => text.into(),
        false => console::truncate_str(text, room, "…"),
    }
}

/// Breaks a text into lines of that width, between words if they have spaces; a longer word is broken. `""` is a line, too.
pub(super) fn wrapped(text: &str, room: usize) -> Vec<String> {
    let room = room.max(1);
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split(' ') {
        let gap = usize::from(!line.is_empty());
        if !line.is_empty() && width(&line) + gap + width(word) > room {
            lines.push(std::mem::take(&mut line));
        } else if gap == 1 {
            line.push(' ');
        }
        for char in word.chars() {
            if width(&line) + width(char.encode_utf8(&mut [0; 4])) > room {
                lines.push(std::mem::take(&mut line));
            }
            line.push(char);
        }
    }
    lines.push(line);
    lines
}

/// Where something is drawn.
pub(super) struct Canvas<'a> {
    pub(super) buffer: &'a mut Buffer,
    pub(super) area: Rect,
    pub(super) theme: Theme,
}

impl Canvas<'_> {
    pub(super) fn width(&self) -> usize {
        usize::from(self.area.width)
    }

    pub(super) fn height(&self) -> usize {
        usize::from(self.area.height)
    }

    /// A part of it.
    pub(super) fn within(&mut self, area: Rect) -> Canvas<'_> {
        let area = area.intersection(self.area);
        Canvas { buffer: self.buffer, area, theme: self.theme }
    }

    /// Puts a text into a line, as far as there is room, and returns the column after it.
    pub(super) fn put(&mut self, column: usize, line: usize, text: &str, style: Style) -> usize {
        self.put_in(column, line, usize::MAX, text, style)
    }

    /// The same, in at most so many cells.
    pub(super) fn put_in(
        &mut self,
        column: usize,
        line: usize,
        room: usize,
        text: &str,
        style: Style,
    ) -> usize {
        let room = room.min(self.width().saturating_sub(column));
        let (Ok(x), Ok(y)) = (u16::try_from(column), u16::try_from(line)) else { return column };
        if room == 0 || y >= self.area.height {
            return column;
        }
        let text = cut(text, room);
        self.buffer.set_string(self.area.x + x, self.area.y + y, &*text, style);
        column + width(&text)
    }

    /// Puts a text at the end of a line, if it fits behind this column.
    pub(super) fn put_last(&mut self, behind: usize, line: usize, text: &str, style: Style) {
        if let Some(column) = self.width().checked_sub(width(text) + 1).filter(|column| *column > behind)
        {
            self.put(column, line, text, style);
        }
    }

    /// Styles a whole line.
    pub(super) fn style_line(&mut self, line: usize, style: Style) {
        let Ok(line) = u16::try_from(line) else { return };
        if line < self.area.height {
            self.buffer.set_style(Rect { y: self.area.y + line, height: 1, ..self.area }, style);
        }
    }

    /// Draws a rule.
    pub(super) fn rule(&mut self, line: usize) {
        let rule = "─".repeat(self.width());
        self.put(0, line, &rule, Theme::quiet());
    }

    /// Puts lines, from this one on; returns the line after the last. What is too wide is wrapped.
    pub(super) fn lines<T: AsRef<str>>(
        &mut self,
        column: usize,
        mut line: usize,
        texts: impl IntoIterator<Item = T>,
        style: Style,
    ) -> usize {
        for text in texts {
            for part in wrapped(text.as_ref(), self.width().saturating_sub(column + 1)) {
                self.put(column, line, &part, style);
                line += 1;
            }
        }
        line
    }
}

/// Returns a bar of that width: so many of a thousand are full.
pub(super) fn bar(permille: u16, room: usize) -> String {
    let full = (usize::from(permille.min(1000)) * room + 500) / 1000;
    // The last bit is never drawn as nothing.
    let full = if permille > 0 { full.max(1).min(room) } else { 0 };
    "█".repeat(full) + &"░".repeat(room - full)
}

/// Returns a line of small bars, the highest for the greatest number.
pub(super) fn sparkline(numbers: &[u64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = numbers.iter().copied().max().unwrap_or(0).max(1);
    let bar = |number: u64| match number {
        0 => ' ',
        number => BARS[usize::try_from((number * 8).div_ceil(most)).unwrap_or(8).clamp(1, 8) - 1],
    };
    numbers.iter().map(|number| bar(*number)).collect()
}

#[cfg(test)]
mod tests {
    use super::{bar, cut, sparkline, wrapped};

    #[test]
    fn bars_are_never_empty_if_something_is_left() {
        assert_eq!(bar(380, 14), "█████░░░░░░░░░");
        assert_eq!((bar(1, 4), bar(0, 4), bar(1000, 4)), ("█░░░".into(), "░░░░".into(), "████".into()));
        assert_eq!(sparkline(&[0, 1, 8, 4]), " ▁█▄");
        assert_eq!(sparkline(&[0, 0]), "  ");
    }

    #[test]
    fn texts_are_cut_and_wrapped_by_cells() {
        assert_eq!(cut("語語語", 5), "語語…");
        assert_eq!(wrapped("a bb  ccc dddddd", 4), ["a bb", "ccc", "dddd", "dd"]);
        assert_eq!(wrapped("", 4), [""]);
    }
}
