//! Storage node of Quizstack: an S3 subset kept on three nodes.
