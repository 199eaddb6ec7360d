DROP TRIGGER users_count_moved ON quizzes;
DROP TRIGGER users_count_deleted ON quizzes;
DROP TRIGGER users_count_created ON quizzes;
DROP FUNCTION users_recount_quizzes();
DROP FUNCTION users_count_quizzes();
ALTER TABLE users DROP COLUMN quizzes;
