-- How a game ended: with a wrong answer (to `current_quiz_id`), or because no question was left. NULL while it runs. The
-- row stays, so that the page about the end can be reloaded, until the player starts anew or the game is purged.
ALTER TABLE games
    ADD COLUMN ended TEXT CHECK (ended IN ('wrong', 'nomore'));
