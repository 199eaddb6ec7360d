-- A file is removed in steps, and its name is used once only: a store that carries out a deletion late, perhaps long after
-- it was given up, must not take the bytes of a later upload of the same content. `removed_at` is committed before the
-- store is asked to delete; from then on nothing refers to the row, and the same content gets a new row and a new name.
ALTER TABLE attachments ADD COLUMN removed_at TIMESTAMPTZ;

-- One row per distinct content that is not being removed. A name begins with the SHA-256 of its content, in 64 digits.
CREATE UNIQUE INDEX attachments_content_key ON attachments ("left"(image_id, 64)) WHERE removed_at IS NULL;
