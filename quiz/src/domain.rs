//! The rules of the game, pure: what a question is, when an answer is right, how a list is cut into pages, who may have
//! which name and which password.

pub mod answer;
pub mod browser;
pub mod game;
pub mod paging;
pub mod password;
pub mod quiz;
pub mod search;
pub mod username;
