DROP INDEX attachments_content_key;
ALTER TABLE attachments DROP COLUMN removed_at;
