//! What is made up: users and quizzes, each from its number.
//!
//! A question is words by the frequencies of natural language, so that a search finds what it would find on a real site: few
//! words that are in many questions, many that are in few. Two of the words are known to whoever measures:
//! [`COMMON_WORD`] and [`RARE_WORD`].

use std::collections::HashSet;

use time::OffsetDateTime;

use super::Sizes;
use super::chance::{Chance, Purpose, Spread, Zipf};

/// In one of ten questions.
pub const COMMON_WORD: &str = "river";

/// In [`RARE`] questions, or in all when there are fewer.
pub const RARE_WORD: &str = "quetzal";

/// Questions with the rare word.
pub const RARE: u64 = 10;

/// One of so many quizzes has a picture, and one of so many the common word.
const PICTURED: u64 = 10;
const COMMON: u64 = 10;

/// Different words, but for those two.
const WORDS: u64 = 20_000;

/// The most frequent ones, the most frequent first; the others are made of syllables.
const FREQUENT: &str = "the of and a in to was is for on as with by that from at which his were it an are had their first has \
    one her after new who its also two they been other when during all into there time may more years over only world city \
    most between later some where three state part such then known made under used about became people name century";

const SYLLABLES: &str = "ba be bi bo bu da de di do du fa fe fi fo ga go ka ke ki ko la le li lo lu ma me mi mo mu na ne ni no nu \
    pa pe pi po ra re ri ro ru sa se si so su ta te ti to tu va ve vo za zo lan den mar tel sin por gar min ten ron";

const OPENINGS: [&str; 12] = [
    "What is",
    "Which",
    "Who",
    "Where is",
    "When was",
    "How many",
    "Why is",
    "Whose",
    "What was",
    "In which year was",
    "What do they call",
    "How far is",
];

/// What users are called, before their number.
const NAMES: [&str; 24] = [
    "ada", "bruno", "carmen", "diego", "elena", "felix", "greta", "hugo", "ines", "jorge", "karla",
    "lucas", "marta", "nuria", "oscar", "pilar", "quim", "rosa", "sergio", "teresa", "ulises",
    "vera", "xavier", "yolanda",
];

/// How even the frequencies of words are at the top, by Mandelbrot.
const WORDS_FLAT: f64 = 2.7;

/// The same for what authors have written: the most diligent one has one of 200 quizzes of a large site.
const AUTHORS_FLAT: f64 = 20.0;

/// 2023-01-01: the first user. The last quiz is of [`SPAN_SECS`] later, three years.
const BEGIN: i64 = 1_672_531_200;
const SPAN_SECS: u64 = 3 * 365 * 86_400;

/// A user.
pub(super) struct User {
    pub(super) name: String,
    pub(super) best_score: u64,
    pub(super) created_at: String,
}

/// A quiz.
#[derive(Debug, PartialEq)]
pub(super) struct Quiz {
    pub(super) question: String,
    pub(super) answer: String,
    /// Number of the user, from 0.
    pub(super) author: u64,
    /// Number of the picture, from 0.
    pub(super) picture: Option<usize>,
    pub(super) random_key: f64,
    pub(super) created_at: String,
}

/// Makes them up.
pub(super) struct Content {
    sizes: Sizes,
    words: Vec<String>,
    frequencies: Zipf,
    authors: Zipf,
    diligent: Spread,
    pictures: usize,
}

impl Content {
    /// Of `pictures` different pictures.
    pub(super) fn new(sizes: Sizes, pictures: usize) -> Self {
        Self {
            sizes,
            words: vocabulary(),
            frequencies: Zipf::new(WORDS, WORDS_FLAT),
            authors: Zipf::new(sizes.users, AUTHORS_FLAT),
            diligent: Spread::new(sizes.users),
            pictures,
        }
    }

    /// User number `index`, from 0, who is to have that id.
    pub(super) fn user(&self, index: u64, id: i64) -> User {
        let mut chance = Chance::new(self.sizes.seed, Purpose::User, index);
        User {
            name: username(id),
            best_score: chance.below(8) * chance.below(8),
            created_at: moment(index, self.sizes.users),
        }
    }

    /// Quiz number `index`, from 0.
    pub(super) fn quiz(&self, index: u64) -> Quiz {
        let mut chance = Chance::new(self.sizes.seed, Purpose::Quiz, index);
        let author = self.author(&mut chance);
        let picture = (chance.below(PICTURED) == 0 && self.pictures > 0)
            .then(|| chance.below(self.pictures as u64) as usize);
        Quiz {
            author,
            picture,
            random_key: chance.unit(),
            question: self.question(index, &mut chance),
            answer: self.words[chance.below(WORDS) as usize].clone(),
            created_at: moment(index, self.sizes.quizzes),
        }
    }

    /// The author of quiz number `index`.
    pub(super) fn author_of(&self, index: u64) -> u64 {
        self.author(&mut Chance::new(self.sizes.seed, Purpose::Quiz, index))
    }

    fn author(&self, chance: &mut Chance) -> u64 {
        self.diligent.row(self.authors.draw(chance))
    }

    fn question(&self, index: u64, chance: &mut Chance) -> String {
        let count = 4 + chance.below(9) as usize;
        let mut words: Vec<&str> = (0..count)
            .map(|_| self.words[self.frequencies.draw(chance) as usize].as_str())
            .collect();
        if chance.below(COMMON) == 0 {
            words[0] = COMMON_WORD;
        }
        if self.is_rare(index) {
            words[count - 1] = RARE_WORD;
        }
        format!("{} {}?", chance.pick(&OPENINGS), words.join(" "))
    }

    /// Is it one of those that stand at equal distances, from the first to the last?
    fn is_rare(&self, index: u64) -> bool {
        let rare = RARE.min(self.sizes.quizzes);
        (index * rare) % self.sizes.quizzes < rare
    }
}

/// The name of the user of that id.
pub fn username(id: i64) -> String {
    let name = NAMES[id.unsigned_abs() as usize % NAMES.len()];
    format!("{name}{id}")
}

/// All words, the most frequent first.
fn vocabulary() -> Vec<String> {
    let syllables: Vec<&str> = SYLLABLES.split_whitespace().collect();
    let mut words: Vec<String> = FREQUENT.split_whitespace().map(str::to_owned).collect();
    let mut known: HashSet<String> = words.iter().cloned().collect();
    // The same words for every seed.
    let mut chance = Chance::new(0, Purpose::Quiz, 0);
    while (words.len() as u64) < WORDS {
        let length = 2 + chance.below(3);
        let word: String = (0..length).map(|_| chance.pick(&syllables)).collect();
        if !word.contains(COMMON_WORD) && !word.contains(RARE_WORD) && known.insert(word.clone()) {
            words.push(word);
        }
    }
    words
}

/// When number `index` of so many came about, as PostgreSQL reads it.
fn moment(index: u64, of: u64) -> String {
    let secs = u128::from(index) * u128::from(SPAN_SECS) / u128::from(of.max(1));
    let at = OffsetDateTime::from_unix_timestamp(BEGIN + secs as i64)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (hour, minute, second) = at.to_hms();
    let (year, month, day) = at.to_calendar_date();
    let month = u8::from(month);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}+00")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(quizzes: u64, seed: u64) -> Content {
        let sizes = Sizes {
            quizzes,
            users: 100,
            favourites: 0,
            seed,
        };
        Content::new(sizes, 6)
    }

    fn having(content: &Content, word: &str) -> u64 {
        let quizzes = (0..content.sizes.quizzes).map(|index| content.quiz(index));
        quizzes.filter(|quiz| quiz.question.contains(word)).count() as u64
    }

    #[test]
    fn ten_questions_have_the_rare_word_and_a_tenth_the_common_one() {
        let content = content(20_000, 1);
        assert_eq!(having(&content, RARE_WORD), RARE);
        let common = having(&content, COMMON_WORD);
        assert!((1800..2200).contains(&common), "{common}");
        assert_eq!(having(&super::tests::content(7, 1), RARE_WORD), 7);
    }

    #[test]
    fn texts_keep_the_limits_of_the_site_and_a_tenth_has_a_picture() {
        let content = content(20_000, 1);
        let quizzes: Vec<Quiz> = (0..20_000).map(|index| content.quiz(index)).collect();
        assert!(quizzes.iter().all(|quiz| quiz.question.len() <= 255));
        let pictured = quizzes.iter().filter(|quiz| quiz.picture.is_some()).count();
        assert!((1800..2200).contains(&pictured), "{pictured}");
        // No text needs an escape on its way to COPY.
        let plain = |text: &str| !text.contains(['\\', '\t', '\n']);
        assert!(
            quizzes
                .iter()
                .all(|quiz| plain(&quiz.question) && plain(&quiz.answer))
        );
    }

    #[test]
    fn the_seed_decides_everything() {
        assert_eq!(content(100, 1).quiz(5), content(100, 1).quiz(5));
        assert_ne!(content(100, 1).quiz(5), content(100, 2).quiz(5));
        let (quiz, content) = (content(100, 1).quiz(5), content(100, 1));
        assert_eq!(quiz.author, content.author_of(5));
    }

    #[test]
    fn the_first_moment_is_the_first_of_january() {
        assert_eq!(moment(0, 10), "2023-01-01 00:00:00+00");
        assert_eq!(moment(5, 10), "2024-07-01 12:00:00+00");
    }
}
