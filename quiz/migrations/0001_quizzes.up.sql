-- Identities are BIGINT and times are timestamptz throughout; text lengths are checked here as well as in the forms,
-- because three front-ends of different versions may write at the same time during a roll-out.

CREATE TABLE users (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username      TEXT        NOT NULL,
    password_hash TEXT        NOT NULL, -- argon2id, PHC string: carries its own salt and cost
    is_admin      BOOLEAN     NOT NULL DEFAULT false,
    created_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT users_username_key UNIQUE (username),
    CONSTRAINT users_username_length CHECK (char_length(username) BETWEEN 1 AND 255)
);

-- One row per distinct picture, named by the hash of its content: two quizzes with the same picture share it.
CREATE TABLE attachments (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    image_id   TEXT        NOT NULL, -- "<sha256 hex>.<png|jpg>", the last part of its URL
    mime       TEXT        NOT NULL,
    width      INTEGER     NOT NULL CHECK (width > 0),
    height     INTEGER     NOT NULL CHECK (height > 0),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT attachments_image_id_key UNIQUE (image_id)
);

-- A quiz outlives its author ("Anonymous") and its picture, so both may be absent. Its question and answer may not.
CREATE TABLE quizzes (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    question      TEXT        NOT NULL,
    answer        TEXT        NOT NULL,
    author_id     BIGINT      REFERENCES users (id) ON DELETE SET NULL,
    attachment_id BIGINT      REFERENCES attachments (id) ON DELETE SET NULL,
    created_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT quizzes_question_length CHECK (char_length(question) BETWEEN 1 AND 255),
    CONSTRAINT quizzes_answer_length CHECK (char_length(answer) BETWEEN 1 AND 255)
);

-- Both serve the foreign keys: without them deleting a user or a picture scans every quiz.
CREATE INDEX quizzes_author_id_idx ON quizzes (author_id);
CREATE INDEX quizzes_attachment_id_idx ON quizzes (attachment_id);

-- Keyed by the SHA-256 of the cookie: who reads this table cannot log in with what is in it.
CREATE TABLE sessions (
    token_hash BYTEA       PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    user_id    BIGINT      NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX sessions_user_id_idx ON sessions (user_id);
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);

-- Which sets of seeds have been planted. A marker, not a look at the rows: seeds that an admin deletes stay deleted.
CREATE TABLE seeds (
    name       TEXT PRIMARY KEY,
    planted_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
