-- How many quizzes a user has published: shown on the page of the user, and what others find in the list of users. A
-- count, because to ask `quizzes` for each user of a list makes the planner read all of them.
ALTER TABLE users ADD COLUMN quizzes INTEGER NOT NULL DEFAULT 0 CHECK (quizzes >= 0);

-- Once for each statement: a row for each quiz of a large one would make that many versions of the same user.
CREATE FUNCTION users_count_quizzes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE users SET quizzes = quizzes + CASE TG_OP WHEN 'INSERT' THEN written.number ELSE -written.number END
    FROM (SELECT author_id, count(*)::integer AS number FROM changed WHERE author_id IS NOT NULL GROUP BY author_id)
        AS written
    WHERE users.id = written.author_id;
    RETURN NULL;
END $$;

CREATE TRIGGER users_count_created AFTER INSERT ON quizzes
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION users_count_quizzes();
CREATE TRIGGER users_count_deleted AFTER DELETE ON quizzes
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION users_count_quizzes();

-- A quiz changes its author only when the author goes, and the count with them; this keeps it true should that change.
CREATE FUNCTION users_recount_quizzes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE users SET quizzes = quizzes - 1 WHERE id = OLD.author_id;
    UPDATE users SET quizzes = quizzes + 1 WHERE id = NEW.author_id;
    RETURN NULL;
END $$;

CREATE TRIGGER users_count_moved AFTER UPDATE OF author_id ON quizzes
    FOR EACH ROW WHEN (OLD.author_id IS DISTINCT FROM NEW.author_id) EXECUTE FUNCTION users_recount_quizzes();

UPDATE users SET quizzes = counted.number
FROM (SELECT author_id, count(*)::integer AS number FROM quizzes GROUP BY author_id) AS counted
WHERE users.id = counted.author_id;
