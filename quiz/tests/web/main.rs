//! The site through its front door: the real router and the real [`quiz_web::run`], a database per test, a browser
//! that keeps cookies and follows nothing by itself. Needs `DATABASE_URL` of a PostgreSQL that may create databases.

mod accounts;
mod api;
mod attachments;
mod bad_input;
mod create;
mod daily_limit;
mod demo;
mod edit;
mod favourites;
mod fill;
mod headers;
mod images;
mod language;
mod leaving;
mod lifecycle;
mod limits;
mod lists;
mod locks;
mod login;
mod long_lists;
mod play;
mod program;
mod random;
mod roles;
mod sessions;
mod shared_pages;
mod sign_in;
mod silence;
mod statements;
mod sweep;
mod test_app;
mod tokens;
mod upload;
mod users;
