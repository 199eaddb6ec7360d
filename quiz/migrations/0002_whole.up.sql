-- Everything after the first slice: accounts of other sites, photos, tokens, favourites, search, random play, limits.
-- Front-ends of the release before keep working on this schema: nothing they read or write has gone.

-- Both are trusted extensions: the owner of the database may create them.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS unaccent;

-- What search compares: without case and accents. Declared immutable so that it can be stored and indexed; true as long
-- as nobody edits the dictionary of `unaccent`. The body is parsed once, here, so no search_path can redirect it.
CREATE FUNCTION quiz_fold(text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN lower(unaccent('unaccent'::regdictionary, $1));

-- Users -------------------------------------------------------------------------------------------------------------

ALTER TABLE users
    ALTER COLUMN password_hash DROP NOT NULL, -- who signs in with another site has none
    ADD COLUMN photo_id         BIGINT REFERENCES attachments (id) ON DELETE SET NULL,
    ADD COLUMN photo_changed_at TIMESTAMPTZ,
    ADD COLUMN best_score       INTEGER NOT NULL DEFAULT 0 CHECK (best_score >= 0),
    ADD COLUMN token_hash       BYTEA CHECK (octet_length(token_hash) = 32), -- SHA-256 of the API token
    ADD COLUMN token_created_at TIMESTAMPTZ,
    ADD CONSTRAINT users_token_hash_key UNIQUE (token_hash);

-- "Pepe" must not pass for "pepe".
CREATE UNIQUE INDEX users_username_lower_key ON users (lower(username));
CREATE INDEX users_photo_id_idx ON users (photo_id);

-- Who somebody is at GitHub, Google or another issuer. Subjects are text: Google's have 21 digits.
CREATE TABLE identities (
    provider     TEXT        NOT NULL,
    subject      TEXT        NOT NULL,
    user_id      BIGINT      NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    profile_name TEXT        NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (provider, subject),
    CONSTRAINT identities_user_id_key UNIQUE (user_id)
);

-- Sessions ----------------------------------------------------------------------------------------------------------

ALTER TABLE sessions
    ADD COLUMN id         BIGINT GENERATED ALWAYS AS IDENTITY UNIQUE, -- names a session in the list of its user
    ADD COLUMN seen_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    ADD COLUMN address    TEXT,
    ADD COLUMN user_agent TEXT;

-- Attachments -------------------------------------------------------------------------------------------------------

-- Videos and documents have no size in pixels. `released_at` is set while nothing refers to the row: from before its
-- bytes are stored until a quiz or a user refers to it, and again when the last of them lets go. The sweep removes what
-- has been released for long enough.
ALTER TABLE attachments
    ALTER COLUMN width DROP NOT NULL,
    ALTER COLUMN height DROP NOT NULL,
    ADD COLUMN thumbnail   BOOLEAN NOT NULL DEFAULT false,
    ADD COLUMN released_at TIMESTAMPTZ DEFAULT now();

CREATE INDEX attachments_released_at_idx ON attachments (released_at) WHERE released_at IS NOT NULL;

-- Quizzes -----------------------------------------------------------------------------------------------------------

ALTER TABLE quizzes
    ADD COLUMN attachment_changed_at TIMESTAMPTZ,
    ADD COLUMN likes      INTEGER NOT NULL DEFAULT 0 CHECK (likes >= 0),
    ADD COLUMN random_key DOUBLE PRECISION NOT NULL DEFAULT random(),
    ADD COLUMN folded     TEXT GENERATED ALWAYS AS (quiz_fold(question)) STORED;

CREATE INDEX quizzes_folded_idx ON quizzes USING gin (folded gin_trgm_ops);
CREATE INDEX quizzes_likes_idx ON quizzes (likes DESC, id DESC);
-- A random quiz is the next one after a random point: one step in this index.
CREATE INDEX quizzes_random_key_idx ON quizzes (random_key, id);
CREATE INDEX quizzes_author_id_id_idx ON quizzes (author_id, id);
DROP INDEX quizzes_author_id_idx;

CREATE TABLE favourites (
    user_id    BIGINT      NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    quiz_id    BIGINT      NOT NULL REFERENCES quizzes (id) ON DELETE CASCADE,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, quiz_id)
);

CREATE INDEX favourites_quiz_id_idx ON favourites (quiz_id);

-- `likes` counts favourites. A trigger, because rows also go when their user goes.
CREATE FUNCTION favourites_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE quizzes SET likes = likes + 1 WHERE id = NEW.quiz_id;
    ELSE
        UPDATE quizzes SET likes = likes - 1 WHERE id = OLD.quiz_id;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER favourites_count AFTER INSERT OR DELETE ON favourites
    FOR EACH ROW EXECUTE FUNCTION favourites_count();

-- Random play -------------------------------------------------------------------------------------------------------

-- One game per player: a user, or a visitor who carries a token. `current_quiz_id` is the question that waits for its
-- answer.
CREATE TABLE games (
    id              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id         BIGINT REFERENCES users (id) ON DELETE CASCADE,
    token_hash      BYTEA CHECK (octet_length(token_hash) = 32),
    score           INTEGER     NOT NULL DEFAULT 0 CHECK (score >= 0),
    current_quiz_id BIGINT      REFERENCES quizzes (id) ON DELETE SET NULL,
    updated_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT games_user_id_key UNIQUE (user_id),
    CONSTRAINT games_token_hash_key UNIQUE (token_hash),
    CONSTRAINT games_one_player CHECK (num_nonnulls(user_id, token_hash) = 1)
);

CREATE INDEX games_updated_at_idx ON games (updated_at);
CREATE INDEX games_current_quiz_id_idx ON games (current_quiz_id);

-- The quizzes that a game has resolved.
CREATE TABLE game_quizzes (
    game_id BIGINT NOT NULL REFERENCES games (id) ON DELETE CASCADE,
    quiz_id BIGINT NOT NULL REFERENCES quizzes (id) ON DELETE CASCADE,
    PRIMARY KEY (game_id, quiz_id)
);

CREATE INDEX game_quizzes_quiz_id_idx ON game_quizzes (quiz_id);

-- Limits ------------------------------------------------------------------------------------------------------------

-- Quizzes a user has created on a day (UTC).
CREATE TABLE daily_quizzes (
    user_id BIGINT  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    day     DATE    NOT NULL,
    created INTEGER NOT NULL CHECK (created >= 0),
    PRIMARY KEY (user_id, day)
);

-- Rate limits that all front-ends share: the moment at which a key will have used up nothing of its burst (the
-- theoretical arrival time of GCRA, ATM Forum 1996). Unlogged: to forget them in a crash does no harm.
CREATE UNLOGGED TABLE throttles (
    key       BYTEA       PRIMARY KEY,
    free_at   TIMESTAMPTZ NOT NULL
);

CREATE INDEX throttles_free_at_idx ON throttles (free_at);
