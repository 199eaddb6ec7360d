DROP TABLE seeds;
DROP TABLE sessions;
DROP TABLE quizzes;
DROP TABLE attachments;
DROP TABLE users;
