//! Front-end of Quizstack: pages, accounts and pictures of the quiz site.

pub mod images;
pub mod picture;
