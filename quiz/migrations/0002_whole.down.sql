-- The extensions stay: something else in the database may use them by now.
DROP TABLE throttles;
DROP TABLE daily_quizzes;
DROP TABLE game_quizzes;
DROP TABLE games;
DROP TABLE favourites;
DROP FUNCTION favourites_count();
CREATE INDEX quizzes_author_id_idx ON quizzes (author_id);
DROP INDEX quizzes_author_id_id_idx;
ALTER TABLE quizzes
    DROP COLUMN folded,
    DROP COLUMN random_key,
    DROP COLUMN likes,
    DROP COLUMN attachment_changed_at;
DROP FUNCTION quiz_fold(text);
-- The first slice knows pictures only.
DELETE FROM attachments WHERE width IS NULL OR height IS NULL;
ALTER TABLE attachments
    DROP COLUMN released_at,
    DROP COLUMN thumbnail,
    ALTER COLUMN height SET NOT NULL,
    ALTER COLUMN width SET NOT NULL;
ALTER TABLE sessions
    DROP COLUMN user_agent,
    DROP COLUMN address,
    DROP COLUMN seen_at,
    DROP COLUMN id;
DROP TABLE identities;
DROP INDEX users_username_lower_key;
ALTER TABLE users
    DROP COLUMN token_created_at,
    DROP COLUMN token_hash,
    DROP COLUMN best_score,
    DROP COLUMN photo_changed_at,
    DROP COLUMN photo_id;
-- No password matches this: who had none cannot log in without the other sites.
UPDATE users SET password_hash = '!' WHERE password_hash IS NULL;
ALTER TABLE users ALTER COLUMN password_hash SET NOT NULL;
