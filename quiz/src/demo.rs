//! The demo questions: with `QUIZ_SEED_DEMO` the site plants them once, so that it looks alive from the first moment.
//!
//! They stand in `seeds/demo.toml`; their pictures are drawings in `seeds/pictures`, turned into PNG when they are planted.

use anyhow::Context;
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg;
use serde::Deserialize;
use sqlx::PgPool;

use crate::app::App;
use crate::attachments::{self, Accept};
use crate::db;
use crate::db::seeds::Set;
use crate::domain::quiz::Texts;
use crate::upload::Upload;

const QUESTIONS: &str = include_str!("../seeds/demo.toml");

macro_rules! drawings {
    ($($name:literal)*) => {
        [$(($name, include_str!(concat!("../seeds/pictures/", $name, ".svg")))),*]
    };
}

/// Name and SVG of each drawing.
const DRAWINGS: [(&str, &str); 18] = drawings! {
    "big-dipper" "board" "dice" "disc" "eclipse" "flag-japan" "flag-sweden" "flag-switzerland" "honeycomb"
    "lamps" "molecule" "octopus" "paint" "penguin" "piano" "saturn" "swatches" "triangle"
};

/// One demo question.
pub struct Demo {
    pub texts: Texts,
    /// Its SVG.
    pub drawing: Option<&'static str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    quiz: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    question: String,
    answer: String,
    picture: Option<String>,
}

/// The demo questions, in the order of the file.
pub fn questions() -> anyhow::Result<Vec<Demo>> {
    let file: File = toml::from_str(QUESTIONS).context("reading the demo questions")?;
    file.quiz.into_iter().map(Demo::new).collect()
}

impl Demo {
    fn new(entry: Entry) -> anyhow::Result<Self> {
        let texts = Texts::parse(Some(&entry.question), Some(&entry.answer));
        let texts = texts.map_err(|_| anyhow::anyhow!("unfit: {}", entry.question))?;
        let find = |name: String| {
            let drawing = DRAWINGS.iter().find(|(known, _)| *known == name);
            drawing
                .map(|(_, svg)| *svg)
                .with_context(|| format!("no drawing is called {name}"))
        };
        Ok(Self {
            texts,
            drawing: entry.picture.map(find).transpose()?,
        })
    }
}

/// Plants the demo questions unless they have been planted: stores their pictures like uploads, then adds all rows at
/// once. When several front-ends do so together, one is the first and the pictures are the same.
pub async fn plant(app: &App, pool: &PgPool) -> anyhow::Result<()> {
    let mut connection = pool.acquire().await?;
    if db::seeds::planted(&mut connection, Set::Demo).await? {
        return Ok(());
    }
    let mut quizzes = Vec::new();
    for demo in questions()? {
        let attachment_id = match demo.drawing {
            Some(svg) => Some(save(app, svg).await?),
            None => None,
        };
        quizzes.push((demo.texts, attachment_id));
    }
    if db::seeds::plant_demo(&mut connection, &quizzes).await? {
        tracing::info!(quizzes = quizzes.len(), "planted the demo questions");
    }
    Ok(())
}

/// Stores the first `count` drawings and tells the ids of their rows.
pub(crate) async fn save_drawings(app: &App, count: usize) -> anyhow::Result<Vec<i64>> {
    let mut ids = Vec::new();
    for (_, svg) in DRAWINGS.iter().take(count) {
        ids.push(save(app, svg).await?);
    }
    Ok(ids)
}

/// Stores a drawing and tells the id of its row.
async fn save(app: &App, svg: &'static str) -> anyhow::Result<i64> {
    let png = tokio::task::spawn_blocking(|| draw(svg)).await??;
    let place = app.upload_places.take_own().await?;
    let upload = Upload::Kept(png.into(), place);
    let saved = attachments::save(app, upload, Accept::PictureOnly).await??;
    Ok(saved.id)
}

/// Draws an SVG in its own size, as PNG. CPU bound.
pub fn draw(svg: &str) -> anyhow::Result<Vec<u8>> {
    let tree = usvg::Tree::from_str(svg, &usvg::Options::default()).context("reading an SVG")?;
    let size = tree.size().to_int_size();
    let mut canvas = Pixmap::new(size.width(), size.height()).context("an empty drawing")?;
    resvg::render(&tree, Transform::identity(), &mut canvas.as_mut());
    let pixels = canvas.take_demultiplied();
    let picture = image::RgbaImage::from_raw(size.width(), size.height(), pixels)
        .context("a drawing of another size")?;
    let mut png = std::io::Cursor::new(Vec::new());
    // Opaque: none of the drawings shows what is behind it.
    image::DynamicImage::ImageRgba8(picture)
        .to_rgb8()
        .write_to(&mut png, image::ImageFormat::Png)
        .context("encoding a drawing")?;
    Ok(png.into_inner())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn there_are_at_least_sixty_questions_and_no_two_alike() {
        let questions = questions().unwrap();
        let texts: HashSet<&str> = questions
            .iter()
            .map(|demo| demo.texts.question.as_str())
            .collect();
        assert!(texts.len() >= 60, "{}", texts.len());
        assert_eq!(texts.len(), questions.len());
    }

    #[test]
    fn every_drawing_is_used_and_can_be_drawn() {
        let used: HashSet<&str> = questions()
            .unwrap()
            .iter()
            .filter_map(|demo| demo.drawing)
            .collect();
        assert_eq!(used.len(), DRAWINGS.len());
        for (name, svg) in DRAWINGS {
            let picture = image::load_from_memory(&draw(svg).unwrap())
                .unwrap()
                .to_rgb8();
            assert_eq!((picture.width(), picture.height()), (960, 640), "{name}");
            let colours: HashSet<_> = picture.pixels().collect();
            assert!(colours.len() > 2, "{name} is blank");
        }
    }
}
